"""One part of many, at any moment, and nothing lost that a manifest needs."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from frostline.cache import (
    EMBEDDINGS,
    InputError,
    Store,
    StoreWriter,
    Workspace,
    part_files,
    read_manifest,
    spec_key,
    write_manifest,
)
from frostline.cache.atomic import atomic_write
from frostline.cache.garbage import delete_garbage, find_garbage
from frostline.cache.listing import describe_store, workspace_stores
from frostline.cache.stores import compact as compact_module
from frostline.cache.stores.compact import compact_store

from .conftest import SPEC, fill, rows


def check(place: Path, keys: np.ndarray, values: np.ndarray) -> None:
    opened = Store.open(place)
    np.testing.assert_array_equal(opened.read(opened.locate(keys)), values)


def test_many_parts_become_one_with_the_same_rows(tmp_path: Path) -> None:
    keys, values = rows(3000, dim=200)
    place = fill(tmp_path, keys, values, parts=7)
    fill(tmp_path, keys[:5], values[:5] + 1, parts=1)  # the same keys again: the first ones count
    assert compact_store(place) == (8, 0)
    assert len(part_files(place)) == 1
    check(place, keys, values)
    assert len(Store.open(place).keys) == 3000
    part = part_files(place)
    assert compact_store(place) == (1, 0)
    assert part_files(place) == part


def test_a_reader_that_was_there_before_reads_on(tmp_path: Path) -> None:
    keys, values = rows(40)
    place = fill(tmp_path, keys, values)
    opened = Store.open(place)
    mapped = Store.open(place)
    mapped.read(np.arange(40))
    compact_store(place)
    for reader in (opened, mapped, pickle.loads(pickle.dumps(mapped))):
        np.testing.assert_array_equal(reader.read(reader.locate(keys[::-1])), values[::-1])


def test_damage_stops_it_and_everything_stays(tmp_path: Path) -> None:
    place = fill(tmp_path, *rows(40))
    before = part_files(place)
    data = bytearray(before[1].read_bytes())
    place_of_values = data.find(rows(40)[1][14].tobytes())
    data[place_of_values] ^= 1
    before[1].write_bytes(data)
    with pytest.raises(InputError, match="is damaged"):
        compact_store(place)
    assert part_files(place) == before
    assert list(place.glob(".tmp-*")) == []


def test_only_one_process_compacts_and_its_lock_ends_with_it(tmp_path: Path) -> None:
    place = fill(tmp_path, *rows(6))
    with (
        compact_module.locked(place),
        pytest.raises(InputError, match="Another process is compacting"),
    ):
        compact_store(place)
    assert compact_store(place) == (3, 0)


def _compact_slowly(place: Path, seconds: float) -> None:
    write = compact_module.write_rows

    def slow(*arguments: object) -> Path:
        merged = write(*arguments)  # type: ignore[arg-type]
        time.sleep(seconds)
        return merged

    compact_module.write_rows = slow
    compact_store(place)


def test_killed_between_writing_and_deleting_every_row_is_there(tmp_path: Path) -> None:
    keys, values = rows(30)
    place = fill(tmp_path, keys, values)
    process = multiprocessing.get_context("fork").Process(target=_compact_slowly, args=(place, 60))
    process.start()
    while len(part_files(place)) < 4:
        time.sleep(0.01)
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    check(place, keys, values)
    assert compact_store(place) == (4, 0)
    check(place, keys, values)


def test_writers_and_readers_work_while_it_compacts_again_and_again(tmp_path: Path) -> None:
    keys, values = rows(400)
    place = fill(tmp_path, keys[:10], values[:10])
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write, args=(place, share, 2)) for share in range(2)]
    for process in writers:
        process.start()
    while any(process.is_alive() for process in writers):
        compact_store(place)
        check(place, keys[:10], values[:10])
    for process in writers:
        process.join()
        assert process.exitcode == 0
    check(place, keys, values)


def _write(place: Path, share: int, of: int) -> None:
    keys, values = rows(400)
    mine = np.arange(10, 400)[share::of]
    with StoreWriter(place, EMBEDDINGS, SPEC, {}) as writer:
        for row in mine.reshape(-1, 5):
            writer.append(keys[row], values[row])
            writer.flush()


def test_what_no_manifest_needs_is_shown_then_deleted(workspace: Workspace) -> None:
    keys, values = rows(12)
    manifest = read_manifest(workspace.manifest("set"))
    manifest.table = manifest.table.iloc[:9]
    write_manifest(workspace.manifest("set"), manifest)
    place = workspace.embeddings("set", "timm:tiny") / spec_key(SPEC)
    (place / "damaged-part-x.h5").write_bytes(b"x")
    (place / ".tmp-dead").write_bytes(b"x")
    plan = find_garbage(workspace)
    (found,) = plan.garbage
    assert (found.rows, found.of, len(found.files), plan.refused) == (3, 12, 2, [])
    check(place, keys, values)
    delete_garbage(workspace, found)
    check(place, keys[:9], values[:9])
    assert Store.open(place).locate(keys[9:]).tolist() == [-1] * 3
    assert find_garbage(workspace).garbage == []
    assert sorted(path.name[:5] for path in place.iterdir()) == ["lock", "part-"]


def test_what_dead_writers_left_anywhere_is_deleted(workspace: Workspace) -> None:
    folders = ["models/run", "predictions", "sweeps/cells", "reports/study/figures", "."]
    left = [workspace.root / folder / ".tmp-0123abcd-name.parquet" for folder in folders]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    with atomic_write(workspace.root / "models" / "run" / "mine") as mine:  # of one that lives
        plan = find_garbage(workspace)
        assert sorted(one.folder for one in plan.garbage) == sorted(path.parent for path in left)
        for one in plan.garbage:
            delete_garbage(workspace, one)
        assert [path for path in left if path.exists()] == []
        assert mine.exists()
    assert find_garbage(workspace).garbage == []


def test_a_store_of_which_nothing_is_needed_goes(workspace: Workspace) -> None:
    manifest = read_manifest(workspace.manifest("set"))
    manifest.table["content_key"] = [bytes([n]) * 16 for n in range(12)]
    write_manifest(workspace.manifest("set"), manifest)
    (found,) = find_garbage(workspace).garbage
    delete_garbage(workspace, found)
    assert workspace_stores(workspace) == []
    assert not found.folder.exists()


@pytest.mark.parametrize("damage", ["missing", "unreadable"])
def test_without_a_readable_manifest_nothing_is_decided(workspace: Workspace, damage: str) -> None:
    path = workspace.manifest("set")
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(b"no Parquet")
    plan = find_garbage(workspace)
    assert plan.garbage == []
    (sentence,) = plan.refused
    assert "is left as it is: " in sentence
    assert ("There is no data set" if damage == "missing" else "is damaged (") in sentence


def test_a_store_is_described_even_when_damaged(workspace: Workspace) -> None:
    (folder,) = workspace_stores(workspace)
    about = describe_store(workspace, folder)
    assert (about["dataset"], about["backbone"]) == ("set", "timm:tiny")
    assert (about["rows"], about["needed"], about["wanted"], about["parts"]) == (12, 12, 12, 3)
    assert 0 <= about["age_seconds"] < 600
    part_files(folder)[0].write_bytes(b"x")
    assert "is damaged" in describe_store(workspace, folder)["damaged"]


def test_seconds_of_parts_add_up_and_survive_a_merge(tmp_path: Path) -> None:
    keys, values = rows(8)
    place = tmp_path / spec_key(SPEC)
    since = time.monotonic() - 100
    with StoreWriter(place, EMBEDDINGS, SPEC, {"device": "cpu"}, since=since) as writer:
        writer.append(keys[:4], values[:4])
        writer.flush()
        time.sleep(0.1)
        writer.append(keys[4:], values[4:])
        writer.flush()
        writer.flush()  # of no rows is no part
    first, second = (part.provenance["seconds"] for part in Store.open(place).parts)
    assert 100 <= first < 110
    assert 0.1 <= second < 10
    assert Store.open(place).seconds == pytest.approx(first + second)
    assert Store.open(place).provenance == {"device": "cpu"}
    compact_store(place)
    (merged,) = Store.open(place).parts
    assert merged.provenance == {"device": "cpu", "seconds": pytest.approx(first + second)}
    # One part that does not say, as of an older release, and the time is not known.
    fill(tmp_path, *rows(3, seed=1), parts=1)
    assert Store.open(place).seconds is None
    compact_store(place)
    assert Store.open(place).seconds is None
