"""Digests of weights, remembered by file, so that finished work need not load them again."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frostline.cache import InputError
from frostline.cache.stamped import read_json, write_json

if TYPE_CHECKING:
    from torch import nn

FORMAT, VERSION = "frostline-digests", 2


class DigestMemory:
    """One entry of a JSON file of digests; it counts while its file's size and time are unchanged.

    Parameters
    ----------
    path : Path or None
        The JSON file; with None nothing is remembered.
    key : str
        What the digest is of.
    file : Path, optional
        The file that the digest was made from.
    """

    def __init__(self, path: Path | None, key: str, file: Path | None = None) -> None:
        self.path = path
        self.key = key
        self.file = file

    def get(self) -> str | None:
        """Give the digest, or None if it is not remembered or the file has changed."""
        found = self._read().get(self.key)
        if not isinstance(found, dict) or found.get("file") != _size_and_time(self.file):
            return None
        digest = found.get("digest")
        return digest if isinstance(digest, str) else None

    def put(self, digest: str) -> None:
        """Remember a digest; of two processes at once the later one's file stays, whole."""
        if self.path is None or self.get() == digest:
            return
        entries = self._read() | {self.key: {"file": _size_and_time(self.file), "digest": digest}}
        write_json(self.path, FORMAT, VERSION, {"entries": dict(sorted(entries.items()))})

    def _read(self) -> dict[str, Any]:
        return {} if self.path is None else read_digests(self.path)


def read_digests(path: Path) -> dict[str, Any]:
    """Read all entries of a file of digests; none if it is not there or not readable.

    Returns
    -------
    dict
        By what each is of: `digest`, and `file` (size and time), null where it is of no file.
    """
    try:
        return dict(read_json(path, FORMAT, VERSION)["entries"])
    except (InputError, KeyError, TypeError, ValueError):
        return {}  # what was remembered can be computed again


def _size_and_time(file: Path | None) -> dict[str, int] | None:
    if file is None or not file.is_file():
        return None
    status = file.stat()
    return {"size": status.st_size, "mtime_ns": status.st_mtime_ns}


def module_digest(module: nn.Module) -> str:
    """Digest all that decides a module's numbers, as far as it can be seen.

    BLAKE2b-128 over its parameters and buffers (names, dtypes, shapes, bytes), its class's
    qualified name, and its printed form. Code is not in it: another forward needs another name.
    """
    from torch import Tensor

    from frostline.extract.backbones.own_module import class_name
    from frostline.extract.backbones.weights.files import weights_digest

    state = {**dict(module.named_buffers()), **module.state_dict()}
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    printed = re.sub(r" at 0x[0-9a-f]+", "", repr(module))  # another one in each process
    text = "\0".join((weights_digest(tensors), class_name(module), printed))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
