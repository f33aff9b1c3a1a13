"""Writing a store: rows are gathered, and become parts in threads of their own."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from frostline.cache.atomic import clear_temporary
from frostline.cache.keys import KEY_BYTES, spec_key
from frostline.cache.stores.part import SECONDS, write_part

PART_BYTES = 64 << 20
PART_SECONDS = 60.0
TOGETHER_BYTES = 512 << 20
# One thread digests and writes fewer pixels than many cores decode.
AT_ONCE = 2


@dataclass
class _Rows:
    """Memory for the rows of one part; the first `count` are filled."""

    keys: np.ndarray
    values: np.ndarray
    count: int = 0

    @classmethod
    def like(cls, values: np.ndarray, capacity: int) -> _Rows:
        keys = np.empty((capacity, KEY_BYTES), np.uint8)
        return cls(keys, np.empty((capacity, *values.shape[1:]), values.dtype))

    @property
    def full(self) -> bool:
        return self.count == len(self.keys)

    def add(self, keys: np.ndarray, values: np.ndarray) -> int:
        """Copy as many rows as there is room for, and give their number."""
        taken = min(len(keys), len(self.keys) - self.count)
        place = slice(self.count, self.count + taken)
        self.keys[place], self.values[place] = keys[:taken], values[:taken]
        self.count += taken
        return taken


class StoreWriter:
    """Append rows to a store; parts close by size or after a minute.

    Use as a context manager: at the end, and at an exception too, the rows so far become a part.
    A part is written while the next is gathered; of those that are given whole, `AT_ONCE` are. What
    goes wrong there is raised by a later `append`, `write` or `flush`, or at the end of the block.
    Where several stores are filled `together`, so many, their parts are smaller, so that memory is
    bounded over all of them.
    With `since`, the `time.monotonic` at which the work on the rows began, each part says in its
    provenance how many `seconds` it took, since the part before or since then.
    With `rows`, what is appended becomes one part of so many rows, however long they take.

    Attributes
    ----------
    paths : list of pathlib.Path
        The parts that are written.
    """

    def __init__(
        self,
        folder: Path,
        kind: str,
        spec: Mapping[str, Any],
        provenance: Mapping[str, Any],
        together: int = 1,
        since: float | None = None,
        rows: int | None = None,
    ) -> None:
        if folder.name != spec_key(spec):
            raise ValueError(f"folder {folder} is not named by the key of its spec")
        self.folder, self.kind, self.spec, self.provenance = folder, kind, spec, provenance
        self.paths: list[Path] = []
        self._part_bytes = min(PART_BYTES, TOGETHER_BYTES // together)
        self._part_rows, self._seconds = rows, PART_SECONDS if rows is None else math.inf
        # Two: one is filled while the other is written. Memory is used again and again, as fresh
        # memory of this size costs more than the copy.
        self._filling: _Rows | None = None
        self._spare: _Rows | None = None
        self._since = 0.0
        self._told_until = since
        self._pool = ThreadPoolExecutor(AT_ONCE, "write")
        self._writing: deque[Future[Path]] = deque()

    def append(self, keys: np.ndarray, values: np.ndarray) -> None:
        """Add rows: keys uint8 [m, 16], values [m, ...]."""
        keys = np.asarray(keys, np.uint8).reshape(-1, KEY_BYTES)
        done = 0
        while done < len(keys):
            rows = self._filling = self._filling or self._memory(values)
            if not rows.count:
                self._since = time.monotonic()
            done += rows.add(keys[done:], values[done:])
            if rows.full or time.monotonic() - self._since >= self._seconds:
                self._begin_part()

    def write(self, keys: np.ndarray, values: np.ndarray) -> None:
        """Begin a part of these rows alone, after the rows so far.

        Unlike with `append`, nothing is copied: the arrays must stay as they are until `AT_ONCE`
        further calls, or `flush`, have come back.
        """
        if self._filling is not None:
            self.flush()
        self._wait(AT_ONCE - 1)
        if len(keys):
            self._writing.append(self._pool.submit(self._part, keys, values, self._about()))

    def flush(self) -> None:
        """Write the rows so far as a part, and wait until it is there."""
        self._begin_part()
        self._wait()

    def _memory(self, values: np.ndarray) -> _Rows:
        fitting = max(1, self._part_bytes // max(1, values[:1].nbytes))
        return _Rows.like(values, self._part_rows or fitting)

    def _begin_part(self) -> None:
        rows, self._filling = self._filling, None
        self._wait()
        if rows is not None and rows.count:
            self._filling, self._spare = self._spare, rows
            self._writing.append(self._pool.submit(self._write, rows, self._about()))

    def _about(self) -> Mapping[str, Any]:
        """Give the provenance of the part that begins to be written."""
        if self._told_until is None:
            return self.provenance
        before, self._told_until = self._told_until, time.monotonic()
        return {**self.provenance, SECONDS: round(self._told_until - before, 3)}

    def _write(self, rows: _Rows, about: Mapping[str, Any]) -> Path:
        count, rows.count = rows.count, 0
        return self._part(rows.keys[:count], rows.values[:count], about)

    def _part(self, keys: np.ndarray, values: np.ndarray, about: Mapping[str, Any]) -> Path:
        return write_part(self.folder, self.kind, self.spec, about, keys, values)

    def _wait(self, most: int = 0) -> None:
        """Wait until at most so many parts are being written, the oldest first."""
        while len(self._writing) > most:
            self.paths.append(self._writing.popleft().result())

    def __enter__(self) -> StoreWriter:
        self.folder.mkdir(parents=True, exist_ok=True)
        clear_temporary(self.folder)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.flush()
        finally:
            self._pool.shutdown()
