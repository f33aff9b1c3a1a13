"""Fitted heads at rest: numbers in safetensors, the rest in JSON; loading runs no stored code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save
from sklearn.utils.validation import check_is_fitted

from frostline.cache import InputError, atomic_write
from frostline.cache.stamped import (
    CHANGED,
    check_files,
    damaged,
    file_digests,
    read_json,
    write_json,
)
from frostline.probe.heads.registry import class_named

FORMAT = "frostline-head"
FORMAT_VERSION = 2
TENSORS = "head.safetensors"
OWN = "own"  # in place of a class: a user's own estimator, of which only its parameters are kept


def save_head(folder: Path, head: Any, about: Mapping[str, Any] | None = None) -> None:
    """Write a fitted head to `folder` as `head.safetensors` and `head.json`, atomically.

    Parameters
    ----------
    folder : Path
        Made if needed.
    head : estimator
        Of a class in the registry. Parameters that are no JSON (a splitter, a scorer) are kept
        as text only, and are their defaults after loading.
    about : mapping, optional
        Anything further to store with it (JSON); see `read_head`.

    Notes
    -----
    The JSON is written last and holds the digest of the other file, so that a pair that was
    interrupted between the two is recognised.
    """
    check_is_fitted(head)
    tensors: dict[str, np.ndarray] = {}
    fitted = {
        name: _pack(name, value, tensors)
        for name, value in sorted(vars(head).items())
        if name.endswith("_") and not name.startswith("_")
    }
    params: dict[str, Any] = {}
    left_out: dict[str, Any] = {}
    for name, value in head.get_params(deep=False).items():
        (params if _is_json(value) else left_out)[name] = value
    data = save(tensors)
    content = {
        "class": type(head).__name__,
        "params": {name: _plain(value) for name, value in params.items()},
        "left_out": {name: repr(value) for name, value in left_out.items()},
        "fitted": fitted,
        "about": dict(about or {}),
    }
    with atomic_write(folder / TENSORS) as temporary:
        temporary.write_bytes(data)
    content["files"] = file_digests(folder, [TENSORS])
    write_json(folder / "head.json", FORMAT, FORMAT_VERSION, content)


def save_no_head(folder: Path, params: Mapping[str, Any], about: Mapping[str, Any]) -> None:
    """Write what is known of a user's own estimator: its parameters, and what it was trained on.

    The fitted estimator itself is not kept, for reading it would run code that is stored.
    """
    content = {"class": OWN, "params": dict(params), "about": dict(about)}
    write_json(folder / "head.json", FORMAT, FORMAT_VERSION, content)


def load_head(folder: Path) -> Any:
    """Read the head that `save_head` wrote: it predicts as the one that was saved.

    Raises
    ------
    InputError
        If there is none, its files do not belong together, or a newer release wrote them.
    """
    return read_head(folder)[0]


def read_head(folder: Path) -> tuple[Any, dict[str, Any]]:
    """Read the head in `folder`, and what was stored `about` it.

    Raises
    ------
    InputError
        As `load_head` does.
    """
    path = folder / "head.json"
    if not path.exists():
        raise InputError(f"There is no trained head in {folder}: run `frostline probe` first.")
    remedy = f"delete {folder} and run again"
    content = read_json(path, FORMAT, FORMAT_VERSION, remedy=remedy)
    try:
        if content["class"] == OWN:
            raise InputError(
                f"The head in {folder} was your own estimator ({content['params']['class']}), "
                "which is not stored, for nothing that Frostline reads is unpickled: fit it again "
                "in Python."
            )
        check_files(path, content, remedy)
        data = (folder / TENSORS).read_bytes()
        if content["format_version"] == 1 and content["digest"] != _digest(data):
            raise damaged(folder / TENSORS, CHANGED, remedy)
        head = class_named(content["class"])(**content["params"])
        tensors = load(data)
        for name, packed in content["fitted"].items():
            setattr(head, name, _unpack(packed, tensors))
    except (OSError, KeyError, TypeError, SafetensorError) as error:
        raise damaged(path, repr(error), remedy) from error
    return head, content["about"]


def _pack(name: str, value: Any, tensors: dict[str, np.ndarray]) -> dict[str, Any]:
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        # safetensors stores bytes in C order and does not ask.
        tensors[name] = np.array(value, order="C")
        return {"tensor": name}
    if isinstance(value, np.ndarray):
        kind = "object" if value.dtype.kind == "O" else value.dtype.str
        return {"texts": [str(text) for text in value], "dtype": kind}
    if isinstance(value, list):
        return {"list": [_pack(f"{name}.{i}", item, tensors) for i, item in enumerate(value)]}
    return {"value": _plain(value)}


def _unpack(packed: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> Any:
    if "tensor" in packed:
        return tensors[packed["tensor"]]
    if "texts" in packed:
        return np.array(packed["texts"], dtype=packed["dtype"])
    if "list" in packed:
        return [_unpack(item, tensors) for item in packed["list"]]
    return packed["value"]


def _plain(value: Any) -> Any:
    """Numpy's numbers and arrays as JSON's."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return value


def _is_json(value: Any) -> bool:
    try:
        return bool(json.loads(json.dumps(_plain(value), allow_nan=False)) == _plain(value))
    except (TypeError, ValueError):
        return False


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
