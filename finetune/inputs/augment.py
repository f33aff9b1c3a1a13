"""Random changes of training images, on the device; the same seed gives the same changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from frostline.cache import InputError
from frostline.extract.images.geometry import Geometry
from frostline.finetune.inputs.pixels import sent
from frostline.finetune.recipe import Recipe
from frostline.finetune.seeds import derived_seed

AREA = (0.5, 1.0)
RATIO = (3 / 4, 4 / 3)
JITTER = 0.2
# One column of chance for each: area, ratio, place (x, y), and the two flips.
CHANCES = 6


class Chance(NamedTuple):
    """Random numbers for the images of a batch.

    Attributes
    ----------
    shares : float64 [n, 6]
        In 0 to 1.
    seeds : int64 [n]
        Of what torchvision draws.
    """

    shares: Tensor
    seeds: Tensor

    def of(self, rows: Tensor) -> Chance:
        """Give those of some of the images."""
        return Chance(self.shares[rows], self.seeds[rows])


def kept_geometry(geometry: Geometry, recipe: Recipe) -> Geometry:
    """Give the geometry of the pixel store: for random crops, the square without the crop.

    Its margin is a multiple of two pixels on each side: with others the centre of a centre is not
    always the centre, because places of crops are rounded half to even.
    """
    if not recipe.crops or geometry.resize_to <= geometry.crop:
        return geometry
    margins = (geometry.resize_to - geometry.crop) // 4 * 4
    return replace(geometry, crop=geometry.crop + margins)


def centre_crop(pixels: Tensor, size: int) -> Tensor:
    """Crop the centre of square pixels [n, h, w] or [n, h, w, 3], by a multiple of 4 in all."""
    start = (pixels.shape[1] - size) // 2
    return pixels[:, start : start + size, start : start + size]


def draw_chance(count: int, seed: int, epoch: int, batch: int) -> Chance:
    """Draw random numbers for `count` images: they follow from seed, epoch and batch alone."""
    generator = torch.Generator().manual_seed(derived_seed(seed, "augmentation", epoch, batch))
    shares = torch.rand(count, CHANCES, dtype=torch.float64, generator=generator)
    return Chance(shares, torch.randint(2**62, (count,), generator=generator))


def augment(pixels: Tensor, names: tuple[str, ...], size: int, chance: Chance) -> Tensor:
    """Augment images, on the device of the pixels.

    Parameters
    ----------
    pixels : uint8 [n, h, h] or [n, h, h, 3]
    names : tuple of str
        Of `recipe.AUGMENTATIONS`.
    size : int
        Side of the crop, if there is one.

    Returns
    -------
    uint8 [n, size, size] or [n, size, size, 3]; without a crop of the side of `pixels`.
    """
    images = pixels.unsqueeze(1) if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2)
    shares = sent(chance.shares, images.device)
    for name in names:
        if name == "random_crop":
            images = _random_crop(images, size, shares)
        elif name == "random_resized_crop":
            images = _random_resized_crop(images, size, shares)
        elif name == "horizontal_flip":
            images = _flipped(images, shares[:, 4] < 0.5, 3)
        elif name == "vertical_flip":
            images = _flipped(images, shares[:, 5] < 0.5, 2)
        else:
            images = _one_by_one(images, _transform(name), chance.seeds)
    return images.squeeze(1) if pixels.ndim == 3 else images.permute(0, 2, 3, 1)


def _random_crop(images: Tensor, size: int, shares: Tensor) -> Tensor:
    side = images.shape[-1]
    if side == size:
        raise InputError(
            f"There is no margin for random_crop: images have {side} pixels, and the backbone sees "
            "them all. Use random_resized_crop."
        )
    inside = torch.arange(size, device=images.device)
    left, top = ((shares[:, column, None] * (side - size + 1)).long() for column in (2, 3))
    which = torch.arange(len(images), device=images.device)
    rows, columns = (top + inside)[:, None, :, None], (left + inside)[:, None, None, :]
    channels = torch.arange(images.shape[1], device=images.device)
    return images[which[:, None, None, None], channels[None, :, None, None], rows, columns]


def _random_resized_crop(images: Tensor, size: int, shares: Tensor) -> Tensor:
    """Resize boxes that torchvision's RandomResizedCrop would draw, cut to the image's sides."""
    side = images.shape[-1]
    area = AREA[0] + shares[:, 0] * (AREA[1] - AREA[0])
    low, high = (torch.tensor(ratio, dtype=torch.float64).log() for ratio in RATIO)
    ratio = (low + shares[:, 1] * (high - low)).exp()
    width, height = ((area * r).sqrt().clamp(max=1) * side for r in (ratio, 1 / ratio))
    left, top = shares[:, 2] * (side - width), shares[:, 3] * (side - height)
    return resized_boxes(images, torch.stack([left, top, width, height], 1), size)


def resized_boxes(images: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Resize a box of each image to a square, bilinearly.

    Parameters
    ----------
    images : uint8 [n, channels, side, side]
    boxes : float64 [n, 4]
        Left, top, width and height in pixels.

    Returns
    -------
    uint8 [n, channels, size, size]
    """
    side = images.shape[-1]
    left, top, width, height = boxes.T / side
    nothing = torch.zeros_like(left)
    # From the output's -1 to 1 to the input's, whose corners are corners of pixels.
    across = torch.stack([width, nothing, 2 * left + width - 1], 1)
    down = torch.stack([nothing, height, 2 * top + height - 1], 1)
    places = functional.affine_grid(
        torch.stack([across, down], 1).float(),
        [len(images), images.shape[1], size, size],
        align_corners=False,
    )
    sampled = functional.grid_sample(
        images.float(), places, mode="bilinear", padding_mode="border", align_corners=False
    )
    return sampled.round().clamp(0, 255).to(torch.uint8)


def _flipped(images: Tensor, which: Tensor, axis: int) -> Tensor:
    return torch.where(which[:, None, None, None], images.flip(axis), images)


def _transform(name: str) -> Callable[[Tensor], Tensor]:
    from torchvision.transforms import v2

    if name == "color_jitter":
        return v2.ColorJitter(brightness=JITTER, contrast=JITTER, saturation=JITTER)
    return v2.RandAugment()


def _one_by_one(images: Tensor, transform: Callable[[Tensor], Tensor], seeds: Tensor) -> Tensor:
    """Call a transform of torchvision once for each image, each with a seed of its own."""
    before = torch.get_rng_state()
    try:
        done = []
        for image, seed in zip(images, seeds.tolist(), strict=True):
            torch.default_generator.manual_seed(seed)
            done.append(transform(image))
        return torch.stack(done)
    finally:
        torch.set_rng_state(before)
