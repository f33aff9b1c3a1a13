"""`frostline.Embedder`: rows in, one part out; numbers and store are those of `extract`."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import frostline
from frostline import embedder as module
from frostline.cache import InputError, Store, part_files
from frostline.extract import embed

from .conftest import make_images

TINY = {"weights": "random", "image_size": 32}
NETWORK = "timm:test_vit"


@pytest.fixture
def ws(tmp_path: Path) -> frostline.Workspace:
    make_images(tmp_path / "images", 24)
    found = frostline.Workspace(tmp_path / "ws")
    found.index("mine", tmp_path / "images", group_pattern="(patient[0-9]+)")
    return found


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    yield
    module._loaded.clear()


def rows_of(ws: frostline.Workspace, key: str) -> dict[bytes, bytes]:
    store = Store.open(ws.paths.embeddings("mine", NETWORK) / key)
    keys = [one.tobytes() for one in store.keys]
    return dict(zip(keys, [row.tobytes() for row in store.read(np.arange(len(keys)))], strict=True))


def test_it_fills_the_store_of_extract_with_the_same_numbers(
    ws: frostline.Workspace, tmp_path: Path
) -> None:
    embedder = frostline.Embedder(ws.folder, "mine", NETWORK, **TINY)
    images = embedder.images()
    done = [embedder(images[start : start + 7]) for start in range(0, 24, 7)]
    table = pd.concat(done, ignore_index=True)
    assert table["embedded"].tolist() == [7, 7, 7, 3]
    (key,) = set(table["key"])
    folder = ws.paths.embeddings("mine", NETWORK) / key
    assert sorted(table["part"]) == [str(path) for path in part_files(folder)]
    assert embedder.images().empty
    here = rows_of(ws, key)
    assert ws.extract("mine", NETWORK, **TINY).store.key == key  # type: ignore[arg-type]
    assert len(part_files(folder)) == 4  # nothing was left to do
    alone = frostline.Workspace(tmp_path / "alone")
    alone.index("mine", tmp_path / "images", group_pattern="(patient[0-9]+)")
    assert alone.extract("mine", NETWORK, **TINY).store.key == key  # type: ignore[arg-type]
    assert rows_of(alone, key) == here


def test_what_is_there_is_not_computed_again(
    ws: frostline.Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = []
    load = frostline.Network.load
    monkeypatch.setattr(
        frostline.Network,
        "load",
        lambda *of: loaded.append(of) or load(*of),  # type: ignore[func-returns-value]
    )
    embedder = frostline.Embedder(ws.folder, "mine", NETWORK, feature="blocks", **TINY)
    images = embedder.images()
    first = embedder(pd.concat([images[:5], images[:5]]))
    assert first["feature"].is_unique
    assert first[["images", "embedded"]].drop_duplicates().values.tolist() == [[5, 5]]
    # Another store of the pass lacks what this one has.
    Path(first["part"].iat[0]).unlink()
    second = pickle.loads(pickle.dumps(embedder))(images[:5])
    assert second["embedded"].tolist() == [5] + [0] * (len(second) - 1)
    assert second["part"].isna().tolist() == [False] + [True] * (len(second) - 1)
    assert pickle.loads(pickle.dumps(embedder))(images[:5])["embedded"].sum() == 0
    assert len(loaded) == 1  # of three copies


def test_it_computes_what_another_wrote_meanwhile_only_where_both_had_begun(
    ws: frostline.Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder = frostline.Embedder(ws.folder, "mine", NETWORK, **TINY)
    images, begun = embedder.images(), embed._embed

    def twice(*of: object) -> None:  # the other does the same shard between our look and our work
        monkeypatch.setattr(embed, "_embed", begun)
        other = frostline.Embedder(ws.folder, "mine", NETWORK, **TINY)
        assert other._filler().fill(images[:6], one_part=True)[0].embedded == 6
        begun(*of)  # type: ignore[arg-type]

    monkeypatch.setattr(embed, "_embed", twice)
    table = embedder(images[:6])
    assert table["embedded"].tolist() == [6]
    folder = ws.paths.embeddings("mine", NETWORK) / table["key"].iat[0]
    assert len(part_files(folder)) == 2
    assert len(Store.open(folder)) == 6
    assert ws.extract("mine", NETWORK, **TINY).store.key == folder.name  # type: ignore[arg-type]
    assert len(Store.open(folder)) == 24


def test_one_part_however_long_a_call_takes(
    ws: frostline.Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("frostline.cache.stores.writer.PART_SECONDS", 0.0)
    monkeypatch.setattr("frostline.cache.stores.writer.PART_BYTES", 1)
    ws.machine = frostline.Machine(batch=2, keep_pixels=False)
    embedder = frostline.Embedder(ws, "mine", NETWORK, **TINY)
    table = embedder(embedder.images())
    folder = ws.paths.embeddings("mine", NETWORK) / table["key"].iat[0]
    assert [str(path) for path in part_files(folder)] == table["part"].tolist()
    assert len(Store.open(folder)) == 24
    assert not (ws.folder / "pixels").exists()


def test_rows_that_are_not_the_data_sets_are_refused(ws: frostline.Workspace) -> None:
    embedder = frostline.Embedder(ws.folder, "mine", NETWORK, **TINY)
    images = embedder.images()
    with pytest.raises(InputError, match=r"^The rows to embed have no column 'file_key': give "):
        embedder(images.drop(columns="file_key"))
    swapped = images.assign(content_key=list(images["content_key"][::-1]))
    with pytest.raises(InputError, match=r"^The content key of .*\.png is not its own: give rows"):
        embedder(swapped)
    # Nor can keys be given to another file.
    with pytest.raises(InputError, match=r"^Image .*\.png changed after it was indexed"):
        embedder(images.assign(file=list(images["file"][::-1])))
    with pytest.raises(InputError, match=r"^There is no data set 'other' in workspace "):
        frostline.Embedder(ws.folder, "other", NETWORK).images()


def test_an_image_that_cannot_be_read_is_left_out_and_counted(ws: frostline.Workspace) -> None:
    machine = frostline.Machine(on_error="skip")
    embedder = frostline.Embedder(ws.folder, "mine", NETWORK, machine=machine, **TINY)
    images = embedder.images()
    gone = Path(images["file"][2])
    gone.unlink()
    for embedded, there in ((3, True), (0, False)):
        with pytest.warns(UserWarning, match=rf"^Skipped: Cannot read image {gone}: there is no"):
            table = embedder(images[:4])
        assert table[["images", "embedded", "skipped"]].values.tolist() == [[4, embedded, 1]]
        assert table["part"].notna().tolist() == [there]


def test_shards_are_cut_between_files(
    ws: frostline.Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder = frostline.Embedder(ws.folder, "mine", NETWORK, **TINY)
    assert [len(shard) for shard in embedder.shards(10)] == [10, 10, 4]
    files = [*"a" * 3, *"b" * 9, *"c" * 12]
    images = embedder.images().assign(file=files)
    monkeypatch.setattr(embedder, "images", lambda: images)
    assert [len(shard) for shard in embedder.shards(2)] == [3, 9, 12]
    assert [len(shard) for shard in embedder.shards(4)] == [12, 12]
    pd.testing.assert_frame_equal(pd.concat(embedder.shards(5)), images)
    with pytest.raises(InputError, match=r"^A shard has at least 1 image, not 0\.$"):
        embedder.shards(0)
