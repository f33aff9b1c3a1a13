"""Augmentation: what each does to an image, and that chance repeats itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import v2

from frostline.cache import InputError
from frostline.extract.augmentation.augment import augment, centre_crop
from frostline.extract.augmentation.settings import AUGMENTATIONS, STRENGTHS, kept_geometry
from frostline.extract.augmentation.warp import resized_boxes
from frostline.extract.images.geometry import Geometry
from frostline.finetune.inputs.batches import Place
from frostline.finetune.inputs.chance import draw_chance
from frostline.finetune.recipe import Recipe

CROPPED = Recipe(augmentation=("random_crop",))
STRONG: dict[str, Any] = {
    "degrees": 30,
    "translate": 0.1,
    "scale": (0.8, 1.2),
    "shear": 10,
    "gaussian_noise": 0.05,
}
CHANGES = {
    **{name: Recipe(augmentation=(name,)) for name in AUGMENTATIONS},
    **{name: Recipe(**{name: value}) for name, value in STRONG.items()},
}
ONCE = Place(0, 0, 0)


def photos(count: int = 6, side: int = 40, colours: int = 3) -> torch.Tensor:
    """Smooth images, uint8 [count, side, side(, 3)], none of which is its mirror."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, colours, 5, 5, generator=generator) * 255
    fine = torch.nn.functional.interpolate(coarse, (side, side), mode="bilinear").to(torch.uint8)
    return fine.squeeze(1) if colours == 1 else fine.permute(0, 2, 3, 1)


def changed(
    images: torch.Tensor, recipe: Recipe, size: int = 32, place: Place = ONCE
) -> torch.Tensor:
    """The images of a batch augmented: those of the first numbers."""
    return augment(images, recipe, size, draw_chance(torch.arange(len(images)), place))


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
@pytest.mark.parametrize("name", CHANGES)
def test_the_same_place_in_training_gives_the_same_images(name: str, colours: int) -> None:
    images = photos(24, colours=colours)
    before = torch.get_rng_state()
    expected = changed(images, CHANGES[name], place=Place(0, 1, 2))
    size = 32 if "crop" in name else 40
    assert expected.shape == (24, size, size, 3)[: 3 + (colours == 3)]
    assert expected.dtype == torch.uint8
    assert torch.equal(changed(images, CHANGES[name], place=Place(0, 1, 2)), expected)
    for place in (Place(1, 1, 2), Place(0, 2, 2)):
        assert not torch.equal(changed(images, CHANGES[name], place=place), expected)
    # Of the next batch's images, what a strength does goes by the image, and not by its place.
    next_batch = changed(images, CHANGES[name], place=Place(0, 1, 3))
    assert torch.equal(next_batch, expected) == (name in STRENGTHS)
    assert torch.equal(torch.get_rng_state(), before)


@given(
    st.sets(st.sampled_from(AUGMENTATIONS)).filter(lambda names: "random_crop" not in names),
    st.sets(st.sampled_from(STRENGTHS)),
    st.sampled_from([1, 3]),
    st.permutations(range(7)),
    st.integers(1, 7),
)
def test_a_part_of_a_batch_gets_what_it_would_get_in_the_whole(
    names: set[str], strengths: set[str], colours: int, order: list[int], count: int
) -> None:
    recipe = Recipe(augmentation=tuple(names), **{name: STRONG[name] for name in strengths})
    images, indices = photos(7, colours=colours), torch.tensor([5, 0, 41, 3, 8, 1, 2])
    chance = draw_chance(indices, Place(0, 1, 2))
    whole, rows = augment(images, recipe, 32, chance), torch.tensor(order[:count])
    assert torch.equal(augment(images[rows], recipe, 32, chance.of(rows)), whole[rows])
    for row in rows.tolist():
        one = slice(row, row + 1)
        alone = augment(images[one], recipe, 32, chance.of(torch.tensor([row])))
        assert torch.equal(alone, whole[one])


