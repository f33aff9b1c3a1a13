"""Places that pixels are taken from: affine changes and boxes of images, resampled bilinearly."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from frostline.extract.augmentation.chance import Chance, as_shares
from frostline.extract.augmentation.settings import Augmentation
from frostline.extract.forward import sent


def affine(images: Tensor, changes: Augmentation, chance: Chance) -> Tensor:
    """Rotate, move, scale and shear square images, each its own way; outside of them is black.

    Parameters
    ----------
    images : uint8 [n, channels, side, side]

    Returns
    -------
    uint8 [n, channels, side, side]
    """
    drawn = as_shares(chance.bits)
    low, high = changes.scale
    degrees, across, down, shear = ((2 * drawn[:, column] - 1) for column in (0, 1, 2, 4))
    matrices = affine_matrices(
        degrees * changes.degrees,
        torch.stack([across, down], 1) * changes.translate,
        low + drawn[:, 3] * (high - low),
        shear * changes.shear,
    )
    return _sampled(images, sent(matrices.float(), images.device), images.shape[-1], "zeros")


def affine_matrices(degrees: Tensor, move: Tensor, scale: Tensor, shear: Tensor) -> Tensor:
    """Give where each pixel comes from, as `torch.nn.functional.affine_grid` takes it.

    Torchvision's `affine`: sheared along the rows, then rotated clockwise and scaled, about the
    centre, then moved.

    Parameters
    ----------
    degrees, scale, shear : float64 [n]
    move : float64 [n, 2]
        To the right and down, in shares of the side.

    Returns
    -------
    float64 [n, 2, 3]
        Of coordinates from -1 to 1.
    """
    angle, slope = degrees * (math.pi / 180), (shear * (math.pi / 180)).tan()
    cos, sin = angle.cos(), angle.sin()
    # The inverse of scale * [[cos, -sin], [sin, cos]] @ [[1, -slope], [0, 1]].
    first = torch.stack([cos - slope * sin, sin + slope * cos], 1)
    turned = torch.stack([first, torch.stack([-sin, cos], 1)], 1) / scale[:, None, None]
    return torch.cat([turned, -turned @ (2 * move[:, :, None])], 2)


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
    left, top, width, height = boxes.T / images.shape[-1]
    nothing = torch.zeros_like(left)
    # From the output's -1 to 1 to the input's, whose corners are corners of pixels.
    across = torch.stack([width, nothing, 2 * left + width - 1], 1)
    down = torch.stack([nothing, height, 2 * top + height - 1], 1)
    return _sampled(images, torch.stack([across, down], 1).float(), size, "border")


def _sampled(
    images: Tensor, matrices: Tensor, size: int, outside: Literal["zeros", "border"]
) -> Tensor:
    places = functional.affine_grid(
        matrices, [len(images), images.shape[1], size, size], align_corners=False
    )
    found = functional.grid_sample(
        images.float(), places, mode="bilinear", padding_mode=outside, align_corners=False
    )
    return found.round().clamp(0, 255).to(torch.uint8)
