"""docs/datasets.md: its commands work, on small trees of the layouts that it shows."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
import pydicom
import pytest
import typer
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

from frostline import Workspace
from frostline.cache import InputError, read_manifest
from frostline.cli import app
from frostline.commands.data import Kind
from frostline.extract.groups import groups_from_names
from frostline.extract.phantom import make_phantom_glioma
from frostline.extract.readers.kinds import KINDS
from frostline.reference import commands as reference_commands
from frostline.reference import examples

PAGE = Path(__file__).resolve().parents[2] / "docs/datasets.md"
PARTS = ("train", "val", "test")
HOT = "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\n"


def commands() -> list[str]:
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in block.strip().splitlines()]


def images(folder: Path, *names: str) -> None:
    rng = np.random.default_rng(len(names))
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8)).save(folder / name)


def photos(root: Path) -> None:
    images(root, *(f"{c}/patient{n}{n}-a.jpg" for c in ("benign", "malign") for n in range(5)))


def clinic(root: Path) -> None:
    images(root, *(f"images/{n:04d}.png" for n in range(8)))
    rows = [f"images/{n:04d}.png,{'ab'[n % 2]},{n % 3},p{n}\n" for n in range(8)]
    (root / "labels.csv").write_text("file,diagnosis,stage,patient\n" + "".join(rows))


def glioma_lgg(root: Path) -> None:
    make_phantom_glioma(root, patients=6)
    for path in list(root.glob("*/*_flair.nii.gz")):
        shutil.copy(path, path.with_name(path.name.replace("flair", "t1")))


def scans(root: Path) -> None:
    source = Path(pydicom.data.__file__).parent / "test_files"
    for number, name in enumerate(("CT_small.dcm", "MR_small.dcm", "liver_1frame.dcm")):
        folder = root / ("cancer", "healthy")[number % 2] / f"study{number}"
        folder.mkdir(parents=True)
        shutil.copy(source / name, folder / "IM0001")


def medmnist(root: Path) -> None:
    root.mkdir()
    parts = {"train": 6, "val": 2, "test": 2}
    arrays = {f"{part}_images": np.zeros((n, 28, 28), np.uint8) for part, n in parts.items()}
    arrays |= {f"{part}_labels": np.arange(n)[:, None] % 2 for part, n in parts.items()}
    np.savez(root / "pneumoniamnist.npz", **arrays)


def chest_xray(root: Path) -> None:
    for part, start in (("train", 100), ("val", 200), ("test", 300)):
        images(root, *(f"{part}/NORMAL/IM-0{start + n}-0001.jpeg" for n in range(4)))
        images(root, *(f"{part}/PNEUMONIA/person{start + n}_virus_{n}.jpeg" for n in range(4)))


def ham10000(root: Path) -> None:
    images(root, *(f"HAM10000_images_part_{1 + n % 2}/ISIC_{n}.jpg" for n in range(6)))
    rows = [f"L{n // 2},ISIC_{n},{'nv' if n < 4 else 'mel'}\n" for n in range(6)]
    (root / "HAM10000_metadata.csv").write_text("lesion_id,image_id,dx\n" + "".join(rows))
    images(root, "ISIC2018_Task3_Test_Input/ISIC_99.jpg")
    (root / "ISIC2018_Task3_Test_GroundTruth.csv").write_text(HOT + "ISIC_99,1,0,0,0,0,0,0\n")


def isic2018(root: Path) -> None:
    stem = "ISIC2018_Task3"
    images(root, *(f"{stem}_Training_Input/ISIC_{n}.jpg" for n in range(4)))
    images(root, f"{stem}_Test_Input/ISIC_99.jpg")
    rows = "".join(f"ISIC_{n},0,1,0,0,0,0,0\n" for n in range(4))
    (root / f"{stem}_Training_GroundTruth.csv").write_text(HOT + rows)
    lesions = "".join(f"ISIC_{n},L{n}\n" for n in range(4))
    (root / f"{stem}_Training_LesionGroupings.csv").write_text("image,lesion_id\n" + lesions)
    (root / f"{stem}_Test_GroundTruth.csv").write_text(HOT + "ISIC_99,1,0,0,0,0,0,0\n")


def amd(root: Path) -> None:
    images(root, *(f"Training400/AMD/A{n:04d}.jpg" for n in range(1, 4)))
    images(root, *(f"Training400/Non-AMD/N{n:04d}.jpg" for n in range(1, 6)))


LAYOUTS: list[Callable[[Path], None]] = [
    photos,
    clinic,
    glioma_lgg,
    scans,
    medmnist,
    chest_xray,
    ham10000,
    isic2018,
    amd,
]


def test_the_commands_of_the_page_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for layout in LAYOUTS:
        layout(tmp_path / layout.__name__)
    kinds = set()
    for line in commands():
        program, verb, name, *arguments = shlex.split(line)
        assert (program, verb) == ("frostline", "index")
        result = CliRunner().invoke(app, ["index", name, *arguments], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        manifest = read_manifest(tmp_path / f"frostline-workspace/manifests/{name}.parquet")
        assert manifest.table["mode"].notna().all(), line
        assert manifest.table["split"].notna().all(), line
        kinds.add(manifest.meta["kind"])
    assert kinds == set(KINDS)


def test_the_example_of_the_help_works_on_the_data_it_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    photos(tmp_path / "photos")
    group = typer.main.get_command(app)
    (example,) = examples(dict(reference_commands(group))["frostline index"])
    program, *arguments = shlex.split(example)
    assert program == "frostline"
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    manifest = read_manifest(tmp_path / "frostline-workspace/manifests/photos.parquet")
    assert manifest.table["group_id"].nunique() == 5


def test_readmes_first_pattern_fits_the_files_it_shows() -> None:
    text = (PAGE.parents[1] / "README.md").read_text(encoding="utf-8")
    (pattern, *_) = re.findall(r"--group-pattern '([^']+)'", text)
    names = re.findall(r"^images/\S+\.png$", text, re.MULTILINE)
    assert groups_from_names(names, pattern) == ["patient001", "patient002"]


def test_a_pattern_that_misses_names_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    chest_xray(tmp_path / "chest_xray")
    wrong = ("index", "chest", "--root", "chest_xray", "--group-pattern", r"(person\d+)_")
    with pytest.raises(InputError) as caught:
        app([*wrong], standalone_mode=False)
    assert str(caught.value).startswith(
        r"--group-pattern '(person\d+)_' finds no group in 12 of 24 names, such as "
        "IM-0300-0001.jpeg: change it so that it matches them all, or"
    )


def test_the_help_lists_the_kinds_there_are() -> None:
    assert get_args(Kind) == tuple(KINDS)
    wrong = CliRunner().invoke(app, ["index", "x", "--root", ".", "--kind", "folders"])
    assert wrong.exit_code == 2
    assert "'folders' is not one of 'folder', 'table'," in " ".join(wrong.output.split())


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)


def test_flags_of_the_kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    chest_xray(tmp_path / "chest")
    run("index", "chest", "--kind", "chest-xray", "--root", "chest", "--keep-val")
    manifest = read_manifest(tmp_path / "frostline-workspace/manifests/chest.parquet")
    assert (manifest.table["split"] == "val").sum() == 8
    glioma_lgg(tmp_path / "glioma")
    patterns = ("{patient}/{patient}_" + what + ".nii.gz" for what in ("flair", "mask"))
    columns = ("--table", "labels.csv", "--group-column", "patient_id", "--label-column", "grade")
    found = ("--image", next(patterns), "--mask", next(patterns), *columns)
    run("index", "mri", "--kind", "mri-slices", "--root", "glioma", *found, "--spacing", 4, 4, 6)
    manifest = read_manifest(tmp_path / "frostline-workspace/manifests/mri.parquet")
    assert manifest.meta["options"]["spacing"] == [4, 4, 6]


def test_audit_refuses_leaks_and_draws_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    images(tmp_path / "root", *(f"{part}/{c}/{part}.png" for part in PARTS for c in "ab"))
    shutil.copy("root/train/a/train.png", "root/test/b/copy.png")
    run("index", "set", "--root", "root")
    loud = run("audit", "set", "--with-images", "sheet.png")
    assert loud.exit_code == 0
    assert "leak: 1 image occurs in test and another split, byte for byte" in loud.output
    assert "sheet.png shows 1 of 1 equal images; --out lists all." in loud.output
    assert Image.open("sheet.png").width == 640
    assert "findings.csv has 2 rows" in run("audit", "set", "--out", "findings.csv").output
    listed = Path("findings.csv").read_text()
    assert listed.splitlines()[0].startswith("finding,set,harm,image_id,split,label,group_id,")
    assert "equal images,1,leaks into test,test/b/copy.png,test,b,test/b/copy.png,," in listed
    Workspace("frostline-workspace").audit("set").to_csv("python.csv")
    assert Path("python.csv").read_text() == listed
    assert run("audit", "set", "--strict").exit_code == 1
    shutil.move("root/test/b/copy.png", "root/val/b/copy.png")
    run("index", "set", "--root", "root")
    other = run("audit", "set", "--strict")  # a leak, but not into test
    assert "leak: 1 image occurs in more than one split" in other.output
    assert "leaks into test: 0; other leaks: 1." in other.output
    assert other.exit_code == 0


def test_every_kind_is_in_the_table_of_the_page() -> None:
    for kind in KINDS:
        assert re.search(rf"^\| .*`{kind}`.* \|", PAGE.read_text(), re.MULTILINE), kind
