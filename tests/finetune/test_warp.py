"""Rotation, translation, scale, shear and noise: where pixels go, how far, and their chance."""

from __future__ import annotations

import math

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest
from test_augment import photos
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as v2

from frostline.extract.augmentation.augment import augment
from frostline.extract.augmentation.chance import as_shares, hashed, normal
from frostline.extract.augmentation.warp import _sampled, affine_matrices
from frostline.finetune.inputs.batches import Place
from frostline.finetune.inputs.chance import draw_chance
from frostline.finetune.recipe import Recipe

SIDE, COUNT = 81, 400
MIDDLE = SIDE // 2


def changed(images: torch.Tensor, recipe: Recipe) -> torch.Tensor:
    chance = draw_chance(torch.arange(len(images)), Place(0, 1, 0))
    return augment(images, recipe, images.shape[1], chance)


def moved_dots(across: int, down: int, recipe: Recipe) -> np.ndarray:
    """Where a dot, so far from the centre, comes to lie in each of many images: [n, 2]."""
    images = torch.zeros(COUNT, SIDE, SIDE, dtype=torch.uint8)
    x, y = MIDDLE + across, MIDDLE + down
    images[:, y - 1 : y + 2, x - 1 : x + 2] = 255
    found = changed(images, recipe).double().numpy()
    places = np.arange(SIDE) - MIDDLE
    weight = found.sum((1, 2))
    return np.stack([found.sum(1) @ places / weight, found.sum(2) @ places / weight], 1)


def is_uniform(values: np.ndarray, low: float, high: float) -> None:
    assert kstest(values, "uniform", (low, high - low)).pvalue > 1e-3
    assert low - 0.05 * (high - low) < values.min() < values.max() < high + 0.05 * (high - low)


def test_degrees_turn_about_the_centre_either_way() -> None:
    found = moved_dots(30, 0, Recipe(degrees=20))
    is_uniform(np.degrees(np.arctan2(found[:, 1], found[:, 0])), -20, 20)
    np.testing.assert_allclose(np.hypot(*found.T), 30, atol=0.2)


def test_translate_moves_by_shares_of_the_side_across_and_down() -> None:
    found = moved_dots(0, 0, Recipe(translate=0.25))
    for column in found.T:
        is_uniform(column, -SIDE / 4, SIDE / 4)
    assert abs(np.corrcoef(*found.T)[0, 1]) < 0.15


def test_scale_makes_larger_and_smaller() -> None:
    found = moved_dots(-24, 0, Recipe(scale=(0.5, 1.5)))
    is_uniform(found[:, 0] / -24, 0.5, 1.5)
    np.testing.assert_allclose(found[:, 1], 0, atol=0.05)


def test_shear_is_along_the_rows() -> None:
    found = moved_dots(0, 30, Recipe(shear=20))
    is_uniform(np.degrees(np.arctan(found[:, 0] / 30)), -20, 20)
    np.testing.assert_allclose(found[:, 1], 30, atol=0.05)


@given(
    st.floats(-180, 180),
    st.tuples(st.integers(-9, 9), st.integers(-9, 9)),
    st.floats(0.4, 2.5),
    st.floats(-45, 45),
)
def test_pixels_come_from_where_torchvision_takes_them(
    degrees: float, move: tuple[int, int], scale: float, shear: float
) -> None:
    images = photos(1, 40).permute(0, 3, 1, 2)
    values = [torch.tensor([value], dtype=torch.float64) for value in (degrees, scale, shear)]
    shift = torch.tensor([move], dtype=torch.float64) / 40
    matrices = affine_matrices(values[0], shift, values[1], values[2])
    ours = _sampled(images, matrices.float(), 40, "zeros")
    bilinear = InterpolationMode.BILINEAR
    theirs = v2.affine(images, degrees, list(move), scale, [shear, 0.0], bilinear)
    assert int((theirs.int() - ours.int()).abs().max()) <= 1


def test_what_comes_from_outside_is_black() -> None:
    white = torch.full((COUNT, 40, 40, 3), 255, dtype=torch.uint8)
    found = changed(white, Recipe(degrees=45))
    corners = found[:, [0, 0, -1, -1], [0, -1, 0, -1]].flatten(1).max(1).values
    turned = changed(white, Recipe(degrees=45)).flatten(1).min(1).values == 0
    assert turned.float().mean() > 0.9
    assert (corners[turned] < 255).all()
    assert (corners == 0).float().mean() > 0.7
    assert (found[:, 15:25, 15:25] == 255).all()
    assert torch.equal(changed(white, Recipe(scale=(1.0, 1.5))), white)


def test_noise_is_of_its_standard_deviation_in_each_value_of_each_image() -> None:
    grey = torch.full((40, 30, 30, 3), 120, dtype=torch.uint8)
    noise = changed(grey, Recipe(gaussian_noise=0.1)).double() - 120
    each = noise.flatten(1)
    np.testing.assert_allclose(each.std(1), math.hypot(25.5, 12**-0.5), rtol=0.06)
    np.testing.assert_allclose(each.mean(1), 0, atol=2.5)
    by_chance = 5 / math.sqrt(each.shape[1])
    assert (torch.corrcoef(each) - torch.eye(40)).abs().max() < by_chance
    channels = noise.flatten(0, 2).T
    assert (torch.corrcoef(channels) - torch.eye(3)).abs().max() < by_chance
    bounded = changed(torch.zeros_like(grey), Recipe(gaussian_noise=0.1))
    assert 0.45 < (bounded == 0).float().mean() < 0.55


def test_hashes_are_splitmix64s() -> None:
    """The generator's first numbers after the seed 1234567, as they are published."""
    expected = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    assert [one % 2**64 for one in hashed(torch.tensor([1234567]), 5)[0].tolist()] == expected


def test_chance_is_uniform_and_normal_and_of_each_image_by_itself() -> None:
    chance = draw_chance(torch.arange(20_000), Place(3, 5, 0))
    shares = as_shares(chance.bits).numpy()
    for column in shares.T:
        assert kstest(column, "uniform").pvalue > 1e-3
    assert np.abs(np.corrcoef(shares.T) - np.eye(6)).max() < 0.03
    assert np.abs([np.corrcoef(c[1:], c[:-1])[0, 1] for c in shares.T]).max() < 0.03
    found = normal(chance.bits[:20, -1], 5_001).numpy()
    assert found.shape == (20, 5_001)
    assert kstest(found.ravel(), "norm").pvalue > 1e-3
    assert np.isfinite(found).all()
