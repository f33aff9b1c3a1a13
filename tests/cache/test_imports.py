"""What `cache import` takes of a file: vectors, never a label or an index next to them."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from frostline.cache import InputError, Manifest, Workspace, read_manifest, write_manifest
from frostline.cache.imports import import_embeddings, read_vectors
from frostline.cache.tables import limits
from frostline.cache.tables.matching import match_images
from frostline.cache.tables.telling import telling_columns

RNG = np.random.default_rng(0)
IDS = [f"a/{number}.png" for number in range(12)]
X = RNG.normal(size=(12, 4)).astype(np.float32)
TABLE = pd.DataFrame({"image_id": IDS, **{f"f{n}": X[:, n] for n in range(4)}})


def refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_vectors(path)
    return str(caught.value).removeprefix(f"{path} ")


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_an_index_a_target_and_a_label_are_no_features(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"t.{suffix}"
    extra = {"y": [0, 1] * 6, "label": ["x", "y"] * 6, "stage2": 2, "Unnamed: 0": range(12)}
    frame = TABLE.assign(**extra).rename_axis("row")
    frame.to_csv(path) if suffix == "csv" else frame.to_parquet(path)
    found = read_vectors(path)
    np.testing.assert_allclose(found.values, X, rtol=1e-6)
    assert (found.taken, found.names) == ("columns f0…f3", ("f0", "f1", "f2", "f3"))
    assert set(found.left_out) >= set(extra)


def test_numbers_order_the_columns(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    names = {f"f{n}": str(n + 1) for n in range(4)}
    TABLE.rename(columns=names)[["4", "2", "image_id", "1", "3"]].to_csv(path, index=False)
    assert read_vectors(path).names == ("1", "2", "3", "4")
    np.testing.assert_allclose(read_vectors(path).values, X, rtol=1e-6)


@pytest.mark.parametrize("suffix", ["csv", "parquet", "npz"])
def test_a_mapping_names_what_the_file_calls_otherwise(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"t.{suffix}"
    frame = TABLE.rename(columns={"image_id": "file"}).assign(prob_0=0.5, prob_1=0.5, image_id="x")
    columns = {"image_id": "file", "embedding": "f*"}
    if suffix == "npz":
        np.savez(path, names=np.array(IDS), features=X)
        columns = {"image_id": "names", "embedding": "features"}
    else:
        frame.to_csv(path, index=False) if suffix == "csv" else frame.to_parquet(path)
    found = read_vectors(path, columns)
    assert found.ids.tolist() == IDS
    np.testing.assert_allclose(found.values, X, rtol=1e-6)
    assert found.taken == ("array features" if suffix == "npz" else "columns f0…f3")
    lists = TABLE[["image_id"]].assign(vector=list(X), f0=1.0, f1=2.0)
    lists.to_parquet(tmp_path / "lists.parquet")
    found = read_vectors(tmp_path / "lists.parquet", {"embedding": "vector"})
    np.testing.assert_array_equal(found.values, X)


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"image_id": "name"}, "{} has no column name, which --columns names for image_id, but "),
        ({"embedding": "g*"}, "{} has no column like g*, which --columns names for embedding, "),
        ({"embedding": "f*", "image_id": "f*"}, "--columns takes f* for embedding and image_id: "),
        ({"image_id": "f*"}, "--columns image_id=f* has a star where none can be: in embedding"),
        ({"embedding": "*f*"}, "--columns embedding=*f* has a star where none can be: in embed"),
        (
            {"label": "f0"},
            "--columns names 'label', which is no column of embeddings: choose from ",
        ),
        ({}, "--columns is empty: name at least one column, or leave it out."),
    ],
)
def test_a_wrong_mapping_is_a_sentence(
    tmp_path: Path, columns: dict[str, str], sentence: str
) -> None:
    path = tmp_path / "t.csv"
    TABLE.to_csv(path, index=False)
    with pytest.raises(InputError) as caught:
        read_vectors(path, columns)
    assert str(caught.value).startswith(sentence.format(path))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda t: t.assign(prob_0=0.5, prob_1=0.5),
            "has several families of numbered columns, f0…f3 and prob_0…prob_1: keep those of the "
            "embeddings alone.",
        ),
        (
            lambda t: t.drop(columns="f2"),
            "has columns f0…f3, and the one before 'f3' is not there: a part of the embeddings is ",
        ),
        (
            lambda t: t.drop(columns=["f0", "f1"]),
            "has columns f2…f3, and the one before 'f2' is not there: a part of the embeddings is ",
        ),
        (
            lambda t: t[["image_id", "f0"]].rename(columns={"f0": "mean"}),
            "has no numbered columns, but 'mean': call those of the embeddings e0, e1, ….",
        ),
        (lambda t: t.rename(columns={"image_id": "id"}), "has no column 'image_id', but 'id', "),
    ],
)
def test_which_columns_are_meant_must_be_clear(tmp_path: Path, change: Any, sentence: str) -> None:
    change(TABLE).to_csv(tmp_path / "t.csv", index=False)
    assert refused(tmp_path / "t.csv").startswith(sentence)


def test_words_among_the_numbers_are_named(tmp_path: Path) -> None:
    TABLE.astype({"f1": str}).replace({"f1": {str(X[5, 1]): "high"}}).to_csv(tmp_path / "t.csv")
    assert "Column 'f1' of" in refused(tmp_path / "t.csv")


def test_what_was_taken_is_said(workspace: Workspace, tmp_path: Path) -> None:
    TABLE.assign(y=[0, 1] * 6).to_csv(tmp_path / "t.csv")
    assert str(import_embeddings(workspace, "set", "theirs", tmp_path / "t.csv")).startswith(
        "Imported 12 embeddings; skipped 0 rows of no image of the data set; images without an "
        "embedding: 0. Taken: columns f0…f3, 4 features. Left out: 'Unnamed: 0', 'y'. Key "
    )


def many(workspace: Workspace, count: int) -> list[str]:
    """Give the data set `set` more images, the classes one after the other."""
    manifest = read_manifest(workspace.manifest("set"))
    rows = manifest.table.iloc[np.zeros(count, int)].reset_index(drop=True)
    rows["image_id"] = [f"{number}.png" for number in range(count)]
    rows["label"] = ["xyz"[3 * number // count] for number in range(count)]
    rows["content_key"] = [number.to_bytes(16, "big") for number in range(count)]
    write_manifest(workspace.manifest("set"), Manifest(rows, manifest.meta))
    return rows["image_id"].tolist()


def test_a_column_that_tells_the_class_is_warned_of(
    workspace: Workspace, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    ids = many(workspace, 90)
    noise = RNG.normal(size=(90, 16))
    np.savez(tmp_path / "noise.npz", image_id=ids, X=noise)
    import_embeddings(workspace, "set", "noise", tmp_path / "noise.npz")
    assert not recwarn.list
    noise[:, 3] = np.arange(90)
    np.savez(tmp_path / "index.npz", image_id=ids, X=noise)
    with pytest.warns(UserWarning, match=r"index.npz: 'X\[:, 3\]' alone tells the class of more"):
        import_embeddings(workspace, "set", "index", tmp_path / "index.npz")
    np.savez(tmp_path / "same.npz", image_id=ids, X=np.ones((90, 3)))
    with pytest.warns(UserWarning, match="same.npz: all 90 embeddings are the same, so they"):
        import_embeddings(workspace, "set", "same", tmp_path / "same.npz")


def test_telling_columns_are_few_by_chance() -> None:
    for images in (20, 60, 5_000):
        rare = ["rare"] * 5 + ["common"] * (images - 5)
        assert telling_columns(RNG.normal(size=(images, 300)), rare) == {}
    assert telling_columns(np.arange(10.0)[:, None], ["a"] * 5 + ["b"] * 5) == {}
    assert telling_columns(np.arange(20.0)[:, None], ["a"] * 10 + ["b"] * 10) == {0: 1.0}


def npy(shape: str, data: bytes = b"", kind: str = "<f4") -> bytes:
    """Write an array whose header says what it likes."""
    head = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}}}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head.encode() + data


def write_zip(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(f"{name}.npy", data)
    return path


def saved(*arrays: Any, **named: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, *arrays, **named)
    return file.getvalue()


WHOLE = saved(image_id=np.array(IDS), X=X)
FILES = {
    "empty.npz": b"",
    "cut.npz": WHOLE[: len(WHOLE) // 2],
    "text.npz": b"image_id,f0\n",
    "no_ids.npz": saved(X=X),
    "objects.npz": saved(image_id=np.array(IDS, object), X=X),
    "short.npz": saved(image_id=IDS, X=X[:5]),
    "flat.npz": saved(image_id=IDS, X=X[:, 0]),
    "words.npz": saved(image_id=IDS, X=np.full((12, 2), "a")),
    "complex.npz": saved(image_id=IDS, X=X + 1j),
    "huge.npz": saved(image_id=IDS, X=X.astype(float) * 1e300),
    "number.npz": saved(image_id=3, X=X),
    "empty.parquet": b"",
    "cut.parquet": b"PAR1 and no more",
    "empty.csv": b"",
    "nan.csv": b"image_id,f0\na/0.png,\n",
    "a.mat": b"MATLAB",
}


@pytest.mark.parametrize("name", FILES)
def test_malformed_files_are_one_sentence(
    tmp_path: Path, name: str, recwarn: pytest.WarningsRecorder
) -> None:
    path = tmp_path / name
    path.write_bytes(FILES[name])
    with pytest.raises(InputError) as caught:
        read_vectors(path)
    text = str(caught.value)
    assert (name in text, text.endswith("."), "\n" in text) == (True, True, False)
    assert not recwarn.list


def test_headers_that_lie_and_bombs_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "FREE_BYTES", 2**20)
    ids = npy("(12,)", np.array(IDS, "<U8").tobytes(), "<U8")
    for shape in ("(12, 99999999999)", "(-1, 4)", "(12, 4", "('a',)"):
        assert refused(write_zip(tmp_path / "x.npz", image_id=ids, X=npy(shape))).startswith(
            "cannot be read as .npz: make it again."
        )
    bomb = tmp_path / "bomb.npz"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("image_id.npy", ids)
        file.writestr("X.npy", bytes(2**26))
    assert refused(bomb).startswith("has 0.1 MB and would unpack to 0.1 GB, which no table")


def test_a_parquet_bomb_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "FREE_BYTES", 2**20)
    path = tmp_path / "bomb.parquet"
    pq.write_table(pa.table({"f0": pa.repeat(0.0, 10**7)}), path)
    assert path.stat().st_size < 50_000
    assert refused(path).startswith("has 0.0 MB and would unpack to 0.1 GB, which no table of")
    # One long text that every row repeats is written once.
    rows = pa.DictionaryArray.from_arrays(pa.array(np.zeros(100_000, np.int32)), ["x" * 10_000])
    pq.write_table(pa.table({"image_id": rows, "f0": range(100_000)}), path, store_schema=False)
    assert path.stat().st_size < 1e6
    # It is read no further than the first rows that are too much.
    assert "MB and would unpack to 0.7 GB, which no table of" in refused(path)
    rows = rows.cast(pa.dictionary(pa.int32(), pa.large_string()))
    table = pa.table({"image_id": rows, "f0": range(100_000)})
    pq.write_table(table.cast(pa.schema({"image_id": pa.large_string(), "f0": pa.int64()})), path)
    assert "MB and would unpack to 0.7 GB, which no table of" in refused(path)
    short = pa.DictionaryArray.from_arrays(pa.array(np.zeros(100_000, np.int32)), ["x" * 100])
    numbers = {"f0": np.arange(100_000.0)}
    pq.write_table(pa.table({"image_id": short, **numbers}), path, store_schema=False)
    assert refused(path) == f"Image id {'x' * 100!r} occurs twice in {path}: keep one row."


@pytest.mark.parametrize(
    ("theirs", "how"),
    [
        (["a/1.png", "b/2.png", "7.png"], ""),
        (["1.png", "2.png", "7.png"], "file names"),
        (["/data/a/1.png", "C:\\data\\2.png", "x"], "file names"),
        (["1", "2", "7"], "file names without their endings"),
        (["1.jpg", "2.jpg", "7.png"], "file names without their endings"),
    ],
)
def test_images_are_found_by_the_names_of_others(theirs: list[str], how: str) -> None:
    found = match_images(pd.Series(theirs), ["b/2.png", "a/1.png", "3.png"], "t.csv", "set")
    assert found.ids.fillna("none").tolist() == ["a/1.png", "b/2.png", "none"]
    assert found.how == how


def test_slices_are_found_by_the_name_of_their_volume() -> None:
    ours = ["p1/flair.nii.gz#z=3", "p1/flair.nii.gz#z=13"]
    found = match_images(pd.Series(["flair#z=13"]), ours, "t.csv", "set")
    assert found.ids.tolist() == ours[1:]


@pytest.mark.parametrize(
    ("theirs", "ours", "sentence"),
    [
        (
            ["1.png"],
            ["a/1.png", "b/1.png"],
            "t.csv: '1.png' may be 'a/1.png' or 'b/1.png' of data set 'set'; name images by their "
            "image_id.",
        ),
        (
            ["x/1.png", "y/1.png"],
            ["a/1.png"],
            "t.csv: image 'a/1.png' of data set 'set' occurs twice; keep one row an image.",
        ),
        (
            ["scan.5"],
            ["scan.png"],
            "No image_id of t.csv is in data set 'set': the file says 'scan.5', for "
            "instance, and the data set 'scan.png'.",
        ),
    ],
)
def test_never_another_image(theirs: list[str], ours: list[str], sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        match_images(pd.Series(theirs), ours, "t.csv", "set")
    assert str(caught.value) == sentence
