"""The libraries' models without their classifiers."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from frostline.cache import InputError
from frostline.extract.backbones.catalog import Entry, timm_config
from frostline.extract.backbones.hub.models import build_hub


def build_model(entry: Entry, image_size: int, seed: int) -> tuple[nn.Module, tuple[str, ...]]:
    """Make a library's model without its classifier, with random weights.

    Parameters
    ----------
    entry : Entry
        Which model.
    image_size : int
        Side of the images in pixels, for models that are built for one size.
    seed : int
        Of the weights; the global random state is left as it is.

    Returns
    -------
    (nn.Module, tuple of str)
        The model, and the names that its classifier's modules have in files of weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        if entry.library == "timm":
            return _build_timm(entry, image_size)
        if entry.library == "hf":
            model = build_hub(entry, image_size)
            _check_patches(entry, model, image_size)
            return model, ()
        return _build_torchvision(entry, image_size)


def build_outline(entry: Entry, image_size: int, *, layers: bool = False) -> nn.Module:
    """Build a model to ask about its features, if possible without memory or time for its weights.

    Parameters
    ----------
    layers : bool
        Whether its layers will be asked for by name.
    """
    if entry.library == "torchvision" and not layers:
        return nn.Identity()  # all of them give the same features
    if entry.library == "torchvision" and entry.model.startswith("regnet"):
        return build_model(entry, image_size, seed=0)[0]  # tensors decide the width of its layers
    with torch.device("meta"):
        return build_model(entry, image_size, seed=0)[0]


def _build_timm(entry: Entry, image_size: int) -> tuple[nn.Module, tuple[str, ...]]:
    import timm

    config = timm_config(entry)
    size: dict[str, Any] = {"img_size": image_size} if config.fixed_input_size else {}
    try:
        # The patch embedding would fill up an image that is no whole number of patches, or fail
        # later: it is an error here.
        model = timm.create_model(entry.model, pretrained=False, num_classes=0, **size)
        _check_patches(entry, model, image_size)
    except (AssertionError, TypeError) as error:
        raise _wrong_size(entry, image_size, int(config.input_size[-1])) from error
    classifier = config.classifier or ()
    return model, (classifier,) if isinstance(classifier, str) else tuple(classifier)


def _check_patches(entry: Entry, model: nn.Module, image_size: int) -> None:
    patch = getattr(getattr(model, "patch_embed", None), "patch_size", None)
    if patch is not None and image_size % int(patch[0]):
        raise InputError(
            f"Backbone {entry.name!r} takes images of a multiple of {patch[0]} pixels, "
            f"not {image_size}: set --image-size to one, such as "
            f"{max(image_size // patch[0], 1) * patch[0]}."
        )


def _build_torchvision(entry: Entry, image_size: int) -> tuple[nn.Module, tuple[str, ...]]:
    import torchvision

    own_size = 224
    size = {"image_size": image_size} if entry.model.startswith("vit_") else {}
    if entry.model == "maxvit_t" and image_size != own_size:
        raise _wrong_size(entry, image_size, own_size)
    try:
        model: Any = torchvision.models.get_model(entry.model, weights=None, **size)
    except ValueError as error:
        raise _wrong_size(entry, image_size, own_size) from error
    linear = [name for name, layer in model.named_modules() if isinstance(layer, nn.Linear)]
    model.set_submodule(linear[-1], nn.Identity())
    return model, (linear[-1],)


def _wrong_size(entry: Entry, image_size: int, own_size: int) -> InputError:
    return InputError(
        f"Backbone {entry.name!r} cannot take images of {image_size} pixels; "
        f"its own size is {own_size}."
    )
