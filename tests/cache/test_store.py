"""What is written is what is read, whatever the order, the parts, or the damage."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frostline.cache import (
    EMBEDDINGS,
    PIXELS,
    InputError,
    Store,
    StoreWriter,
    choose_store,
    part_files,
    spec_key,
)
from frostline.cache.stores import writer
from frostline.cache.stores.part import write_part
from frostline.cache.stores.store import MAPS
from frostline.cache.versions import STAGES

SPEC = {"feature": "cls", "pixels": {"geometry": {"crop": 224}}}


def rows(count: int, seed: int = 0, dim: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    keys = rng.integers(0, 256, (count, 16), dtype=np.uint8)
    return keys, rng.normal(size=(count, dim)).astype(np.float32)


def fill(folder: Path, *batches: tuple[np.ndarray, np.ndarray], kind: str = EMBEDDINGS) -> Path:
    place = folder / spec_key(SPEC)
    with StoreWriter(place, kind, SPEC, {"device": "cpu"}) as writer:
        for keys, values in batches:
            writer.append(keys, values)
            writer.flush()
    return place


@given(st.integers(1, 40), st.integers(1, 4), st.randoms(use_true_random=False))
def test_any_rows_in_any_parts_come_back_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, count: int, parts: int, random: object
) -> None:
    keys, values = rows(count, seed=random.randrange(1000))  # type: ignore[attr-defined]
    cuts = np.array_split(np.arange(count), parts)
    place = fill(
        tmp_path_factory.mktemp("s"), *((keys[cut], values[cut]) for cut in cuts if len(cut))
    )
    opened = Store.open(place)
    order = np.random.default_rng(count).permutation(count)
    np.testing.assert_array_equal(opened.read(opened.locate(keys[order])), values[order])
    assert len(opened) == count
    assert opened.spec == SPEC


def test_keys_that_share_their_first_half_are_told_apart(tmp_path: Path) -> None:
    keys, values = rows(6)
    keys[:, :8] = 7
    absent = keys[:1].copy()
    absent[0, 15] ^= 1
    opened = Store.open(fill(tmp_path, (keys, values)))
    np.testing.assert_array_equal(opened.read(opened.locate(keys)), values)
    assert opened.locate(absent).tolist() == [-1]


def test_a_key_in_two_parts_is_read_from_the_first(tmp_path: Path) -> None:
    keys, values = rows(4)
    opened = Store.open(fill(tmp_path, (keys, values), (keys[:2], values[:2] + 1)))
    assert (len(opened), len(opened.keys)) == (4, 6)
    np.testing.assert_array_equal(opened.read(opened.locate(keys)), values)


def test_parts_close_by_size_and_at_an_exception(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "PART_BYTES", 200)
    keys, values = rows(30)
    place = tmp_path / spec_key(SPEC)
    with (
        pytest.raises(KeyboardInterrupt),
        StoreWriter(place, EMBEDDINGS, SPEC, {}) as rows_of_store,
    ):
        for start in range(0, 28, 4):
            rows_of_store.append(keys[start : start + 4], values[start : start + 4])
        raise KeyboardInterrupt
    assert len(part_files(place)) == 3
    assert len(Store.open(place)) == 28


def test_parts_that_are_given_whole_are_written_side_by_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = threading.Barrier(2)

    def slow(*about: Any) -> Path:
        both.wait(30)
        return write_part(*about)

    monkeypatch.setattr(writer, "write_part", slow)
    keys, values = rows(8)
    place = tmp_path / spec_key(SPEC)
    with StoreWriter(place, EMBEDDINGS, SPEC, {}) as rows_of_store:
        for start in range(0, 8, 2):
            rows_of_store.write(keys[start : start + 2], values[start : start + 2])
    opened = Store.open(place)
    assert len(opened.parts) == 4
    np.testing.assert_array_equal(opened.read(opened.locate(keys)), values)


def test_parts_are_smaller_where_many_stores_are_filled_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "PART_BYTES", 200)
    monkeypatch.setattr(writer, "TOGETHER_BYTES", 600)
    keys, values = rows(30)
    parts = {}
    for together in (1, 3, 6):
        place = tmp_path / str(together) / spec_key(SPEC)
        with StoreWriter(place, EMBEDDINGS, SPEC, {}, together) as rows_of_store:
            rows_of_store.append(keys, values)
        parts[together] = len(part_files(place))
    assert parts == {1: 3, 3: 3, 6: 6}


def test_pixels_keep_their_shape_and_a_store_travels_to_another_process(tmp_path: Path) -> None:
    keys, _ = rows(3)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 8, 6, 3), dtype=np.uint8)
    opened = Store.open(fill(tmp_path, (keys, pixels), kind=PIXELS))
    opened.read(np.array([0]))
    copy = pickle.loads(pickle.dumps(opened))
    np.testing.assert_array_equal(copy.read(copy.locate(keys[::-1])), pixels[::-1])


MANY = """
import resource, sys
from pathlib import Path
import numpy as np
from frostline.cache.stores.store import MAPS, Store
resource.setrlimit(resource.RLIMIT_NOFILE, (MAPS + 60, MAPS + 60))
store = Store.open(Path(sys.argv[1]))
rows = np.random.default_rng(0).permutation(len(store.keys))
found = np.concatenate([store.read(rows[start : start + 7]) for start in range(0, len(rows), 7)])
assert len(store.parts) > MAPS + 60
assert (found == store.read(np.arange(len(rows)))[rows]).all()
"""


def test_more_parts_than_a_process_may_open_files(tmp_path: Path) -> None:
    store = fill(tmp_path, *(rows(2, seed) for seed in range(2 * MAPS)))
    done = subprocess.run(
        [sys.executable, "-c", MANY, store], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_values_lie_in_one_piece_and_can_be_read_with_h5py(tmp_path: Path) -> None:
    keys, values = rows(9)
    (part,) = part_files(fill(tmp_path, (keys, values)))
    with h5py.File(part) as file:
        assert file["values"].chunks is None
        np.testing.assert_array_equal(file["values"], values)
        assert (file.attrs["format"].decode(), file.attrs["format_version"]) == (EMBEDDINGS, 1)


@pytest.mark.parametrize("dataset", ["values", "content_key", "block_digest"])
def test_a_flipped_bit_is_found_and_named(tmp_path: Path, dataset: str) -> None:
    place = fill(tmp_path, rows(9))
    (part,) = part_files(place)
    with h5py.File(part) as file:
        offset = file[dataset].id.get_offset()
    data = bytearray(part.read_bytes())
    data[offset + 3] ^= 4
    part.write_bytes(data)
    with pytest.raises(InputError, match="is damaged") as caught:
        Store.open(place).read(np.arange(9))
    assert str(part) in str(caught.value)


@pytest.mark.parametrize("name", ["format", "key", "spec", "provenance", "block_rows"])
def test_a_changed_attribute_is_found(tmp_path: Path, name: str) -> None:
    place = fill(tmp_path, rows(9))
    (part,) = part_files(place)
    with h5py.File(part, "r+") as file:
        old = file.attrs[name]
        file.attrs[name] = old + 1 if name == "block_rows" else old.replace(b"f", b"g", 1) + b" "
    match = "is not a frostline-pix" if name == "format" else r"is damaged \(its header changed\)"
    with pytest.raises(InputError, match=match):
        Store.open(place)


def test_a_truncated_part_and_one_of_another_store_are_refused(tmp_path: Path) -> None:
    place = fill(tmp_path, rows(900))
    (part,) = part_files(place)
    whole = part.read_bytes()
    part.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="is damaged"):
        Store.open(place)
    part.write_bytes(whole)
    write_part(place, EMBEDDINGS, {"feature": "other"}, {}, *rows(2))
    with pytest.raises(InputError, match="it belongs to store"):
        Store.open(place)


def test_a_newer_format_asks_for_a_newer_release(tmp_path: Path) -> None:
    place = fill(tmp_path, rows(2))
    with h5py.File(part_files(place)[0], "r+") as file:
        file.attrs["format_version"] = 2
    with pytest.raises(InputError, match="reads up to 1: install a newer Frostline"):
        Store.open(place)


def test_links_to_other_files_are_refused(tmp_path: Path) -> None:
    place = fill(tmp_path, rows(2))
    with h5py.File(part_files(place)[0], "r+") as file:
        del file["values"]
        file["values"] = h5py.ExternalLink("/etc/other.h5", "values")
    with pytest.raises(InputError, match="is a link"):
        Store.open(place)


def test_the_only_store_is_taken_and_several_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run `frostline extract` first"):
        choose_store(tmp_path)
    place = fill(tmp_path, rows(2))
    assert choose_store(tmp_path).key == place.name
    other = {**SPEC, "feature": "mean"}
    write_part(tmp_path / spec_key(other), EMBEDDINGS, other, {}, *rows(2))
    with pytest.raises(InputError) as caught:
        choose_store(tmp_path)
    keys = {place.name: "cls", spec_key(other): "mean"}
    assert str(caught.value).splitlines() == [
        f"2 stores lie in {tmp_path}: choose one by --key, or by --feature where a command has it.",
        *(f"  {key[:12]}  feature {feature}" for key, feature in keys.items()),
    ]
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    assert choose_store(tmp_path, place.name[:6]).key == place.name
    with pytest.raises(InputError, match="No store in .* has a key that starts with 'zz'"):
        choose_store(tmp_path, "zz")


def test_many_stores_are_listed_by_what_tells_them_from_each_other(tmp_path: Path) -> None:
    protocols = [
        {"pixels": {"geometry": {"crop": crop}}, "normalisation": {"mean": [mean] * 3}}
        for crop, mean in ((224, 0.485123456789), (336, 0.485123456))
    ]
    for number, protocol in enumerate(protocols * 5):
        spec = {**SPEC, **protocol, "weights": "ab" * (16 - number // 9) + "cd"}
        spec |= {"feature": f"block:{number // 4}", "storage": number // 2 % 2}
        write_part(tmp_path / spec_key(spec), EMBEDDINGS, spec, {}, *rows(2))
    with pytest.raises(InputError) as caught:
        choose_store(tmp_path)
    first, *lines, last = str(caught.value).splitlines()
    assert first.startswith("10 stores lie in")
    assert last == "  and 2 more: `frostline cache ls` lists all."
    # Weights need their last letters to differ; the mean tells nothing that the size does not.
    known = r"weights (ab){16}cd, pixels.geometry.crop \d{3}, storage \d"
    expected = [rf"  [0-9a-f]{{12}}  feature block:{number}, {known}" for number in "00001111"]
    assert [bool(re.fullmatch(*pair)) for pair in zip(expected, lines, strict=True)] == [True] * 8


@pytest.mark.parametrize("stage", ["pixels", "embeddings"])
def test_a_store_of_other_formulas_is_never_the_only_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    old = fill(tmp_path, rows(2))
    theirs = {"backbone": "theirs", "imported": "ab"}
    write_part(tmp_path / "in" / spec_key(theirs), EMBEDDINGS, theirs, {}, *rows(2))
    monkeypatch.setitem(STAGES, stage, 2)
    with pytest.raises(InputError, match="by other formulas: run `frostline extract` again"):
        choose_store(tmp_path)
    assert choose_store(tmp_path, old.name[:6]).key == old.name  # named by who knows
    of_pixels = {**SPEC, "pixels": {**SPEC["pixels"], "stage": 2}}
    new = of_pixels if stage == "pixels" else {**SPEC, "stage": 2}
    write_part(tmp_path / spec_key(new), EMBEDDINGS, new, {}, *rows(2))
    assert choose_store(tmp_path).key == spec_key(new)
    assert choose_store(tmp_path / "in").key == spec_key(theirs)
