"""Near-duplicates, headers that tell the class, tables of the paper, the picture sheet."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from frostline.cache import Manifest, Workspace
from frostline.extract.audit.audit import audit, table_of_classes, table_of_splits
from frostline.extract.audit.details import details
from frostline.extract.audit.headers import header_accuracy, header_findings, header_table
from frostline.extract.audit.near_duplicates import describe_pairs
from frostline.extract.audit.sheet import NEAR, Sheet, caption, picture_sheet
from frostline.extract.audit.thumbnails import (
    MAX_DISTANCE,
    cosine_pairs,
    near_pairs,
    perceptual_hash,
    store_hashes,
)
from frostline.extract.images.geometry import PAPER_GEOMETRY
from frostline.extract.index import index_dataset
from frostline.extract.pixels import fill_pixels, pixel_source


def photograph(seed: int, size: tuple[int, int] = (320, 280)) -> Image.Image:
    """Smooth blobs with a little grain."""
    rng = np.random.default_rng(seed)
    blobs = Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)).resize(size, 3)
    grain = Image.fromarray(rng.integers(0, 256, (*size[::-1], 3), dtype=np.uint8))
    return Image.blend(blobs, grain, 0.1)


def hashed(*images: Image.Image) -> np.ndarray:
    return perceptual_hash(np.stack([PAPER_GEOMETRY.apply(image, "rgb") for image in images]))


def recompressed(image: Image.Image) -> Image.Image:
    memory = io.BytesIO()
    image.save(memory, "JPEG", quality=50)
    return Image.open(memory).convert("RGB")


def test_hash_survives_what_makes_a_near_duplicate_and_nothing_else() -> None:
    images = [photograph(seed) for seed in range(40)]
    halved = [image.resize((160, 140)) for image in images]
    brighter = [Image.eval(image, lambda value: value // 2 + 60) for image in images]
    changed = [[recompressed(image) for image in images], halved, brighter]
    original = hashed(*images)
    for versions in changed:
        distances = (hashed(*versions) != original).sum(axis=1)
        assert distances.max() <= MAX_DISTANCE
    pairs, distances = near_pairs(original, max_distance=255)
    assert len(pairs) == 40 * 39 / 2
    assert distances.min() > 2 * MAX_DISTANCE


def test_grey_and_colour_of_the_same_picture_have_one_hash() -> None:
    image = photograph(1).convert("L")
    grey = PAPER_GEOMETRY.apply(image, "grey")[None]
    colour = PAPER_GEOMETRY.apply(image, "rgb")[None]
    assert ((perceptual_hash(grey) != perceptual_hash(colour)).sum()) <= 2


def test_blank_images_are_like_none() -> None:
    blank = np.full((3, 64, 64), 7, np.uint8)
    assert not perceptual_hash(blank).any()
    assert len(near_pairs(perceptual_hash(blank))[0]) == 0


@given(st.integers(2, 40), st.integers(0, 20), st.integers())
def test_pairs_are_those_of_a_plain_search(count: int, bits: int, seed: int) -> None:
    rng = np.random.default_rng(abs(seed))
    hashes = rng.random((count, 32)) > 0.5
    pairs, distances = near_pairs(hashes, bits)
    plain = {
        (i, j): int((hashes[i] != hashes[j]).sum())
        for i in range(count)
        for j in range(i + 1, count)
    }
    expected = {pair: distance for pair, distance in plain.items() if distance <= bits}
    found = dict(zip(map(tuple, pairs.tolist()), distances.tolist(), strict=True))
    assert found == expected


def test_blocks_do_not_change_the_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = np.random.default_rng(0).random((50, 24)) > 0.5
    whole = {tuple(pair) for pair in near_pairs(hashes, 5)[0].tolist()}
    monkeypatch.setattr("frostline.extract.audit.thumbnails.BLOCK", 7)
    assert {tuple(pair) for pair in near_pairs(hashes, 5)[0].tolist()} == whole != set()


def test_cosine_pairs() -> None:
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(30, 64))
    embeddings[7] = 3 * embeddings[2] + 1e-3
    pairs, cosines = cosine_pairs(embeddings)
    assert pairs.tolist() == [[2, 7]]
    assert cosines[0] == pytest.approx(1, abs=1e-4)
    rows = pd.DataFrame(
        {
            "image_id": [f"i{n}" for n in range(30)],
            "split": "train",
            "label": "a",
            "group_id": [f"g{n}" for n in range(30)],
        }
    )
    rows.loc[7, "split"] = "test"
    table = describe_pairs(rows, (pairs, cosines), "cosine")
    assert table[["image_id", "other_image_id", "across_splits"]].values.tolist() == [
        ["i2", "i7", True]
    ]


# the audit


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Twenty patients, a picture each, train and test."""
    for number in range(20):
        part, label = ("train", "test")[number % 4 == 3], "ab"[number % 2]
        folder = tmp_path / "root" / part / label
        folder.mkdir(parents=True, exist_ok=True)
        photograph(number).save(folder / f"p{number:02d}.png")
    return tmp_path / "root"


