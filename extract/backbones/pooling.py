"""Pooling: a layer's output made one vector an image."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from frostline.cache import InputError

# Of timm's, torchvision's and transformers' vision transformers.
FINAL_NORMS = (
    "norm",
    "encoder.ln",
    "network.layernorm",
    "network.norm",
    "network.post_layernorm",
)


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
        return output[:, prefix_tokens(model, output.shape[1]) :].mean(dim=1)
    if output.ndim == 4:
        return output.mean(dim=(1, 2) if _channels_last(model, module, output) else (2, 3))
    raise InputError(
        f"A layer {type(module).__name__} whose output has {output.ndim} axes cannot be pooled: "
        "choose another one."
    )


def is_poolable(output: Tensor | None) -> bool:
    """Tell whether `pool_positions` takes an output."""
    return output is not None and output.ndim in (2, 3, 4)


def token_pooling(pooling: str) -> Callable[[nn.Module, nn.Module, Tensor], Tensor]:
    """Pool a layer of a vision transformer as `cls`, `mean` or `cls+mean` pool the last one.

    That is the class token, the mean of the patches, or both, after the backbone's final norm, as
    DINOv2's `get_intermediate_layers` gives them.
    """

    def pool(model: nn.Module, module: nn.Module, output: Tensor) -> Tensor:
        prefix = prefix_tokens(model, output.shape[1]) if output.ndim == 3 else 0
        norm = final_norm(model)
        if not prefix or norm is None:
            raise InputError(
                f"A layer {type(module).__name__} of this backbone gives no class token: choose "
                "another one, or leave out the pooling."
            )
        if pooling == "cls":
            # A copy: a view would keep all tokens in memory, and later layers may write into them.
            return after_pooling(model, norm(output[:, 0].clone()))
        tokens = norm(output)
        mean = after_pooling(model, tokens[:, prefix:].mean(dim=1))
        if pooling == "mean":
            return mean
        return torch.cat([after_pooling(model, tokens[:, 0]), mean], dim=1)

    return pool


def final_norm(model: nn.Module) -> nn.Module | None:
    """Find the norm behind the last block of a vision transformer with a class token."""
    if not any(getattr(model, name, None) is not None for name in ("cls_token", "class_token")):
        return None
    for name in FINAL_NORMS:
        holder, _, own = name.rpartition(".")
        norm = getattr(getattr(model, holder, None) if holder else model, own, None)
        if isinstance(norm, nn.Module):
            return norm
    return None


def own_pooling(model: nn.Module) -> str:
    """Say how a vision transformer pools its tokens: `cls`, `mean`, or "" if it does not so."""
    if final_norm(model) is None:
        return ""
    pools = getattr(model, "global_pool", "token")  # torchvision's have their class token alone
    return {"token": "cls", "avg": "mean"}.get(pools, "")


def after_pooling(model: nn.Module, pooled: Tensor) -> Tensor:
    """Pass what some models of timm have behind the pooling, their final norm, if they have it."""
    norm = getattr(model, "fc_norm", None)
    return pooled if norm is None else norm(pooled)


def prefix_tokens(model: nn.Module, positions: int) -> int:
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
