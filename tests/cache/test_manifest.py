"""The manifest keeps what it is given, and refuses what cannot be right."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frostline.cache import InputError, Manifest, Workspace, read_manifest, write_manifest
from frostline.cache.keys import content_key
from frostline.cache.manifest import COLUMNS, FORMAT, FORMAT_VERSION, IMAGE_COLUMNS
from frostline.cache.stamped import parquet_parts, write_parquet
from frostline.cache.tables import limits
from frostline.extract.pixels import distinct_images, manifest_channels
from frostline.study.records import manifest_digests


def table(count: int = 4) -> pd.DataFrame:
    numbers = range(count)
    return pd.DataFrame(
        {
            "image_id": [f"a/{n}.png" for n in numbers],
            "path": [f"a/{n}.png" for n in numbers],
            "root": 0,
            "frame": pd.array([None, 3, None, None][:count], "Int64"),
            "label": ["x", "y", None, "x"][:count],
            "group_id": [f"p{n // 2}" for n in numbers],
            "split": ["train", "train", "test", None][:count],
            "file_key": [bytes([n]) * 16 for n in numbers],
            "content_key": [bytes([n, 1]) * 8 for n in numbers],
            "file_size": 10,
            "file_mtime_ns": 5,
            "width": pd.array([8] * count, "Int32"),
            "height": pd.array([8] * count, "Int32"),
            "mode": ["L"] * count,
            "format": ["PNG"] * count,
            "age": [3.5] * count,
        }
    )


def test_a_manifest_comes_back_as_it_was(tmp_path: Path) -> None:
    path = Workspace(tmp_path).manifest("set")
    write_manifest(path, Manifest(table(), {"dataset": "set", "roots": ["/data"]}))
    read = read_manifest(path)
    assert read.meta["roots"] == ["/data"]
    assert read.table["age"].tolist() == [3.5] * 4
    assert read.table["frame"].isna().tolist() == [True, False, True, True]
    assert read.file(1) == Path("/data/a/1.png")
    np.testing.assert_array_equal(read.keys()[:, 0], [0, 1, 2, 3])
    pd.testing.assert_frame_equal(read.table, read_manifest(path).table)


def test_the_digest_follows_labels_splits_groups_and_contents_but_not_order() -> None:
    whole = Manifest(table(), {})
    assert Manifest(table().iloc[::-1], {}).digest() == whole.digest()
    for column in ("label", "split", "group_id", "content_key"):
        changed = table()
        changed.loc[0, column] = b"z" * 16 if column == "content_key" else "val"
        assert Manifest(changed, {}).digest() != whole.digest(), column
    older = table().assign(file_mtime_ns=6, age=4)
    assert Manifest(older, {}).digest() == whole.digest()


def test_another_column_serves_as_label_or_split() -> None:
    manifest = Manifest(table().assign(grade=list("abcd")), {"dataset": "set"})
    assert manifest.images(label="grade")["label"].tolist() == list("abcd")
    with pytest.raises(InputError, match="'set' has no column 'stage' for the label: it has image"):
        manifest.images(label="stage")
    with pytest.raises(InputError, match="holds 'a': a split is one of train, val, test"):
        manifest.images(split="grade")


def test_ids_are_unique_and_paths_stay_inside(tmp_path: Path) -> None:
    doubled = table().assign(image_id="same")
    with pytest.raises(InputError, match="'same' occurs twice"):
        write_manifest(tmp_path / "m.parquet", Manifest(doubled, {}))
    outside = table().assign(path="../secret.png")
    with pytest.raises(InputError, match=r"'\.\./secret\.png' in .* leaves its root"):
        write_manifest(tmp_path / "m.parquet", Manifest(outside, {}))
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_a_manifest_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no data set 'set' .* `frostline index set"):
        read_manifest(Workspace(tmp_path).manifest("set"))
    plain = tmp_path / "plain.parquet"
    table().to_parquet(plain)
    with pytest.raises(InputError, match="is not a frostline-manifest file: put back a copy"):
        read_manifest(plain)
    with pytest.raises(InputError, match="cannot be a name"):
        Workspace(tmp_path).manifest("../up")


def test_a_frame_has_a_key_of_its_own() -> None:
    file = b"f" * 16
    assert content_key(file, None) == file
    assert len({content_key(file, frame) for frame in (None, 0, 1, 37)}) == 4


COLUMN_KINDS = {
    "image_id": st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    "frame": st.sampled_from([None, 0, 37, 2**62 - 1]),
    "label": st.none() | st.text('aü"\\]', min_size=1),
    "group_id": st.text("abü", min_size=1),
    "split": st.sampled_from(["train", "val", "test", None]),
    "file_key": st.binary(min_size=16, max_size=16),
    "pixel_key": st.none() | st.binary(min_size=16, max_size=16),
    "file_size": st.integers(0, 2**62),
    "width": st.none() | st.integers(1, 2**31 - 1),
    "mode": st.sampled_from(["L", "RGB", "I;16", None]),
    "format": st.sampled_from(["PNG", "JPEG", "NIfTI", None]),
    "text of mine": st.none() | st.text(st.characters(exclude_categories=["Cs"])),
    "number of mine": st.floats(allow_nan=False),
    "flag of mine": st.booleans(),
}
ROWS = st.lists(st.fixed_dictionaries(COLUMN_KINDS), max_size=12, unique_by=lambda r: r["image_id"])


def of_rows(rows: list[dict[str, Any]], roots: int = 3) -> Manifest:
    """A manifest of rows that say what COLUMN_KINDS says."""
    whole = pd.DataFrame(rows, columns=list(COLUMN_KINDS), dtype=object)
    whole = whole.assign(
        path=[f"{n % 2}/ü{n // 6}.png" for n in range(len(rows))],
        root=[n // 3 % roots for n in range(len(rows))],
        content_key=[content_key(row["file_key"], row["frame"]) for row in rows],
        file_mtime_ns=5,
        height=whole["width"],
    ).astype({"number of mine": float, "flag of mine": bool})
    return Manifest(whole, {"dataset": "set", "roots": [f"/data/{n}" for n in range(roots)]})


@settings(max_examples=25, deadline=None)
@given(rows=ROWS)
def test_every_kind_of_column_survives_writing_and_reading(rows: list[dict[str, Any]]) -> None:
    with TemporaryDirectory() as folder:
        path, given_ = Path(folder) / "set.parquet", of_rows(rows)
        write_manifest(path, given_)
        read = read_manifest(path)
        assert list(read.table.columns) == [*COLUMNS, *(n for n in given_.table if "mine" in n)]
        for name in read.table.columns:
            there = [None if pd.isna(value) else value for value in read.table[name]]
            assert there == [None if pd.isna(value) else value for value in given_.table[name]]
            assert name not in COLUMNS or read.table[name].dtype == COLUMNS[name]
        assert read.digest() == given_.digest()
        few = read_manifest(path, ["frame", "content_key"]).table
        pd.testing.assert_frame_equal(few, read.table[["frame", "content_key"]])


@settings(max_examples=25, deadline=None)
@given(rows=ROWS, count=st.integers(1, 5) | st.just(10**9 - 1))
def test_a_shard_is_read_as_it_stands_in_the_whole(rows: list[dict[str, Any]], count: int) -> None:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "BATCH_ROWS", 5)
        path = Path(folder) / "set.parquet"
        write_manifest(path, of_rows(rows))
        whole = read_manifest(path)
        share = [int.from_bytes(key, "big") % count for key in whole.table["file_key"]]
        for number in {*share, 0} if count > 5 else range(count):
            mine = read_manifest(path, shard=(number, count))
            expected = whole.table[np.asarray(share, int) == number].reset_index(drop=True)
            pd.testing.assert_frame_equal(mine.table, expected)
            assert manifest_channels(mine) == manifest_channels(whole)
            few = read_manifest(path, IMAGE_COLUMNS, (number, count))
            assert list(few.table.columns) == list(IMAGE_COLUMNS)
            pd.testing.assert_frame_equal(
                distinct_images(few, (number, count)), distinct_images(whole, (number, count))
            )


@settings(max_examples=25, deadline=None)
@given(rows=ROWS)
def test_distinct_images_are_sorted_by_file_and_frame(rows: list[dict[str, Any]]) -> None:
    manifest = of_rows(rows)
    seen: dict[bytes, tuple[str, bool, int, bytes]] = {}
    columns = ("content_key", "root", "path", "frame", "file_key")
    for key, root, path, frame, file in manifest.table[[*columns]].itertuples(index=False):
        none = pd.isna(frame)
        seen.setdefault(key, (f"/data/{root}/{path}", none, 0 if none else frame, file))
    found = distinct_images(manifest)
    expected = sorted(seen, key=lambda key: seen[key][:3])
    assert found["content_key"].tolist() == expected
    assert found["file"].tolist() == [seen[key][0] for key in expected]
    assert found["file_key"].tolist() == [seen[key][3] for key in expected]


def test_a_shard_takes_the_memory_of_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "BATCH_ROWS", 500)
    path, keys = tmp_path / "set.parquet", np.random.default_rng(0).bytes(20_000 * 16)
    several = table().loc[np.zeros(20_000, int)].reset_index(drop=True)
    several["image_id"] = several["path"] = [f"{'long/' * 40}{n}.png" for n in range(20_000)]
    several["file_key"] = [keys[16 * n : 16 * n + 16] for n in range(20_000)]
    write_manifest(path, Manifest(several.assign(content_key=several["file_key"]), {}))
    before, most = pa.default_memory_pool(), {}
    for shard in (None, (0, 50)):
        pool = pa.proxy_memory_pool(before)
        pa.set_memory_pool(pool)
        try:
            read_manifest(path, IMAGE_COLUMNS, shard)
        finally:
            pa.set_memory_pool(before)
        most[shard] = pool.max_memory()
    assert most[0, 50] < 0.6 * most[None]


def test_what_a_command_does_not_need_is_not_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "set.parquet"
    write_manifest(path, Manifest(table(), {}))
    without = pq.read_table(path).drop_columns(["split"])
    write_parquet(path, without.replace_schema_metadata(None), FORMAT, FORMAT_VERSION, {})
    assert len(read_manifest(path, IMAGE_COLUMNS)) == 4
    with pytest.raises(InputError, match=r"is damaged \(it has no column 'split'\): put back"):
        read_manifest(path)


@pytest.mark.parametrize("shard", [None, (0, 1)])
def test_a_bit_that_flips_anywhere_is_found(tmp_path: Path, shard: tuple[int, int] | None) -> None:
    path = tmp_path / "set.parquet"
    write_manifest(path, Manifest(table(), {"dataset": "set"}))
    whole = path.read_bytes()
    for place in range(0, len(whole), 3):
        flipped = bytes([whole[place] ^ 1 << place % 8])
        path.write_bytes(whole[:place] + flipped + whole[place + 1 :])
        with pytest.raises(InputError) as caught:
            read_manifest(path, ["content_key"], shard)
        assert str(caught.value).startswith(f"{path} ")
        assert "\n" not in str(caught.value)


def test_rows_are_of_the_file_that_was_checked(tmp_path: Path) -> None:
    path = tmp_path / "set.parquet"
    write_manifest(path, Manifest(table(), {"said": "old"}))
    with parquet_parts(path, FORMAT, FORMAT_VERSION) as (meta, _, rows):
        write_manifest(path, Manifest(table(2), {"said": "new"}))
        assert (meta["said"], sum(map(len, rows))) == ("old", 4)
    assert read_manifest(path).meta["said"] == "new"


WRITER = """
import sys, itertools
from pathlib import Path
from frostline.cache import read_manifest, write_manifest
path, both = Path(sys.argv[1]), [read_manifest(Path(name)) for name in sys.argv[2:]]
for manifest in itertools.cycle(both):
    write_manifest(path, manifest)
    print("written", flush=True)
