"""Pretrained networks without their classifier, ready to embed images or to be trained further."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from frostline.cache import InputError
from frostline.extract.backbones import dinov2
from frostline.extract.backbones.architectures import build_model, build_outline
from frostline.extract.backbones.catalog import NAMED, Entry, resolve
from frostline.extract.backbones.classifier import (
    attach_classifier,
    classifier_in_file,
    classifier_of_model,
    no_classifier,
)
from frostline.extract.backbones.digests import DigestMemory
from frostline.extract.backbones.features import (
    LAYER,
    LOGITS,
    Feature,
    compute_features,
    default_feature,
    feature_dim,
    find_feature,
)
from frostline.extract.backbones.hub import config_digest
from frostline.extract.backbones.preprocessing import Preprocessing, own_preprocessing
from frostline.extract.backbones.pretrained import can_be_fetched, fetch_pretrained, weights_at_hand
from frostline.extract.backbones.weights import (
    convert,
    load_exactly,
    read_weights,
    weights_digest,
    without_heads,
)


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
        "pretrained", "file NAME" or "random, seed S".
    head : str
        Digest of the classifier, where it was kept for `imagenet-logits`.
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
        """A feature of this backbone by its name; InputError if it has none such."""
        return find_feature(feature, self.model, self.name)

    def several(self, images: Tensor, features: Sequence[Feature]) -> list[Tensor]:
        """Several features of the same images in one pass, each float [n, dim]."""
        return compute_features(self.model, images, features)


def load_backbone(
    name: str,
    *,
    weights: str | Path = "pretrained",
    weights_seed: int = 0,
    feature: str | Sequence[str] | None = None,
    image_size: int = 224,
    head_weights: Path | None = None,
    digests: Path | None = None,
) -> Backbone:
    """Build a backbone with its weights.

    Parameters
    ----------
    name : str
        `vgg16`, `dinov2-s`, …, `timm:NAME`, `torchvision:NAME` (see `list_backbones`), or
        `hf:ORG/NAME` or `hf:FOLDER` for a Hugging Face model.
    weights : str or Path
        "pretrained", "random", or a file in a layout of `frostline.extract.backbones.weights`.
    weights_seed : int
        Seed of random weights; the global random state is left as it is.
    feature : str or sequence of str, optional
        What to take as the embedding; by default the class token of a vision transformer, else
        the input of the classifier. Of several, the first is the backbone's own, and all of them
        are checked.
    image_size : int
        Side of the images, in pixels; transformers are built for one size.
    head_weights : Path, optional
        A linear head for the feature `imagenet-logits`, instead of the classifier that comes with
        the weights; DINOv2's come in files of their own.
    digests : Path, optional
        A JSON file where digests of weights are remembered, so that they are not computed again.

    Raises
    ------
    InputError
        If the name, the feature or the weights are not to be had; nothing is put in their place.
    """
    entry = resolve(name)
    source = _Source.find(entry, weights, weights_seed)
    model, heads = build_model(entry, image_size, weights_seed)
    names = _feature_names(feature, model)
    memory = source.memory(entry, image_size, digests)
    digest = _fill(entry, model, heads, source, memory)
    head = ""
    if LOGITS in names:
        kept = _Classifier(entry, source, head_weights, digests)
        attach_classifier(model.eval(), kept.state, image_size, kept.source)
        head = kept.digest()
    backbone = _assemble(entry, model, names, image_size)
    backbone.weights, backbone.weights_source, backbone.head = digest, source.text, head
    return backbone


def empty_backbone(name: str, *, feature: str | None = None, image_size: int = 224) -> Backbone:
    """A backbone to load a kept model's state into: its own weights mean nothing."""
    entry = resolve(name)
    model, _ = build_model(entry, image_size, seed=0)
    return _assemble(entry, model, _feature_names(feature, model), image_size)


def _feature_names(feature: str | Sequence[str] | None, model: nn.Module) -> list[str]:
    names = [feature] if isinstance(feature, str) else list(feature or ())
    return names or [default_feature(model)]


def _assemble(entry: Entry, model: nn.Module, features: Sequence[str], image_size: int) -> Backbone:
    model.eval()
    found, *_ = [find_feature(name, model, entry.name) for name in features]
    return Backbone(
        name=entry.name,
        model=model,
        feature=features[0],
        dim=feature_dim(found, model, image_size),
        preprocessing=own_preprocessing(entry),
        weights="",
        weights_source="",
        compute=found,
    )


class Identity(NamedTuple):
    """What of a backbone goes into keys, and where its weights come from.

    Attributes
    ----------
    weights : str
        Digest of its tensors; "" where nobody has them yet.
    weights_source : str
        "pretrained", "file NAME" or "random, seed S".
    feature : str
        What is taken as the embedding.
    head : str
        Digest of the classifier, where the feature is `imagenet-logits`.
    """

    weights: str
    weights_source: str
    feature: str
    head: str = ""


