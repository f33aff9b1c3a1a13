"""The ImageNet classifier of a backbone, kept for the feature `imagenet-logits`."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from frostline.cache import InputError
from frostline.extract.backbones.catalog import Entry
from frostline.extract.backbones.features import CLASSIFIER, FEATURES, LOGITS, feature_dim
from frostline.extract.backbones.weights.reading import State, read_weights

# What a head in a file may have been trained on; DINOv2's official ones take the last two.
BASES = ("pre_logits", "cls+mean", "last4cls+mean")
OFFICIAL = "https://dl.fbaipublicfiles.com/dinov2/{0}/{0}_linear4_head.pth"


def classifier_of_model(entry: Entry, state: State, names: tuple[str, ...]) -> State:
    """Find the classifier among a checkpoint's tensors, as `weight` [classes, dim] and `bias`.

    Raises
    ------
    InputError
        If there is none, or more than one.
    """
    found = [name for name in names if f"{name}.weight" in state]
    if len(found) != 1:
        which = "several classifiers" if found else "no classifier"
        raise InputError(
            f"The weights of backbone {entry.name!r} hold {which} for {LOGITS!r}: "
            f"give a linear head with --head-weights FILE{_official(entry)}."
        )
    weight = state[f"{found[0]}.weight"].flatten(1)  # some are convolutions of one pixel
    return {"weight": weight, "bias": state.get(f"{found[0]}.bias", torch.zeros(len(weight)))}


def classifier_in_file(path: Path) -> State:
    """Read a linear head alone in a file: one matrix [classes, dim] and at most one vector.

    Raises
    ------
    InputError
        If the file holds anything else.
    """
    tensors = list(read_weights(path).values())
    matrices = [tensor for tensor in tensors if tensor.ndim == 2]
    vectors = [tensor for tensor in tensors if tensor.ndim == 1]
    if len(matrices) != 1 or len(vectors) > 1 or len(tensors) != 1 + len(vectors):
        raise InputError(
            f"{path} is no linear head: --head-weights takes a file of one weight matrix "
            "(classes x dim) and one bias."
        )
    (weight,) = matrices
    return {"weight": weight, "bias": vectors[0] if vectors else torch.zeros(len(weight))}


def attach_classifier(model: nn.Module, state: State, image_size: int, source: str) -> None:
    """Give a model its classifier, so that it has the feature `imagenet-logits`.

    Raises
    ------
    InputError
        If its width is that of no feature that the model can give.
    """
    classes, width = state["weight"].shape
    if state["bias"].shape != (classes,):
        raise InputError(f"The bias in {source} does not have the {classes} entries of its weight.")
    suited = [name for name in BASES if FEATURES[name].suits(model)]
    widths = {name: feature_dim(FEATURES[name], model, image_size) for name in suited}
    base = next((name for name in suited if widths[name] == width), None)
    if base is None:
        listed = ", ".join(f"{name} {number}" for name, number in widths.items())
        raise InputError(
            f"The classifier in {source} takes {width} numbers, and this backbone gives {listed}: "
            "give the head of this very backbone."
        )
    model.add_module(CLASSIFIER, LinearHead(state["weight"], state["bias"], base))


class LinearHead(nn.Linear):
    """A linear layer that knows which feature it takes."""

    def __init__(self, weight: Tensor, bias: Tensor, feature: str) -> None:
        super().__init__(weight.shape[1], weight.shape[0], device="meta")
        self.weight = nn.Parameter(weight.float(), requires_grad=False)
        self.bias = nn.Parameter(bias.float(), requires_grad=False)
        self.feature = feature


def no_classifier(entry: Entry, source: str) -> InputError:
    """Make the error for weights that have no classifier."""
    return InputError(
        f"Backbone {entry.name!r} ({source}) has no classifier for {LOGITS!r}: "
        f"give a linear head with --head-weights FILE{_official(entry)}."
    )


def _official(entry: Entry) -> str:
    size = entry.model.removeprefix("vit_").partition("_")[0]
    letter = {"small": "s", "base": "b", "large": "l", "giant": "g"}.get(size)
    if not entry.is_dinov2 or letter is None:
        return ""
    registers = "_reg" if "reg4" in entry.model else ""
    return f", such as {OFFICIAL.format(f'dinov2_vit{letter}14{registers}')}"
