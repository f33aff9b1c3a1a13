"""Long runs of rows are read by another way than single rows: the same rows, the same checks."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frostline.cache import InputError, Store, part_files
from frostline.cache.stores import part, store

from .conftest import fill, rows

KEYS, VALUES = rows(200)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "RUN_BYTES", 1)
    monkeypatch.setattr(part, "BLOCK_BYTES", 140)  # seven rows a block


@given(st.integers(0, 199), st.integers(1, 200), st.integers(1, 4))
def test_any_run_of_rows(
    tmp_path_factory: pytest.TempPathFactory, first: int, count: int, parts: int
) -> None:
    opened = Store.open(fill(tmp_path_factory.mktemp("s"), KEYS, VALUES, parts))
    mine = np.arange(first, min(first + count, 200))
    np.testing.assert_array_equal(opened.read(mine), VALUES[mine])
    np.testing.assert_array_equal(opened.read(mine[::-1]), VALUES[mine[::-1]])
    out = np.zeros((len(mine) + 2, 5), np.float32)
    opened.read(mine, out[1:-1])
    np.testing.assert_array_equal(out[1:-1], VALUES[mine])
    assert not out[[0, -1]].any()


def test_a_flipped_bit_is_found_in_every_row_and_only_when_it_is_touched(tmp_path: Path) -> None:
    place = fill(tmp_path, KEYS, VALUES, parts=1)
    (path,) = part_files(place)
    whole = path.read_bytes()
    with h5py.File(path) as file:
        offset = file["values"].id.get_offset()
    for row in (0, 6, 7, 100, 195, 199):
        data = bytearray(whole)
        data[offset + 20 * row] ^= 1
        path.write_bytes(data)
        low, high = row // 7 * 7, min(row // 7 * 7 + 6, 199)
        with pytest.raises(InputError, match=f"rows {low} to {high} changed"):
            Store.open(place).read(np.arange(200))
        with pytest.raises(InputError, match=f"rows {low} to {high} changed"):
            Store.open(place).read(np.arange(row, min(row + 3, 200)))
        opened = Store.open(place)
        far = np.arange(40, 80)
        np.testing.assert_array_equal(opened.read(far), VALUES[far])


def test_a_file_that_shrinks_after_opening_is_named(tmp_path: Path) -> None:
    place = fill(tmp_path, KEYS, VALUES, parts=1)
    opened = Store.open(place)
    (path,) = part_files(place)
    path.write_bytes(path.read_bytes()[:1500])
    with pytest.raises(InputError, match="it ends at row"):
        opened.read(np.arange(200))
