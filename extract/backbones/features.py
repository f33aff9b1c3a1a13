"""Features: what is taken from a backbone as its embedding, one function each, in one table."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from frostline.cache import InputError
from frostline.extract.backbones.blocks import STEM, blocks
from frostline.extract.backbones.pooling import (
    after_pooling,
    final_norm,
    pool_positions,
    token_pooling,
)

LAYER = "layer:"
LOGITS = "imagenet-logits"
CLASSIFIER = "imagenet_classifier"
LAST_BLOCKS = 4
TOKENS = ("cls", "mean", "cls+mean")


class ForwardPass:
    """One pass of images through a model; features that share a part of it share the work.

    Attributes
    ----------
    model : nn.Module
    images : Tensor, float [n, 3, height, width]
        Normalised.
    """

    def __init__(self, model: nn.Module, images: Tensor) -> None:
        self.model: Any = model
        self.images = images

    @cached_property
    def both(self) -> tuple[Tensor, Tensor]:
        """Tokens and pooled vector of a Hugging Face model, which gives them together."""
        return self.model.forward_both(self.images)

    @cached_property
    def tokens(self) -> Tensor:
        """What timm's `forward_features` gives: for transformers all tokens after the last norm."""
        if hasattr(self.model, "forward_both"):
            return self.both[0]
        return self.model.forward_features(self.images)

    @cached_property
    def pre_logits(self) -> Tensor:
        """What the classifier would see, [n, dim]."""
        if hasattr(self.model, "forward_both"):
            return self.both[1]
        if hasattr(self.model, "forward_features") and hasattr(self.model, "forward_head"):
            return self.model.forward_head(self.tokens)
        return self.model(self.images)


def _whole(model: nn.Module, module: nn.Module, output: Tensor) -> Tensor:
    return output


@dataclass(frozen=True)
class Feature:
    """A way to make one vector an image.

    Attributes
    ----------
    compute : callable
        (pass, what was tapped) to float [n, dim].
    suits : callable
        Whether a model can give this feature.
    layers : callable
        Names of the layers of a model whose outputs are tapped.
    tap : callable
        (model, layer, its output) to what is kept of it. It is called at once, because later layers
        may write into the output.
    enters : bool
        Whether what enters the layers is tapped instead, of their first argument.
    """

    compute: Callable[[ForwardPass, list[Tensor]], Tensor]
    suits: Callable[[nn.Module], bool]
    layers: Callable[[nn.Module], Sequence[str]] = lambda model: ()
    tap: Callable[[nn.Module, nn.Module, Tensor], Tensor] = _whole
    enters: bool = False

    def __call__(self, model: nn.Module, images: Tensor) -> Tensor:
        """Compute this feature: float [n, 3, height, width] to [n, dim]."""
        return compute_features(model, images, [self])[0]


def compute_features(model: nn.Module, images: Tensor, features: Sequence[Feature]) -> list[Tensor]:
    """Compute several features of the same images in one pass, each float [n, dim]."""
    done = ForwardPass(model, images)
    with ExitStack() as stack:
        tapped = [stack.enter_context(_tapped(model, feature)) for feature in features]
        if any(feature.layers(model) for feature in features):
            _ = done.pre_logits  # runs every layer, the head's too
        return [
            feature.compute(done, _in_order(model, feature, outputs))
            for feature, outputs in zip(features, tapped, strict=True)
        ]


@contextmanager
def _tapped(model: nn.Module, feature: Feature) -> Iterator[dict[str, Tensor]]:
    """Keep what passes the layers of a feature while the block runs."""
    outputs: dict[str, Tensor] = {}

    def keep(name: str, module: nn.Module, output: Any) -> None:
        if name in outputs:
            raise InputError(f"Layer {name!r} runs several times a pass: choose another one.")
        if not isinstance(output, Tensor):
            raise InputError(f"Layer {name!r} gives no single tensor: choose another one.")
        outputs[name] = feature.tap(model, module, output)

    def on_entering(name: str) -> Callable[[nn.Module, Any], None]:
        return lambda module, inputs: keep(name, module, inputs[0] if inputs else None)

    def on_leaving(name: str) -> Callable[[nn.Module, Any, Any], None]:
        return lambda module, inputs, output: keep(name, module, output)

    with ExitStack() as stack:
        for name in feature.layers(model):
            layer = model.get_submodule(name)
            if feature.enters:
                handle = layer.register_forward_pre_hook(on_entering(name))
            else:
                handle = layer.register_forward_hook(on_leaving(name))
            stack.callback(handle.remove)
        yield outputs


def _in_order(model: nn.Module, feature: Feature, outputs: dict[str, Tensor]) -> list[Tensor]:
    names = feature.layers(model)
    absent = [name for name in names if name not in outputs]
    if absent:
        raise InputError(f"Layer {absent[0]!r} is not run for an image: choose another one.")
    return [outputs[name] for name in names]


def _cls(done: ForwardPass, tapped: list[Tensor]) -> Tensor:
    return after_pooling(done.model, done.tokens[:, 0])


def _mean(done: ForwardPass, tapped: list[Tensor]) -> Tensor:
    return after_pooling(done.model, _patches(done.model, done.tokens).mean(dim=1))


def _cls_mean(done: ForwardPass, tapped: list[Tensor]) -> Tensor:
    return torch.cat([_cls(done, tapped), _mean(done, tapped)], dim=1)


def _last_cls_mean(done: ForwardPass, tapped: list[Tensor]) -> Tensor:
    """Make the input of DINOv2's own four-layer linear heads."""
    classes = [tokens[:, 0] for tokens in tapped]
    return torch.cat([*classes, _patches(done.model, tapped[-1]).mean(dim=1)], dim=1)


