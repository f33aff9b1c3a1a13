"""The blocks of a backbone from input to output, as timm and torchvision group them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from torch import nn

from frostline.extract.backbones.own_module import OwnModule

STEM = "stem"
PROJECTION = "projection."
# timm's form of grouping (regular expressions whose groups are numbers; 99999: with the group
# before), for torchvision's model families.
PREVIOUS = (99999,)
# Children of `features`: the stem, then stages with their downsampling before all but the first.
DOWNSAMPLING: Mapping[str, Any] = {
    "stem": r"^features\.0\.",
    "blocks": [(rf"^features\.[{2 * n}{2 * n + 1}]\.", (n,)) for n in range(4)],
}
# Patterns of names by group, or a function from a name to the number of its group.
Matcher = Mapping[str, Any] | Callable[[str], int]
TORCHVISION: dict[str, Mapping[str, Any]] = {
    "ResNet": {"stem": r"^conv1|^bn1", "blocks": r"^layer(\d+)"},
    "DenseNet": {
        "stem": r"^features\.(?:conv0|norm0)",
        "blocks": [
            (r"^features\.denseblock(\d+)", None),
            (r"^features\.transition(\d+)", PREVIOUS),
        ],
    },
    "VisionTransformer": {
        "stem": r"^class_token|^conv_proj|^encoder\.pos_embedding",
        "blocks": r"^encoder\.layers\.encoder_layer_(\d+)",
    },
    "RegNet": {"stem": r"^stem", "blocks": r"^trunk_output\.block(\d+)"},
    "MaxVit": {"stem": r"^stem", "blocks": r"^blocks\.(\d+)"},
    "ShuffleNetV2": {"stem": r"^conv1", "blocks": r"^stage(\d+)", "last": r"^conv5"},
    "MNASNet": {
        "stem": r"^layers\.[0-7]\.",
        "blocks": [(r"^layers\.(8|9|1[0-3])\.", None), (r"^layers\.1[4-6]\.", PREVIOUS)],
    },
    "ConvNeXt": DOWNSAMPLING,
    "SwinTransformer": DOWNSAMPLING,
}
# AlexNet, EfficientNet, MobileNet: the children of `features` are their stages.
FEATURES_IN_ORDER = {"stem": r"^features\.0\.", "blocks": r"^features\.(\d+)"}


class Block(NamedTuple):
    """One block of a backbone.

    Attributes
    ----------
    name : str
        "stem", or what its parameters' names begin with, such as "layer4" or "blocks.11".
    parameters : tuple of str
        Names of its parameters.
    modules : tuple of nn.Module
        The modules without children that hold them, batch norms included.
    """

    name: str
    parameters: tuple[str, ...]
    modules: tuple[nn.Module, ...]

    @property
    def first_module(self) -> str:
        """Name in the model of the module that its name stands for, where it begins."""
        before, _, _ = self.parameters[0].partition(self.name)
        return before + self.name


def blocks(model: nn.Module) -> list[Block]:
    """List the blocks of a timm or torchvision model, from input to output.

    Together they hold every parameter once. A norm that follows the last block belongs to it.
    """
    from timm.models import group_parameters

    if isinstance(model, OwnModule):
        return [_prefixed(block, "module") for block in blocks(model.module)]
    matcher = _matcher(model)
    groups: dict[int, list[str]] = dict(group_parameters(model, matcher))
    ordered = _with_last_norm(model, [groups[number] for number in sorted(groups)])
    named = [_block(model, _name(group[0], matcher), group) for group in ordered]
    if named[0].name in dict(model.named_parameters()):  # such as a class token
        named[0] = named[0]._replace(name=STEM)
    return named


def _prefixed(block: Block, holder: str) -> Block:
    return block._replace(parameters=tuple(f"{holder}.{name}" for name in block.parameters))


def _matcher(model: nn.Module) -> Matcher:
    own: Callable[..., Matcher] | None = getattr(model, "group_matcher", None)
    if own is not None:
        return own(coarse=True)
    family = type(model).__name__
    if family == "VGG":
        return _vgg_matcher(model)
    return TORCHVISION.get(family, FEATURES_IN_ORDER)


def _vgg_matcher(model: nn.Module) -> Mapping[str, Any]:
    """Group a VGG: stages end at max poolings; hidden linear layers are the last block."""
    stage, stages = 1, []
    for index, layer in model.features.named_children():  # type: ignore[union-attr]
        if isinstance(layer, nn.MaxPool2d):
            stage += 1
        else:
            stages.append((rf"^features\.{index}\.", (stage,)))
    return {"blocks": [*stages, (r"^classifier", (stage + 1,))]}


def _with_last_norm(model: nn.Module, groups: list[list[str]]) -> list[list[str]]:
    # A group of vectors alone is the norm after the last block; matrices make it a block, but for
    # an image tower's projection, which not every feature passes.
    shapes = dict(model.named_parameters())
    own = [name for name in groups[-1] if not name.startswith(PROJECTION)]
    if len(groups) > 1 and all(shapes[name].ndim <= 1 for name in own):
        return [*groups[:-2], groups[-2] + groups[-1]]
    return groups


def _block(model: nn.Module, name: str, parameters: list[str]) -> Block:
    holders = dict.fromkeys(parameter.rpartition(".")[0] for parameter in parameters)
    modules = tuple(model.get_submodule(holder) for holder in holders if holder)
    return Block(name, tuple(parameters), modules)


def _name(parameter: str, matcher: Matcher) -> str:
    """Find the part of a parameter's name by which the matcher knows its group; "stem" for that."""
    if callable(matcher):
        found = re.match(r"[^.]+(\.\d+)?", parameter)
        return found[0] if found else parameter
    for group, specification in matcher.items():
        nested = isinstance(specification, (list, tuple))
        for pattern in [entry[0] for entry in specification] if nested else [specification]:
            found = re.match(pattern, parameter) if pattern else None
            if found:
                return STEM if group == STEM else found[0].rstrip(".")
    return parameter.partition(".")[0]
