"""`frostline finetune --cv` as a user runs it: next to heads, refused, shared by two processes."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import frostline
from frostline.report import read_predictions

from .conftest import Run
from .test_training_processes import torchrun
from .tiny_training import TINY, workspace

FOLDS = (*TINY, "--epochs", 2, "--unfreeze", 1, "--lr", "1e-3,1e-4", "--cv", "3x2")
SWEEP = ("sweep", *TINY[1:5], "--head", "centroid", "--cv", "3x2", "--jobs", 1)
ABOUT = (
    *("dataset", "backbone", "weights", "protocol", "classes", "class_counts", "seed", "cv"),
    *("train_fraction", "train_groups", "draw", "manifest_digest", "label", "split"),
)


def test_networks_and_heads_answer_for_the_same_images(indexed: Run, tmp_path: Path) -> None:
    done = indexed(*FOLDS)
    assert done.returncode == 0, done.stderr
    paths = done.stdout.split()
    assert len(paths) == 2
    score = r"accuracy \d+\.\d%( \[.*\])?, mean of 6 folds; majority class 51\.0%"
    assert re.fullmatch(score, done.stderr.splitlines()[-1]), done.stderr
    assert done.stderr.count("fold 3 of 3.") == 2
    again = indexed(*FOLDS, "--boundary", "on")
    assert (again.stdout, again.returncode) == (done.stdout, 0)
    assert "epoch" not in again.stderr
    deleted = f"To train again, delete them first: {', '.join(paths)}."
    assert again.stderr.splitlines()[-2].endswith(deleted)
    assert indexed("extract", *TINY[1:]).returncode == 0
    assert indexed(*SWEEP).returncode == 0
    places = sorted((tmp_path / "frostline-workspace" / "predictions").glob("*centroid*"))
    for trained, head in zip(map(tmp_path.joinpath, paths), places, strict=True):
        left, right = read_predictions(trained), read_predictions(head)
        known = ["image_id", "group_id", "split", "label", "fold"]
        assert left.table[known].equals(right.table[known])
        assert left.table.dtypes.equals(right.table.dtypes)
        assert list(left.table) == list(right.table)
        assert {name: left.meta[name] for name in ABOUT} == {
            name: right.meta[name] for name in ABOUT
        }
        assert {type(left.meta[name]) for name in ("hyperparameters", "validation")} == {dict}
        assert left.meta["hyperparameters"].keys() == right.meta["hyperparameters"].keys()
    compared = indexed("compare", *paths, *places, "--replicates", 100, "--format", "csv")
    assert compared.returncode == 0, compared.stderr
    assert len(compared.stdout.splitlines()) == 2  # two methods of two repeats: one pair
    pooled = indexed("evaluate", *paths, *places, "--over", "folds", "--format", "csv")
    assert pooled.returncode == 0, pooled.stderr
    assert len({line.split(",")[0] for line in pooled.stdout.splitlines()[1:]}) == 2


def test_what_a_cross_validation_is_not_for(indexed: Run, tmp_path: Path) -> None:
    few = (*TINY, "--epochs", 1, "--cv", "3x1")
    path = indexed(*few).stdout.strip()
    name = Path(path).stem
    for run in (path, name):
        for command in (("predict", "images"), ("export", "--to", "onnx")):
            done = indexed(*command, "--run", run)
            assert (done.returncode, done.stderr) == (
                2,
                f"Error: {path} is a cross-validation, which keeps no model: train one on "
                "the data set's splits, without --cv.\n",
            )
    for options, sentence in (
        (
            ("--cv", "2x2"),
            "--cv is FOLDSxREPEATS with at least 3 folds, such as 5x3, not '2x2'.",
        ),
        (
            ("--cv", "30x1"),
            "Class 'sick' of data set 'set' has images of 25 groups, too few for 30 folds: use at "
            "most 25, or merge classes.",
        ),
        (
            ("--cv", "3x1", "--split", "other"),
            "--split does not go with --cv, whose folds are all the images with a label: leave one "
            "of them out.",
        ),
    ):
        done = indexed(*TINY, *options)
        assert (done.returncode, done.stderr) == (2, f"Error: {sentence}\n")


@pytest.mark.slow
def test_two_processes_share_every_fold(indexed: Run, tmp_path: Path) -> None:
    arguments = (*TINY, "--epochs", 1, "--batch", 5, "--lr", "1e-3", "--cv", "3x1")
    one = indexed(*arguments)
    assert one.returncode == 0, one.stderr
    path = tmp_path / one.stdout.strip()
    expected = read_predictions(path)
    path.unlink()
    two = torchrun(tmp_path, "-m", "frostline", *arguments)
    assert two.returncode == 0, two.stderr
    assert (two.stdout, two.stderr.count("epoch 1/1")) == (one.stdout, 3)  # said once
    found = read_predictions(path)
    assert found.table["image_id"].tolist() == expected.table["image_id"].tolist()
    assert found.table["fold"].tolist() == expected.table["fold"].tolist()
    columns = ["prob_sick", "prob_well"]
    np.testing.assert_allclose(found.table[columns], expected.table[columns], atol=1e-3)


def test_in_python_each_repeat_is_a_run(
    indexed: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    ws = frostline.Workspace(machine=frostline.Machine("cpu"), verbose=True)
    given = {"weights": "random", "image_size": 32, "epochs": 1, "unfreeze": 1}
    runs = ws.finetune("set", "timm:test_vit", cv="3x2", seed=4, **given)
    said = capsys.readouterr().err
    assert said.startswith("Repeat 1, fold 1 of 3.\n")
    assert said.count("\nepoch 1/1") == 6
    assert [run.predictions.meta["cv"]["repeat"] for run in runs] == [0, 1]
    assert {run.predictions.meta["training_seed"] for run in runs} == {4}
    assert {run.path.parent for run in runs} == {workspace(Path()).predictions("x").parent}
    assert frostline.evaluate(runs, metrics=["accuracy"])["n_images"].tolist()[:2] == [51, 51]
    with pytest.raises(frostline.InputError, match="^cv is FOLDSxREPEATS with at least 3 folds"):
        ws.finetune("set", "timm:test_vit", cv="3", **given)
