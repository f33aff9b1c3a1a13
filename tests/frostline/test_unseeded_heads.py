"""A head that no seed changes is one run, with one id, from every command."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from frostline.cache import Workspace
from frostline.cli import app
from frostline.report import compare, over_seeds, read_predictions
from frostline.study.file import parse_study, read_study
from frostline.study.plan import study_cells
from frostline.study.runner import run_study

from .conftest import make_images

STUDY = {
    "name": "small",
    "datasets": {"set": {"root": "images", "group_pattern": "(patient[0-9]+)"}},
    "backbones": [{"name": "timm:test_vit", "weights": "random"}],
    "protocols": {
        "neighbours": {"unfreeze": "none", "image_size": 32, "head": "knn"},
        "adam": {"unfreeze": "none", "image_size": 32, "epochs": 1},
    },
    "sweeps": {"few": {"protocol": "neighbours", "heads": ["knn"]}},
    "seeds": [1, 2],
    "replicates": 100,
    "device": "cpu",
}


def test_a_study_of_two_seeds_has_one_run_of_an_unseeded_head(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    # The page takes most of the time, and counts seeds by `over_seeds`.
    monkeypatch.setattr("frostline.study.runner.update_report", lambda *_, **__: None)
    make_images(Path("images"), 24)
    Path("study.yaml").write_text(yaml.safe_dump(STUDY))
    app(["run", "study.yaml", "--dry-run"], standalone_mode=False)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    states = {line[0]: line[1:-4] for line in lines if line and line[0] in ("adam", "neighbours")}
    assert states == {"neighbours": ["missing"], "adam": ["2", "missing"]}

    run_study(Workspace(Path("frostline-workspace")), read_study("study.yaml"))
    files = sorted(Path("frostline-workspace/predictions").iterdir())
    seeds = {(path.name.split("-")[3], path.name.split("-")[5]) for path in files}
    assert seeds == {("knn", "s0"), ("adam", "s1"), ("adam", "s2")}
    assert len(files) == 3

    runs = [read_predictions(path) for path in files]
    methods = over_seeds(runs, metrics=["accuracy"])
    heads = methods["run"].str.split("-").str[3]
    assert dict(zip(heads, methods["n_seeds"], strict=True)) == {"adam": 2, "knn": 1}
    (pair,) = compare(runs, replicates=100).to_dict("records")
    assert {pair["seeds_a"], pair["seeds_b"]} == {1, 2}

    # What it has made is what the other commands make.
    on = ["-d", "set", "-b", "timm:test_vit"]
    app(["probe", *on, "--head", "knn"], standalone_mode=False)
    app(["sweep", *on, "--head", "knn", "--jobs", "1"], standalone_mode=False)
    assert sorted(Path("frostline-workspace/predictions").iterdir()) == files


def test_only_names_it_by_its_one_seed() -> None:
    study = parse_study(STUDY, "here")
    names = [cell.name.split("/", 2)[2] for cell in study_cells(study)]
    assert names == ["neighbours/0", "adam/1", "adam/2"]
    assert [cell.protocol for cell in study_cells(study, ["*/2"])] == ["adam"]
