"""A store: the union of the parts in a folder, read by key (docs/format.md, 'Store')."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from frostline.cache.atomic import clear_temporary
from frostline.cache.errors import InputError
from frostline.cache.keys import KEY_BYTES, spec_difference, spec_key
from frostline.cache.part import Part, damaged, read_part, write_part

PIXELS = "frostline-pixels"
EMBEDDINGS = "frostline-embeddings"
PART_BYTES = 64 << 20
PART_SECONDS = 60.0


class Store:
    """Rows at rest, found by content key, read from memory-mapped parts.

    Attributes
    ----------
    folder : pathlib.Path
    parts : list of Part
        In order of their names; row numbers run through them.
    """

    def __init__(self, folder: Path, parts: list[Part]) -> None:
        self.folder = folder
        self.parts = parts
        self._starts = np.cumsum([0, *map(len, parts)])
        self._values: dict[int, np.ndarray] = {}
        self._checked: dict[int, np.ndarray] = {}

    @classmethod
    def open(cls, folder: Path) -> Store:
        """Open the store in `folder`, checking the header of every part.

        Raises
        ------
        InputError
            If there is no part, or one is damaged, of a newer format, or of another store.
        """
        parts = [read_part(path) for path in part_files(folder)]
        if not parts:
            raise InputError(f"There is no store in {folder}: run `frostline extract` first.")
        for part in parts:
            if part.key != folder.name:
                raise damaged(part.path, f"it belongs to store {part.key}")
            if (part.format, part.dtype, part.shape[1:]) != (
                parts[0].format,
                parts[0].dtype,
                parts[0].shape[1:],
            ):
                raise damaged(part.path, "its rows are of another shape or type")
        return cls(folder, parts)

    @property
    def key(self) -> str:
        """The digest of the spec."""
        return self.parts[0].key

    @property
    def spec(self) -> dict[str, Any]:
        """Everything that changes the numbers."""
        return self.parts[0].spec

    @property
    def provenance(self) -> dict[str, Any]:
        """Versions, device, origin of the weights, as the first part has them."""
        return self.parts[0].provenance

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one row."""
        return self.parts[0].shape[1:]

    @property
    def dtype(self) -> np.dtype:
        """Type of the values."""
        return self.parts[0].dtype

    @cached_property
    def keys(self) -> np.ndarray:
        """Content keys of all rows, uint8 [n, 16]; a key that two writers wrote occurs twice."""
        return np.concatenate([part.keys for part in self.parts])

    def __len__(self) -> int:
        """Number of distinct keys."""
        return len(self._index[0])

    @cached_property
    def _index(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        high, low = _halves(self.keys)
        order = np.lexsort((low, high))  # stable: of equal keys the first part's comes first
        high, low = high[order], low[order]
        first = np.ones(len(order), bool)
        first[1:] = (high[1:] != high[:-1]) | (low[1:] != low[:-1])
        return high[first], low[first], order[first]

    def locate(self, keys: np.ndarray) -> np.ndarray:
        """Row number of each key (uint8 [m, 16]), int64 [m]; -1 where the store lacks it."""
        high, low, rows = self._index
        wanted_high, wanted_low = _halves(keys)
        found = np.full(len(wanted_high), -1, np.int64)
        position = np.searchsorted(high, wanted_high)
        open_ = np.arange(len(wanted_high))
        while len(open_):  # once, unless two keys share their first eight bytes
            at = position[open_]
            inside = at < len(high)
            open_, at = open_[inside], at[inside]
            alike = high[at] == wanted_high[open_]
            open_, at = open_[alike], at[alike]
            hit = low[at] == wanted_low[open_]
            found[open_[hit]] = rows[at[hit]]
            open_ = open_[~hit]
            position[open_] += 1
        return found

    def read(self, rows: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Read rows by number, in any order.

        Parameters
        ----------
        rows : numpy.ndarray, int64 [m]
            As `locate` gives them.
        out : numpy.ndarray [m, *shape], optional
            Where to put them.

        Raises
        ------
        InputError
            If a block that is touched for the first time does not match its digest.
        IndexError
            If a row number is negative or too large.
        """
        rows = np.asarray(rows, np.int64)
        if len(rows) and not 0 <= rows.min() <= rows.max() < self._starts[-1]:
            raise IndexError(f"row numbers must lie in 0 … {self._starts[-1] - 1}")
        if out is None:
            out = np.empty((len(rows), *self.shape), self.dtype)
        owner = np.searchsorted(self._starts, rows, side="right") - 1
        for number in np.unique(owner):
            mine = np.flatnonzero(owner == number)
            out[mine] = self._checked_values(number, rows[mine] - self._starts[number])
        return out

    def _checked_values(self, number: int, rows: np.ndarray) -> np.ndarray:
        part = self.parts[number]
        if number not in self._values:
            self._values[number] = part.values()
            self._checked[number] = np.zeros(len(part.block_digest), bool)
        values, checked = self._values[number], self._checked[number]
        for block in np.unique(rows // part.block_rows):
            if not checked[block]:
                part.check_block(values, block)
                checked[block] = True
        return values[rows]

    def __getstate__(self) -> dict[str, Any]:
        # Each process maps the parts for itself and trusts only what it has checked.
        return {**self.__dict__, "_values": {}, "_checked": {}}


class StoreWriter:
    """Append rows to a store; parts close by size or after a minute.

    Use as a context manager: at the end, and at an exception too, the rows so far become a part.
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
            self.flush()

    def flush(self) -> None:
        """Write the rows so far as a part."""
        keys, values = self._keys, self._values
        self._keys, self._values, self._bytes = [], [], 0
        if keys:
            write_part(
                self.folder,
                self.kind,
                self.spec,
                self.provenance,
                np.concatenate(keys),
                np.concatenate(values),
            )

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
        self.flush()


def part_files(folder: Path) -> list[Path]:
    """The parts in a folder, in order of their names."""
    return sorted(folder.glob("part-*.h5"))


def find_stores(folder: Path) -> list[Path]:
    """Folders of the stores beside each other in `folder` that have at least one part."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and part_files(path))


def store_spec(folder: Path) -> dict[str, Any]:
    """The spec of the store in `folder`, from its first part alone."""
    return read_part(part_files(folder)[0]).spec


def choose_store(folder: Path, key: str | None = None) -> Store:
    """Open the only store in `folder`, or the one whose key starts with `key`.

    Raises
    ------
    InputError
        If there is none, or several and `key` does not choose one; it lists how they differ.
    """
    found = find_stores(folder)
    matching = [path for path in found if path.name.startswith(key or "")]
    if len(matching) == 1:
        return Store.open(matching[0])
    if not found:
        raise InputError(f"There is no store in {folder}: run `frostline extract` first.")
    if not matching:
        keys = ", ".join(path.name[:12] for path in found)
        raise InputError(
            f"No store in {folder} has a key that starts with {key!r}: there are {keys}."
        )
    specs = {path.name[:12]: store_spec(path) for path in matching}
    (first, spec), *others = specs.items()
    differences = "; ".join(
        f"{first} and {other} differ in {', '.join(spec_difference(spec, theirs))}"
        for other, theirs in others
    )
    raise InputError(f"{len(matching)} stores lie in {folder}: choose by --key. {differences}.")


def _halves(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    pairs = np.ascontiguousarray(keys, np.uint8).view(np.uint64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]
