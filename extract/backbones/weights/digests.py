"""Digests of weights, remembered by file, so that finished work need not load them again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from frostline.cache import atomic_write

FORMAT, VERSION = "frostline-digests", 1


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
        if not isinstance(found, dict) or found.get("file") != _stamp(self.file):
            return None
        digest = found.get("digest")
        return digest if isinstance(digest, str) else None

    def put(self, digest: str) -> None:
        """Remember a digest; of two processes at once the later one's file stays, whole."""
        if self.path is None or self.get() == digest:
            return
        entries = self._read() | {self.key: {"file": _stamp(self.file), "digest": digest}}
        whole = {"format": FORMAT, "format_version": VERSION, "entries": entries}
        with atomic_write(self.path) as temporary:
            temporary.write_text(json.dumps(whole, indent=1, sort_keys=True) + "\n")

    def _read(self) -> dict[str, Any]:
        if self.path is None or not self.path.is_file():
            return {}
        try:
            whole = json.loads(self.path.read_text())
        except (json.JSONDecodeError, UnicodeDecodeError):
            return {}  # it is a memory only: what it lost is computed again
        known = isinstance(whole, dict) and whole.get("format_version") == VERSION
        return dict(whole.get("entries", {})) if known else {}


def _stamp(file: Path | None) -> dict[str, int] | None:
    if file is None or not file.is_file():
        return None
    status = file.stat()
    return {"size": status.st_size, "mtime_ns": status.st_mtime_ns}