@pytest.mark.parametrize("name", STRENGTHS)
def test_what_a_strength_does_to_an_image_is_the_same_in_any_batch(name: str) -> None:
    images, numbers = photos(9), torch.tensor([11, 7, 3, 2, 20, 5, 17, 0, 9])
    expected = augment(images, CHANGES[name], 40, draw_chance(numbers, Place(0, 1, 0)))
    for size in (1, 4):
        found = [
            augment(images[rows], CHANGES[name], 40, draw_chance(numbers[rows], Place(0, 1, batch)))
            for batch, rows in enumerate(torch.randperm(9).split(size))
            for rows in [rows.sort().values]
        ]
        assert {one.numpy().tobytes() for part in found for one in part} == {
            one.numpy().tobytes() for one in expected
        }


def test_each_image_has_chance_of_its_own() -> None:
    same = photos(1).expand(32, -1, -1, -1)
    for name, recipe in CHANGES.items():
        different = len(changed(same, recipe).flatten(1).unique(dim=0))
        assert different == 2 if "flip" in name else different > 12, name


def test_flips_are_mirrors_of_about_a_half() -> None:
    images = photos(200, 8)
    for name, axis in (("horizontal_flip", 2), ("vertical_flip", 1)):
        found = changed(images, CHANGES[name], 8)
        mirrored = (found == images.flip(axis)).flatten(1).all(1)
        untouched = (found == images).flatten(1).all(1)
        assert (mirrored ^ untouched).all()
        assert 70 < int(mirrored.sum()) < 130
    both = changed(images, Recipe(augmentation=("horizontal_flip", "vertical_flip")), 8)
    # A quarter, as each has a chance of its own.
    assert 25 < (both == images.flip(1, 2)).flatten(1).all(1).sum() < 75


def test_random_crops_are_cut_from_anywhere_in_the_square() -> None:
    side, size = 12, 9
    numbered = torch.arange(side * side, dtype=torch.uint8).reshape(1, side, side)
    found = changed(numbered.expand(300, -1, -1), CROPPED, size)
    corners = {(int(first) // side, int(first) % side) for first in found[:, 0, 0]}
    assert corners == {(top, left) for top in range(4) for left in range(4)}
    for image in found[:20]:
        top, left = divmod(int(image[0, 0]), side)
        assert torch.equal(image, numbered[0, top : top + size, left : left + size])


@pytest.mark.parametrize("colours", [1, 3])
@pytest.mark.parametrize("side", [9, 40, 230])
@pytest.mark.parametrize("name", ["color_jitter", "rand_augment"])
def test_torchvisions_augmentations_to_the_bit(name: str, side: int, colours: int) -> None:
    theirs = v2.ColorJitter(0.2, 0.2, 0.2) if name == "color_jitter" else v2.RandAugment()
    images = photos(120 if side < 100 else 30, side, colours)
    images[0] = 77  # of which no contrast can be made
    chance = draw_chance(torch.arange(len(images)), ONCE)
    found = augment(images, CHANGES[name], side, chance)
    for image, ours, seed in zip(images, found, chance.seeds.tolist(), strict=True):
        channels = image[None] if colours == 1 else image.permute(2, 0, 1)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            expected = theirs(channels)
        assert torch.equal(ours, expected[0] if colours == 1 else expected.permute(1, 2, 0))


def test_boxes_are_resized_as_torchvision_does() -> None:
    images = photos(8, 40).permute(0, 3, 1, 2)
    boxes = torch.tensor([[n, 2 * n, 20 + n, 25 - n] for n in range(8)], dtype=torch.float64)
    found = resized_boxes(images, boxes, 16)
    for image, (left, top, width, height), ours in zip(
        images, boxes.long().tolist(), found, strict=True
    ):
        theirs = v2.functional.resized_crop(
            image, top, left, height, width, [16, 16], antialias=False
        )
        assert int((theirs.int() - ours.int()).abs().max()) <= 1
    whole = torch.tensor([[0, 0, 40, 40]], dtype=torch.float64).expand(8, 4)
    assert torch.equal(resized_boxes(images, whole, 40), images)


def test_without_a_margin_random_crop_says_so() -> None:
    with pytest.raises(InputError) as caught:
        changed(photos(), CROPPED, 40)
    assert str(caught.value) == (
        "There is no margin for random_crop: images have 40 pixels, and the backbone sees them "
        "all. Use random_resized_crop."
    )
