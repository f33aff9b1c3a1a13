"""`index` on files that it cannot read names the kind that can, and a command that works."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from frostline.cache import InputError, read_manifest
from frostline.cli import app


def image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(str(path))).integers(0, 255, (16, 16), np.uint8)
    Image.fromarray(pixels).save(path)


def volume(path: Path, *, mask: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    voxels = np.zeros((12, 12, 6), np.int16)
    voxels[2:10, 2:10, 1:5] = 1 if mask else np.arange(4)
    nib.save(nib.Nifti1Image(voxels, np.eye(4)), path)


def table(path: Path, header: str, rows: Sequence[Sequence[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [",".join(map(str, row)) for row in rows]
    path.write_text("\n".join([header, *lines]) + "\n")


def paths_in_a_table() -> list[str]:
    """The paths stand in the table, with patients and splits."""
    parts = ["train"] * 8 + ["test"] * 4
    for n in range(12):
        image(Path(f"data/im/{n:02}.png"))
    rows = [(f"im/{n:02}.png", "ab"[n // 2 % 2], f"p{n // 2}", parts[n]) for n in range(12)]
    table(Path("data/labels.csv"), "file,outcome,patient_id,fold", rows)
    return ["--root", "data"]


def names_in_a_table() -> list[str]:
    """The table has names without folder and ending, and a column of ages."""
    for n in range(12):
        image(Path(f"data/im/x{n:02}.jpg"))
    rows = [(f"x{n:02}", 40 + n % 3, ["sick", "well"][n % 2]) for n in range(12)]
    table(Path("data/meta.csv"), "isic,age,finding", rows)
    return ["--root", "data"]


def flat_with_a_table_beside() -> list[str]:
    for n in range(12):
        image(Path(f"data/{n:02}.png"))
    table(Path("labels.csv"), "name,dx", [(f"{n:02}.png", "ab"[n % 2]) for n in range(12)])
    return ["--root", "data"]


def a_table_as_root() -> list[str]:
    paths_in_a_table()
    return ["--root", "data/labels.csv"]


def options_of_another_kind() -> list[str]:
    paths_in_a_table()
    return ["--root", "data", "--table", "labels.csv"]


def a_kind_without_its_options() -> list[str]:
    return [*paths_in_a_table(), "--kind", "table"]


def volumes_with_masks() -> list[str]:
    for n in range(6):
        volume(Path(f"data/sub-{n}1/sub-{n}1_flair.nii.gz"))
        volume(Path(f"data/sub-{n}1/sub-{n}1_seg.nii.gz"), mask=True)
    rows = [(f"sub-{n}1", ["low", "high"][n % 2]) for n in range(6)]
    table(Path("data/participants.csv"), "subject,grade", rows)
    return ["--root", "data"]


def volumes_without_masks() -> list[str]:
    for n in range(6):
        volume(Path(f"data/v{n}x.nii"))
    table(Path("data/t.csv"), "case,label", [(f"v{n}x", "ab"[n % 2]) for n in range(6)])
    return ["--root", "data"]


def class_folders() -> list[str]:
    for n in range(12):
        image(Path(f"data/{'ab'[n % 2]}/{n:02}.png"))
    return ["--root", "data", "--kind", "dicom"]


KINDS = {
    paths_in_a_table: "table",
    names_in_a_table: "table",
    flat_with_a_table_beside: "table",
    a_table_as_root: "table",
    options_of_another_kind: "table",
    a_kind_without_its_options: "table",
    volumes_with_masks: "mri-slices",
    volumes_without_masks: "mri-slices",
    class_folders: "folder",
}


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FROSTLINE_WORKSPACE", raising=False)


def refused(*words: str) -> tuple[str, str]:
    """What a command line is told, and the command that it is told, if any."""
    with pytest.raises(InputError) as caught:
        app(["index", "new", *words], standalone_mode=False)
    sentence, _, command = str(caught.value).partition(": `frostline ")
    return sentence, f"frostline {command.removesuffix('`.')}"


@pytest.mark.parametrize("layout", KINDS, ids=lambda layout: layout.__name__)
@pytest.mark.parametrize("workspace", ["", "other"])
def test_the_command_that_is_named_works(
    layout: object, workspace: str, request: pytest.FixtureRequest
) -> None:
    words = layout()  # type: ignore[operator]
    words += ["--workspace", workspace] if workspace else []
    sentence, command = refused(*words)
    kind = KINDS[layout]  # type: ignore[index]
    same = kind in words
    assert sentence.endswith("This reads these files" if same else f"look like kind {kind}")
    program, *words = shlex.split(command)
    assert program == "frostline"
    assert not app(words, standalone_mode=False)
    manifest = read_manifest(Path(workspace or "frostline-workspace") / "manifests/new.parquet")
    assert manifest.meta["kind"] == kind
    assert manifest.table["label"].nunique() == 2
    if layout is paths_in_a_table:
        assert manifest.table["group_id"].nunique() == 6
        assert set(manifest.table["split"][:8]) <= {"train", "val"}


def test_volumes_without_a_table_say_what_it_needs() -> None:
    volume(Path("data/a.nii"))
    sentence, command = refused("--root", "data")
    assert sentence.endswith(
        "These files look like kind mri-slices, once there is a table with a row a patient "
        "(columns patient and label)"
    )
    table(Path("data/labels.csv"), "patient,label", [("a", "x"), ("b", "y")])
    volume(Path("data/b.nii"))
    assert not app(shlex.split(command)[1:], standalone_mode=False)


def test_columns_that_cannot_be_guessed_are_left_to_the_user() -> None:
    image(Path("data/a.png"))
    image(Path("data/b.png"))
    table(Path("data/t.csv"), "x,y2", [("q", "1"), ("r", "2")])
    sentence, command = refused("--root", "data")
    assert sentence.endswith("kind table; write the right column where COLUMN stands")
    assert command.endswith(
        "--kind table --table t.csv --image-column COLUMN --label-column COLUMN"
    )


def test_files_of_no_kind_are_given_none() -> None:
    Path("data").mkdir()
    assert "look like" not in refused("--root", "data")[0]
    Path("data/readme.md").write_text("nothing\n")
    assert "look like" not in refused("--root", "data")[0]
    assert "look like" not in refused("--root", "nowhere")[0]


def test_a_table_of_something_else_is_not_meant() -> None:
    class_folders()
    table(Path("runs.csv"), "image_id,label", [(f"a/{n:02}.png", "a") for n in range(0, 12, 2)])
    sentence, _ = refused("--root", "data", "--split-column", "fold")
    assert sentence.startswith("Kind folder has no option 'split_column'")
    assert "look like" not in sentence
