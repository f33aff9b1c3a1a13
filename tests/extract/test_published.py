"""The published data sets, in made-up trees of their layouts, and as they are."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from frostline.cache import InputError, Manifest, Workspace
from frostline.extract.images.decode import decode_file
from frostline.extract.images.geometry import Geometry
from frostline.extract.index import index_dataset
from frostline.extract.readers.kinds import parse_option

HOT = "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\n"
META = "lesion_id,image_id,dx,dx_type,age,sex,localization\n"


def index(kind: str, root: Path, name: str = "set", **options: Any) -> Manifest:
    seed = options.pop("seed", 0)
    workspace = Workspace(root.parent / "workspace")
    return index_dataset(workspace, name, kind=kind, roots=[root], seed=seed, options=options)


def error(kind: str, root: Path, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        index(kind, root, **options)
    return str(caught.value)


def make_images(root: Path, *names: str) -> None:
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), number % 256).save(root / name)


def parts(manifest: Manifest) -> dict[tuple[str, str], int]:
    return manifest.table.groupby(["split", "label"]).size().to_dict()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


# chest-xray


def test_chest_xray_tree(root: Path) -> None:
    make_images(
        root,
        "train/NORMAL/IM-0115-0001.jpeg",
        "train/NORMAL/NORMAL2-IM-0381-0001.jpeg",
        "train/PNEUMONIA/person1_bacteria_1.jpeg",
        "train/PNEUMONIA/person1_virus_6.jpeg",
        "val/NORMAL/NORMAL2-IM-1427-0001.jpeg",
        "test/PNEUMONIA/person1676_virus_2892.jpeg",
        "test/NORMAL/IM-0001-0001.jpeg",
    )
    table = index("chest-xray", root).table.set_index("path")
    assert table["group_id"].to_dict() == {
        "test/NORMAL/IM-0001-0001.jpeg": "IM-0001",
        "test/PNEUMONIA/person1676_virus_2892.jpeg": "person1676",
        "train/NORMAL/IM-0115-0001.jpeg": "IM-0115",
        "train/NORMAL/NORMAL2-IM-0381-0001.jpeg": "NORMAL2-IM-0381",
        "train/PNEUMONIA/person1_bacteria_1.jpeg": "person1",
        "train/PNEUMONIA/person1_virus_6.jpeg": "person1",
    }
    assert Counter(table["cause"]) == {"none": 3, "virus": 2, "bacteria": 1}
    assert index("chest-xray", root).meta["left_out"] == {
        "images of val, which --keep-val keeps": {
            "of": "images",
            "count": 1,
            "examples": ["val/NORMAL/NORMAL2-IM-1427-0001.jpeg"],
        }
    }
    kept = index("chest-xray", root, "kept", keep_val=True).table
    assert kept.loc[kept["split"] == "val", "path"].tolist() == [
        "val/NORMAL/NORMAL2-IM-1427-0001.jpeg"
    ]
    make_images(root, "train/NORMAL/x.jpeg")
    assert error("chest-xray", root) == (
        "The name of train/NORMAL/x.jpeg holds no patient, such as person63_… or IM-0115-…: "
        "read other images by --kind folder."
    )
    make_images(root, "train/OTHER/IM-0001-0001.jpeg")
    assert "lies outside of train, val and test with NORMAL and PNEUMONIA in" in error(
        "chest-xray", root
    )


def test_chest_xray_counts_of_the_paper(shared_data: Path, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    manifest = index_dataset(
        workspace, "chest", kind="chest-xray", roots=[shared_data / "chest_xray"]
    )
    counts = manifest.table.replace({"split": {"val": "train"}}).groupby(["split", "label"])
    assert counts.size().to_dict() == {
        ("test", "NORMAL"): 234,
        ("test", "PNEUMONIA"): 390,
        ("train", "NORMAL"): 1341,
        ("train", "PNEUMONIA"): 3875,
    }
    groups = manifest.table.groupby("file_key").size()
    assert (groups > 1).sum() == 30


# ham10000, isic2018


def test_ham10000_with_and_without_the_test_set(root: Path) -> None:
    names = [f"ISIC_{number:07d}" for number in range(12)]
    make_images(root, *(f"HAM10000_images_part_{n % 2 + 1}/{x}.jpg" for n, x in enumerate(names)))
    rows = [
        f"L{n // 2},{name},{'nv' if n < 6 else 'mel'},histo,80,male,back\n"
        for n, name in enumerate(names)
    ]
    (root / "HAM10000_metadata.csv").write_text(META + "".join(rows))
    manifest = index("ham10000", root)
    table = manifest.table
    assert Counter(table["label"]) == {"nv": 6, "mel": 6}
    assert table["group_id"].nunique() == 6
    assert (table.groupby("group_id")["split"].nunique() == 1).all()
    assert set(table["split"]) == {"train", "val", "test"}
    assert table["sex"].tolist() == ["male"] * 12
    make_images(root, "ISIC2018_Task3_Test_Input/ISIC_0034524.jpg")
    (root / "ISIC2018_Task3_Test_GroundTruth.csv").write_text(
        HOT + "ISIC_0034524,0,0,0,0,0,0,1.0\n"
    )
    manifest = index("ham10000", root, "whole")
    test = manifest.table[manifest.table["split"] == "test"]
    assert test[["label", "group_id", "path"]].values.tolist() == [
        ["vasc", test["image_id"].iat[0], "ISIC2018_Task3_Test_Input/ISIC_0034524.jpg"]
    ]
    assert manifest.meta["notes"] == {
        "tables": ["HAM10000_metadata.csv", "ISIC2018_Task3_Test_GroundTruth.csv"],
        "images_without_lesion": 1,
    }
    assert manifest.meta["left_out"] == {}


def test_isic2018_one_hot_tables(root: Path) -> None:
    make_images(root, "in/a.jpg", "in/b.jpg", "in/c.jpg", "test/d.jpg", "val/e.jpg", "in/spare.jpg")
    (root / "truth").mkdir()
    truth = root / "truth/ISIC2018_Task3_{}_GroundTruth.csv"
    training = Path(str(truth).format("Training"))
    training.write_text(HOT + "a,1.0,0,0,0,0,0,0\nb,0,1,0,0,0,0,0\nc,0,1,0,0,0,0,0\n")
    (root / "truth/ISIC2018_Task3_Training_LesionGroupings.csv").write_text(
        "image,lesion_id,diagnosis_confirm_type\na,H1,x\nb,H2,x\nc,H2,x\n"
    )
    Path(str(truth).format("Test")).write_text(HOT + "d,0,0,1,0,0,0,0\n")
    Path(str(truth).format("Validation")).write_text(HOT + "e,0,0,0,1,0,0,0\n")
    manifest = index("isic2018", root)
    rows = manifest.table[["path", "label", "group_id", "split"]].values.tolist()
    assert rows[1:] == [
        ["in/b.jpg", "nv", "H2", rows[1][3]],
        ["in/c.jpg", "nv", "H2", rows[1][3]],
        ["test/d.jpg", "bcc", "test/d.jpg", "test"],
    ]
    assert manifest.meta["left_out"]["images in no table that is read"]["count"] == 2
    kept = index("isic2018", root, "kept", keep_val=True).table.set_index("path")
    assert kept.loc["val/e.jpg", ["label", "split"]].tolist() == ["akiec", "val"]
    training.write_text(HOT + "a,1.0,1,0,0,0,0,0\n")
    assert error("isic2018", root) == f"{training}, row 2: exactly one class must be 1."
    training.write_text(HOT + "a,1.0,0,0,0,0,0,0\nz,1,0,0,0,0,0,0\n")
    assert error("isic2018", root) == f"{training}, row 3: there is no image z under {root}."
    make_images(root, "other/a.png")
    assert error("isic2018", root) == (
        f"{training}, row 2: image a is there twice, as {root}/in/a.jpg and {root}/other/a.png."
    )
    training.write_text("image,dx\na,x\n")
    (root / "other/a.png").unlink()
    assert error("isic2018", root) == (
        f"{training}, row 2: there is no class 'x'; write one of akiec, bcc, bkl, df, mel, nv, "
        "vasc."
    )
    training.unlink()
    assert error("isic2018", root) == (
        "There is neither HAM10000_metadata.csv nor ISIC2018_Task3_Training_GroundTruth.csv under "
        f"{root}; put it there, or name it with the option table."
    )


def test_ham10000_as_it_is(shared_data: Path, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    manifest = index_dataset(workspace, "ham", kind="ham10000", roots=[shared_data / "ham10000"])
    table = manifest.table
    assert (len(table), table["group_id"].nunique()) == (10_015, 7_470)
    assert (table.groupby("group_id")["split"].nunique() == 1).all()
    assert Counter(table["label"]) == {
        "akiec": 327,
        "bcc": 514,
        "bkl": 1099,
        "df": 115,
        "mel": 1113,
        "nv": 6705,
        "vasc": 142,
    }


# ichallenge-amd


@pytest.fixture
def amd(root: Path) -> Path:
    make_images(root, *(f"Training400/AMD/A{n:04d}.jpg" for n in range(1, 90)))
    make_images(root, *(f"Training400/Non-AMD/N{n:04d}.jpg" for n in range(1, 312)))
    return root


def test_ichallenge_amd_has_155_for_test(amd: Path) -> None:
    manifest = index("ichallenge-amd", amd)
    counts = parts(manifest)
    assert counts["test", "AMD"] + counts["test", "Non-AMD"] == 155
    assert (counts["test", "AMD"], counts["test", "Non-AMD"]) == (34, 121)
    assert sum(counts.values()) == 400
    assert manifest.meta["test_fraction"] == 155 / 400
    other = index("ichallenge-amd", amd, "other", seed=1)
    assert parts(other) == counts
    assert other.table["split"].tolist() != manifest.table["split"].tolist()


def test_ichallenge_amd_with_names_and_labels(amd: Path) -> None:
    names = amd / "test.txt"
    names.write_text("A0001.jpg\nN0005\n\n")
    manifest = index("ichallenge-amd", amd, test_names="test.txt")
    table = manifest.table.set_index("path")
    assert table.index[table["split"] == "test"].tolist() == [
        "Training400/AMD/A0001.jpg",
        "Training400/Non-AMD/N0005.jpg",
    ]
    labels = pd.DataFrame({"imgName": ["A0001.jpg", "N0002.jpg"], "Label": [0, 1]})
    labels.to_excel(amd / "labels.xlsx", index=False)
    labels.to_csv(amd / "labels.csv", index=False)
    for name in ("labels.xlsx", "labels.csv"):
        table = index("ichallenge-amd", amd, name, table=name).table
        assert table[["path", "label"]].values.tolist() == [
            ["Training400/AMD/A0001.jpg", "Non-AMD"],
            ["Training400/Non-AMD/N0002.jpg", "AMD"],
        ]
    names.write_text("A0001.jpg\nA9999.jpg\n")
    assert error("ichallenge-amd", amd, test_names=str(names)) == (
        f"{names}, line 2: there is no image A9999.jpg under {amd}."
    )
    (amd / "Training400/AMD/A0001.jpg").rename(amd / "Training400/Non-AMD/A0001.jpg")
    assert error("ichallenge-amd", amd) == (
        f"{amd}/Training400/Non-AMD/A0001.jpg has a name of the other class: move it or rename it."
    )


# medmnist


def save_npz(path: Path, shape: tuple[int, ...] = (5, 6), labels: int = 1) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    arrays: dict[str, Any] = {}
    for part, count in (("train", 7), ("val", 2), ("test", 3)):
        arrays[f"{part}_images"] = rng.integers(0, 256, (count, *shape), dtype=np.uint8)
        arrays[f"{part}_labels"] = rng.integers(0, 2, (count, labels), dtype=np.uint8)
    np.savez_compressed(path, **arrays)
    return arrays


@pytest.mark.parametrize("shape", [(28, 28), (28, 28, 3)])
def test_medmnist(root: Path, shape: tuple[int, ...]) -> None:
    arrays = save_npz(root / "pneumoniamnist.npz", shape)
    manifest = index("medmnist", root, data="pneumoniamnist")
    table = manifest.table
    assert table["split"].tolist() == ["train"] * 7 + ["val"] * 2 + ["test"] * 3
    expected = np.concatenate([arrays[f"{part}_labels"] for part in ("train", "val", "test")])
    assert table["label"].tolist() == [str(label) for label in expected[:, 0]]
    assert table["image_id"].iat[7] == "pneumoniamnist.npz#i=7"
    assert table["content_key"].is_unique
    assert table.loc[0, ["width", "height", "mode", "format"]].tolist() == [
        28,
        28,
        "RGB" if len(shape) == 3 else "L",
        "NPZ",
    ]
    named = index("medmnist", root, "named", data="pneumoniamnist", label_names=True).table
    assert set(named["label"]) == {"normal", "pneumonia"}
    pixels = np.concatenate([arrays[f"{part}_images"] for part in ("train", "val", "test")])
    geometry = Geometry("squash", 28, 28)
    channels: Any = "rgb" if len(shape) == 3 else "grey"
    for frames in ([0, 3, 6, 7, 11], [11, 0, 0]):
        found = list(decode_file(root / "pneumoniamnist.npz", frames, geometry, channels))
        np.testing.assert_array_equal(found, pixels[frames])


def test_medmnist_mistakes(root: Path) -> None:
    assert error("medmnist", root, data="bloodmnist", size=64) == (
        f"There is no bloodmnist_64.npz under {root}: fetch it from https://medmnist.com, or with "
        "--option download=true."
    )
    assert error("medmnist", root, data="x", size=32) == (
        "The option size must be one of 28, 64, 128, 224, not 32."
    )
    save_npz(root / "chestmnist.npz", labels=14)
    assert error("medmnist", root, data="chestmnist") == (
        f"{root}/chestmnist.npz has 14 labels for each image: Frostline is for one label an image."
    )
    save_npz(root / "organmnist3d.npz", shape=(8, 8, 8))
    assert error("medmnist", root, data="organmnist3d") == (
        f"{root}/organmnist3d.npz holds volumes (7, 8, 8, 8): only images of two dimensions are "
        "read."
    )
    path = root / "cut.npz"
    save_npz(path)
    path.write_bytes(path.read_bytes()[:-40])
    assert error("medmnist", root, data="cut.npz").startswith(f"Cannot read image {path}: ")
    save_npz(path)
    with pytest.raises(InputError, match=r"cut.npz: it has images 0 to 11, not 12\.$"):
        list(decode_file(path, [0, 12], Geometry(), "grey"))


def test_medmnist_never_unpickles(root: Path) -> None:
    objects = np.array([print], dtype=object)
    names = [f"{part}_{what}" for part in ("train", "val", "test") for what in ("images", "labels")]
    images = {name: np.zeros((1, 2, 2), np.uint8) for name in names if name.endswith("images")}
    np.savez(root / "bad.npz", **{**dict.fromkeys(names, objects), **images})
    assert "Object arrays cannot be loaded when allow_pickle=False" in error(
        "medmnist", root, data="bad.npz"
    )


# options on a command line


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("mri-slices", "min_roi=12", 12),
        ("mri-slices", "spacing=[1, 1, 2]", [1, 1, 2]),
        ("chest-xray", "keep_val=true", True),
        ("table", "label_column=12", "12"),
        ("table", "window={range: [-100, 300]}", {"range": [-100, 300]}),
        ("table", "image=a=b", "a=b"),
    ],
)
def test_options_as_text(kind: str, text: str, value: Any) -> None:
    assert parse_option(kind, text) == (text.partition("=")[0], value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("min_roi", "'min_roi' is no option: write --option NAME=VALUE."),
        ("min_roi=many", "The option min_roi of kind mri-slices cannot be 'many'."),
        ("spacing={", "The option spacing of kind mri-slices cannot be '{'."),
    ],
)
def test_bad_options_as_text(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_option("mri-slices", text)
    assert str(caught.value) == message
