"""Random changes of training images, on the device; the same seed gives the same changes."""

from __future__ import annotations

import torch
from torch import Tensor

from frostline.cache import InputError
from frostline.extract.augmentation.chance import Chance
from frostline.extract.augmentation.colours import color_jitter, gaussian_noise
from frostline.extract.augmentation.rand_augment import rand_augment
from frostline.extract.augmentation.settings import Augmentation, no_margin
from frostline.extract.augmentation.warp import affine, resized_boxes
from frostline.extract.forward import sent

AREA = (0.5, 1.0)
RATIO = (3 / 4, 4 / 3)


def centre_crop(pixels: Tensor, size: int) -> Tensor:
    """Crop the centre of square pixels [n, h, w] or [n, h, w, 3], by a multiple of 4 in all."""
    start = (pixels.shape[1] - size) // 2
    return pixels[:, start : start + size, start : start + size]


def augment(pixels: Tensor, changes: Augmentation, size: int, chance: Chance) -> Tensor:
    """Augment images, on the device of the pixels, without waiting for it.

    Parameters
    ----------
    pixels : uint8 [n, h, h] or [n, h, h, 3]
    changes : Augmentation
        Says which changes, and how strong.
    size : int
        Side of the crop, if there is one.

    Returns
    -------
    uint8 [n, size, size] or [n, size, size, 3]; without a crop of the side of `pixels`.
    """
    images = pixels.unsqueeze(1) if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2)
    shares = sent(chance.shares, images.device)
    if changes.warps:
        images = affine(images, changes, chance)
    for name in changes.augmentation:
        if name == "random_crop":
            images = _random_crop(images, size, shares)
        elif name == "random_resized_crop":
            images = _random_resized_crop(images, size, shares)
        elif name == "horizontal_flip":
            images = _flipped(images, shares[:, 4] < 0.5, 3)
        elif name == "vertical_flip":
            images = _flipped(images, shares[:, 5] < 0.5, 2)
        elif name == "color_jitter":
            images = color_jitter(images, chance.seeds.tolist())
        else:
            images = rand_augment(images, chance.seeds.tolist())
    if changes.gaussian_noise:
        images = gaussian_noise(images, changes.gaussian_noise, chance.bits[:, -1])
    return images.squeeze(1) if pixels.ndim == 3 else images.permute(0, 2, 3, 1)


def _random_crop(images: Tensor, size: int, shares: Tensor) -> Tensor:
    side = images.shape[-1]
    if side == size:
        raise InputError(no_margin(side))
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


def _flipped(images: Tensor, which: Tensor, axis: int) -> Tensor:
    return torch.where(which[:, None, None, None], images.flip(axis), images)
