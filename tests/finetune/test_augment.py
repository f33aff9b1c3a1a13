"""Augmentation: what each does to an image, and that chance repeats itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms.v2 import functional as v2

from frostline.cache import InputError
from frostline.extract.images.geometry import Geometry
from frostline.finetune.inputs.augment import (
    augment,
    centre_crop,
    draw_chance,
    kept_geometry,
    resized_boxes,
)
from frostline.finetune.recipe import AUGMENTATIONS, Recipe

CROPPED = Recipe(augmentation=("random_crop",))


def photos(count: int = 6, side: int = 40, colours: int = 3) -> torch.Tensor:
    """Smooth images, uint8 [count, side, side(, 3)], none of which is its mirror."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, colours, 5, 5, generator=generator) * 255
    fine = torch.nn.functional.interpolate(coarse, (side, side), mode="bilinear").to(torch.uint8)
    return fine.squeeze(1) if colours == 1 else fine.permute(0, 2, 3, 1)


@given(st.integers(1, 60), st.integers(0, 90), st.sampled_from(["shorter", "squash"]), st.data())
def test_the_centre_of_the_kept_square_is_the_crop_to_the_bit(
    crop: int, more: int, resize: Any, data: st.DataObject
) -> None:
    geometry = Geometry(resize, crop + more, crop)
    kept = kept_geometry(geometry, CROPPED)
    assert 0 <= crop + more - kept.crop < 4
    sides = st.integers(2, 80)
    size = data.draw(st.tuples(sides, sides))
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    square = torch.from_numpy(kept.apply(image, "rgb"))[None]
    assert (centre_crop(square, crop)[0].numpy() == geometry.apply(image, "rgb")).all()


def test_only_crops_need_a_margin() -> None:
    geometry = Geometry("shorter", 256, 224)
    for name in AUGMENTATIONS:
        kept = kept_geometry(geometry, Recipe(augmentation=(name,)))
        assert kept.crop == (256 if "crop" in name else 224)
        assert kept.resize_to == 256
    assert kept_geometry(geometry, Recipe()) == geometry


@pytest.mark.parametrize("colours", [1, 3])
@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_the_same_place_in_training_gives_the_same_images(name: str, colours: int) -> None:
    images = photos(24, colours=colours)
    before = torch.get_rng_state()

    def at(seed: int, epoch: int, batch: int) -> torch.Tensor:
        return augment(images, (name,), 32, draw_chance(len(images), seed, epoch, batch))

    expected = at(0, 1, 2)
    size = 32 if "crop" in name else 40
    assert expected.shape == (24, size, size, 3)[: 3 + (colours == 3)]
    assert expected.dtype == torch.uint8
    assert torch.equal(at(0, 1, 2), expected)
    others = [at(1, 1, 2), at(0, 2, 2), at(0, 1, 3)]
    assert all(not torch.equal(other, expected) for other in others)
    assert torch.equal(torch.get_rng_state(), before)
    # A part of the batch gets what it would get in the whole.
    rows = torch.tensor([4, 1])
    chance = draw_chance(24, 0, 1, 2).of(rows)
    assert torch.equal(augment(images[rows], (name,), 32, chance), expected[rows])


def test_each_image_has_chance_of_its_own() -> None:
    same = photos(1).expand(32, -1, -1, -1)
    for name in AUGMENTATIONS:
        found = augment(same, (name,), 32, draw_chance(32, 0, 0, 0))
        different = len(found.flatten(1).unique(dim=0))
        assert different == 2 if "flip" in name else different > 12, name


def test_flips_are_mirrors_of_about_a_half() -> None:
    images = photos(200, 8)
    for name, axis in (("horizontal_flip", 2), ("vertical_flip", 1)):
        found = augment(images, (name,), 8, draw_chance(200, 0, 0, 0))
        mirrored = (found == images.flip(axis)).flatten(1).all(1)
        untouched = (found == images).flatten(1).all(1)
        assert (mirrored ^ untouched).all()
        assert 70 < int(mirrored.sum()) < 130
    both = augment(images, ("horizontal_flip", "vertical_flip"), 8, draw_chance(200, 0, 0, 0))
    # A quarter, as each has a chance of its own.
    assert 25 < (both == images.flip(1, 2)).flatten(1).all(1).sum() < 75


def test_random_crops_are_cut_from_anywhere_in_the_square() -> None:
    side, size = 12, 9
    numbered = torch.arange(side * side, dtype=torch.uint8).reshape(1, side, side)
    found = augment(numbered.expand(300, -1, -1), ("random_crop",), size, draw_chance(300, 0, 0, 0))
    corners = {(int(first) // side, int(first) % side) for first in found[:, 0, 0]}
    assert corners == {(top, left) for top in range(4) for left in range(4)}
    for image in found[:20]:
        top, left = divmod(int(image[0, 0]), side)
        assert torch.equal(image, numbered[0, top : top + size, left : left + size])


def test_boxes_are_resized_as_torchvision_does() -> None:
    images = photos(8, 40).permute(0, 3, 1, 2)
    boxes = torch.tensor([[n, 2 * n, 20 + n, 25 - n] for n in range(8)], dtype=torch.float64)
    found = resized_boxes(images, boxes, 16)
    for image, (left, top, width, height), ours in zip(
        images, boxes.long().tolist(), found, strict=True
    ):
        theirs = v2.resized_crop(image, top, left, height, width, [16, 16], antialias=False)
        assert int((theirs.int() - ours.int()).abs().max()) <= 1
    whole = torch.tensor([[0, 0, 40, 40]], dtype=torch.float64).expand(8, 4)
    assert torch.equal(resized_boxes(images, whole, 40), images)


def test_without_a_margin_random_crop_says_so() -> None:
    with pytest.raises(InputError) as caught:
        augment(photos(), ("random_crop",), 40, draw_chance(6, 0, 0, 0))
    assert str(caught.value) == (
        "There is no margin for random_crop: images have 40 pixels, and the backbone sees them "
        "all. Use random_resized_crop."
    )
