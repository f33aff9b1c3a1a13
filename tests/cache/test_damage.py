"""Whatever happens to a part's bytes is found by `verify`, named, and set aside."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from frostline.cache import EMBEDDINGS, InputError, Store, part_files, spec_key
from frostline.cache.stores.part import write_part
from frostline.cache.stores.verify import verify_store

from .conftest import SPEC, fill, rows

ATTRIBUTES = (
    "format",
    "format_version",
    "key",
    "spec",
    "provenance",
    "block_rows",
    "header_digest",
)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return fill(tmp_path, *rows(30))


def test_any_flipped_bit_is_found_or_changes_nothing(tmp_path: Path) -> None:
    """Values, keys and digests byte by byte; of the attributes and HDF5's own records every third.

    HDF5's records hold bytes that mean nothing; where a flip is not found, every row, key and
    attribute must be as it was.
    """
    keys, values = rows(10)
    store = fill(tmp_path, keys, values, parts=1)
    (path,) = part_files(store)
    whole = path.read_bytes()
    with h5py.File(path) as file:
        spans = [
            range(file[name].id.get_offset(), file[name].id.get_offset() + file[name].nbytes)
            for name in ("values", "content_key", "block_digest")
        ]
    meant = {place for span in spans for place in span}
    for place in sorted(meant | set(range(0, len(whole), 3))):
        path.write_bytes(flipped(whole, place))
        found = verify_store(store)
        if found:
            assert str(found[0]).startswith(str(path))
            continue
        assert place not in meant
        opened = Store.open(store)
        np.testing.assert_array_equal(opened.read(opened.locate(keys)), values)
        assert (opened.spec, opened.provenance) == (SPEC, {"device": "cpu"})
    path.write_bytes(whole)
    assert verify_store(store) == []


def flipped(whole: bytes, place: int) -> bytes:
    return whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_part_cut_short_is_found(store: Path, share: float) -> None:
    path = part_files(store)[0]
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    (sentence,) = map(str, verify_store(store))
    assert sentence.startswith(f"{path} is damaged (")
    assert "`frostline cache verify --repair`" in sentence


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_an_attribute_that_is_gone_or_other_is_found(store: Path, name: str) -> None:
    path = part_files(store)[0]
    whole = path.read_bytes()
    for change in (lambda a: a.__delitem__(name), lambda a: a.__setitem__(name, changed(a[name]))):
        path.write_bytes(whole)
        with h5py.File(path, "r+") as file:
            change(file.attrs)
        (sentence,) = map(str, verify_store(store))
        assert sentence.startswith(str(path))


def changed(value: object) -> object:
    return value + b" " if isinstance(value, bytes) else int(value) + 1  # type: ignore[call-overload]


def foreign(store: Path) -> None:
    other = {**SPEC, "feature": "mean"}
    write_part(store.parent / spec_key(other), EMBEDDINGS, other, {}, *rows(3, seed=1)).rename(
        store / "part-99999999999999999999-00000000.h5"
    )


def other_shape(store: Path) -> None:
    write_part(store, EMBEDDINGS, SPEC, {}, *rows(3, seed=1, dim=6))


@pytest.mark.parametrize(
    ("intruder", "why"), [(foreign, "it belongs to store"), (other_shape, "of another shape")]
)
def test_a_part_that_belongs_elsewhere_is_set_aside(
    store: Path, intruder: Callable[[Path], None], why: str
) -> None:
    intruder(store)
    with pytest.raises(InputError, match=why):
        Store.open(store)
    (sentence,) = map(str, verify_store(store, repair=True))
    assert why in sentence
    assert len(list(store.glob("damaged-part-*"))) == 1
    assert len(Store.open(store)) == 30


def test_a_part_that_is_a_link_to_nothing_is_named(store: Path) -> None:
    path = part_files(store)[0]
    path.rename(store / "elsewhere")
    path.symlink_to(store / "nothing")
    with pytest.raises(InputError, match="is a link to nothing: mount the disk") as caught:
        Store.open(store)
    assert str(path) in str(caught.value)
    path.unlink()
    path.symlink_to(store / "elsewhere")
    assert len(Store.open(store)) == 30


def test_a_part_of_a_newer_format_is_named_and_never_set_aside(store: Path) -> None:
    path = part_files(store)[0]
    with h5py.File(path, "r+") as file:
        file.attrs["format_version"] = 2
    (sentence,) = map(str, verify_store(store, repair=True))
    assert sentence == (
        f"{path} has format version 2, this release reads up to 1: install a newer Frostline."
    )
    assert len(part_files(store)) == 3
