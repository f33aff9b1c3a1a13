"""Where a model's weights come from, the model filled with them, and the digests of both."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor, nn

from frostline.cache import InputError
from frostline.extract.backbones.architectures import build_model
from frostline.extract.backbones.catalog import Entry
from frostline.extract.backbones.hub_files import (
    INDEX,
    config_digest,
    is_open_clip,
    needed_shards,
    tensor_prefixes,
)
from frostline.extract.backbones.weights import dinov2
from frostline.extract.backbones.weights.classifier import (
    classifier_in_file,
    classifier_of_model,
    no_classifier,
)
from frostline.extract.backbones.weights.digests import DigestMemory
from frostline.extract.backbones.weights.files import (
    convert,
    load_exactly,
    weights_digest,
    without_heads,
)
from frostline.extract.backbones.weights.pretrained import fetch_pretrained
from frostline.extract.backbones.weights.reading import read_weights


@dataclass(frozen=True)
class WeightsSource:
    """Where weights come from: a file, or a seed where `path` is None.

    Attributes
    ----------
    text : str
        "pretrained", "file NAME" or "random, seed S".
    path : Path or None
    """

    text: str
    path: Path | None

    @classmethod
    def find(cls, entry: Entry, weights: str | Path, seed: int) -> WeightsSource:
        """Find the file that `weights` names; InputError if it is not there."""
        if weights == "random":
            return cls(f"random, seed {seed}", None)
        if weights == "pretrained":
            return cls("pretrained", fetch_pretrained(entry))
        path = Path(weights)
        if not path.is_file():
            raise InputError(f"There is no weights file {path}; check the path given as --weights.")
        return cls(f"file {path.name}", path)

    def memory(self, entry: Entry, image_size: int, digests: Path | None) -> DigestMemory:
        """Give the place where the digest of these weights is remembered."""
        configured = f" by {config_digest(entry.model)}" if entry.library == "hf" else ""
        if self.path is not None:
            # timm fits position embeddings to the size before they are digested.
            size = "" if entry.is_dinov2 else f" at {image_size}"
            key = f"{entry.model}{configured}{size} from {self.path.absolute()}"
            return DigestMemory(digests, f"{key}{_shards(entry, self.path)}", self.path)
        # Initialisation is the libraries' and may change with them.
        library = entry.library
        if library == "hf":
            library = "timm" if is_open_clip(entry.model) else "transformers"
        libraries = f"torch {torch.__version__}, {library} {version(library)}"
        return DigestMemory(
            digests, f"{entry.model}{configured} at {image_size}, {self.text}, {libraries}"
        )


def _shards(entry: Entry, path: Path) -> str:
    """Give sizes and times of the files that a list of shards names; "" of any other file."""
    if not path.name.endswith(INDEX):
        return ""
    shards = [path.with_name(one) for one in needed_shards(path, _prefixes(entry))]
    status = [one.stat() for one in shards if one.is_file()]
    return f" with {[(one.st_size, one.st_mtime_ns) for one in status]}"


def _prefixes(entry: Entry) -> tuple[str, ...]:
    return tensor_prefixes(entry.model) if entry.library == "hf" else ()


@dataclass
class KeptClassifier:
    """The classifier for `imagenet-logits`: from a file of its own, or from the backbone's."""

    entry: Entry
    backbone: WeightsSource
    file: Path | None
    digests: Path | None
    _state: dict[str, Tensor] | None = field(default=None, init=False)

    @property
    def source(self) -> str:
        """The file's name, for messages."""
        return str(self.file or self.backbone.path)

    @property
    def state(self) -> dict[str, Tensor]:
        """`weight` [classes, dim] and `bias` [classes]."""
        if self._state is None:
            self._state = self._read()
        return self._state

    @property
    def memory(self) -> DigestMemory:
        """Where its digest is remembered."""
        path = self.file or self.backbone.path
        key = f"{self.entry.model} classifier from {path.absolute() if path else path}"
        return DigestMemory(self.digests, key, path)

    def digest(self, rehash: bool = False) -> str:
        """Digest its tensors, unless they were not read yet and the digest is remembered."""
        known = None if rehash or self._state is not None else self.memory.get()
        digest = known or weights_digest(self.state)
        self.memory.put(digest)
        return digest

    def _read(self) -> dict[str, Tensor]:
        if self.file is not None:
            return classifier_in_file(self.file)
        if self.backbone.path is None or self.entry.is_dinov2:
            raise no_classifier(self.entry, self.backbone.text)
        model, names = build_model(self.entry, 224, 0)
        state = convert(read_weights(self.backbone.path), self.entry, model)
        return classifier_of_model(self.entry, state, names)


def fill_model(
    entry: Entry,
    model: nn.Module,
    heads: tuple[str, ...],
    source: WeightsSource,
    memory: DigestMemory,
) -> str:
    """Put the weights into a model and give their digest.

    What was read from a file is digested, whatever is remembered of a file of its size and time.
    The digest is of the tensors before the position embedding is resampled: it names the weights,
    whatever the image size.
    """
    state = dict(model.state_dict())
    if source.path is not None:
        read = read_weights(source.path, _prefixes(entry))
        state = without_heads(convert(read, entry, model), heads)
        fitted = dinov2.fit_position(state, model) if entry.is_dinov2 else state
        load_exactly(model, fitted, str(source.path), entry.name)
        # transformers renames tensors from release to release: theirs are digested as in the file.
        state = read if entry.library == "hf" else state
    known = memory.get() if source.path is None else None
    digest = known or _digest(entry, state)
    memory.put(digest)
    return digest


def _digest(entry: Entry, state: dict[str, Tensor]) -> str:
    if entry.library == "hf":
        # Unlike a library's name, a folder's does not say what is built.
        digits = bytearray.fromhex(config_digest(entry.model))
        state = {**state, "config": torch.frombuffer(digits, dtype=torch.uint8)}
    return weights_digest(state)
