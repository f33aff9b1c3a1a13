from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from frostline.cache import InputError
from frostline.extract.readers.kinds import KINDS, parse_option, resolve_options
from frostline.extract.readers.reading import Reading


def read(kind: str, *roots: Path, **options: Any) -> Reading:
    return KINDS[kind].read(list(roots), resolve_options(kind, options), None)


def error(kind: str, *roots: Path, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        read(kind, *roots, **options)
    return str(caught.value)


def make_images(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4)).save(root / name)


def rows(reading: Reading, *columns: str) -> list[tuple]:
    table = reading.table[list(columns)]
    return [tuple(None if pd.isna(x) else x for x in row) for row in table.itertuples(index=False)]


# options


def test_unknown_kinds_and_options_list_the_valid_ones() -> None:
    with pytest.raises(InputError) as caught:
        resolve_options("folders", {})
    assert str(caught.value) == (
        "There is no kind 'folders': the kinds are folder, table, mri-slices, dicom, medmnist, "
        "chest-xray, ham10000, isic2018, ichallenge-amd."
    )
    with pytest.raises(InputError) as caught:
        resolve_options("table", {"label_colum": "dx"})
    assert str(caught.value) == (
        "Kind table has no option 'label_colum': its options are table, image_column, image, "
        "label_column, group_column, split_column, frame_column, window, follow, source. "
        "Did you mean label_column?"
    )
    with pytest.raises(InputError) as caught:
        resolve_options("table", {"image_column": "file", "label_column": None})
    assert str(caught.value) == "Kind table needs the option table, label_column."


def test_defaults_are_filled_in() -> None:
    options = {"image": "i", "mask": "m", "table": "t", "group_column": "g", "label_column": "l"}
    resolved = resolve_options("mri-slices", options)
    assert resolved == {
        **options,
        "min_roi": 30,
        "mask_threshold": 0.0,
        "window": {"percentiles": [0.5, 99.5]},
        "spacing": None,
        "slices": None,
        "neighbours": False,
        "follow": None,
        "source": None,
    }
    with pytest.raises(InputError, match="spacing must be three positive numbers"):
        resolve_options("mri-slices", {**options, "spacing": [1, 1]})


# folder


def test_class_folders(tmp_path: Path) -> None:
    make_images(tmp_path, "b/2.png", "a/x/1.PNG", "a/ü 'q'\n.png")
    (tmp_path / "a/notes.txt").touch()
    (tmp_path / "a/.hidden.png").touch()
    (tmp_path / "__MACOSX").mkdir()
    reading = read("folder", tmp_path)
    assert rows(reading, "image_id", "label", "split", "group_id", "frame") == [
        ("a/x/1.PNG", "a", None, None, None),
        ("a/ü 'q'\n.png", "a", None, None, None),
        ("b/2.png", "b", None, None, None),
    ]
    assert reading.left_out.as_meta() == {
        "files named *.txt": {"of": "files", "count": 1, "examples": ["a/notes.txt"]},
        "items hidden by their name": {
            "of": "files",
            "count": 2,
            "examples": ["__MACOSX", "a/.hidden.png"],
        },
    }


def test_split_folders_in_their_usual_spellings(tmp_path: Path) -> None:
    make_images(tmp_path, "Train/a/1.png", "valid/a/1.png", "validation/b/2.png", "TEST/b/1.png")
    assert rows(read("folder", tmp_path), "path", "label", "split") == [
        ("TEST/b/1.png", "b", "test"),
        ("Train/a/1.png", "a", "train"),
        ("valid/a/1.png", "a", "val"),
        ("validation/b/2.png", "b", "val"),
    ]


def test_further_roots_are_numbered(tmp_path: Path) -> None:
    make_images(tmp_path, "one/a/1.png", "two/a/1.png", "two/b/1.png")
    reading = read("folder", tmp_path / "one", tmp_path / "two")
    assert rows(reading, "image_id", "root", "path") == [
        ("a/1.png", 0, "a/1.png"),
        ("1:a/1.png", 1, "a/1.png"),
        ("1:b/1.png", 1, "b/1.png"),
    ]


