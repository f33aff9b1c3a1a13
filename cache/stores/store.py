"""A store: the union of the parts in a folder, read by key (docs/format.md, 'Store')."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from frostline.cache.errors import InputError
from frostline.cache.keys import spec_values
from frostline.cache.stores.headers import keep_headers, read_headers
from frostline.cache.stores.part import BLOCK_BYTES, SECONDS, Part, damaged_part, read_part
from frostline.cache.stores.rows import read_run
from frostline.cache.versions import STAGES

# So many bytes of consecutive rows are read, and fewer taken from the map.
RUN_BYTES = 2 * BLOCK_BYTES
# Maps hold their file open, and a process may usually open 1,024: several stores fit.
MAPS = 128
LISTINGS = 20
LISTED = 8  # stores in a message


class Store:
    """Rows at rest, found by content key, read from memory-mapped parts.

    Attributes
    ----------
    folder : pathlib.Path
    parts : list of Part
        In order of their names; row numbers run through them.
    keys : numpy.ndarray, uint8 [n, 16]
        Content keys of all rows; a key that two writers wrote occurs twice.
    """

    def __init__(self, folder: Path, parts: list[Part]) -> None:
        self.folder = folder
        self._starts = np.cumsum([0, *map(len, parts)])
        self.keys = np.concatenate([part.keys for part in parts])
        # The parts' keys are views of all keys: ten million of them are held once.
        bounds = itertools.pairwise(self._starts)
        self.parts = [
            replace(part, keys=self.keys[start:stop])
            for part, (start, stop) in zip(parts, bounds, strict=True)
        ]
        self._checked: dict[int, np.ndarray] = {}
        self._moved: Store | None = None

    @classmethod
    def open(cls, folder: Path) -> Store:
        """Open the store in `folder`, checking the header of every part.

        Of many parts the headers are kept in one file, and taken from it next time
        (`frostline.cache.stores.headers`).

        Raises
        ------
        InputError
            If there is no part, or one is damaged, of a newer format, or of another store.
        """
        parts, stats, unknown = _read_parts(folder)
        if not parts:
            raise InputError(f"There is no store in {folder}: run `frostline extract` first.")
        for part in parts:
            if part.key != folder.name:
                raise damaged_part(part.path, f"it belongs to store {part.key}")
            if part.kind_of_rows() != parts[0].kind_of_rows():
                raise damaged_part(part.path, "its rows are of another shape or type")
        keep_headers(parts, stats, unknown)
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
        return {name: at for name, at in self.parts[0].provenance.items() if name != SECONDS}

    @property
    def seconds(self) -> float | None:
        """What embedding took, over all parts; None where one of them does not say.

        A pass that filled several stores counts as a whole in each.
        """
        said = [part.provenance.get(SECONDS) for part in self.parts]
        known = [float(one) for one in said if isinstance(one, int | float)]
        return sum(known) if len(known) == len(said) else None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one row."""
        return self.parts[0].shape[1:]

    @property
    def dtype(self) -> np.dtype:
        """Type of the values."""
        return self.parts[0].dtype

    def __len__(self) -> int:
        """Number of distinct keys."""
        return len(self._index[0])

    @cached_property
    def _index(self) -> tuple[np.ndarray, np.ndarray]:
        """First halves of the distinct keys, sorted, and their rows; of equal keys the first row.

        Of equal first halves the second halves decide.
        """
        high, low = _halves(self.keys)
        order = np.argsort(high)
        high = high[order]
        same = high[1:] == high[:-1]
        if not same.any():
            return high, order
        tied = np.flatnonzero(np.append(same, False) | np.append(False, same))
        rows = order[tied]
        order[tied] = rows[np.lexsort((rows, low[rows], high[tied]))]
        first = np.ones(len(order), bool)
        first[1:] = ~same | (low[order[1:]] != low[order[:-1]])
        return high[first], order[first]

    def locate(self, keys: np.ndarray) -> np.ndarray:
        """Find the row of each key (uint8 [m, 16]): int64 [m], -1 where the store lacks it."""
        high, rows = self._index
        low = _halves(self.keys)[1]
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
            hit = low[rows[at]] == wanted_low[open_]
            found[open_[hit]] = rows[at[hit]]
            open_ = open_[~hit]
            position[open_] += 1
        return found

    def distinct_rows(self) -> np.ndarray:
        """Return the numbers of the rows that `locate` finds, int64 [n], ascending."""
        if "_index" not in self.__dict__:
            high = np.sort(_halves(self.keys)[0])
            if (high[1:] != high[:-1]).all():
                return np.arange(len(high))  # without the cost of an index
        return np.sort(self._index[1])

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
            try:
                self._read_part(number, rows[mine] - self._starts[number], out, mine)
            except FileNotFoundError:
                # Compacted since the store was opened: the same rows are in another part now.
                self._moved = self._moved or Store.open(self.folder)
                out[mine] = self._moved.read(self._moved.locate(self.keys[rows[mine]]))
        return out

    def _read_part(self, number: int, rows: np.ndarray, out: np.ndarray, where: np.ndarray) -> None:
        """Read rows of one part to where they belong in `out`."""
        part = self.parts[number]
        if number not in self._checked:
            self._checked[number] = np.zeros(len(part.block_digest), bool)
        whole = out[where[0] : where[-1] + 1]
        if _is_run(rows) and _is_run(where) and whole.nbytes >= RUN_BYTES and _is_plain(whole):
            return read_run(part, int(rows[0]), whole, self._checked[number])
        values, checked = self._map(number), self._checked[number]
        for block in np.unique(rows // part.block_rows):
            if not checked[block]:
                part.check_block(values[slice(*part.block_span(block))], block)
                checked[block] = True
        out[where] = values[rows]

    @cached_property
    def _map(self) -> Callable[[int], np.ndarray]:
        """Map the values of a part by its number; of the parts read last, the maps are kept."""
        return lru_cache(MAPS)(lambda number: self.parts[number].values())

    def __getstate__(self) -> dict[str, Any]:
        # Each process maps the parts for itself and trusts only what it has checked.
        state = {name: value for name, value in self.__dict__.items() if name != "_map"}
        return {**state, "_checked": {}, "_moved": None}


def part_files(folder: Path) -> list[Path]:
    """List the parts in a folder, in order of their names."""
    return sorted(folder.glob("part-*.h5"))


def find_stores(folder: Path) -> list[Path]:
    """List the stores in `folder`, one sub-folder each, that have at least one part."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and part_files(path))


def store_spec(folder: Path) -> dict[str, Any]:
    """Read the spec of the store in `folder`, from its first part alone."""
    return read_part(part_files(folder)[0]).spec


def is_current(spec: Mapping[str, Any]) -> bool:
    """Say whether this release would compute by the formulas of a spec; imported ones are as is."""
    pixels = spec.get("pixels")
    stages = [("embeddings", spec), *([("pixels", pixels)] if isinstance(pixels, Mapping) else [])]
    return "imported" in spec or all(of.get("stage", 1) == STAGES[stage] for stage, of in stages)


def choose_store(folder: Path, key: str | None = None) -> Store:
    """Open the only store in `folder`, or the one whose key starts with `key`.

    Without a key, those that a release made by other formulas are not among them.

    Raises
    ------
    InputError
        If there is none, or several and `key` does not choose one; it lists how they differ.
    """
    found = find_stores(folder)
    matching = [path for path in found if path.name.startswith(key or "")]
    if matching and key is None:
        matching = [path for path in found if is_current(store_spec(path))]
        if not matching:
            raise InputError(
                f"The embeddings in {folder} were made by a release that computes them by other "
                "formulas: run `frostline extract` again, or take the old ones by --key."
            )
    if len(matching) == 1:
        return Store.open(matching[0])
    if not found:
        raise InputError(f"There is no store in {folder}: run `frostline extract` first.")
    if not matching:
        keys = ", ".join(path.name[:12] for path in found)
        raise InputError(
            f"No store in {folder} has a key that starts with {key!r}: there are {keys}."
        )
    raise several_stores(folder, {path.name: store_spec(path) for path in matching})


def several_stores(folder: Path, specs: Mapping[str, Mapping[str, Any]]) -> InputError:
    """Build the error for stores among which a user must choose: a line each.

    Parameters
    ----------
    specs : mapping
        Of each, by its key.
    """
    values = spec_values([*specs.values()])
    by_feature = ", or by --feature where a command has it" if "feature" in values else ""
    told = [
        (", ".join(f"{name} {of[place]}" for name, of in values.items()), key)
        for place, key in enumerate(specs)
    ]
    lines = [f"  {key[:12]}  {text}" for text, key in sorted(told)]
    more = f"  and {len(lines) - LISTED} more: `frostline cache ls` lists all."
    return InputError(
        f"{len(specs)} stores lie in {folder}: choose one by --key{by_feature}.",
        *lines[:LISTED],
        *([more] if len(lines) > LISTED else []),
    )


def _read_parts(folder: Path) -> tuple[list[Part], list[os.stat_result], int]:
    for _ in range(LISTINGS):
        try:
            paths = part_files(folder)
            return read_headers(paths) if paths else ([], [], 0)
        except FileNotFoundError:
            # A part was compacted away between listing and reading: list again.
            for path in part_files(folder):
                if path.is_symlink() and not path.exists():
                    raise InputError(
                        f"{path} is a link to nothing: mount the disk that it leads to, or delete "
                        "the link, so that its rows are computed again."
                    ) from None
    raise InputError(f"The parts in {folder} change too fast to be read: wait, and try again.")


def _is_run(numbers: np.ndarray) -> bool:
    """Say whether the numbers are consecutive."""
    return bool(numbers[-1] - numbers[0] + 1 == len(numbers) and (np.diff(numbers) == 1).all())


def _is_plain(out: np.ndarray) -> bool:
    return out.flags.c_contiguous and out.flags.writeable


def _halves(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    pairs = np.ascontiguousarray(keys, np.uint8).view(np.uint64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]
