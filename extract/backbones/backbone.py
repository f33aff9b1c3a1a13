"""Pretrained networks without their classifier, ready to embed images or to be trained further."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from frostline.cache import InputError
from frostline.extract.backbones.architectures import build_model
from frostline.extract.backbones.catalog import resolve
from frostline.extract.backbones.features import (
    LOGITS,
    Feature,
    compute_features,
    default_feature,
    feature_dim,
    find_feature,
)
from frostline.extract.backbones.own_module import (
    SOURCE,
    check_own_weights,
    check_size,
    own_copy,
    own_name,
)
from frostline.extract.backbones.preprocessing import UNKNOWN, Preprocessing, own_preprocessing
from frostline.extract.backbones.weights.classifier import attach_classifier
from frostline.extract.backbones.weights.digests import module_digest
from frostline.extract.backbones.weights.source import KeptClassifier, WeightsSource, fill_model


@dataclass
class Backbone:
    """A network that makes one vector an image.

    Attributes
    ----------
    name : str
        The name it was asked for by.
    model : nn.Module
        In eval mode, without its classifier.
    feature : str
        What is taken as the embedding: a name of `frostline.extract.backbones.features.FEATURES`,
        `imagenet-logits`, or `layer:NAME`.
    dim : int
        Length of the embedding.
    preprocessing : Preprocessing
        The statistics, size, crop and interpolation it was trained with.
    weights : str
        Digest of its tensors, 32 hexadecimal digits.
    weights_source : str
        "pretrained", "file NAME", "random, seed S" or "own module".
    head : str
        Digest of the classifier, where it was kept for `imagenet-logits`.
    image_size : int
        Side of the images that it was built for, in pixels.
    """

    name: str
    model: nn.Module
    feature: str
    dim: int
    preprocessing: Preprocessing
    weights: str
    weights_source: str
    compute: Callable[[nn.Module, Tensor], Tensor]
    head: str = ""
    image_size: int = 224

    @property
    def mean(self) -> tuple[float, float, float]:
        """Its own mean of each colour, of images in 0 to 1."""
        return self.preprocessing.mean

    @property
    def std(self) -> tuple[float, float, float]:
        """Its own standard deviation of each colour, of images in 0 to 1."""
        return self.preprocessing.std

    @property
    def geometry_hint(self) -> dict[str, Any]:
        """Its own `size`, `resize_to`, `crop_pct` and `interpolation`."""
        return self.preprocessing.geometry()

    def forward(self, images: Tensor) -> Tensor:
        """Embed normalised images: float [n, 3, height, width] to float [n, dim]."""
        return self.compute(self.model, images)

    __call__ = forward

    def find(self, feature: str) -> Feature:
        """Find a feature of this backbone by its name; InputError if there is no such feature."""
        return find_feature(feature, self.model, self.name)

    def several(self, images: Tensor, features: Sequence[Feature]) -> list[Tensor]:
        """Compute several features of the same images in one pass, each float [n, dim]."""
        return compute_features(self.model, images, features)


def load_backbone(
    backbone: str | nn.Module,
    *,
    weights: str | Path = "pretrained",
    weights_seed: int = 0,
    feature: str | Sequence[str] | None = None,
    image_size: int = 224,
    head_weights: Path | None = None,
    digests: Path | None = None,
    name: str | None = None,
) -> Backbone:
    """Build a backbone with its weights.

    Parameters
    ----------
    backbone : str or nn.Module
        `vgg16`, `dinov2-s`, …, `timm:NAME`, `torchvision:NAME` (see `list_backbones`),
        `hf:ORG/NAME` or `hf:FOLDER` for a Hugging Face model; or a module of your own, which is
        copied and whose weights are its own.
    weights : str or Path
        "pretrained", "random", or a file in a layout of `frostline.extract.backbones.weights`.
    weights_seed : int
        Seed of random weights; the global random state is left as it is.
    feature : str or sequence of str, optional
        What to take as the embedding; by default the class token of a vision transformer, else
        the input of the classifier (of a module of your own, its output). Of several, the first is
        the backbone's own, and all of them are checked.
    image_size : int
        Side of the images, in pixels; transformers are built for one size.
    head_weights : Path, optional
        A linear head for the feature `imagenet-logits`, instead of the classifier that comes with
        the weights; DINOv2's come in files of their own.
    digests : Path, optional
        A JSON file where digests of weights are remembered, so that they are not computed again.
    name : str, optional
        What a module of your own is called; the name of its class if None.

    Raises
    ------
    InputError
        If the name, the feature or the weights are not to be had; nothing is put in their place.
    """
    if isinstance(backbone, nn.Module):
        return _load_own(backbone, own_name(backbone, name), feature, image_size, weights)
    entry = resolve(backbone)
    source = WeightsSource.find(entry, weights, weights_seed)
    model, heads = build_model(entry, image_size, weights_seed)
    names = _feature_names(feature, model)
    memory = source.memory(entry, image_size, digests)
    digest = fill_model(entry, model, heads, source, memory)
    head = ""
    if LOGITS in names:
        kept = KeptClassifier(entry, source, head_weights, digests)
        attach_classifier(model.eval(), kept.state, image_size, kept.source)
        head = kept.digest()
    loaded = _assemble(entry.name, model, names, image_size, own_preprocessing(entry))
    loaded.weights, loaded.weights_source, loaded.head = digest, source.text, head
    return loaded


class Made(NamedTuple):
    """What a run was made with.

    Attributes
    ----------
    run : str
    backbone, feature : str
    image_size : int
        Side of the images, in pixels.
    source : str
        Where the weights came from: "pretrained", "random, seed S" or "file NAME".
    weights : str
        Their digest.
    head : str
        Digest of the classifier, of the feature `imagenet-logits`.
    """

    run: str
    backbone: str
    feature: str
    image_size: int
    source: str
    weights: str
    head: str = ""


def load_again(
    made: Made,
    *,
    file: str | None = None,
    head_file: str | None = None,
    module: nn.Module | None = None,
    digests: Path | None = None,
) -> Backbone:
    """Load the backbone of a run.

    Parameters
    ----------
    file, head_file : str, optional
        Files of the weights and of the classifier, where those were used.
    module : nn.Module, optional
        The module, where the backbone was a user's own.
    digests : Path, optional
        As of `load_backbone`.

    Raises
    ------
    InputError
        If the weights came from a file and none is given, or they are others now.
    """
    kind, _, seed = made.source.partition(", seed ")
    if module is not None:
        kind = "pretrained"  # it has its weights
    if file is None and kind not in ("random", "pretrained"):
        raise InputError(
            f"Run {made.run} needs {made.backbone} with weights from {made.source}: give that file "
            "by --weights."
        )
    backbone = load_backbone(
        made.backbone if module is None else module,
        name=made.backbone,
        weights=kind if file is None else file,
        weights_seed=int(seed or 0),
        feature=made.feature,
        image_size=made.image_size,
        head_weights=Path(head_file) if head_file else None,
        digests=digests,
    )
    for name, ours, theirs in (
        ("--weights", backbone.weights, made.weights),
        ("--head-weights", backbone.head, made.head),
    ):
        if ours != theirs:
            raise InputError(
                f"Run {made.run} was trained on {made.backbone} with other weights than "
                f"{file or made.source} has here (digest {theirs[:12]}, not {ours[:12]}): give its "
                f"file by {name}."
            )
    return backbone


def empty_backbone(name: str, *, feature: str | None = None, image_size: int = 224) -> Backbone:
    """Build a backbone to load a kept model's state into: its own weights mean nothing."""
    entry = resolve(name)
    model, _ = build_model(entry, image_size, seed=0)
    names = _feature_names(feature, model)
    return _assemble(entry.name, model, names, image_size, own_preprocessing(entry))