def test_folder_mistakes(tmp_path: Path) -> None:
    suffixes = ".bmp, .jpeg, .jpg, .png, .tif, .tiff, .webp"
    assert error("folder", tmp_path) == (
        f"There is no image under {tmp_path}: make one folder for each class, with files "
        f"that end in {suffixes}."
    )
    make_images(tmp_path, "one/1.png", "two/train/a/1.png", "two/extra/2.png")
    one, two = tmp_path / "one", tmp_path / "two"
    assert error("folder", one) == (
        f"{one}/1.png is in no class folder: put it into a folder named as its label."
    )
    assert error("folder", two) == (
        f"{two}/extra/2.png lies outside of the train, val and test folders of {two}; move it, "
        "or give another root."
    )


# table


@pytest.fixture
def images(tmp_path: Path) -> Path:
    make_images(tmp_path, "img/a.png", "img/b.png", "c d.png")
    return tmp_path


def write_csv(root: Path, text: str, name: str = "t.csv") -> Path:
    (root / name).write_text(text, encoding="utf-8-sig")
    return root / name


CSV = "file,dx,patient,part,age,code,path\nimg/a.png,NA,p1,Train,80,01,x\n./img/b.png,0,p1,,,2,y\n"
COLUMNS = {"image_column": "file", "label_column": "dx"}


def test_table(images: Path) -> None:
    table = write_csv(images, CSV)
    reading = read(
        "table", images, table=table, **COLUMNS, group_column="patient", split_column="part"
    )
    assert rows(reading, "image_id", "path", "label", "group_id", "split") == [
        ("img/a.png", "img/a.png", "NA", "p1", "train"),
        ("img/b.png", "img/b.png", "0", "p1", None),
    ]
    assert rows(reading, "age", "code", "table_path", "file", "dx") == [
        (80, "01", "x", "img/a.png", "NA"),
        (None, "2", "y", "./img/b.png", "0"),
    ]


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.parquet"])
def test_table_formats_under_the_root(images: Path, name: str) -> None:
    table = pd.DataFrame({"path": ["c d.png", "img/a.png"], "label": [1, 0], "id": [3.0, None]})
    if name == "t.parquet":
        table.to_parquet(images / name)
    else:
        table.to_csv(images / name, index=False, sep="\t" if name == "t.tsv" else ",")
    reading = read("table", images, table=name, image_column="path", label_column="label")
    assert rows(reading, "image_id", "label") == [("c d.png", "1"), ("img/a.png", "0")]
    assert "table_path" not in reading.table


def test_image_pattern_and_several_roots(images: Path) -> None:
    make_images(images, "more/z.png")
    table = write_csv(images, "name,kind,folder\na,x,img\nz,y,more\n")
    options = {"table": table, "image": "{name}.png", "label_column": "kind"}
    reading = read("table", images / "img", images / "more", **options)
    assert rows(reading, "image_id", "root") == [("a.png", 0), ("1:z.png", 1)]
    options["image"] = "{folder}/{name}.png"
    assert rows(read("table", images, **options), "path") == [("img/a.png",), ("more/z.png",)]


