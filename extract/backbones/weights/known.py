"""What a backbone's name stands for, remembered: finished work is found without torch and timm.

Importing them takes seconds. Remembered is which features are meant and where the digests of the
weights are remembered, in a file of the workspace beside that of the digests; it counts for the
same versions of the libraries. What Hugging Face's configurations say is always read.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from frostline.cache import InputError
from frostline.cache.keys import spec_key
from frostline.cache.stamped import read_json, write_json
from frostline.cache.versions import STAGES, versions
from frostline.extract.backbones.weights.digests import DigestMemory

FORMAT, VERSION = "frostline-backbones", 1
NAME = "backbones.json"
HUB = "hf:"
# Where libraries look for weights.
FOLDERS = ("HF_HOME", "HF_HUB_CACHE", "TORCH_HOME", "XDG_CACHE_HOME")


class Identity(NamedTuple):
    """The parts of a backbone that go into keys, and where its weights come from.

    Attributes
    ----------
    weights : str
        Digest of its tensors; "" where nobody has them yet.
    weights_source : str
        "pretrained", "file NAME", "random, seed S" or "own module".
    feature : str
        What is taken as the embedding.
    head : str
        Digest of the classifier, where the feature is `imagenet-logits`.
    """

    weights: str
    weights_source: str
    feature: str
    head: str = ""


def recall(digests: Path | None, question: Mapping[str, Any]) -> list[Identity] | None:
    """Give what was remembered; None if nothing was, or a file has changed since.

    Parameters
    ----------
    digests : Path, optional
        The file of digests in the workspace; without one nothing is remembered.
    question : mapping
        Backbone, features and options, as JSON.
    """
    if digests is None:
        return None
    entry = read_backbones(digests.with_name(NAME)).get(_key(question))
    if entry is None:
        return None
    found = {
        kind: DigestMemory(digests, key, None if path is None else Path(path)).get()
        for kind, (key, path) in entry["digests"].items()
    }
    if None in found.values():
        return None
    return [
        Identity(str(found["weights"]), entry["source"], feature, str(found.get(feature, "")))
        for feature in entry["features"]
    ]


def remember(
    digests: Path | None,
    question: Mapping[str, Any],
    identities: Sequence[Identity],
    memories: Mapping[str, DigestMemory],
) -> None:
    """Keep an answer.

    Parameters
    ----------
    memories : mapping of str to DigestMemory
        Where the digest of the `weights` is, and by its feature that of a classifier.
    """
    entry = {
        "features": [one.feature for one in identities],
        "source": identities[0].weights_source,
        "digests": {
            kind: (one.key, None if one.file is None else str(one.file.absolute()))
            for kind, one in memories.items()
        },
    }
    _write(digests, question, entry)


def recalled(
    digests: Path | None, question: Mapping[str, Any], find: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """Give what was remembered of another question, or find it and remember it."""
    known = {} if digests is None else read_backbones(digests.with_name(NAME))
    entry = known.get(_key(question))
    if entry is None:
        entry = find()
        _write(digests, question, entry)
    return dict(entry)


def _key(question: Mapping[str, Any]) -> str:
    about = {"versions": versions(), "stages": dict(STAGES)}
    folders = {name: os.environ.get(name, "") for name in FOLDERS}
    return spec_key({**question, **about, "folders": folders})


def _write(digests: Path | None, question: Mapping[str, Any], entry: Mapping[str, Any]) -> None:
    if digests is None or str(question["backbone"]).startswith(HUB):
        return
    path = digests.with_name(NAME)
    entries = read_backbones(path) | {_key(question): dict(entry)}
    write_json(path, FORMAT, VERSION, {"entries": dict(sorted(entries.items()))})


def read_backbones(path: Path) -> dict[str, Any]:
    """Read all entries of a file; none if it is not there or not readable."""
    try:
        return dict(read_json(path, FORMAT, VERSION)["entries"])
    except (InputError, KeyError, TypeError, ValueError):
        return {}  # what was remembered can be found again
