"""DINOv2 checkpoints in timm's model: official names, and the position embedding as trained."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

# The official models are made for 518 pixels (37 x 37 patches) and resample their position
# embedding to other sizes with this offset and no antialiasing; those with registers do it with
# antialiasing and without the offset. timm's default differs from the former: cosine 0.99987.
OFFSET = 0.1


def convert_official(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the official checkpoint's tensors to timm's names; timm's own pass unchanged.

    Blocks in chunks (`blocks.0.3.`, as training writes them) are numbered flat, SwiGLU's `w12` and
    `w3` become `fc1` and `fc2`, and what only training needs is dropped.
    """
    renamed = {}
    for key, value in state.items():
        if key == "mask_token":
            continue
        key = re.sub(r"^blocks\.\d+\.(\d+)\.", r"blocks.\1.", key)
        key = key.replace(".mlp.w12.", ".mlp.fc1.").replace(".mlp.w3.", ".mlp.fc2.")
        renamed[key] = value
    return _with_registers(renamed) if "register_tokens" in renamed else renamed


def _with_registers(state: dict[str, Tensor]) -> dict[str, Tensor]:
    # timm's register models add no position to the class token, so it is added here once.
    state = dict(state)
    position = state["pos_embed"]
    state["reg_token"] = state.pop("register_tokens")
    state["cls_token"] = state["cls_token"] + position[:, :1]
    state["pos_embed"] = position[:, 1:]
    return state


def fit_position(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Resample `pos_embed` of a DINOv2 checkpoint to a timm model's grid of patches."""
    from timm.layers.pos_embed import resample_abs_pos_embed

    stored, wanted = state.get("pos_embed"), getattr(model, "pos_embed", None)
    if stored is None or wanted is None or stored.shape == wanted.shape:
        return state
    patches: Any = model.patch_embed
    grid: tuple[int, int] = patches.grid_size
    prefix = wanted.shape[1] - grid[0] * grid[1]
    if "reg_token" in state:
        fitted = resample_abs_pos_embed(stored, list(grid), num_prefix_tokens=prefix)
    else:
        fitted = resample_position(stored, grid, prefix)
    return {**state, "pos_embed": fitted}


def resample_position(position: Tensor, grid: tuple[int, int], prefix: int = 1) -> Tensor:
    """Resample a position embedding as the official code does, with `OFFSET`.

    The offset is added to the new grid's sides to make the scale factor; it cancels a rounding
    error of PyTorch's interpolation but shifts the samples, and the weights are used with that
    shift.

    Parameters
    ----------
    position : float [1, prefix + side * side, width]
        The embedding of a square grid of patches.
    grid : (int, int)
        Rows and columns of the new grid.
    prefix : int
        Number of leading tokens (class token) that have no place in the grid.

    Returns
    -------
    float [1, prefix + rows * columns, width]
    """
    side = round((position.shape[1] - prefix) ** 0.5)
    if side * side != position.shape[1] - prefix or (side, side) == tuple(grid):
        return position
    patches = position[:, prefix:].float().reshape(1, side, side, -1).permute(0, 3, 1, 2)
    scale = tuple((length + OFFSET) / side for length in grid)
    resampled = functional.interpolate(patches, scale_factor=scale, mode="bicubic")
    flat = resampled.permute(0, 2, 3, 1).reshape(1, grid[0] * grid[1], -1)
    return torch.cat([position[:, :prefix], flat.to(position.dtype)], dim=1)
