"""Pooling: a layer's output made one vector an image."""

from __future__ import annotations

import math

from torch import Tensor, nn

from frostline.cache import InputError


def pool_positions(model: nn.Module, module: nn.Module, output: Tensor) -> Tensor:
    """Average over positions: the pixels of a map, the patches of a transformer.

    Parameters
    ----------
    output : Tensor
        [n, dim]; tokens [n, positions, dim]; or a map of a square image, [n, dim, side, side] or
        [n, side, side, dim].

    Raises
    ------
    InputError
        If the output is none of these.
    """
    if output.ndim == 2:
        return output
    if output.ndim == 3:
        return output[:, _prefix(model, output.shape[1]) :].mean(dim=1)
    if output.ndim == 4:
        return output.mean(dim=(1, 2) if _channels_last(model, module, output) else (2, 3))
    raise InputError(
        f"A layer {type(module).__name__} whose output has {output.ndim} axes cannot be pooled: "
        "choose another one."
    )


def _prefix(model: nn.Module, positions: int) -> int:
    """Count class and register tokens before the patches: timm says it, torchvision has 1."""
    prefix = int(getattr(model, "num_prefix_tokens", hasattr(model, "class_token")))
    # Some layers, the patch embedding for one, come before these tokens are added. Patches of a
    # square image make a square.
    return prefix if math.isqrt(positions - prefix) ** 2 == positions - prefix else 0


def _channels_last(model: nn.Module, module: nn.Module, output: Tensor) -> bool:
    # Images are square, and so are maps of them: the two equal axes are the sides.
    _, first, second, third = output.shape
    if first == second and second != third:
        return True
    if first != second:
        return False
    in_order = isinstance(module, nn.Conv2d | nn.BatchNorm2d)
    return not in_order and getattr(model, "output_fmt", "NCHW") == "NHWC"
