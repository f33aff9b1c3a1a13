"""Seeds, folds and ranks on the command line, over real files."""

from __future__ import annotations

import csv
import io
import json

import pytest
from typer.testing import CliRunner

from frostline.cache import InputError
from frostline.cache import InputError as OptionError
from frostline.cli import app
from frostline.report import over_seeds, pool_folds, rank_methods, write_predictions
from frostline.report.statistics.metrics import compute_metrics, confusion_matrix


def invoke(*words):
    result = CliRunner().invoke(app, list(map(str, words)), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def written(tmp_path, runs):
    paths = []
    for number, one in enumerate(runs):
        paths.append(tmp_path / f"{number}.parquet")
        write_predictions(paths[-1], one.table, one.meta)
    return paths


def of_seeds(run, seeds, **meta):
    made = [run(seed=100 * len(meta) + s, n_groups=40, run=f"r{s}", **meta) for s in range(seeds)]
    for seed, one in enumerate(made):
        one.meta["seed"] = seed
    return made


def test_over_seeds(run, tmp_path):
    runs = of_seeds(run, 3) + of_seeds(run, 1, unfreeze="all", head="linear")
    paths = written(tmp_path, runs)
    rows = list(
        csv.DictReader(
            io.StringIO(
                invoke(
                    "evaluate",
                    *paths,
                    "--over",
                    "seeds",
                    "--metric",
                    "accuracy",
                    "--metric",
                    "log_loss",
                    "--format",
                    "csv",
                )
            )
        )
    )
    ours = over_seeds(runs, metrics=["accuracy", "log_loss"])
    assert [float(row["seed_error"] or "nan") for row in rows] == pytest.approx(
        ours["seed_error"].tolist(), nan_ok=True
    )
    assert [row["n_seeds"] for row in rows] == ["3", "3", "1", "1"]
    text = " ".join(invoke("evaluate", *paths, "--over", "seeds").split())
    shared = runs[0].meta["backbone"]
    assert text.count(str(shared)) == 1  # said once, below the table
    assert "fine-tuned" in text
    assert "One seed: this trained model, not the method (fine-tuned, linear)." in text
    first = ours.iloc[0]
    assert f"{100 * first['estimate']:.1f} " in text
    assert f"[{100 * first['low']:.1f}, {100 * first['high']:.1f}]" in text
    for name in ("group_error", "seed_error"):
        assert f"{100 * first[name]:.2f}" in text
    for format in ("markdown", "latex"):
        assert f"{100 * first['seed_error']:.2f}" in invoke(
            "evaluate", *paths, "--over", "seeds", "--format", format
        )


def test_over_folds_is_nadeau_and_bengio_of_every_fold(run, tmp_path):
    runs = []
    for repeat in range(2):
        one = run(seed=repeat, n=90, n_groups=30)
        one.meta |= {"seed": repeat, "cv": {"folds": 5, "repeat": repeat}, "train_fraction": 0.8}
        one.table["fold"] = one.table["group_id"].str.split("-").str[1].astype(int) % 5
        runs.append(one)
    paths = written(tmp_path, runs)
    (row,) = json.loads(
        invoke("evaluate", *paths, "--over", "folds", "--metric", "accuracy", "--format", "json")
    )
    scores = []
    for one in runs:
        for _, part in one.table.groupby("fold"):
            codes = [
                part[name].map(one.classes.index).to_numpy() for name in ("label", "prediction")
            ]
            scores.append(float(compute_metrics(confusion_matrix(*codes, 2))["accuracy"]))
    pooled = pool_folds(scores, 1 / 5, (0.0, 1.0))
    assert row["n_seeds"] == len(scores) == 10
    for name in ("estimate", "low", "high", "seed_error"):
        assert row[name] == pytest.approx(getattr(pooled, name)), name
    text = invoke("evaluate", *paths, "--over", "folds")
    assert "Nadeau" in text


def test_ranks(run, tmp_path):
    runs = [
        run(
            seed=10 * d + i,
            n=120,
            n_groups=60,
            dataset=dataset,
            backbone=backbone,
            skill=skill,
            run=f"{dataset}-{backbone}",
        )
        for d, dataset in enumerate(("chest", "skin"))
        for i, (backbone, skill) in enumerate((("vgg16", 0.3), ("resnet50", 3.0)))
    ]
    for one in runs:
        one.table["group_id"] = one.meta["dataset"] + one.table["group_id"]
    paths = written(tmp_path, runs)
    rows = list(
        csv.DictReader(io.StringIO(invoke("compare", *paths, "--ranks", "--format", "csv")))
    )
    ours = rank_methods(runs)
    assert [row["method"] for row in rows] == ours["method"].tolist()
    assert rows[0]["method"].startswith("resnet50")
    assert (rows[0]["mean_rank"], rows[0]["cohorts"]) == ("1.0", "2")
    text = " ".join(invoke("compare", *paths, "--ranks").split())
    assert "averaged over 2 data sets of 2 cohorts: data" in text
    text = " ".join(invoke("compare", *paths[:2], "--ranks").split())
    assert "averaged over 1 data set of 1 cohort: data" in text


def test_what_cannot_be_pooled(run, tmp_path):
    paths = written(tmp_path, [run(), run(seed=1)])
    for words, message in (
        (
            ["evaluate", *paths, "--over", "folds"],
            "run-0: these are not folds of a cross-valid",
        ),
        (
            ["compare", *paths, "--ranks"],
            "run-1: there is another run of this method with the same",
        ),
        (["compare", paths[0], "--ranks"], "Fewer than two methods were scored on every data set"),
    ):
        with pytest.raises((InputError, OptionError)) as caught:
            invoke(*words)
        assert str(caught.value).startswith(message)


@pytest.mark.parametrize("over", ["seeds", "folds"])
def test_a_metric_without_interval_has_its_mean(run, tmp_path, over):
    runs = of_seeds(run, 3)
    for one in runs:
        one.meta["cv"] = {"folds": 2, "repeats": 3}
        one.table["fold"] = one.table["group_id"].str[-1].astype(int) % 2
    paths = written(tmp_path, runs)
    for more in ([], ["--metric", "accuracy"]):
        said = invoke("evaluate", *paths, "--over", over, "--metric", "calibration_error", *more)
        assert "calibration error" in said.lower()
        assert "not resampled" in " ".join(said.split())


def test_copies_of_a_run_are_rows_of_their_own_name(run, tmp_path):
    paths = written(tmp_path, [run(run="one"), run(run="two")])
    said = invoke("evaluate", *paths, "--over", "seeds", "--metric", "accuracy")
    assert "(one)" in said
    assert "(two)" in said


def test_repeats_of_a_cross_validation_are_not_called_seeds(run, tmp_path):
    """Nor are its out-of-fold images a test set."""
    runs = [*of_seeds(run, 3), *of_seeds(run, 3, unfreeze="all")]
    for number, one in enumerate(runs):
        one.meta |= {"cv": {"folds": 5, "repeat": 3}, "run": f"run{number}"}
        one.table["fold"] = one.table["group_id"].str[-1].astype(int) % 5
    paths = written(tmp_path, runs)
    said = " ".join(
        invoke("compare", *paths, *more) for more in ([], ["--plan"], ["--format", "markdown"])
    )
    said += invoke("evaluate", *paths, "--over", "seeds", "--metric", "accuracy")
    said += invoke("evaluate", *paths, "--metric", "accuracy")
    said = " ".join(said.split())
    assert "3 repeats" in said
    assert "(out of fold)" in said
    assert "repeat 2" in said
    for word in ("seed 2", "of seeds", "seeds.", "3 seeds", "test groups", "(test)", "Test groups"):
        assert word not in said
    alone = " ".join(invoke("compare", paths[0], paths[3]).split())
    assert "One repeat of cross-validation: these folds, not others." in alone
