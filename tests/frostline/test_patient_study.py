"""A study with protocols that answer for patients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from indexed import index, volumes

from frostline import Workspace as Face
from frostline.cache import InputError, Workspace, read_manifest
from frostline.cli import app
from frostline.report import read_predictions
from frostline.study.file import parse_study, read_study
from frostline.study.report_data import stored_images
from frostline.study.runner import run_study

from .conftest import make_images

PATIENTS = {"level": "patient", "image_size": 32}
STUDY: dict[str, Any] = {
    "name": "small",
    "datasets": {"set": {"root": "images", "group_pattern": "(patient[0-9]+)"}},
    "backbones": [{"name": "timm:test_vit", "weights": "random"}],
    "protocols": {
        "images": {"head": "centroid", "image_size": 32},
        "greatest": {"head": "centroid", "pool": "max", **PATIENTS},
        "attention": {"head": "attention", **PATIENTS},
    },
    "replicates": 100,
    "aggregate": "mean",
    "device": "cpu",
}


def test_a_study_compares_heads_of_images_and_of_patients(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    make_images(Path("images"), 24)
    Path("study.yaml").write_text(yaml.safe_dump(STUDY))
    place = Workspace(Path("frostline-workspace"))
    run_study(place, read_study("study.yaml"))
    runs = [read_predictions(path) for path in sorted(place.root.glob("predictions/*.parquet"))]
    assert {run.meta["head"] for run in runs} == {
        "centroid",
        "centroid (patient max)",
        "attention (patient)",
    }
    attention = next(run.run for run in runs if "attention" in run.meta["head"])
    methods = (place.root / "reports/small/methods.md").read_text()
    assert "gated attention over all images of a patient" in methods
    assert "the greatest embedding of all images of each patient" in methods
    assert "(timm test_vit) began with these weights: random" in methods  # and no tag of others
    answer = (place.root / "reports/small/answer.txt").read_text()
    assert "not all runs were scored on the same images" not in answer
    page = (place.root / "reports/small/index.html").read_text()
    assert "--level patient" in page
    assert "--test-dataset" in (place.model(attention) / "README.md").read_text()
    for command in (["predict", "images"], ["export", "--to", "onnx"]):
        with pytest.raises(InputError, match="answers for patients by all of their images"):
            app([*command, "--run", attention], standalone_mode=False)
    capsys.readouterr()


@pytest.mark.parametrize(
    ("protocol", "sentence"),
    [
        ({"head": "attention"}, "add level patient"),
        ({"head": "knn", "pool": "max"}, "pool is for level patient"),
        ({"unfreeze": "all", "level": "patient"}, "level is for `unfreeze: none`"),
        ({"feature": "blocks", "level": "patient"}, "The protocol of depth reads images"),
        ({"head": "knn", "level": "lesion"}, "level"),
    ],
)
def test_a_protocol_that_cannot_be_is_refused(protocol: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        study = parse_study({**STUDY, "protocols": {"one": protocol}}, "study.yaml")
        for entry in study.protocols.values():
            entry.changes()


def test_a_slice_with_its_neighbours_is_shown_as_itself(tmp_path: Path) -> None:
    options = {**volumes(tmp_path / "mri"), "neighbours": True, "min_roi": 0}
    index(tmp_path / "mri", name="mri", kind="mri-slices", options=options)
    ws = Face(tmp_path / "workspace")
    for side in (32, 48):
        ws.extract("mri", "timm:test_vit", weights="random", image_size=side)
    names = read_manifest(ws.paths.manifest("mri")).table["image_id"].tolist()
    shown = stored_images(ws.paths, [], {}).read("mri", names)
    # Of the larger of two stores, whose pixels have three channels.
    assert {pixels.shape for pixels in shown.values()} == {(48, 48)}
    assert len(shown) == len(names)
