"""Changes of grey levels and colours, each image by its own factor; torchvision's, to the bit.

Images are uint8 [n, 1 or 3, h, w], factors float64 [n]; numbers that torchvision rounds down to 8
bits are rounded down here too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from frostline.extract.augmentation.chance import normal
from frostline.extract.forward import sent

JITTER = 0.2
Kind = TypeVar("Kind", int, tuple[str, int])


def color_jitter(images: Tensor, seeds: Sequence[int]) -> Tensor:
    """Change brightness, contrast and saturation, in an order and by factors of each seed."""
    drawn = [_jitter(seed) for seed in seeds]
    orders = torch.tensor([order for order, _ in drawn])
    factors = torch.tensor([factor for _, factor in drawn], dtype=torch.float64)
    changes = (brightness, contrast, saturation)
    for which in orders.T.tolist():
        images = each_by_its_own(
            images, which, lambda one, some, rows: changes[one](some, factors[rows, one])
        )
    return images


def each_by_its_own(
    images: Tensor, kinds: Sequence[Kind], change: Callable[[Kind, Tensor, Tensor], Tensor]
) -> Tensor:
    """Change images, those of a kind together.

    Parameters
    ----------
    images : uint8 [n, channels, side, side]
    kinds : sequence
        Of each image.
    change : callable
        Takes a kind, its images, and their numbers, int64 on the CPU; gives the images changed.
    """
    found = images.clone()
    for kind in sorted(set(kinds)):
        rows = torch.tensor([row for row, other in enumerate(kinds) if other == kind])
        there = sent(rows, images.device)
        found.index_copy_(0, there, change(kind, images[there], rows))
    return found


def _jitter(seed: int) -> tuple[list[int], list[float]]:
    """Draw what `torchvision.transforms.v2.ColorJitter` draws after the seed."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(4, generator=generator).tolist()
    factors = [
        float(torch.empty(1).uniform_(1 - JITTER, 1 + JITTER, generator=generator))
        for _ in range(3)
    ]
    return [one for one in order if one < 3], factors  # 3 is the hue, which stays


def brightness(images: Tensor, factors: Tensor) -> Tensor:
    """Multiply by the factor."""
    return (images * _on_each(factors.float(), images)).clamp_(0, 255).to(torch.uint8)


def contrast(images: Tensor, factors: Tensor) -> Tensor:
    """Move away from the image's mean grey level, or towards it."""
    grey = _grey(images)
    # One by one: threads add up a batch in another order.
    means = torch.stack([one.mean() for one in grey])
    return _blended(images, means[:, None, None, None], factors)


def saturation(images: Tensor, factors: Tensor) -> Tensor:
    """Move away from the pixel's grey level, or towards it."""
    return images if images.shape[1] == 1 else _blended(images, _grey(images), factors)


def gaussian_noise(images: Tensor, sigma: float, keys: Tensor) -> Tensor:
    """Add noise of a standard deviation, of 1 for the brightest value, by a key int64 [n]."""
    size = images[0].numel()
    noise = normal(sent(keys, images.device), size).view(images.shape)
    return (images + 255 * sigma * noise).round().clamp(0, 255).to(torch.uint8)


def _grey(images: Tensor) -> Tensor:
    if images.shape[1] == 1:
        return images.float()
    red, green, blue = images.unbind(1)
    grey = red.mul(0.2989).add_(green, alpha=0.587).add_(blue, alpha=0.114)
    return grey.floor_().unsqueeze(1)


def _blended(images: Tensor, others: Tensor, factors: Tensor) -> Tensor:
    """Give factor * image + (1 - factor) * other.

    Multiplied in float32 and added with one rounding, as torch's `add` with `alpha` does it.
    """
    own = images * _on_each(factors.float(), images)
    share = _on_each((1 - factors).float().double(), images)
    return own.double().addcmul_(others.double(), share).float().clamp_(0, 255).to(torch.uint8)


def _on_each(factors: Tensor, images: Tensor) -> Tensor:
    """Give a factor for each image on their device."""
    return sent(factors, images.device)[:, None, None, None]
