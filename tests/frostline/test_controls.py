"""`frostline audit --controls` through the command, on a small real workspace."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

import frostline
from frostline.audits import run_controls
from frostline.cache import InputError
from frostline.cli import app

TINY = ("--backbone", "timm:test_vit", "--weights", "random", "--image-size", "32")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)


def patients(root: Path, *, tell: bool, images: int = 3) -> None:
    """30 patients of two classes: images of a patient look alike; sites tell the class or not."""
    rng, rows = np.random.default_rng(0), []
    root.mkdir()
    for patient in range(30):
        label = ("well", "sick")[patient % 2]
        look = rng.integers(0, 256, (4, 4, 3))
        for number in range(images):
            noisy = np.clip(look + rng.normal(0, 4, look.shape), 0, 255).astype(np.uint8)
            name = f"p{patient:02d}_{number}.png"
            Image.fromarray(noisy).resize((32, 32), Image.Resampling.NEAREST).save(root / name)
            site = "north" if (label == "sick") == tell else "south"
            site = site if tell else rng.choice(["north", "south"])
            rows.append((name, label, f"p{patient:02d}", site, int(rng.integers(20, 80))))
    table = pd.DataFrame(rows, columns=["file", "label", "patient", "site", "age"])
    table.to_csv(root / "table.csv", index=False)


def indexed(root: Path, name: str) -> None:
    found = run(
        "index",
        name,
        "--kind",
        "table",
        "--root",
        root,
        "--table",
        root / "table.csv",
        "--image-column",
        "file",
        "--label-column",
        "label",
        "--group-column",
        "patient",
        "--test-fraction",
        "0.3",
    )
    assert found.exit_code == 0, found.output


def lines_of(output: str) -> dict[str, tuple[float, str]]:
    """Balanced accuracy and verdict by control."""
    pattern = r"^  (\S.*?) +(\d+\.\d) \[.*?\] +chance \d+\.\d *(.*)$"
    return {
        name: (float(score), verdict)
        for name, score, verdict in re.findall(pattern, output, re.MULTILINE)
    }


def test_controls_without_embeddings_say_what_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    patients(tmp_path / "images", tell=True)
    indexed(tmp_path / "images", "set")
    result = run("audit", "set", "--controls")
    assert result.exit_code == 0
    found = lines_of(result.output)
    assert list(found) == ["metadata alone"]
    score, verdict = found["metadata alone"]
    assert score == 100
    assert verdict == "above chance: something other than the disease can be read"
    assert (
        "Labels permuted and the split by image were left out: no embeddings are stored yet "
        "(frostline extract --dataset set)."
    ) in result.output
    assert "Metadata: width, height, mode, format, site, age." in result.output


def test_controls_with_embeddings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    patients(tmp_path / "images", tell=False)
    indexed(tmp_path / "images", "set")
    assert run("extract", "--dataset", "set", *TINY, "--device", "cpu").exit_code == 0
    result = run("audit", "set", "--controls")
    found = lines_of(result.output)
    assert list(found) == [
        "labels permuted by group",
        "metadata alone",
        "split by group",
        "split by image",
    ]
    assert found["labels permuted by group"][1] == "at chance, as it should be"
    assert found["metadata alone"][1] == "at chance, as it should be"
    # Patients are alike within and of no class: only a split that tears them apart sees them.
    by_group, by_image = (found[f"split by {unit}"][0] for unit in ("group", "image"))
    assert by_image > by_group + 10
    gain = f"a split by image flatters by {by_image - by_group:+.1f} points"
    assert found["split by image"][1][:-12] == gain[:-12]
    assert "Embeddings: timm:test_vit, 90 labelled images." in result.output
    # Of many images whole groups are drawn, which is said.
    monkeypatch.setattr("frostline.audits.MOST_IMAGES", 60)
    from frostline.cache import Workspace

    _, notes = run_controls(Workspace(tmp_path / "frostline-workspace"), "set")
    assert notes[1] == "Drawn: 20 groups of 60 images."


def test_one_image_a_patient_has_no_split_to_tear(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    patients(tmp_path / "images", tell=False, images=1)
    indexed(tmp_path / "images", "set")
    run("extract", "--dataset", "set", *TINY, "--device", "cpu")
    found = lines_of(run("audit", "set", "--controls").output)
    assert found["split by group"][1] == "every group is one image: no split can tear it apart"
    assert "split by image" not in found


def test_too_few_patients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    patients(tmp_path / "images", tell=False)
    table = pd.read_csv(tmp_path / "images" / "table.csv")
    table[table["patient"] < "p08"].to_csv(tmp_path / "images" / "table.csv", index=False)
    indexed(tmp_path / "images", "set")
    result = CliRunner().invoke(app, ["audit", "set", "--controls"])
    assert isinstance(result.exception, Exception)
    assert "The rarest class has 4 groups: controls need two classes of 5 or more." in str(
        result.exception
    )


def test_what_can_be_read_from_the_embeddings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever separates patients of two sites is read; drawn sites are not, and nothing stays."""
    monkeypatch.chdir(tmp_path)
    rng, rows = np.random.default_rng(3), []
    Path("images").mkdir()
    for number in range(80):
        name, new = f"p{number}.png", number % 2
        shades = np.clip(rng.normal(60 + 120 * new, 5, (32, 32, 3)), 0, 255)
        Image.fromarray(shades.astype(np.uint8)).save(f"images/{name}")
        drawn, label = rng.choice(["one", "other"]), ("well", "sick")[number // 2 % 2]
        rows.append((name, label, f"p{number}", ("old", "new")[new], drawn, rng.integers(20, 80)))
    columns = ["file", "label", "patient", "scanner", "drawn", "age"]
    pd.DataFrame(rows, columns=columns).to_csv("images/table.csv", index=False)
    indexed(tmp_path / "images", "set")
    refused = CliRunner().invoke(app, ["audit", "set", "--readable", "scanner"])
    assert "No embeddings of 'set' are stored" in str(refused.exception)
    assert run("extract", "--dataset", "set", *TINY).exit_code == 0
    before = sorted(map(str, Path("frostline-workspace").rglob("*")))
    found = " ".join(run("audit", "set", "--readable", "scanner,drawn,age:50").output.split())
    assert "scanner can be read from the embeddings of timm:test_vit: ROC AUC 100.0 [" in found
    assert "compare its subgroups (`frostline evaluate --by scanner`)" in found
    assert "There is no evidence that drawn can be read" in found
    assert "age (below 50, 50 and above)" in found
    assert sorted(map(str, Path("frostline-workspace").rglob("*"))) == before
    table = frostline.Workspace().audit("set", readable=["scanner"]).readable
    assert table is not None
    assert table["values"].tolist() == ["new, old"]
    with pytest.raises(InputError, match="Fewer than two values of 'mode' have 5 groups"):
        frostline.Workspace().audit("set", readable="mode")