def test_absolute_paths_inside_the_root(images: Path) -> None:
    table = write_csv(images, f"file,dx\n{images}/img/a.png,x\n")
    assert rows(read("table", images, table=table, **COLUMNS), "path") == [("img/a.png",)]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("file,dx\n", {}, "The table {t} has no rows: write one an image."),
        ("", {}, "{t}: the file is empty; it needs a header and rows."),
        (
            CSV,
            {"label_column": "diagnosis"},
            "{t} has no column 'diagnosis' for the label; it has 'file', 'dx', 'patient', "
            "'part', 'age', 'code', 'path'.",
        ),
        (
            CSV + "img/none.png,1,p,,,,\n",
            {},
            "{t}, row 4: there is no file img/none.png under {r}.",
        ),
        (CSV + "c d.png,,p,,,,\n", {}, "{t}, row 4: there is no label in column 'dx'; write one."),
        (CSV + ",1,p,,,,\n", {}, "{t}, row 4: there is no image in column 'file'; write one."),
        (
            CSV + "c d.png,1,,,,,\n",
            {"group_column": "patient"},
            "{t}, row 4: there is no group in column 'patient'; write one.",
        ),
        (
            CSV + "c d.png,1,p,dev,,,\n",
            {"split_column": "part"},
            "{t}, row 4: 'dev' in column 'part' is not a split; a split is train, val or test.",
        ),
        (
            CSV + "img/../img/a.png,1,p,,,,\n",
            {},
            "{t}, row 4: img/a.png is also in row 2; name each image once.",
        ),
        (
            "file,dx\n../outside.png,x\n",
            {},
            "{t}, row 2: ../outside.png lies outside of {r}; give a root that contains it.",
        ),
        (
            CSV,
            {"image": "{file}"},
            "Kind table needs either --image-column (a column of paths) or --image (a pattern "
            "such as 'images/{{name}}.jpg').",
        ),
        (
            CSV,
            {"image_column": None, "image": "a.png"},
            "The pattern 'a.png' for the image names no column of {t}: write one in braces, "
            "such as '{{name}}.png'.",
        ),
        (
            CSV,
            {"table": "none.csv"},
            "There is no table none.csv, neither here nor under {r}.",
        ),
    ],
)
def test_table_mistakes(tmp_path: Path, text: str, options: dict[str, Any], message: str) -> None:
    root = tmp_path / "root"
    make_images(root, "img/a.png", "img/b.png", "c d.png", "../outside.png")
    table = write_csv(root, text)
    found = error("table", root, **{"table": table, **COLUMNS, **options})
    assert found == message.format(t=table, r=root)


# mri-slices

MRI = {
    "image": "{patient}/flair.nii.gz",
    "mask": "{patient}/mask.nii.gz",
    "table": "labels.csv",
    "group_column": "id",
    "label_column": "grade",
}


def make_patient(root: Path, name: str, roi: list[int], affine: np.ndarray | None = None) -> None:
    """A mask with the given number of pixels in each axial slice."""
    mask = np.zeros((10, 12, len(roi)), np.uint8)
    for z, pixels in enumerate(roi):
        mask[:, :, z].flat[:pixels] = 2
    (root / name).mkdir(parents=True)
    affine = np.eye(4) if affine is None else affine
    nib.Nifti1Image(mask, affine).to_filename(root / name / "mask.nii.gz")
    image = np.arange(mask.size, dtype=np.int16).reshape(mask.shape)
    nib.Nifti1Image(image, affine).to_filename(root / name / "flair.nii.gz")


def test_slices_with_more_than_min_roi_pixels(tmp_path: Path) -> None:
    make_patient(tmp_path, "p1", [30, 31, 0, 90])
    make_patient(tmp_path, "p2", [30, 5])
    make_patient(tmp_path, "p3", [50])
    (tmp_path / "p3/flair.nii.gz").unlink()
    make_patient(tmp_path, "p4", [50])
    (tmp_path / "p4/mask.nii.gz").unlink()
    write_csv(tmp_path, "id,grade,age\np4,2,1\np3,2,2\np2,3,3\np1,3,4\n", "labels.csv")
    reading = read("mri-slices", tmp_path, **MRI)
    assert rows(reading, "image_id", "frame", "label", "group_id", "roi_pixels", "age") == [
        ("p1/flair.nii.gz#z=1", 1, "3", "p1", 31, 4),
        ("p1/flair.nii.gz#z=3", 3, "3", "p1", 90, 4),
    ]
    assert {reason: entry["examples"] for reason, entry in reading.left_out.as_meta().items()} == {
        "patients without a mask": ["p4"],
        "patients without a slice of more than 30 pixels in the mask": ["p2"],
        "patients without an image": ["p3"],
    }
    assert len(read("mri-slices", tmp_path, **MRI, min_roi=29).table) == 4


def test_the_threshold_of_masks(tmp_path: Path) -> None:
    make_patient(tmp_path, "p1", [90])  # of value 2
    write_csv(tmp_path, "id,grade\np1,3\n", "labels.csv")
    assert parse_option("mri-slices", "mask_threshold=1") == ("mask_threshold", 1.0)
    assert len(read("mri-slices", tmp_path, **MRI, mask_threshold=1.9).table) == 1
    assert error("mri-slices", tmp_path, **MRI, mask_threshold=2).startswith("No slice has more")
    for wrong in (-1, float("nan"), float("inf")):
        assert error("mri-slices", tmp_path, **MRI, mask_threshold=wrong) == (
            f"The option mask_threshold must be 0 or more, not {wrong!r}."
        )