def indexed(root: Path) -> tuple[Manifest, Workspace]:
    workspace = Workspace(root.parent / "workspace")
    manifest = index_dataset(workspace, "set", roots=[root], group_pattern=r"p\d+", val_fraction=0)
    return manifest, workspace


def test_near_duplicates_across_splits_and_labels(root: Path, tmp_path: Path) -> None:
    photograph(0).save(root / "test/b/p30.jpg", quality=60)  # of train/a/p00.png
    photograph(2).resize((160, 140)).save(root / "train/a/p31.png")  # of train/a/p02.png
    photograph(4).resize((160, 140)).save(root / "train/a/p04-2.png")  # of the same patient
    manifest, workspace = indexed(root)
    store = fill_pixels(pixel_source(workspace, manifest, PAPER_GEOMETRY))
    found = audit(manifest, hashes=store_hashes(store))
    near = found.near_duplicates
    assert near is not None
    columns = ["image_id", "other_image_id", "across_splits", "label_conflict"]
    rows = {tuple(row) for row in near[columns].values.tolist()}
    assert {(*sorted(row[:2]), *row[2:]) for row in rows} == {
        ("test/b/p30.jpg", "train/a/p00.png", True, True),
        ("train/a/p02.png", "train/a/p31.png", False, False),
    }
    texts = [finding.text for finding in found.findings if "look the same" in finding.text]
    assert [text.split(" (")[0] for text in texts] == [
        "1 pair of images in different splits and groups look the same",
        "1 pair of images with different labels look the same",
    ]
    assert not [finding for finding in found.leaks if "look the same" in finding.text]
    sheet = tmp_path / "sheet.png"
    assert picture_sheet(found, manifest, sheet) == Sheet({NEAR: 2}, {NEAR: 2})
    assert Image.open(sheet).size == (640, 2 * 216)
    assert np.asarray(Image.open(sheet))[:150, 10:300].std() > 10


def test_sheet_shows_copies_and_survives_damage(root: Path, tmp_path: Path) -> None:
    manifest, _ = indexed(root)
    assert picture_sheet(audit(manifest), manifest, tmp_path / "none.png") == Sheet({}, {})
    assert not (tmp_path / "none.png").exists()
    (root / "test/b/p40.png").write_bytes((root / "train/a/p00.png").read_bytes())
    manifest, _ = indexed(root)
    (root / "test/b/p40.png").write_bytes(b"gone")
    shown = picture_sheet(audit(manifest), manifest, tmp_path / "sheet.png")
    assert str(shown) == "1 of 1 equal images"


def test_each_kind_has_its_share_of_a_sheet_and_what_is_left_out_is_said(
    root: Path, tmp_path: Path
) -> None:
    for number in range(70):
        for copy in range(6 if number == 0 else 2):
            folder = root / "train" / "ab"[copy % 2]
            photograph(100 + number, (60, 60)).save(folder / f"p{100 + number}-{copy}.png")
    photograph(0).save(root / "test/b/p30.jpg", quality=60)  # of train/a/p00.png
    manifest, workspace = indexed(root)
    store = fill_pixels(pixel_source(workspace, manifest, PAPER_GEOMETRY))
    found = audit(manifest, hashes=store_hashes(store))
    shown = picture_sheet(found, manifest, tmp_path / "sheet.png")
    assert str(shown) == "59 of 70 equal images, 1 of 1 near-duplicates"
    table = details(found)
    assert len(table[table["finding"] == "equal images"]) == 6 + 69 * 2
    near = table[table["finding"] == "near-duplicates"]
    assert near[["image_id", "split", "label", "harm"]].values.tolist() == [
        ["test/b/p30.jpg", "test", "b", "leaks into test"],
        ["train/a/p00.png", "train", "a", "leaks into test"],
    ]
    row = manifest.table.iloc[0].copy()
    row["split"], row["label"], row["image_id"] = "train", "PNEUMONIA", "x" * 40
    assert caption(row, "same pixels, 4 of 9") == [
        "train, PNEUMONIA",
        "same pixels, 4 of 9",
        "..." + "x" * 23,
    ]


