"""The manifest keeps what it is given, and refuses what cannot be right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from frostline.cache import InputError, Manifest, Workspace, read_manifest, write_manifest
from frostline.cache.keys import content_key


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