def test_slices_are_counted_in_ras_and_after_resampling(tmp_path: Path) -> None:
    make_patient(tmp_path, "p1", [90, 0, 0, 0], np.diag([1, 1, -2, 1]))
    write_csv(tmp_path, "id,grade\np1,3\n", "labels.csv")
    assert rows(read("mri-slices", tmp_path, **MRI), "frame") == [(3,)]
    spaced = read("mri-slices", tmp_path, **MRI, spacing=[1, 1, 1])
    assert rows(spaced, "frame") == [(5,), (6,)] or rows(spaced, "frame") == [(6,)]


def test_a_table_of_paths(tmp_path: Path) -> None:
    make_patient(tmp_path, "p1", [90])
    write_csv(tmp_path, "id,grade,flair,roi\n7,3,p1/flair.nii.gz,p1/mask.nii.gz\n", "labels.csv")
    reading = read("mri-slices", tmp_path, **{**MRI, "image": "{flair}", "mask": "{roi}"})
    assert rows(reading, "image_id", "group_id") == [("p1/flair.nii.gz#z=0", "7")]


def test_mri_mistakes(tmp_path: Path) -> None:
    make_patient(tmp_path, "p1", [90])
    table = write_csv(tmp_path, "id,grade\np1,2\np1,2\np1,3\n", "labels.csv")
    assert error("mri-slices", tmp_path, **MRI) == (
        f"{table}, row 4: patient p1 has label '3' here and '2' in row 2; a patient has one label."
    )
    write_csv(tmp_path, "id,grade\np1,2\nx,2\n", "labels.csv")
    assert error("mri-slices", tmp_path, **MRI, min_roi=100) == (
        "No slice has more than 100 pixels in its mask (1 patient without a slice of more than 100 "
        f"pixels in the mask, 1 patient without an image, of 2 rows in {table}): correct the "
        "patterns, or lower --min-roi."
    )
    mask, image = tmp_path / "p1/mask.nii.gz", tmp_path / "p1/flair.nii.gz"
    far = np.eye(4)
    far[:3, 3] = 1000
    nib.Nifti1Image(np.ones((10, 12, 2), np.uint8), far).to_filename(mask)
    assert error("mri-slices", tmp_path, **MRI) == (
        f"The grids of {mask} and {image} differ, and nothing of the mask falls onto the image: "
        "resample the mask to the image."
    )
    unstated = nib.Nifti1Image(np.ones((10, 12, 2), np.uint8), None)
    assert unstated.header["sform_code"] == unstated.header["qform_code"] == 0
    unstated.to_filename(mask)
    assert error("mri-slices", tmp_path, **MRI) == (
        f"The grids of {mask} and {image} differ, and the files do not say where their voxels lie "
        "(no sform or qform): resample the mask to the image."
    )
    mask.write_bytes(mask.read_bytes()[:40])
    assert error("mri-slices", tmp_path, **MRI).startswith(f"Cannot read image {mask}: ")


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.ones((10, 12, 2, 3), np.uint8), "it holds several volumes"),
        (np.ones((10, 12, 2), np.complex64), "voxels of type complex64 are not supported"),
    ],
)
def test_a_patient_whose_volume_cannot_be_read_is_left_out(
    tmp_path: Path, values: np.ndarray, reason: str
) -> None:
    for number in range(3):
        make_patient(tmp_path, f"p{number}", [60, 20])
    write_csv(tmp_path, "id,grade\np0,2\np1,2\np2,3\n", "labels.csv")
    nib.Nifti1Image(values, np.eye(4)).to_filename(tmp_path / "p1/mask.nii.gz")
    with pytest.warns(UserWarning, match=reason) as said:
        reading = read("mri-slices", tmp_path, **MRI)
    assert str(said[0].message).endswith("The patient is left out.")
    assert set(reading.table["group_id"]) == {"p0", "p2"}
    (entry,) = reading.left_out.as_meta().values()
    assert (entry["count"], entry["of"], entry["examples"]) == (1, "patients", ["p1"])