def backbone_name(backbone: str | nn.Module, name: str | None = None) -> str:
    """Give the name of a backbone in stores, runs and tables: see `load_backbone`."""
    return own_name(backbone, name) if isinstance(backbone, nn.Module) else backbone


def _load_own(
    module: nn.Module,
    name: str,
    feature: str | Sequence[str] | None,
    image_size: int,
    weights: str | Path,
) -> Backbone:
    check_own_weights(name, weights)
    model = own_copy(module)
    check_size(model, image_size)
    names = _feature_names(feature, model)
    loaded = _assemble(name, model, names, image_size, UNKNOWN)
    loaded.weights, loaded.weights_source = module_digest(module), SOURCE
    return loaded


def _feature_names(feature: str | Sequence[str] | None, model: nn.Module) -> list[str]:
    names = [feature] if isinstance(feature, str) else list(feature or ())
    return names or [default_feature(model)]


def _assemble(
    name: str,
    model: nn.Module,
    features: Sequence[str],
    image_size: int,
    preprocessing: Preprocessing,
) -> Backbone:
    model.eval()
    found, *_ = [find_feature(feature, model, name) for feature in features]
    return Backbone(
        name=name,
        model=model,
        feature=features[0],
        dim=feature_dim(found, model, image_size),
        preprocessing=preprocessing,
        weights="",
        weights_source="",
        compute=found,
        image_size=image_size,
    )
