"""Names of patients, files and classes come from others: none of them acts on the terminal."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest
from dicom_files import save

from frostline.cache.errors import printable
from frostline.console import NORMAL, set_verbosity

from .conftest import make_images
from .test_wrong_commands import outcome

ESCAPE = "\x1b[2J\x1b[1mtitle\x07"
HOSTILE = [ESCAPE, "=cmd|' /C calc'!A0", "\u202egpj", "a\rb", "\x9b2J"]


ACTS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]")


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FROSTLINE_WORKSPACE", raising=False)
    set_verbosity(NORMAL)


def said(line: str) -> str:
    """All that a command prints, in which nothing acts on a terminal."""
    code, printed, err = outcome(tuple(line.split()))
    text = printed + err
    assert code in (0, 1, 2), code
    assert not ACTS.search(text), text
    assert not re.search(r":\d+: \w*Warning: ", err), err
    return text


def save_dicom(path: Path, patient: str, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8), dtype=np.uint8)
    # The text's encoding first: the names are written in it.
    names = {"PatientID": patient, "PatientName": patient}
    save(path, pixels, SpecificCharacterSet="ISO_IR 192", **names)


def test_patients_of_dicom_files() -> None:
    for number, patient in enumerate(HOSTILE):
        for part in ("train", "test"):
            label = "sick" if number % 2 else "well"
            save_dicom(Path(f"scans/{part}/{label}/{number}.dcm"), patient, number)
            save_dicom(Path(f"scans/{part}/{label}/own{number}.dcm"), f"{part}{number}", number + 9)
    assert "leak: 5 groups are in train and test (" in said("index scans --root scans --kind dicom")
    text = said("audit scans")
    assert "Groups in several splits" in text
    # Groups of DICOM files are digests: no patient is named.
    assert "title" not in text
    assert "=cmd" not in text


@pytest.mark.parametrize("name", [ESCAPE, "\u202egpj"])
def test_files_and_classes(name: str) -> None:
    make_images(Path("images"), 12)
    Path("images/sick").rename(f"images/{name}")
    Path("images/well", f"{name}.png").write_bytes(b"no image")
    assert printable(name) in said("index mine --root images")
    tiny = "--dataset mine --backbone timm:test_vit --weights random --image-size 32"
    assert printable(name) in said(f"extract {tiny}")
    assert printable(name) in said(f"extract {tiny} --on-error skip")
    for head in ("knn", "majority"):
        probe = "--dataset mine --backbone timm:test_vit --on-error skip --head"
        said(f"probe {probe} {head}")
    runs = " ".join(map(str, Path("frostline-workspace/predictions").glob("*.parquet")))
    said(f"evaluate {runs} --metric f1_per_class --replicates 100")
    said(f"compare {runs} --replicates 100")


def test_runs_of_foreign_tables() -> None:
    rng = np.random.default_rng(0)
    for place, name in enumerate(HOSTILE):
        with Path(f"{place}.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["image_id", "label", "prediction", "group_id", "split"])
            for number in range(40):
                classes = rng.choice(["well", ESCAPE], 2)
                table.writerow([f"{number}{ESCAPE}", *classes, f"{name}{number // 2}", "test"])
    for place in range(len(HOSTILE)):
        assert "accuracy" in said(f"evaluate {place}.csv --replicates 100")
    Path("=cmd.csv").write_bytes(Path("0.csv").read_bytes())
    assert "=cmd" in said("compare =cmd.csv 1.csv --replicates 100 --unit image")


def test_text_that_nobody_made_up_stays_as_it_is() -> None:
    text = "Łódź, 東京, עִבְרִית, 👩\u200d🔬 — 5 µm"
    assert printable(text) == text
    assert printable("a\nb\x1b[0m", keep="\n") == "a\nb\\x1b[0m"
    assert printable("\udcff\x85\u202e") == "\\udcff\\x85\\u202e"
