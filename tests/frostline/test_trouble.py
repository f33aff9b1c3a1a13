"""Wrong input, a full disk, Ctrl-C, kill -9: one sentence, and the next run finishes the job."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest

from frostline import cli
from frostline.cache import Store, Workspace, part_files, read_manifest

from .conftest import Run, command, environment, make_images

TINY = ("--backbone", "timm:test_vit", "--weights", "random", "--image-size", "32")
INDEX_TABLE = ("index", "x", "--root", "images", "--kind", "table", "--table", "t.csv")
EXTRACT = ("extract", "--dataset", "set", *TINY, "--batch", "4", "--device", "cpu")


def index(frostline: Run, root: Path) -> None:
    done = frostline("index", "set", "--root", root, "--group-pattern", r"(patient\d+)")
    assert done.returncode == 0, done.stderr


def rows(workspace: Path) -> dict[str, np.ndarray]:
    """Embeddings by image, where the store has them."""
    place = Workspace(workspace)
    manifest = read_manifest(place.manifest("set"))
    (folder,) = place.embeddings("set", "timm:test_vit").iterdir()
    store = Store.open(folder)
    found = store.locate(manifest.keys())
    ids = manifest.table["image_id"][found >= 0]
    return dict(zip(ids, store.read(found[found >= 0]), strict=True))


def started_extraction(folder: Path, parts: int) -> subprocess.Popen[str]:
    """An extraction in its own process that has written at least so many parts."""
    process = subprocess.Popen(
        command(*EXTRACT, slowly=True),
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    store = folder / "frostline-workspace" / "embeddings" / "set" / "timm%3Atest_vit"
    while process.poll() is None and len(list(store.glob("*/part-*.h5"))) < parts:
        time.sleep(0.01)
    return process


@pytest.mark.parametrize(
    "signal_number", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_a_stopped_extraction_goes_on_with_the_same_numbers(
    tmp_path: Path, frostline: Run, signal_number: int
) -> None:
    root = make_images(tmp_path / "images", 240)
    index(frostline, root)
    process = started_extraction(tmp_path, parts=3)
    process.send_signal(signal_number)
    _, errors = process.communicate()
    workspace = tmp_path / "frostline-workspace"
    before = rows(workspace)
    assert 0 < len(before) < 240, "stopped too late to test anything"
    if signal_number == signal.SIGINT:
        assert process.returncode == 130
        assert errors == (
            "Interrupted: run the same command again to go on from what is finished.\n"
        )
        assert list(workspace.rglob(".tmp-*")) == []
    again = frostline(*EXTRACT)
    assert again.returncode == 0, again.stderr
    assert f"240 distinct images: {240 - len(before)} embedded now" in again.stdout
    assert list(workspace.rglob(".tmp-*")) == []
    other = ("--workspace", "undisturbed")
    assert frostline("index", "set", "--root", root, *other).returncode == 0
    assert frostline(*EXTRACT, *other).returncode == 0
    undisturbed, resumed = rows(tmp_path / "undisturbed"), rows(workspace)
    assert undisturbed.keys() == resumed.keys()
    for image_id, row in undisturbed.items():
        np.testing.assert_array_equal(row, resumed[image_id])


def test_a_full_disk_and_a_read_only_one(tmp_path: Path, frostline: Run, small_disk: Path) -> None:
    root = make_images(tmp_path / "images", 60)
    where = ("--workspace", small_disk / "ws")
    assert frostline("index", "set", "--root", root, *where).returncode == 0
    full = frostline(*EXTRACT, *where, small_parts=True)
    assert full.returncode == 1
    assert full.stderr.startswith("Error: The disk is full")
    assert full.stderr.endswith("run the same command again; what is finished is kept.\n")
    assert full.stderr.count("\n") == 1
    assert list(small_disk.rglob(".tmp-*")) == []
    kept = [Store.open(part.parent) for part in small_disk.rglob("part-*.h5")]
    assert kept
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    sealed = frostline(*EXTRACT, *where)
    assert (sealed.returncode, sealed.stderr.count("\n")) == (1, 1)
    assert "it is read-only; choose another --workspace" in sealed.stderr
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    again = frostline(*EXTRACT, *where)
    assert again.returncode == 0, again.stderr
    assert len(rows(small_disk / "ws")) == 60


def test_an_unreadable_image_among_many(tmp_path: Path, frostline: Run) -> None:
    root = make_images(tmp_path / "images", 12)
    broken = root / "well" / "patient000_0.png"
    broken.write_bytes(b"")
    index(frostline, root)
    stopped = frostline(*EXTRACT)
    assert stopped.returncode == 2
    assert stopped.stderr == (
        f"Error: Cannot read image {broken}: the file is empty (--on-error skip leaves it out).\n"
    )
    skipped = frostline(*EXTRACT, "--on-error", "skip")
    assert skipped.returncode == 0, skipped.stderr
    assert f"Skipped: Cannot read image {broken}: the file is empty." in skipped.stderr
    assert "1 skipped" in skipped.stdout
    assert frostline(*EXTRACT, "--on-error", "skip", "--fail-on-skip").returncode == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("index", "x", "--root", "empty"), "There is no image under"),
        (("index", "x", "--root", "nowhere"), "There is no folder"),
        (
            (*INDEX_TABLE, "--image-column", "file", "--label-column", "grade"),
            "t.csv has no column 'grade' for the label; it has 'file', 'label'",
        ),
        (
            ("index", "x", "--root", "images", "--kind", "tabel"),
            "'tabel' is not one of 'folder', 'table'",
        ),
        (("probe", "--hed", "knn"), "No such option: --hed (Possible options: --head"),
        (("probe", "-d", "x"), "Missing option '--backbone' / '-b'. For example: `"),
        (("probee",), "Did you mean 'probe'? `frostline -h` shows what it takes."),
        (("audit", "x", "-q", "-v"), "Give --quiet or --verbose, not both."),
        (("extract", "-d", "x", "-b", "resnet50"), "There is no data set 'x' in workspace"),
        (("evaluate", "t.csv"), "no column prediction"),
        (("run", "study.yaml"), "There is no study file study.yaml; built-in studies are demo"),
    ],
)
def test_a_users_mistake_is_one_sentence(
    tmp_path: Path, frostline: Run, arguments: tuple[str, ...], sentence: str
) -> None:
    (tmp_path / "empty").mkdir()
    make_images(tmp_path / "images", 2)
    (tmp_path / "t.csv").write_text("file,label\nwell/patient000_0.png,well\n")
    done = frostline(*arguments)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


def test_a_warning_is_a_sentence_and_not_a_line_of_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def warn(**_: object) -> None:
        warnings.warn("The grid is narrow.", stacklevel=1)
        warnings.warn("Old.", DeprecationWarning, stacklevel=1)

    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    monkeypatch.setattr(cli, "app", warn)
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 0
    said = capsys.readouterr().err
    assert said.startswith("Warning: The grid is narrow.\n")
    assert "test_trouble.py:" in said.partition("\n")[2]


@pytest.mark.slow
def test_an_unknown_backbone_and_weights_that_cannot_be_had(tmp_path: Path, frostline: Run) -> None:
    index(frostline, make_images(tmp_path / "images", 4))
    unknown = frostline("extract", "-d", "set", "-b", "resnet5")
    assert unknown.returncode == 2
    assert "There is no backbone 'resnet5'; the nearest names are" in unknown.stderr
    offline = {**os.environ, "HF_HUB_OFFLINE": "1", "TORCH_HOME": str(tmp_path / "none")}
    absent = subprocess.run(
        command("extract", "-d", "set", "-b", "timm:resnet18"),
        cwd=tmp_path,
        env={**offline, "HF_HOME": str(tmp_path / "none")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert absent.returncode == 2
    assert "could not be downloaded: fetch https://" in absent.stderr
    assert not (tmp_path / "frostline-workspace" / "embeddings").exists()


def test_a_damaged_part_is_found_and_its_rows_alone_are_computed_again(
    tmp_path: Path, frostline: Run
) -> None:
    index(frostline, make_images(tmp_path / "images", 40))
    assert frostline(*EXTRACT, small_parts=True).returncode == 0
    workspace = tmp_path / "frostline-workspace"
    whole = rows(workspace)
    (folder,) = Workspace(workspace).embeddings("set", "timm:test_vit").iterdir()
    part = part_files(folder)[1]
    with h5py.File(part) as file:
        offset = file["values"].id.get_offset()
    data = bytearray(part.read_bytes())
    data[offset + 100] ^= 1
    part.write_bytes(data)
    found = frostline("cache", "verify")
    assert (found.returncode, str(part.name) in found.stderr) == (1, True)
    assert frostline("cache", "verify", "--repair").returncode == 0
    again = frostline(*EXTRACT)
    assert "0 decoded" in again.stdout
    assert "0 embedded" not in again.stdout
    for image_id, row in rows(workspace).items():
        np.testing.assert_array_equal(row, whole[image_id])
    assert frostline("cache", "verify").returncode == 0
