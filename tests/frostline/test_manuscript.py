"""A study leaves its manuscript and its cards; what the page shows is done."""

from __future__ import annotations

import pytest
import yaml
from indexed import index, volumes
from typer.testing import CliRunner

from frostline import Workspace
from frostline.audits import audit_datasets
from frostline.cli import app
from frostline.report import read_predictions
from frostline.report.manuscript.bibliography import REFERENCES, cited

from .conftest import make_images

FILES = ("methods.md", "methods.tex", "references.bib", "checklist.md")
STUDY = {
    "name": "small",
    "datasets": {"mine": {"root": "images", "group_pattern": "(patient[0-9]+)"}},
    "backbones": [{"name": "timm:test_vit", "weights": "random"}],
    "protocols": {
        "frozen": {"head": "centroid", "image_size": 32},
        "tuned": {"unfreeze": "1", "image_size": 32, "epochs": 1},
    },
    "replicates": 100,
}


@pytest.fixture(scope="module")
def studied(tmp_path_factory):
    folder = tmp_path_factory.mktemp("manuscript")
    make_images(folder / "images", 24)
    (folder / "study.yaml").write_text(yaml.safe_dump(STUDY), encoding="utf-8")
    ws = Workspace(folder / "ws")
    ws.run(folder / "study.yaml")
    for name in FILES:
        (ws.paths.report("small") / name).unlink()
    command = ["report", str(folder / "study.yaml"), "--workspace", str(ws.folder)]
    assert CliRunner().invoke(app, command, catch_exceptions=False).exit_code == 0
    return ws


def test_the_files_are_beside_the_page(studied):
    folder = studied.paths.report("small")
    texts = {name: (folder / name).read_text(encoding="utf-8") for name in FILES}
    keys = cited([texts["methods.md"]])
    assert keys
    assert set(keys) <= set(REFERENCES)
    for key in keys:
        assert f"{{{key}," in texts["references.bib"]
    assert "timm:test\\_vit" in texts["methods.tex"]
    assert "began with these weights: random, seed 0" in texts["methods.md"]
    assert "stratified by class, with seed 0" in texts["methods.md"]
    assert "Thresholds were chosen on validation by Youden's index" in texts["methods.md"]
    assert "| TRIPOD+AI | 15 |" in texts["checklist.md"]
    assert "| CLAIM | 33 |" not in texts["checklist.md"]  # no other hospital


def test_every_saved_model_has_its_card(studied):
    folders = [path for path in (studied.folder / "models").iterdir() if path.is_dir()]
    assert len(folders) == 2
    for folder in folders:
        card = (folder / "README.md").read_text(encoding="utf-8")
        run = read_predictions(studied.paths.predictions(folder.name))
        assert f"# {run.run}" in card.replace("\\", "")
        assert "## Scores" in card


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({}, "Axial slices were taken whose mask has more than 30 pixels."),
        ({"mask": None, "slices": "all"}, "All axial slices of each volume were taken."),
        ({"mask": None, "slices": "middle:2"}, "volume the middle 2 were taken."),
        ({"mask": None, "slices": "every:3"}, "volume one in 3, from the lowest, were taken."),
    ],
)
def test_the_slices_of_volumes_are_described(tmp_path, asked, sentence):
    options = {**volumes(tmp_path / "mri"), **asked}
    index(tmp_path / "mri", name="mri", kind="mri-slices", options=options)
    place = Workspace(tmp_path / "workspace").paths
    assert sentence in audit_datasets(place, ["mri"])["mri"].origin