def _patches(model: nn.Module, tokens: Tensor) -> Tensor:
    return tokens[:, int(model.num_prefix_tokens) :]  # type: ignore[arg-type]


def _last_blocks(model: nn.Module) -> list[str]:
    count = len(model.blocks)  # type: ignore[arg-type]
    return [f"blocks.{number}" for number in range(count - LAST_BLOCKS, count)]


def _normed(model: nn.Module, module: nn.Module, output: Tensor) -> Tensor:
    return model.norm(output)  # type: ignore[operator]


def has_class_token(model: nn.Module) -> bool:
    """Whether this is a vision transformer of timm or transformers with a class token."""
    return getattr(model, "cls_token", None) is not None and hasattr(model, "num_prefix_tokens")


def _has_last_blocks(model: nn.Module) -> bool:
    found = has_class_token(model) and hasattr(model, "norm")
    return found and len(getattr(model, "blocks", ())) >= LAST_BLOCKS


def _pools_by_attention(model: nn.Module) -> bool:
    return getattr(model, "global_pool", None) == "map"


def _has_projection(model: nn.Module) -> bool:
    return isinstance(getattr(model, "projection", None), nn.Module)


FEATURES: dict[str, Feature] = {
    "pre_logits": Feature(lambda done, tapped: done.pre_logits, lambda model: True),
    "pooler": Feature(lambda done, tapped: done.pre_logits, _pools_by_attention),
    "projection": Feature(
        lambda done, tapped: done.model.projection(done.pre_logits), _has_projection
    ),
    "cls": Feature(_cls, has_class_token),
    "mean": Feature(_mean, has_class_token),
    "cls+mean": Feature(_cls_mean, has_class_token),
    "last4cls+mean": Feature(_last_cls_mean, _has_last_blocks, _last_blocks, _normed),
}


def _layer(text: str, model: nn.Module) -> Feature:
    """Read one layer, NAME or NAME:POOLING; `stem` is what enters the block behind the stem."""
    name, colon, pooling = text.partition(":")
    modules = dict(model.named_modules())
    layers: tuple[str, ...] = (name,)
    enters = name == STEM and STEM not in modules
    if enters:
        first, *others = blocks(model)
        layers = tuple(one.first_module for one in others[:1] if first.name == STEM)

    def known(model: nn.Module) -> bool:
        named = bool(name) and bool(layers) and layers[0] in modules
        return named and (not colon or (pooling in TOKENS and final_norm(model) is not None))

    tap = token_pooling(pooling) if colon else pool_positions
    return Feature(lambda done, tapped: tapped[0], known, lambda model: layers, tap, enters)


def _logits(model: nn.Module) -> Feature:
    """Put the classifier on the feature that it was made for."""
    classifier = model.get_submodule(CLASSIFIER)
    base = FEATURES[str(classifier.feature)]

    def compute(done: ForwardPass, tapped: list[Tensor]) -> Tensor:
        return classifier(base.compute(done, tapped))

    return replace(base, compute=compute)


def available_features(model: nn.Module) -> list[str]:
    """List the features that a model can give, besides single layers."""
    logits = [LOGITS] if hasattr(model, CLASSIFIER) else []
    return [name for name, feature in FEATURES.items() if feature.suits(model)] + logits


def default_feature(model: nn.Module) -> str:
    """Choose `cls` for a transformer that pools by its class token, else `pre_logits`.

    An image tower that pools by attention has its `pooler`.
    """
    own: str = getattr(model, "own_feature", "")
    if own:
        return own
    pools_token = getattr(model, "global_pool", None) == "token"
    return "cls" if has_class_token(model) and pools_token else "pre_logits"


def find_feature(name: str, model: nn.Module, backbone: str) -> Feature:
    """Look a feature's name up for a model: of `FEATURES`, `imagenet-logits`, or a layer.

    A layer is `layer:NAME`, NAME being a module, or `stem`: its output, averaged over positions. Of
    a vision transformer `layer:NAME:cls`, `:mean` and `:cls+mean` take its tokens after the final
    norm.

    Raises
    ------
    InputError
        If there is no such feature, or the model cannot give it.
    """
    if name == LOGITS and hasattr(model, CLASSIFIER):
        return _logits(model)
    is_layer = name.startswith(LAYER)
    feature = _layer(name[len(LAYER) :], model) if is_layer else FEATURES.get(name)
    if feature is not None and feature.suits(model):
        return feature
    if is_layer:
        raise _no_layer(name[len(LAYER) :], model, backbone)
    raise InputError(
        f"Backbone {backbone!r} has no feature {name!r}; "
        f"choose one of {', '.join(available_features(model))}, or a layer as layer:NAME."
    )


def _no_layer(text: str, model: nn.Module, backbone: str) -> InputError:
    name, colon, pooling = text.partition(":")
    layers = [layer for layer, _ in model.named_modules() if layer]
    if colon and name in [*layers, STEM]:
        return InputError(
            f"Backbone {backbone!r} cannot pool a layer by {pooling!r}: leave it out, or give one "
            f"of {', '.join(TOKENS)} where the backbone is a vision transformer with a class token."
        )
    nearest = difflib.get_close_matches(name, layers, n=3, cutoff=0.0)
    return InputError(
        f"Backbone {backbone!r} has no layer {name!r}; the nearest names are {', '.join(nearest)}."
    )


def feature_dim(feature: Feature, model: nn.Module, image_size: int) -> int:
    """Measure the length of a feature's vector by one forward pass over an empty image."""
    parameter = next(model.parameters(), torch.empty(0))
    image = torch.zeros(
        (1, 3, image_size, image_size), device=parameter.device, dtype=parameter.dtype
    )
    with torch.inference_mode():
        return int(feature(model, image).shape[1])