def test_a_mask_on_another_grid_is_brought_onto_the_image(tmp_path: Path) -> None:
    """A mask of half the voxel size, of another orientation, that covers a part of the image."""
    rng = np.random.default_rng(0)
    coarse = rng.random((6, 5, 4)) > 0.5
    (tmp_path / "p1").mkdir()
    image = nib.Nifti1Image(rng.random((10, 9, 7)).astype(np.float32), np.diag([2, 2, 3, 1]))
    image.to_filename(tmp_path / "p1/flair.nii.gz")
    # Voxel (i, j, k) of the coarse mask is (i + 1, j + 2, k + 1) of the image.
    fine = coarse.repeat(2, 0).repeat(2, 1).repeat(3, 2).astype(np.uint8)
    affine = np.eye(4)
    affine[:3, 3] = [1 * 2 - 0.5, 2 * 2 - 0.5, 1 * 3 - 1.0]
    turned = nib.Nifti1Image(fine, affine).as_reoriented([[1, -1], [0, 1], [2, -1]])
    assert nib.aff2axcodes(turned.affine) != ("R", "A", "S")
    turned.to_filename(tmp_path / "p1/mask.nii.gz")
    write_csv(tmp_path, "id,grade\np1,3\n", "labels.csv")
    reading = read("mri-slices", tmp_path, **MRI, min_roi=0)
    expected = [(k + 1, int(coarse[:, :, k].sum())) for k in range(4)]
    assert rows(reading, "frame", "roi_pixels") == expected


BY_RULE = {name: value for name, value in MRI.items() if name != "mask"}


def test_slices_without_masks(tmp_path: Path) -> None:
    """A volume of five slices, one of a single slice and one upside down, without a mask."""
    for name, slices, affine in (("p1", 5, None), ("p2", 1, None), ("p3", 4, [1, 1, -2, 1])):
        make_patient(tmp_path, name, [0] * slices, None if affine is None else np.diag(affine))
        (tmp_path / name / "mask.nii.gz").unlink()
    write_csv(tmp_path, "id,grade\np1,2\np2,3\np3,3\np4,2\n", "labels.csv")
    reading = read("mri-slices", tmp_path, **BY_RULE, slices="middle:2")
    assert rows(reading, "image_id", "frame", "group_id", "label") == [
        ("p1/flair.nii.gz#z=1", 1, "p1", "2"),
        ("p1/flair.nii.gz#z=2", 2, "p1", "2"),
        ("p2/flair.nii.gz#z=0", 0, "p2", "3"),
        ("p3/flair.nii.gz#z=1", 1, "p3", "3"),
        ("p3/flair.nii.gz#z=2", 2, "p3", "3"),
    ]
    assert reading.left_out.total() == 1
    fine = read("mri-slices", tmp_path, **BY_RULE, slices="every:3", spacing=[1, 1, 1])
    assert [len(part) for _, part in fine.table.groupby("group_id")] == [2, 1, 3]  # 5, 1, 7 slices


def test_masks_and_rules_exclude_each_other(tmp_path: Path) -> None:
    one = (
        "Kind mri-slices needs the option mask, or the option slices where there are no masks: "
        "give one of them."
    )
    assert error("mri-slices", tmp_path, **BY_RULE) == one
    assert error("mri-slices", tmp_path, **MRI, slices="all") == (
        "The options mask and slices both say which slices are taken: leave one out."
    )
    assert error("mri-slices", tmp_path, **BY_RULE, slices="all", min_roi=5) == (
        "The option min_roi is for masks, and slices are taken by the option slices: leave one out."
    )
    assert error("mri-slices", tmp_path, **BY_RULE, slices="half").startswith("The option slices ")
    assert parse_option("mri-slices", "neighbours=true") == ("neighbours", True)
    table = write_csv(tmp_path, "id,grade\np1,2\n", "labels.csv")
    assert error("mri-slices", tmp_path, **BY_RULE, slices="all") == (
        f"There is no volume (1 patient without an image, of 1 rows in {table}): correct the "
        "pattern."
    )


