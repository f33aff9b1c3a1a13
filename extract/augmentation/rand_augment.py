"""RandAugment (Cubuk and others 2020, arXiv:1909.13719) of a batch, each image by its own chance.

Torchvision's, to the bit: two operations an image of magnitude 9 of 30, so that each operation has
one strength and at most two directions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache, partial

import torch
from torch import Tensor
from torch.nn import functional

from frostline.extract.augmentation.colours import brightness, contrast, each_by_its_own, saturation
from frostline.extract.forward import sent

OPERATIONS, MAGNITUDE, BINS = 2, 9, 31


def rand_augment(images: Tensor, seeds: Sequence[int]) -> Tensor:
    """Change images uint8 [n, 1 or 3, side, side] by two operations of each seed."""
    for drawn in zip(*map(_draw, seeds), strict=True):
        images = each_by_its_own(
            images, drawn, lambda kind, some, _: CHANGES[kind[0]](some, kind[1])
        )
    return images


def _draw(seed: int) -> list[tuple[str, int]]:
    """Draw the operations and directions that torchvision's RandAugment draws after the seed."""
    generator = torch.Generator().manual_seed(seed)
    names, drawn = list(CHANGES), []
    for _ in range(OPERATIONS):
        name = names[int(torch.randint(len(names), (), generator=generator))]
        back = name in SIGNED and float(torch.rand((), generator=generator)) <= 0.5
        drawn.append((name, -1 if back else 1))
    return drawn


def _strength(most: float) -> float:
    return float(torch.linspace(0.0, most, BINS)[MAGNITUDE])


def _moved(name: str, images: Tensor, sign: int) -> Tensor:
    """Take each pixel from where it comes from; a black one stands before the first."""
    places = sent(_places(name, sign, images.shape[-1]), images.device)
    pixels = functional.pad(images.flatten(2), (1, 0))
    return pixels.index_select(2, places).view(images.shape)


@lru_cache(maxsize=32)
def _places(name: str, sign: int, side: int) -> Tensor:
    """Give the number of the pixel, from 1, that comes to each place; 0: none. int32."""
    from torchvision.transforms.v2.functional import affine, rotate

    numbers = torch.arange(1.0, side * side + 1).view(1, side, side)
    if name == "Rotate":
        moved = rotate(numbers, sign * _strength(30.0))
    elif name.startswith("Shear"):
        slope = math.degrees(math.atan(sign * _strength(0.3)))
        shear = [slope, 0.0] if name == "ShearX" else [0.0, slope]
        moved = affine(numbers, 0.0, [0, 0], 1.0, shear, center=[0, 0])
    else:
        pixels = int(sign * _strength(150.0 / 331.0 * side))
        shift = [pixels, 0] if name == "TranslateX" else [0, pixels]
        moved = affine(numbers, 0.0, shift, 1.0, [0.0, 0.0])
    return moved.flatten().int()


def _by_factor(change: Callable[[Tensor, Tensor], Tensor], images: Tensor, sign: int) -> Tensor:
    factor = torch.tensor(1.0 + sign * _strength(0.9), dtype=torch.float64)
    return change(images, factor.expand(len(images)))


def _sharpness(images: Tensor, sign: int) -> Tensor:
    """Move inner pixels away from a mean of 3 x 3 in which they weigh five times, or towards it."""
    found = images.float()
    rows = found[..., :-2, :] + found[..., 1:-1, :] + found[..., 2:, :]
    inner = found[..., 1:-1, 1:-1]
    around = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:] + 4 * inner
    share = float(torch.tensor(-sign * _strength(0.9)))
    inner.copy_(inner.double().add_((around.div_(13).round_() - inner).double(), alpha=share))
    return found.clamp_(0, 255).to(torch.uint8)


def _autocontrast(images: Tensor, _: int) -> Tensor:
    """Stretch each channel to 0 to 255, unless all of it is the same."""
    found = images.float()
    lowest, highest = (f(dim=(-2, -1), keepdim=True) for f in (found.amin, found.amax))
    same = lowest == highest
    scale = torch.where(same, 1.0, (highest - lowest) * (1.0 / 255))
    return ((found - torch.where(same, 0.0, lowest)) / scale).clamp_(0, 255).to(torch.uint8)


def _equalize(images: Tensor, _: int) -> Tensor:
    from torchvision.transforms.v2.functional import equalize

    changed: Tensor = equalize(images)
    return changed


MOVES = ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate")
FACTORS = {"Brightness": brightness, "Color": saturation, "Contrast": contrast}
SIGNED = (*MOVES, *FACTORS, "Sharpness")
# In torchvision's order, by which they are drawn.
CHANGES: dict[str, Callable[[Tensor, int], Tensor]] = {
    "Identity": lambda images, _: images,
    **{name: partial(_moved, name) for name in MOVES},
    **{name: partial(_by_factor, change) for name, change in FACTORS.items()},
    "Sharpness": _sharpness,
    "Posterize": lambda images, _: images & 0b11111110,
    "Solarize": lambda images, _: torch.where(images >= 179, 255 - images, images),
    "AutoContrast": _autocontrast,
    "Equalize": _equalize,
}
