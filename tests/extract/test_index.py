from __future__ import annotations

import os
import re
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from frostline.cache import InputError, Manifest, Workspace, file_key, read_manifest
from frostline.extract.audit.audit import audit, render_audit
from frostline.extract.groups import groups_from_names
from frostline.extract.index import index_dataset
from frostline.extract.phantom import make_phantom_glioma
from frostline.extract.pixels import manifest_channels

CHEST_PATIENT = r"person\d+|(?:NORMAL2-)?IM-\d+"

opened: list[str] = []
listening = False


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if listening and event == "open":
        opened.append(str(args[0]))


sys.addaudithook(_hook)


@pytest.fixture
def listen() -> Iterator[list[str]]:
    """Names of all files that are opened from here on, by anything in this process."""
    global listening
    opened.clear()
    listening = True
    yield opened
    listening = False


Index = Callable[..., Manifest]


@pytest.fixture
def index(tmp_path: Path) -> Index:
    def run(name: str = "set", root: Path = tmp_path / "root", **options: Any) -> Manifest:
        return index_dataset(Workspace(tmp_path / "workspace"), name, roots=[root], **options)

    return run


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes of twelve patients with two images each, all different."""
    add_patients(tmp_path / "root", range(12))
    return tmp_path / "root"


def add_patients(root: Path, numbers: range) -> None:
    rng = np.random.default_rng([9, numbers.start])
    for label in "ab":
        (root / label).mkdir(parents=True, exist_ok=True)
        for number in numbers:
            for image in range(2):
                pixels = rng.integers(0, 256, (6, 5), dtype=np.uint8)
                Image.fromarray(pixels).save(root / label / f"{label}{number:03d}-{image}.png")


def splits(manifest: Manifest) -> dict[str, str]:
    """The split of every group, which must be one."""
    table = manifest.table
    assert (table.groupby("group_id")["split"].nunique() == 1).all()
    return dict(zip(table["group_id"], table["split"], strict=True))


def test_manifest(index: Index, root: Path, tmp_path: Path) -> None:
    manifest = index(group_pattern=r"^\w\d+")
    table = manifest.table
    assert len(table) == 48
    first = table.iloc[0]
    assert first["image_id"] == first["path"] == "a/a000-0.png"
    assert (first["label"], first["group_id"], first["root"]) == ("a", "a000", 0)
    assert first["file_key"] == first["content_key"] == file_key(root / "a/a000-0.png")
    assert first["file_size"] == (root / "a/a000-0.png").stat().st_size
    assert (first["width"], first["height"]) == (5, 6)
    assert (first["mode"], first["format"]) == ("L", "PNG")
    counts = table.drop_duplicates("group_id").groupby(["label", "split"]).size().to_dict()
    assert counts == {
        (label, part): number
        for label in "ab"
        for part, number in (("test", 4), ("train", 6), ("val", 2))
    }
    assert manifest.meta["made_splits"] == ["test", "val"]
    assert manifest.meta["roots"] == [str(root)]
    own = {"label_folder": "first", "window": None}
    assert manifest.meta["options"] == own | {"follow": None, "source": None}
    again = read_manifest(Workspace(tmp_path / "workspace").manifest("set"))
    assert again.digest() == manifest.digest()


def test_without_groups_every_image_is_its_own(index: Index, root: Path) -> None:
    table = index().table
    assert table["group_id"].tolist() == table["image_id"].tolist()


def test_unchanged_files_are_not_opened(index: Index, root: Path, listen: list[str]) -> None:
    first = index()
    # Read, and their pixels compared, for all have one size.
    assert len([name for name in opened if name.endswith(".png")]) == 2 * 48
    listen.clear()
    second = index()
    assert not [name for name in opened if name.endswith(".png")]
    assert second.table.equals(first.table)
    Image.new("L", (9, 9)).save(root / "a/a000-0.png")
    add_patients(root, range(12, 13))
    listen.clear()
    third = index()
    names = {Path(name).name for name in opened if name.endswith(".png")}
    assert names == {"a000-0.png", "a012-0.png", "a012-1.png", "b012-0.png", "b012-1.png"}
    assert third.table["width"].iat[0] == 9
    assert third.table["file_key"].iat[0] != first.table["file_key"].iat[0]


def test_progress_counts_files(index: Index, root: Path) -> None:
    seen: list[tuple[int, int]] = []
    index(progress=lambda done, total: seen.append((done, total)))
    assert seen == 2 * [(done, 48) for done in range(1, 49)]  # read, and their pixels compared


def test_adding_images_moves_no_group(index: Index, root: Path) -> None:
    before = splits(index(group_pattern=r"^\w\d+"))
    add_patients(root, range(12, 40))
    after = splits(index(group_pattern=r"^\w\d+", seed=5, test_fraction=0.5))
    assert {group: after[group] for group in before} == before
    assert sum(part == "test" for part in after.values()) == 40
    # Under other names no group would be known, and a test patient could come into training.
    for pattern, now in ((None, "now has none"), (r"\d+", r"now has '\\d+'")):
        with pytest.raises(InputError) as caught:
            index(group_pattern=pattern)
        assert str(caught.value).endswith(
            rf"was indexed with --group-pattern '^\\w\\d+', and {now}: give the same again, or "
            "--resplit for new groups and new splits."
        )
    resplit = splits(index(group_pattern=r"^\w\d+", seed=5, resplit=True))
    assert {group: resplit[group] for group in before} != before


def test_splits_of_the_data_are_kept_and_only_val_is_made(index: Index, root: Path) -> None:
    for label in "ab":
        for part, numbers in (("train", "0*[0-7]"), ("test", "[01]*")):
            (root / part / label).mkdir(parents=True)
            for path in sorted((root / label).glob(f"{label}{numbers}-*.png")):
                shutil.move(path, root / part / label)
        (root / label).rmdir()
    manifest = index(group_pattern=r"^\w\d+", val_fraction=0.25)
    assert manifest.meta["made_splits"] == ["val"]
    given = manifest.table["path"].str.split("/").str[0]
    assert (manifest.table["split"][given == "test"] == "test").all()
    assert set(manifest.table["split"][given == "train"]) == {"train", "val"}
    # a patient whom the user moves to the test folder is in test from then on
    before = splits(manifest)
    moved = next(group for group, part in before.items() if part == "val")
    for path in (root / "train" / moved[0]).glob(f"{moved}-*"):
        shutil.move(path, root / "test" / moved[0])
    after = splits(index(group_pattern=r"^\w\d+", val_fraction=0.25))
    assert after == {**before, moved: "test"}
    for path in (root / "test" / moved[0]).glob(f"{moved}-*"):
        shutil.move(path, root / "train" / moved[0])
    assert splits(index(group_pattern=r"^\w\d+"))[moved] in ("train", "val")


def test_unreadable_files_are_in_the_manifest_without_mode(index: Index, root: Path) -> None:
    (root / "a/empty.png").touch()
    whole = (root / "a/a000-0.png").read_bytes()
    (root / "a/cut.png").write_bytes(whole[:-30])
    table = index().table
    broken = table["mode"].isna()
    assert table["image_id"][broken].tolist() == ["a/cut.png", "a/empty.png"]
    assert table["width"][broken].isna().all()
    assert table["format"][broken].isna().all()


def test_mistakes(index: Index, root: Path, tmp_path: Path) -> None:
    def message(**options: Any) -> str:
        with pytest.raises(InputError) as caught:
            index(**options)
        return str(caught.value)

    missing = tmp_path / "none"
    assert message(root=missing) == f"There is no folder {missing}: correct --root."
    assert message(group_pattern="(") == (
        "The pattern '(' of --group-pattern is no regular expression: missing ) at position 1."
    )
    assert message(group_pattern=r"a\d+") == (
        r"--group-pattern 'a\d+' finds no group in 24 of 48 names, such as b000-0.png: change it "
        "so that it matches them all, or name the groups in a column (--kind table, "
        "--group-column). Where nobody knows the patient, leave it out: every image is then its "
        "own group."
    )
    nothing = message(group_pattern="site/(p[0-9]+)")
    assert "finds no group in all 48 paths, such as a/a000-0.png: " in nothing
    with pytest.raises(InputError, match=r"^A root is given twice: name each folder once\.$"):
        index_dataset(Workspace(tmp_path), "x", roots=[root, root / "../root"])
    with pytest.raises(InputError, match="^No root is given: "):
        index_dataset(Workspace(tmp_path), "x", roots=[])
    table = tmp_path / "t.csv"
    table.write_text("f,y,g\na/a000-0.png,1,p\n")
    options = {"table": table, "image_column": "f", "label_column": "y", "group_column": "g"}
    assert message(kind="table", options=options, group_pattern="a") == (
        "Groups are given twice: use either a group column or --group-pattern."
    )
    assert not (tmp_path / "workspace/manifests").exists()


def test_grey_and_colour_together_are_colour(index: Index, root: Path) -> None:
    assert manifest_channels(index()) == "grey"
    wide = np.arange(30, dtype=np.uint16).reshape(6, 5) * 999
    Image.fromarray(wide).save(root / "a/a500-0.png")
    assert manifest_channels(index()) == "grey"
    Image.new("RGB", (5, 6), (1, 2, 3)).save(root / "a/a501-0.png")
    assert manifest_channels(index()) == "rgb"


def test_pages_of_a_file(index: Index, tmp_path: Path) -> None:
    root = tmp_path / "root"
    pages = [Image.new("L", (5, 6), level) for level in (10, 20, 30)]
    (root / "a").mkdir(parents=True)
    pages[0].save(root / "a/pages.tif", save_all=True, append_images=pages[1:])
    (root / "b").mkdir()
    shutil.copy(root / "a/pages.tif", root / "b")
    refused = index().table
    assert refused["mode"].isna().all()
    (root / "t.csv").write_text("file,page,dx\na/pages.tif,0,x\na/pages.tif,2,y\n")
    options = {
        "table": "t.csv",
        "image_column": "file",
        "label_column": "dx",
        "frame_column": "page",
    }
    table = index(kind="table", options=options).table
    assert table["image_id"].tolist() == ["a/pages.tif#z=0", "a/pages.tif#z=2"]
    assert table["mode"].tolist() == ["L", "L"]
    assert table["content_key"].is_unique
    (root / "t.csv").write_text("file,page,dx\na/pages.tif,first,x\n")
    with pytest.raises(
        InputError, match=r"row 2: 'first' in column 'page' is not a page's number\.$"
    ):
        index(kind="table", options=options)


def test_labels_that_are_none_are_refused_in_every_kind(index: Index, root: Path) -> None:
    table = {"table": "t.csv", "image_column": "f", "label_column": "y"}
    names = sorted(path.relative_to(root) for path in root.rglob("*.png"))
    rows = [f"{name},{['Mass|Cyst', 'Mass'][n % 2]},{n / 3}" for n, name in enumerate(names)]
    (root / "t.csv").write_text("\n".join(["f,y,age", *rows]))
    with pytest.raises(InputError, match=r"^Image a/a000-0.png: the label 'Mass\|Cyst' is several"):
        index(kind="table", options=table)
    with pytest.raises(InputError, match=r"^Image a/a000-0.png: the label '0.0' is one of 48 diff"):
        index(kind="table", options={**table, "label_column": "age"})
    (root / "t.csv").write_text("\n".join(["f,y,age", *rows]).replace("|Cyst", " "))
    manifest = index(kind="table", options=table)
    with pytest.raises(InputError, match=r"^Column 'age' of set, a/a000-0.png: the label '0.0' is"):
        manifest.images(label="age")
    assert "The labels 'Mass ' and 'Mass' differ in blanks or case only" in render_audit(
        audit(manifest)
    )
    (root / "a").rename(root / "mass,nodule")
    with pytest.raises(InputError, match=r"^Image mass,nodule/a000-0.png: the label 'mass,nodule'"):
        index()


def test_names_that_are_not_utf8(index: Index, root: Path) -> None:
    with open(os.fsencode(root / "a") + b"/\xff.png", "wb"):
        pass
    with pytest.raises(InputError) as caught:
        index()
    assert str(caught.value) == "The name of 'a/\\udcff.png' is not valid UTF-8: rename the file."


@pytest.mark.parametrize(
    ("pattern", "groups"),
    [
        (r"\d+", ["7", "8"]),
        (r"p(\d+)", ["7", "8"]),
        (r"(p)(?P<group>\d+)", ["7", "8"]),
        (r"^(\w+)/", ["site1", "site1"]),
    ],
)
def test_group_patterns(pattern: str, groups: list[str]) -> None:
    assert groups_from_names(["site1/p7.png", "site1/p8.png"], pattern) == groups


def test_phantom_slices(index: Index, tmp_path: Path, listen: list[str]) -> None:
    make_phantom_glioma(tmp_path / "root", patients=9)
    options = {
        "table": "labels.csv",
        "image": "{patient}/{patient}_flair.nii.gz",
        "mask": "{patient}/{patient}_mask.nii.gz",
        "group_column": "patient_id",
        "label_column": "grade",
    }
    first = index(kind="mri-slices", options=options)
    table = first.table
    assert table["group_id"].nunique() == 9
    assert set(table["split"]) == {"train", "val", "test"}
    assert len(set(splits(first))) == 9
    assert table["content_key"].is_unique
    assert table["file_key"].nunique() == 9
    assert table.loc[0, ["width", "height", "mode", "format"]].tolist() == [
        96,
        96,
        "int16",
        "NIfTI",
    ]
    listen.clear()
    second = index(kind="mri-slices", options=options)
    assert not [name for name in opened if name.endswith(".nii.gz")]
    assert second.table.equals(table)
    more = index(kind="mri-slices", options={**options, "min_roi": 60})
    assert len(more) < len(table)


def test_modalities_share_their_split(index: Index, tmp_path: Path) -> None:
    """A patient is on the same side in every data set that follows another."""
    make_phantom_glioma(tmp_path / "root", patients=24)
    for number in range(24):
        folder = tmp_path / f"root/PHANTOM_{number:04d}"
        if number % 3:
            shutil.copy(folder / f"{folder.name}_flair.nii.gz", folder / f"{folder.name}_t1.nii.gz")
        if number % 4 == 0:
            (folder / f"{folder.name}_flair.nii.gz").unlink()
    common = {"table": "labels.csv", "group_column": "patient_id", "label_column": "grade"}

    def options(modality: str, **more: Any) -> dict[str, Any]:
        image, mask = ("{patient}/{patient}_" + what + ".nii.gz" for what in (modality, "mask"))
        return {**common, "image": image, "mask": mask, **more}

    flair = index("flair", kind="mri-slices", options=options("flair"))
    alone = index("alone", kind="mri-slices", options=options("t1"), seed=1)
    t1 = index("t1", kind="mri-slices", options=options("t1", follow="flair"), seed=1)
    assert flair.meta["left_out"]["patients without an image"]["count"] == 6
    assert t1.meta["left_out"]["patients without an image"]["count"] == 8
    both = set(splits(flair)) & set(splits(t1))
    assert len(both) == 12
    assert all(splits(flair)[group] == splits(t1)[group] for group in both)
    assert any(splits(flair)[group] != splits(alone)[group] for group in both)
    with pytest.raises(InputError, match=r"^Group PHANTOM_\d+ is in \w+ of flair, but in \w+ of "):
        index("alone", kind="mri-slices", options=options("t1", follow=["flair"]))
    moved = index("alone", kind="mri-slices", options=options("t1", follow="flair"), resplit=True)
    assert all(splits(flair)[group] == splits(moved)[group] for group in both)
    with pytest.raises(InputError, match=r"^There is no data set 'none' in workspace"):
        index("t1", kind="mri-slices", options=options("t1", follow="none"))


def test_chest_xray(index: Index, shared_data: Path) -> None:
    manifest = index(root=shared_data / "chest_xray", group_pattern=CHEST_PATIENT)
    table = manifest.table
    in_test = table["split"] == "test"
    assert table[in_test].groupby("label").size().to_dict() == {"NORMAL": 234, "PNEUMONIA": 390}
    assert table[~in_test].groupby("label").size().to_dict() == {"NORMAL": 1341, "PNEUMONIA": 3875}
    crossing = table.groupby("group_id")["split"].nunique() > 1
    assert crossing.sum() == 170
    assert table[table["split"] == "val"]["group_id"].map(crossing).sum() == 0
    assert table["mode"].notna().all()


def test_ham10000(index: Index, shared_data: Path) -> None:
    options = {
        "table": "HAM10000_metadata.csv",
        "image": "images/{image_id}.jpg",
        "label_column": "dx",
        "group_column": "lesion_id",
    }
    manifest = index(root=shared_data / "ham10000", kind="table", options=options)
    assert len(manifest) == 10_015
    parts = splits(manifest)  # no lesion in two
    assert len(parts) == 7_470
    assert set(manifest.table.groupby("split")["label"].nunique()) == {7}


@pytest.mark.parametrize("modality", ["flair", "t1", "t1ce"])
def test_glioma_lgg(index: Index, shared_data: Path, modality: str) -> None:
    options = {
        "table": "labels.csv",
        "image": f"{{patient}}/{{patient}}_{modality}.nii.gz",
        "mask": "{patient}/{patient}_mask.nii.gz",
        "group_column": "patient_id",
        "label_column": "grade",
    }
    manifest = index(root=shared_data / "glioma_lgg", kind="mri-slices", options=options)
    table = manifest.table
    assert manifest.meta["left_out"] == {}
    assert (len(table), table["group_id"].nunique()) == (327, 30)
    counts = table.drop_duplicates("group_id").groupby("split").size().to_dict()
    assert counts == {"test": 10, "train": 16, "val": 4}


def test_images_that_are_gone_are_said(tmp_path: Path) -> None:
    for number in range(20):
        folder = tmp_path / "images" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), number).save(folder / f"{number:02d}.png")
    place, roots = Workspace(tmp_path / "workspace"), [tmp_path / "images"]
    table = index_dataset(place, "set", roots=roots).table
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        index_dataset(place, "set", roots=roots)  # all are there
    gone = table.loc[table["split"] == "test", "image_id"].iloc[0]
    (tmp_path / "images" / gone).unlink()
    sentence = (
        f"1 of the 20 images that data set 'set' had before are not there any more, 1 of them in "
        f"test ({gone})."
    )
    with pytest.warns(UserWarning, match=f"^{re.escape(sentence)}$"):
        index_dataset(place, "set", roots=roots)
    (tmp_path / "images").rename(tmp_path / "first")
    for number in range(20):  # another data set under the same name
        folder = tmp_path / "images" / "xy"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), 100 + number).save(folder / f"x{number}.png")
    with pytest.warns(UserWarning, match=r"^19 of the 19 images that data set 'set' had before"):
        index_dataset(place, "set", roots=roots)
