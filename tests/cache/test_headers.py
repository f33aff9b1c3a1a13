"""The headers of many parts are kept once, and never believed against the parts themselves."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from frostline.cache import InputError, Store, part_files
from frostline.cache.stamped import read_parquet, write_parquet
from frostline.cache.stores import headers
from frostline.cache.stores.compact import compact_store
from frostline.cache.stores.verify import verify_store

from .conftest import fill, rows

KEYS, VALUES = rows(30)


@pytest.fixture(autouse=True)
def parts_read(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Two parts are few; names of the parts that were opened as HDF5 are collected."""
    names: list[str] = []
    plain = headers.read_part
    monkeypatch.setattr(headers, "FEW", 2)
    monkeypatch.setattr(headers, "read_part", lambda path: names.append(path.name) or plain(path))
    return names


@pytest.fixture
def store(tmp_path: Path, parts_read: list[str]) -> Path:
    place = fill(tmp_path, KEYS, VALUES, parts=5)
    Store.open(place)
    assert sorted(parts_read) == [path.name for path in part_files(place)]
    assert (place / headers.NAME).is_file()
    parts_read.clear()
    return place


def assert_whole(place: Path) -> None:
    opened = Store.open(place)
    np.testing.assert_array_equal(opened.read(opened.locate(KEYS)), VALUES)


def test_parts_that_are_known_are_not_opened(store: Path, parts_read: list[str]) -> None:
    known = Store.open(store)
    assert parts_read == []
    (store / headers.NAME).unlink()
    new = Store.open(store)
    assert len(parts_read) == 5
    for one, other in zip(known.parts, new.parts, strict=True):
        mine, theirs = vars(one), vars(other)
        for name in ("keys", "block_digest"):
            np.testing.assert_array_equal(mine.pop(name), theirs.pop(name))
        assert mine == theirs
    assert_whole(store)


def test_few_parts_leave_no_file(tmp_path: Path) -> None:
    place = fill(tmp_path, KEYS, VALUES, parts=2)
    assert_whole(place)
    assert not (place / headers.NAME).exists()


def test_parts_that_come_and_go(store: Path, parts_read: list[str]) -> None:
    first = part_files(store)[0]
    first.rename(store / f"damaged-{first.name}")
    assert len(Store.open(store)) == 24
    fill(store.parent, KEYS[:6], VALUES[:6], parts=1)
    assert_whole(store)
    assert parts_read == [part_files(store)[-1].name]
    assert compact_store(store)[0] == 5
    assert not (store / headers.NAME).exists()
    assert_whole(store)


def test_a_store_of_which_nothing_is_kept_goes_with_its_headers(store: Path) -> None:
    compact_store(store, keep=np.zeros((0, 16), np.uint8))
    assert not store.exists()


@pytest.mark.parametrize("same_time", [True, False])
def test_a_part_that_changed_is_found(store: Path, parts_read: list[str], same_time: bool) -> None:
    path, part = part_files(store)[2], Store.open(store).parts[2]
    whole, stat = bytearray(path.read_bytes()), path.stat()
    whole[part.offset] ^= 1
    path.write_bytes(whole)
    time = stat.st_mtime_ns + (0 if same_time else 1)
    os.utime(path, ns=(stat.st_atime_ns, time))
    opened = Store.open(store)
    assert parts_read == ([] if same_time else [path.name])
    with pytest.raises(InputError, match="rows 0 to 5 changed"):
        opened.read(opened.locate(KEYS))
    assert [str(path) in str(one) for one in verify_store(store)] == [True]


def test_a_part_that_is_cut_short_is_found(store: Path) -> None:
    path = part_files(store)[2]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="is damaged"):
        Store.open(store)


def test_damaged_headers_are_read_from_the_parts_again(store: Path, parts_read: list[str]) -> None:
    path = store / headers.NAME
    whole = path.read_bytes()
    for place in range(0, len(whole), 97):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        assert_whole(store)
        assert len(parts_read) == 5
        parts_read.clear()
    assert_whole(store)
    assert parts_read == []


LIES = {
    "spec": {"feature": "another"},
    "kind": "frostline-manifest",
    "dtype": "object",
    "shape": [-5],
    "offset": [1 << 40] * 5,
    "rows": [-1] * 5,
    "block_digest": [b""] * 5,
    "content_key": [b"short"] * 5,
    "block_rows": [0] * 5,
    "provenance": ["{"] * 5,
    "size": None,
}


@pytest.mark.parametrize("name", LIES)
def test_headers_that_cannot_be_are_not_believed(
    store: Path, parts_read: list[str], name: str
) -> None:
    path = store / headers.NAME
    table, facts = read_parquet(path, headers.FORMAT, headers.VERSION)
    table = table.replace_schema_metadata(None)
    if name in facts:
        facts[name] = LIES[name]
        facts["shape"] = [] if name == "dtype" else facts["shape"]
    else:
        place = table.column_names.index(name)
        table = table.remove_column(place)
        if LIES[name] is not None:
            table = table.add_column(place, name, [LIES[name]])
    write_parquet(path, table, headers.FORMAT, headers.VERSION, facts)
    assert_whole(store)
    assert len(parts_read) == 5


def test_a_folder_where_nobody_may_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts_read: list[str]
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(headers, "write_parquet", refuse)
    place = fill(tmp_path, KEYS, VALUES, parts=5)
    assert_whole(place)
    assert_whole(place)
    assert len(parts_read) == 10