def test_volumes_without_masks_that_cannot_be_read(tmp_path: Path) -> None:
    for number in range(2):
        make_patient(tmp_path, f"p{number}", [0, 0])
    write_csv(tmp_path, "id,grade\np0,2\np1,3\n", "labels.csv")
    four = nib.Nifti1Image(np.ones((4, 4, 2, 3), np.uint8), np.eye(4))
    four.to_filename(tmp_path / "p1/flair.nii.gz")
    with pytest.warns(UserWarning, match="it holds several volumes") as said:
        reading = read("mri-slices", tmp_path, **BY_RULE, slices="all")
    assert str(said[0].message).endswith("The patient is left out.")
    assert set(reading.table["group_id"]) == {"p0"}
    assert list(reading.left_out.as_meta()) == ["patients with an unreadable image"]


def test_label_folders_may_be_the_last(tmp_path: Path) -> None:
    make_images(tmp_path, "p1/benign/1.png", "p1/malign/x/2.png", "p2/benign/3.png")
    reading = read("folder", tmp_path, label_folder="last")
    assert [label for (label,) in rows(reading, "label")] == ["benign", "x", "benign"]
    assert error("folder", tmp_path, label_folder="second") == (
        "The option label_folder must be first or last, not 'second'."
    )


def test_further_label_columns_are_kept(images: Path) -> None:
    table = write_csv(images, "file,dx,binary,grade\nimg/a.png,nv,0,G1\nimg/b.png,mel,1,\n")
    reading = read("table", images, table=table, **COLUMNS)
    assert rows(reading, "label", "binary", "grade") == [("nv", 0, "G1"), ("mel", 1, None)]


def test_xlsx(images: Path) -> None:
    frame = pd.DataFrame({"file": ["img/a.png", "img/b.png"], "dx": [1, 0], "note": ["NA", None]})
    frame.to_excel(images / "t.xlsx", index=False)
    reading = read("table", images, table="t.xlsx", **COLUMNS)
    assert rows(reading, "path", "label", "note") == [
        ("img/a.png", "1", "NA"),
        ("img/b.png", "0", None),
    ]
    (images / "t.xlsx").write_text("no spreadsheet")
    assert error("table", images, table="t.xlsx", **COLUMNS) == (
        f"The table {images / 't.xlsx'} cannot be read as .xlsx: save it again."
    )


def rezipped(data: bytes, **changed: bytes) -> bytes:
    """Write a workbook again with other contents of some of its files."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w", 8) as new:
        for name in old.namelist():
            new.writestr(name, changed.get(Path(name).stem, old.read(name)))
    return out.getvalue()


def test_workbooks_that_are_cut_or_bombs_are_one_sentence(
    images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = images / "t.xlsx"
    pd.DataFrame({"file": ["img/a.png", "img/b.png"], "dx": [1, 0]}).to_excel(path, index=False)
    whole = path.read_bytes()
    sheet = zipfile.ZipFile(path).read("xl/worksheets/sheet1.xml")
    cut = [
        whole[: len(whole) // 2],
        rezipped(whole, sheet1=sheet[:300]),
        rezipped(whole, styles=b""),
    ]
    for data in (b"", *cut, rezipped(whole, workbook=b"<a/>")):
        path.write_bytes(data)
        assert error("table", images, table="t.xlsx", **COLUMNS) == (
            f"The table {path} cannot be read as .xlsx: save it again."
        )
    # A cell far away makes a table of empty ones, and zeros shrink to nothing.
    far = sheet.replace(
        b"</sheetData>", b'<row r="9000"><c r="XFD9000"><v>1</v></c></row></sheetData>'
    )
    path.write_bytes(rezipped(whole, sheet1=far))
    assert "and would unpack to 1.2 GB, which" in error("table", images, table="t.xlsx", **COLUMNS)
    monkeypatch.setattr("frostline.cache.tables.limits.FREE_BYTES", 2**20)
    path.write_bytes(rezipped(whole, sheet1=sheet + bytes(2**26)))
    assert "and would unpack to 0.1 GB, which" in error("table", images, table="t.xlsx", **COLUMNS)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("separator", [";", "\t", ","])
def test_tables_of_other_programs(images: Path, encoding: str, separator: str) -> None:
    text = "file,dx\nimg/a.png,Größe,\nimg/b.png,1,\n".replace(",", separator)
    (images / "t.csv").write_bytes(text.encode(encoding))
    reading = read("table", images, table="t.csv", **COLUMNS)
    assert rows(reading, "path", "label") == [("img/a.png", "Größe"), ("img/b.png", "1")]
