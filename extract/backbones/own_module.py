"""A user's own `torch.nn.Module` in place of a backbone's name."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from torch import Tensor, nn

from frostline.cache import InputError
from frostline.extract.backbones.catalog import NAMED
from frostline.extract.backbones.facts.table import OWN_MODULE

SOURCE = OWN_MODULE


class OwnModule(nn.Module):
    """A user's module whose output is checked to be one vector an image.

    Parameters
    ----------
    module : nn.Module
        Takes float [n, 3, height, width], gives [n, dim], or maps [n, dim, rows, columns], which
        are averaged.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, images: Tensor) -> Tensor:
        """Embed images: float [n, 3, height, width] to [n, dim]; InputError for another output."""
        found = self.module(images)
        shape = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
        vectors = isinstance(found, Tensor) and found.ndim in (2, 4) and len(found) == len(images)
        if not vectors or 0 in found.shape[1:]:
            raise InputError(
                f"Module {class_name(self.module)} gives {shape} for {len(images)} images, where "
                "[n, dim] or [n, dim, rows, columns] is needed: give a module whose forward "
                "returns that."
            )
        return found if found.ndim == 2 else found.mean(dim=(2, 3))


def own_copy(module: nn.Module) -> OwnModule:
    """Copy a module, so that the user's own stays on its device and in its mode."""
    return OwnModule(copy.deepcopy(module)).eval()


def own_name(module: nn.Module, name: str | None = None) -> str:
    """Give what an own module is called in stores and tables: `name`, or the name of its class.

    Raises
    ------
    InputError
        If that is the name of another backbone.
    """
    chosen = name or type(module).__name__
    if chosen in NAMED or ":" in chosen:
        raise InputError(
            f"{chosen!r} is the name of another backbone: give your module a name of its own, "
            "name='my-net'."
        )
    return chosen


def check_own_weights(name: str, weights: str | Path) -> None:
    """Raise InputError if a module is to have other weights than it has."""
    if weights == "random":
        raise InputError(
            f"Nothing says how to draw random weights for module {name!r}: give one that is "
            "newly made, and leave out random and scratch."
        )
    if weights != "pretrained":
        raise InputError(
            f"Module {name!r} has its weights already: load {weights} into it, and leave out "
            "weights."
        )


def class_name(module: nn.Module) -> str:
    """Give the qualified name of a module's class."""
    return f"{type(module).__module__}.{type(module).__qualname__}"


def check_size(model: OwnModule, image_size: int) -> None:
    """Raise InputError if a module cannot take images of a size."""
    parameter = next(model.parameters(), torch.empty(0))
    side = (1, 3, image_size, image_size)
    image = torch.zeros(side, device=parameter.device, dtype=parameter.dtype)
    try:
        with torch.inference_mode():
            model(image)
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise InputError(
            f"Module {class_name(model.module)} cannot take float images [1, 3, {image_size}, "
            f"{image_size}] ({reason}): set image_size to its own."
        ) from error
