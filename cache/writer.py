"""Writing a store: rows are gathered, and become parts in a thread of their own."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from frostline.cache.atomic import clear_temporary
from frostline.cache.keys import KEY_BYTES, spec_key
from frostline.cache.part import write_part

PART_BYTES = 64 << 20
PART_SECONDS = 60.0


class StoreWriter:
    """Append rows to a store; parts close by size or after a minute.

    Use as a context manager: at the end, and at an exception too, the rows so far become a part.
    A part is written while the next is gathered; at most one is being written. What goes wrong
    there is raised by the next `append`, `flush` or the end of the block.
    """

    def __init__(
        self, folder: Path, kind: str, spec: Mapping[str, Any], provenance: Mapping[str, Any]
    ) -> None:
        if folder.name != spec_key(spec):
            raise ValueError(f"folder {folder} is not named by the key of its spec")
        self.folder, self.kind, self.spec, self.provenance = folder, kind, spec, provenance
        self._keys: list[np.ndarray] = []
        self._values: list[np.ndarray] = []
        self._bytes = 0
        self._since = 0.0
        self._pool = ThreadPoolExecutor(1, "write")
        self._writing: Future[Path] | None = None

    def append(self, keys: np.ndarray, values: np.ndarray) -> None:
        """Add rows: keys uint8 [m, 16], values [m, ...]; the arrays must not change afterwards."""
        if not len(keys):
            return
        if not self._keys:
            self._since = time.monotonic()
        self._keys.append(np.asarray(keys, np.uint8).reshape(-1, KEY_BYTES))
        self._values.append(values)
        self._bytes += values.nbytes
        if self._bytes >= PART_BYTES or time.monotonic() - self._since >= PART_SECONDS:
            self._begin_part()

    def flush(self) -> None:
        """Write the rows so far as a part, and wait until it is there."""
        self._begin_part()
        self._wait()

    def _begin_part(self) -> None:
        keys, values = self._keys, self._values
        self._keys, self._values, self._bytes = [], [], 0
        self._wait()
        if keys:
            self._writing = self._pool.submit(self._write, keys, values)

    def _write(self, keys: list[np.ndarray], values: list[np.ndarray]) -> Path:
        rows = np.concatenate(values)
        values.clear()
        return write_part(
            self.folder, self.kind, self.spec, self.provenance, np.concatenate(keys), rows
        )

    def _wait(self) -> None:
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

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