def identify_backbone(
    name: str,
    *,
    weights: str | Path = "pretrained",
    weights_seed: int = 0,
    feature: str | None = None,
    image_size: int = 224,
    head_weights: Path | None = None,
    digests: Path | None = None,
    fetch: bool = True,
) -> Identity:
    """What `load_backbone` would give, without loading weights whose digest is remembered.

    Parameters are those of `load_backbone`, and so are the errors.

    Parameters
    ----------
    fetch : bool
        Whether pretrained weights that are not on this machine are fetched. If not, and they can
        be, their digest is "".
    """
    entry = resolve(name)
    absent = weights == "pretrained" and not fetch and can_be_fetched(entry)
    source = None if absent else _Source.find(entry, weights, weights_seed)
    outline = build_outline(entry, image_size, layers=(feature or "").startswith(LAYER))
    chosen = feature or default_feature(outline)
    if chosen != LOGITS:
        find_feature(chosen, outline, name)
    if source is None:
        return Identity("", "pretrained", chosen)
    memory = source.memory(entry, image_size, digests)
    digest = memory.get()
    if digest is None:
        model, heads = build_model(entry, image_size, weights_seed)
        digest = _fill(entry, model, heads, source, memory)
    kept = _Classifier(entry, source, head_weights, digests)
    return Identity(digest, source.text, chosen, kept.digest() if chosen == LOGITS else "")


@dataclass(frozen=True)
class _Source:
    """Where weights come from: a file, or a seed where `path` is None."""

    text: str
    path: Path | None

    @classmethod
    def find(cls, entry: Entry, weights: str | Path, seed: int) -> _Source:
        if weights == "random":
            return cls(f"random, seed {seed}", None)
        if weights == "pretrained":
            return cls("pretrained", fetch_pretrained(entry))
        path = Path(weights)
        if not path.is_file():
            raise InputError(f"There is no weights file {path}; check the path given as --weights.")
        return cls(f"file {path.name}", path)

    def memory(self, entry: Entry, image_size: int, digests: Path | None) -> DigestMemory:
        configured = f" by {config_digest(entry)}" if entry.library == "hf" else ""
        if self.path is not None:
            # timm fits position embeddings to the size before they are digested.
            size = "" if entry.is_dinov2 else f" at {image_size}"
            key = f"{entry.model}{configured}{size} from {self.path.absolute()}"
            return DigestMemory(digests, key, self.path)
        # Initialisation is the libraries' and may change with them.
        library = "transformers" if entry.library == "hf" else entry.library
        libraries = f"torch {torch.__version__}, {library} {version(library)}"
        return DigestMemory(
            digests, f"{entry.model}{configured} at {image_size}, {self.text}, {libraries}"
        )


@dataclass
class _Classifier:
    """The classifier for `imagenet-logits`: from a file of its own, or from the backbone's."""

    entry: Entry
    backbone: _Source
    file: Path | None
    digests: Path | None
    _state: dict[str, Tensor] | None = field(default=None, init=False)

    @property
    def source(self) -> str:
        return str(self.file or self.backbone.path)

    @property
    def state(self) -> dict[str, Tensor]:
        """`weight` [classes, dim] and `bias` [classes]."""
        if self._state is None:
            self._state = self._read()
        return self._state

    def digest(self) -> str:
        path = self.file or self.backbone.path
        key = f"{self.entry.model} classifier from {path.absolute() if path else path}"
        memory = DigestMemory(self.digests, key, path)
        digest = memory.get() or weights_digest(self.state)
        memory.put(digest)
        return digest

    def _read(self) -> dict[str, Tensor]:
        if self.file is not None:
            return classifier_in_file(self.file)
        if self.backbone.path is None or self.entry.is_dinov2:
            raise no_classifier(self.entry, self.backbone.text)
        model, names = build_model(self.entry, 224, 0)
        state = convert(read_weights(self.backbone.path), self.entry, model)
        return classifier_of_model(self.entry, state, names)


def _fill(
    entry: Entry, model: nn.Module, heads: tuple[str, ...], source: _Source, memory: DigestMemory
) -> str:
    """Put the weights into a model and give their digest.

    The digest is of the tensors before the position embedding is resampled: it names the weights,
    whatever the image size.
    """
    state = dict(model.state_dict())
    if source.path is not None:
        read = _read_file(entry, source.path)
        state = without_heads(convert(read, entry, model), heads)
        fitted = dinov2.fit_position(state, model) if entry.is_dinov2 else state
        load_exactly(model, fitted, str(source.path), entry.name)
        # transformers renames tensors from release to release: theirs are digested as in the file.
        state = read if entry.library == "hf" else state
    digest = memory.get() or _digest(entry, state)
    memory.put(digest)
    return digest


def _read_file(entry: Entry, path: Path) -> dict[str, Tensor]:
    if entry.library == "hf" and path.suffix != ".safetensors":
        raise InputError(
            f"Backbone {entry.name!r} takes weights as .safetensors alone, not {path.name}."
        )
    return read_weights(path)


def _digest(entry: Entry, state: dict[str, Tensor]) -> str:
    if entry.library == "hf":
        # Unlike a library's name, a folder's does not tell what is built.
        digits = bytearray.fromhex(config_digest(entry))
        state = {**state, "config": torch.frombuffer(digits, dtype=torch.uint8)}
    return weights_digest(state)


@dataclass(frozen=True)
class BackboneRow:
    """One line of the list of backbones: the attributes of `Entry`, and what is at hand."""

    name: str
    library: str
    model: str
    dim: int
    parameters: int
    features: tuple[str, ...]
    at_hand: bool
    package: str


def list_backbones() -> list[BackboneRow]:
    """The backbones with short names, and whether their pretrained weights are at hand."""
    return [
        BackboneRow(
            entry.name,
            entry.library,
            entry.model,
            entry.dim,
            entry.parameters,
            ("cls", "mean", "cls+mean", "pre_logits") if entry.is_dinov2 else ("pre_logits",),
            weights_at_hand(entry),
            entry.package,
        )
        for entry in NAMED.values()
    ]