"""


def test_killed_writers_leave_one_manifest_or_the_other(tmp_path: Path) -> None:
    path, sources = tmp_path / "place" / "set.parquet", []
    for count in (3, 4):
        sources.append(tmp_path / f"{count}.parquet")
        write_manifest(sources[-1], Manifest(table(count), {"count": count}))
    for wait in (0.0, 0.003, 0.011):
        command = [sys.executable, "-c", WRITER, str(path), *map(str, sources)]
        writers = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline()
        for _ in range(20):
            read = read_manifest(path)
            assert len(read) == read.meta["count"]
        time.sleep(wait)
        for writer in writers:
            writer.kill()
            writer.communicate()
        assert len(read_manifest(path)) == read_manifest(path).meta["count"]


@pytest.mark.parametrize(
    ("path", "stays"),
    [
        ("a/b.png", True),
        ("a..b/..c/d..", True),
        ("...", True),
        ("a/..\n", True),
        ("a\n/b", True),
        ("", True),
        ("/a", False),
        ("//a", False),
        ("..", False),
        ("../a", False),
        ("a/..", False),
        ("a//../b", False),
        ("a\n/../b", False),
        (None, False),
    ],
)
def test_a_path_stays_in_its_root(tmp_path: Path, path: str | None, stays: bool) -> None:
    manifest = Manifest(table(1).assign(path=pd.array([path], "string")), {})
    if stays:
        write_manifest(tmp_path / "m.parquet", manifest)
        assert read_manifest(tmp_path / "m.parquet").table["path"].tolist() == [path]
    else:
        with pytest.raises(InputError, match="leaves its root: paths must stay inside"):
            write_manifest(tmp_path / "m.parquet", manifest)


def test_digests_are_those_of_earlier_releases() -> None:
    """Run ids hang on them: these were computed before manifests were read in parts."""
    manifest = Manifest(table().assign(label=["x", 'ü"\\\n', None, "\u2028"]), {"dataset": "set"})
    assert manifest.digest() == "100942a5bb5f70a7e17a04797bed37aa"
    assert manifest_digests(manifest) == {
        "image_id": "d6768dbd814c3ad5",
        "content_key": "5260a61cdd1fcedf",
        "label": "69e9fcdf29b7b45c",
        "group_id": "380989b7aa64caa5",
        "split": "0459456e2b8cbe79",
    }
