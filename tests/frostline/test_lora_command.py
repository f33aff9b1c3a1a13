"""Adapters as a user has them: `finetune`, `predict`, `export`, studies, the picture of depth."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import timm
import torch
import yaml
from PIL import Image, ImageOps
from safetensors.torch import save_file

from frostline import stages
from frostline.apply import predict_alone
from frostline.cache import InputError, Workspace
from frostline.cli import app
from frostline.report import read_predictions
from frostline.study.depth import Question, depth_study
from frostline.study.depth_data import study_curves
from frostline.study.file import Study, parse_study
from frostline.study.plan import study_cells
from frostline.study.results import read_state
from frostline.study.runner import plan_study, run_study

from .conftest import make_images

DOCS = Path(__file__).resolve().parents[2] / "docs"
TINY = ("--backbone", "timm:test_vit", "--weights", "random", "--image-size", "32")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("adapters")
    make_images(folder / "images", 48)
    command(
        folder, "index", "chest", "--root", folder / "images", "--group-pattern", r"(patient\d+)"
    )
    return folder


def command(place: Path, *arguments: object) -> None:
    words = [str(one) for one in (*arguments, "--workspace", place / "ws")]
    assert not app(words, standalone_mode=False)


@pytest.fixture(scope="module")
def run(place: Path) -> str:
    """A run by the command of docs/finetuning.md."""
    page = (DOCS / "finetuning.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^    frostline (finetune .*--unfreeze lora.*)$", page, re.MULTILINE)
    command(place, *line.split(), "--lr", "1e-2", "--device", "cpu")
    (path,) = (place / "ws" / "predictions").glob("*unfreeze-lora-2*")
    return path.stem


def test_new_images_get_the_runs_own_probabilities(place: Path, run: str) -> None:
    own = read_predictions(Workspace(place / "ws").predictions(run))
    assert own.meta["unfreeze"] == "lora:2 r=4"
    assert own.meta["hyperparameters"]["lora_r"] == 4
    assert own.meta["versions"]["peft"]
    out = place / "new.csv"
    command(place, "predict", "--run", run, place / "images", "--out", out, "--device", "cpu")
    new = pd.read_csv(out).assign(name=lambda t: t["image_id"].map(lambda p: Path(p).name))
    old = own.table.assign(name=lambda t: t["image_id"].map(lambda p: Path(p).name))
    both = old.merge(new, on="name")
    assert len(both) == len(old)
    for name in own.classes:
        np.testing.assert_allclose(both[f"prob_{name}_x"], both[f"prob_{name}_y"], atol=1e-6)


def test_export_is_that_of_a_plain_network(
    place: Path, run: str, capsys: pytest.CaptureFixture[str]
) -> None:
    onnx = pytest.importorskip("onnx")
    out = place / "run.onnx"
    command(place, "export", "--run", run, "--to", "onnx", "--out", out)
    names = [one.name for one in onnx.load(str(out)).graph.initializer]
    assert names
    assert not any("lora" in name for name in names)
    # The script beside it, which test_handover.py runs without Frostline, says the same.
    own = read_predictions(Workspace(place / "ws").predictions(run))
    capsys.readouterr()
    predict_alone.main(str(out), *(str(place / "images" / one) for one in own.table["image_id"]))
    found = pd.read_csv(io.StringIO(capsys.readouterr().out))
    for name in (f"prob_{one}" for one in own.classes):
        np.testing.assert_allclose(found[name], own.table[name], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--set", "lora_r=4"), "The recipe's lora_r is for adapters: leave it out, or unfreeze "),
        (("--unfreeze", "lora", "--set", "lora_r=0"), "lora_r"),
        (("--unfreeze", "lora:9"), "Unfreeze must be none, all, or a number from 1 to 7, or norm,"),
        (("--unfreeze", "Lora"), "Unfreeze must be none, all"),
        (("--unfreeze", "lora", "--set", "lora_target_modules=ключ"), "has no layer 'ключ' there"),
    ],
)
def test_a_mistake_is_a_sentence(place: Path, words: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        command(place, "finetune", "-d", "chest", *TINY, *words, "--epochs", "1")


STUDY: dict[str, Any] = {
    "name": "small",
    "datasets": {"chest": {}},
    "backbones": [{"name": "timm:test_vit", "weights": "random"}],
    "protocols": {
        "way": {
            "unfreeze": ["none", "lora", "lora:4", "all"],
            "head": "centroid",
            "image_size": 32,
            "epochs": 1,
            "lora_r": 2,
        }
    },
    "replicates": 100,
    "device": "cpu",
}


def test_a_list_of_ways_is_a_protocol_each() -> None:
    study = parse_study(STUDY, "s.yaml")
    assert list(study.protocols) == ["way-none", "way-lora", "way-lora4", "way-all"]
    assert {cell.protocol: cell.entry.changes() for cell in study_cells(study)} == {
        "way-none": {},
        "way-lora": {"epochs": 1, "lora_r": 2},
        "way-lora4": {"epochs": 1, "lora_r": 2},
        "way-all": {"epochs": 1},
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"unfreeze": ["none", "all"]}, "lora_r acts on none of unfreeze none, all"),
        ({"unfreeze": ["lora", "all"]}, "head acts on none of unfreeze lora, all"),
        ({"unfreeze": []}, "unfreeze lists different ways"),
        ({"unfreeze": ["all", "all"]}, "unfreeze lists different ways"),
        ({"unfreeze": "lora:x", "head": None}, "unfreeze"),
        ({"unfreeze": "all", "head": None}, "The recipe's lora_r is for adapters"),
    ],
)
def test_what_cannot_be_listed(change: dict[str, Any], message: str) -> None:
    way = {**STUDY["protocols"]["way"], **change}
    with pytest.raises(InputError, match=re.escape(message)):
        parse_study({**STUDY, "protocols": {"way": way}}, "s.yaml")


@pytest.mark.slow
def test_a_study_names_adapters_in_words(place: Path) -> None:
    path = place / "small.yaml"
    path.write_text(yaml.safe_dump(STUDY))
    outcome = run_study(Workspace(place / "ws"), parse_study(yaml.safe_load(path.read_text()), "s"))
    outcome.check()
    assert outcome.report is not None
    text = (outcome.report / "tables" / "scores.md").read_text(encoding="utf-8")
    for words in ("| LoRA, rank 2, last 4 |", "| LoRA, rank 2 |", "| Y |", "| N |"):
        assert words in text
    methods = " ".join((outcome.report / "methods.md").read_text(encoding="utf-8").split())
    assert "low-rank adapters (LoRA) of rank 2 in the last 4 blocks" in methods
    assert "hu2022" in (outcome.report / "references.bib").read_text(encoding="utf-8")


@pytest.mark.slow
def test_adapters_are_points_of_the_picture(place: Path) -> None:
    ws = Workspace(place / "ws")
    network = stages.Network("timm:test_vit", "random", None, None, "standard", 32)
    question = Question(("lora", "lora:2", "2"), cv="none", changes={"epochs": "1", "lora_r": "3"})
    study: Study = depth_study("chest", [network], question, stages.Machine("cpu"))
    outcome = run_study(ws, study)
    outcome.check()
    assert outcome.report is not None
    runs = [read_predictions(path) for path in outcome.predictions]
    (curves,) = study_curves(study, runs, read_state(outcome.report)["depths"])
    trained = curves.table[curves.table["road"] == "train"]
    assert dict(zip(trained["unfreeze"], trained["depth"], strict=True)) == {
        "lora r=3": 0,
        "lora:2 r=3": 4,
        "2": 4,
    }
    assert trained["chosen"].sum() == 1
    figure = (outcome.report / "figures" / "depth-chest.svg").read_text(encoding="utf-8")
    assert "train LoRA adapters there" in figure
    many = depth_study("chest", [network], Question(("lora:9",), cv="none"))
    with pytest.raises(InputError, match="fewer than the lora:9 of --train"):
        run_study(ws, many, strict=True)


@pytest.mark.parametrize(
    ("train", "changes", "message"),
    [
        ("2", {"lora_r": "3"}, "lora_r is for adapters"),
        ("Lora", {}, "--train takes numbers of last blocks, lora, lora:N"),
        ("norm", {}, "--train does not take norm, which leaves nothing frozen at the input"),
        ("first:2", {}, "--train does not take first:2, which leaves nothing frozen at the input"),
    ],
)
def test_what_has_no_depth(train: str, changes: dict[str, Any], message: str) -> None:
    network = stages.Network("timm:test_vit", "random", None, None, "standard", 32)
    with pytest.raises(InputError, match=re.escape(message)):
        depth_study("chest", [network], Question((train,), changes=changes))


def test_without_peft_a_study_says_so_before_anything_is_computed(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("frostline.finetune.recipe.find_spec", lambda _: None)
    ws = Workspace(tmp_path / "ws")
    images = {"chest": {"root": str(place / "images"), "group_pattern": r"(patient\d+)"}}
    plan = plan_study(ws, parse_study({**STUDY, "datasets": images}, "s.yaml"))
    needs = "Unfreeze lora needs peft: run `pip install 'frostline[lora]'`."
    name = "chest/timm:test_vit/way-%s/0"
    assert plan.failed == {name % "lora": needs, name % "lora4": needs}
    assert [step.name for step in plan.runs()] == [name % "none", name % "all"]
    words = ("depth", "-d", "chest", *TINY, "--train", "lora", "--cv", "none")
    with pytest.raises(InputError, match="needs peft"):
        command(tmp_path, *words)
    assert not list((tmp_path / "ws").rglob("part-*.h5"))


def test_adapters_of_a_backbone_from_a_file_are_scored_elsewhere(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(3)
    save_file(timm.create_model("test_vit").state_dict(), tmp_path / "vit.safetensors")
    monkeypatch.setattr("frostline.study.runner.update_report", lambda *_, **__: None)
    make_images(tmp_path / "other", 12)
    for path in (tmp_path / "other").rglob("*.png"):
        ImageOps.invert(Image.open(path).convert("RGB")).save(path)  # no image of the other set
    image = {"root": str(tmp_path / "other"), "group_pattern": r"(patient\d+)"}
    changes = {
        "external": {"other": {**image, "ids": "own"}},
        "backbones": [{"name": "timm:test_vit", "weights": str(tmp_path / "vit.safetensors")}],
        "protocols": {"way": {**STUDY["protocols"]["way"], "unfreeze": "lora:2", "head": None}},
    }
    ws = Workspace(place / "ws")
    outcome = run_study(ws, parse_study({**STUDY, **changes}, "s.yaml"))
    outcome.check()
    (own, other) = (read_predictions(path) for path in outcome.predictions)
    assert other.meta["trained_run"] == own.run
    assert len(other.table) == 12