def test_embeddings_that_are_alike(root: Path) -> None:
    manifest, _ = indexed(root)
    values = np.random.default_rng(0).normal(size=(len(manifest), 16))
    ids = manifest.table["image_id"]
    test, train = ids[ids.str.startswith("test")].iat[0], ids[ids.str.startswith("train")].iat[0]
    values[ids == test] = values[ids == train] + 1e-3
    values += 50  # a direction that all share says nothing
    found = audit(manifest, embeddings=(manifest.keys(), values))
    assert found.alike_embeddings is not None
    assert len(found.alike_embeddings) == 1
    assert (
        "1 pair of images in different splits and groups have nearly the same embedding (cosine "
        f"0.999 or more from the mean) ({min(test, train)})."
    ) in [finding.text for finding in found.findings]
    constant = audit(manifest, embeddings=(manifest.keys(), np.ones((len(manifest), 4))))
    assert constant.alike_embeddings is not None
    assert len(constant.alike_embeddings) == 0


def test_tables_of_the_paper(root: Path) -> None:
    result = audit(indexed(root)[0])
    assert table_of_splits(result).to_dict("records") == [
        {
            "dataset": "set",
            "groups_train": 15,
            "groups_val": 0,
            "groups_test": 5,
            "images_train": 15,
            "images_val": 0,
            "images_test": 5,
            "classes": 2,
        }
    ]
    assert table_of_classes(result).values.tolist() == [["a", 10, 0, 10, 0], ["b", 5, 5, 5, 5]]


def headers(width: list[int], label: list[str], image_format: str = "PNG") -> pd.DataFrame:
    count = len(width)
    return pd.DataFrame(
        {
            "split": "train",
            "label": label,
            "group_id": [f"g{number}" for number in range(count)],
            "width": width,
            "height": 100,
            "mode": ["I;16" if number % 2 else "L" for number in range(count)],
            "format": image_format,
        }
    )


def test_a_size_that_tells_the_class_is_a_leak(root: Path) -> None:
    rng = np.random.default_rng(0)
    label = ["a"] * 60 + ["b"] * 60
    telling = header_accuracy(headers([500] * 55 + [700] * 65, label))
    assert telling is not None
    assert telling.balanced_accuracy > 0.9
    assert telling.excess > 0.8
    telling_nothing = header_accuracy(headers(rng.integers(400, 900, 120).tolist(), label))
    assert telling_nothing is not None
    assert abs(telling_nothing.excess) < 3 * 2 * telling_nothing.standard_error
    for path in root.rglob("b/*.png"):
        Image.open(path).crop((0, 0, 300, 200)).save(path)
    found = audit(indexed(root)[0])
    assert [finding.text for finding in found.leaks] == [
        "The size alone predicts the class with a balanced accuracy of 100% (chance 50%; usual are "
        "320x280 of a (100%), 300x200 of b (100%)): a model may learn this instead of the disease."
    ]
    assert found.headers[["split", "label", "usual_size", "bits"]].values.tolist() == [
        ["train", "a", "320x280", "8"],
        ["train", "b", "300x200", "8"],
        ["test", "b", "300x200", "8"],
    ]


def test_the_finding_names_its_cause(root: Path) -> None:
    for number, path in enumerate(sorted(root.rglob("*.png"))):
        image = Image.open(path).crop((0, 0, 200 + 7 * number, 200))
        image.convert("L" if path.parent.name == "a" else "RGB").save(path)
    (finding,) = audit(indexed(root)[0]).leaks
    assert finding.text.startswith(
        "Grey against colour alone predicts the class with a balanced accuracy of 100% (chance "
        "50%; usual are grey of a (100%), colour of b (100%))"
    )
    label = ["a", "b", "c", "d"] * 30
    mixed = headers([500 + 200 * (name in "ab") for name in label], label)
    mixed["mode"] = ["RGB" if name in "ac" else "L" for name in label]
    accuracy = header_accuracy(mixed)
    assert accuracy is not None
    assert accuracy.cause is None
    assert header_findings(accuracy)[0].text.startswith(
        "Size, format, colour and bit depth together predict the class with a balanced accuracy of "
        "100% (chance 25%): "
    )


def test_headers_that_are_all_the_same_tell_nothing() -> None:
    same = headers([500] * 8, ["a", "b"] * 4).assign(mode="L")
    assert header_accuracy(same) is None
    assert header_accuracy(headers([500, 600], ["a", "b"])) is None
    assert header_table(headers([5, 5, 6], ["a"] * 3)).values.tolist() == [
        ["train", "a", 3, 2, "5x100", 0.667, "PNG", "8, 16"]
    ]
