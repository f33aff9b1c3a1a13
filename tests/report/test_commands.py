"""The commands over real files: what a person types, and what comes out."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from frostline.cache import InputError
from frostline.commands.cli import app
from frostline.report import write_predictions


@pytest.fixture
def files(run, tmp_path):
    paths = []
    for one in (run(skill=3.0, n_groups=60), run(seed=1, skill=0.2, n_groups=60, unfreeze="all")):
        paths.append(str(tmp_path / f"{one.run}.parquet"))
        write_predictions(paths[-1], one.table, one.meta)
    return paths


def invoke(*words):
    result = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_compare(files):
    text = invoke("compare", *files, "--margin", "0.02")
    assert text.startswith("On chest, run-0 is better than run-1: accuracy +")
    rows = invoke("compare", *files, "--family", "freezing", "--format", "csv").splitlines()
    assert rows[0].startswith("dataset,a,b,metric,estimate_a,")
    assert ",Holm,1," in rows[1]


def test_evaluate_with_metrics_and_aggregate(files):
    lines = invoke(
        "evaluate",
        files[0],
        "--metric",
        "roc_auc",
        "--metric",
        "f1_per_class",
        "--aggregate",
        "none",
        "--format",
        "csv",
    ).splitlines()
    assert lines[0] == "run,metric,estimate,low,high"
    assert [line.split(",")[1] for line in lines[1:4]] == ["roc_auc", "f1[NORMAL]", "f1[PNEUMONIA]"]


def test_against_the_paper(files):
    text = invoke(
        "evaluate", *files, "--against", "paper", "--replicates", "100", "--format", "markdown"
    )
    assert "| Chest X-ray | ResNet50 | Y | accuracy | " in text
    assert "different test set" in text


def test_mistakes_are_sentences(files):
    for words, message in (
        (["evaluate", files[0], "--against", "us"], "There is no --against 'us'; choose from "),
        (["compare", files[0]], "one run alone cannot be compared; give at least two."),
        (["evaluate", files[0], "--ci", "wald"], "there is no interval 'wald'; choose from auto, "),
    ):
        with pytest.raises(InputError) as caught:
            invoke(*words)
        assert str(caught.value).startswith(message)
