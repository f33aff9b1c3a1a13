"""The atlas scores as the package does, and resumes; the docs agree."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

import frostline
from frostline.report import METRICS
from frostline.report.predictions import Predictions, predictions_table
from frostline.report.statistics.intervals.intervals import INTERVALS
from frostline.report.statistics.metrics import PER_CLASS

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("situations", "type_one", "coverage_atlas")
# Notes that are about a file, and not about an interval.
OF_THE_FILE = ("There is no majority row", "Precision counts as 0 for a class")


@pytest.fixture(scope="module")
def modules():
    """The modules, which import one another as scripts do."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        yield {name: importlib.import_module(name) for name in NAMES}
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))
        for name in NAMES:
            sys.modules.pop(name, None)


@pytest.fixture
def atlas(modules, monkeypatch):
    """Few trials a chunk."""
    monkeypatch.setattr(modules["coverage_atlas"], "TRIALS", 3)
    return modules["coverage_atlas"]


def cell_of(atlas, units=75, classes=2, rarest=0.5, accuracy=0.9, sizes="1 to 12", **more):
    return atlas.AtlasCell(units, classes, rarest, accuracy, sizes != "one", sizes, **more)


def as_predictions(sample, name="run", seed=0):
    """The file that says what a sample does."""
    unit = np.arange(len(sample.truth)) if sample.groups is None else sample.groups
    images = pd.DataFrame(
        {
            "image_id": sample.ids.astype(str),
            "group_id": unit.astype(str),
            "split": "test",
            "label": sample.truth.astype(str),
        }
    )
    meta = {"run": name, "dataset": "made", "backbone": "made", "seed": seed}
    table = predictions_table(images, sample.classes, sample.probs)
    return Predictions(table, meta | {"classes": list(sample.classes)})


def test_the_grid_has_every_kind_of_situation(atlas, modules):
    cells = atlas.grid()
    assert len(cells) == len(set(cells)) == len({cell.number for cell in cells}) == 117
    assert {cell.units for cell in cells} == {9, 30, 75, 150, 300, 600}
    assert {cell.sizes for cell in cells} == set(modules["situations"].SIZES)
    assert {cell.classes for cell in cells if not cell.spread} == {2, 3, 7}
    assert any(cell.away for cell in cells)
    assert {cell.spread for cell in cells} == {0.0, *atlas.SPREADS}
    assert all(cell.grouped == (cell.sizes != "one") for cell in cells)


@pytest.mark.parametrize(
    ("classes", "rarest", "away"), [(2, 0.2, 0.0), (2, 0.2, 2.0), (3, 0.2, 2.0), (7, 1 / 7, 0.0)]
)
def test_true_values_are_those_of_a_large_sample(atlas, classes, rarest, away):
    cell = cell_of(atlas, 60_000, classes, rarest, 0.8, "negative binomial", away=away)
    rows = atlas.with_away(cell, atlas.make_rows(cell, np.random.default_rng(1)))
    _, sample = atlas.as_run(cell, rows, cell.accuracy)
    truths = atlas.true_scores(cell)
    assert truths.keys() == set(atlas.METRICS)
    given = sample.truth, sample.prediction
    called = sk.confusion_matrix(*given).sum(0)[0] / len(sample.truth)
    assert called < 0.6 * rarest if away else called > 0.9 * rarest
    others = sample.truth != 0
    values = {
        "accuracy": sk.accuracy_score(*given),
        "balanced_accuracy": sk.balanced_accuracy_score(*given),
        "precision_weighted": sk.precision_score(*given, average="weighted"),
        "precision_macro": sk.precision_score(*given, average="macro"),
        "f1_weighted": sk.f1_score(*given, average="weighted"),
        "f1_macro": sk.f1_score(*given, average="macro"),
        "cohen_kappa": sk.cohen_kappa_score(*given),
        "matthews_corrcoef": sk.matthews_corrcoef(*given),
        "recall[0]": (sample.prediction[~others] == 0).mean(),
        "precision[0]": (~others)[sample.prediction == 0].mean(),
        "specificity[0]": (sample.prediction[others] != 0).mean(),
        "log_loss": sk.log_loss(sample.truth, sample.probs),
    }
    squares = ((np.eye(classes)[sample.truth] - sample.probs) ** 2).sum(1).mean()
    values["brier_score_loss"] = squares / 2 if classes == 2 else squares
    if classes == 2:
        values["roc_auc"] = sk.roc_auc_score(sample.truth, sample.probs[:, 1])
        values["average_precision"] = sk.average_precision_score(sample.truth, sample.probs[:, 1])
    else:
        values["roc_auc"] = sk.roc_auc_score(sample.truth, sample.probs, multi_class="ovr")
    for name, value in values.items():
        assert truths[name] == pytest.approx(float(value), rel=0.02, abs=0.012), name


def test_the_true_value_over_seeds_is_the_mean_of_methods_with_other_pushes(atlas):
    cell = cell_of(atlas, accuracy=0.97, sizes="one", spread=0.3)
    push = atlas.push_of(2, 0.97, False)
    lifts = 0.3 * np.random.default_rng(0).standard_normal(200)
    found = [atlas.true_ranking(cell, push + lift)["roc_auc"] for lift in lifts]
    assert atlas.true_scores(cell)["roc_auc"] == pytest.approx(np.mean(found), abs=5e-4)
    assert atlas.true_scores(cell)["accuracy"] < 0.97 - 1e-3


@pytest.mark.parametrize(
    "about",
    [
        {"classes": 3, "rarest": 1 / 3},
        {"classes": 7, "rarest": 1 / 7, "accuracy": 0.7, "sizes": "Pareto", "units": 150},
        {"rarest": 0.2, "sizes": "one", "away": 2.0},
        {"sizes": "negative binomial"},
    ],
)
def test_a_trial_is_what_evaluate_prints(atlas, about):
    """The rows of a trial, as predictions, have the intervals and flags that it counts."""
    cell = cell_of(atlas, **about)
    row = atlas.run_trial(cell, np.random.default_rng(5), (*atlas.METHODS, atlas.PAPER))
    rows = atlas.with_away(cell, atlas.make_rows(cell, np.random.default_rng(5)))
    _, sample = atlas.as_run(cell, rows, cell.accuracy)
    for ci in ("auto", "jackknife-t"):
        names = cell.metrics if ci == "auto" else atlas.COMPARED
        table = frostline.evaluate(as_predictions(sample), metrics=names, ci=ci)
        assert list(table["metric"]) == list(names)
        for _, one in table.iterrows():
            key = f"{one['metric']}|{ci}"
            held = one["low"] <= atlas.true_scores(cell)[one["metric"]] <= one["high"]
            assert row[key] == (-1 if np.isnan(one["low"]) else held), key
            flags = [note for note in one["notes"] if not note.text.startswith(OF_THE_FILE)]
            assert row[f"{key}|flagged"] == bool(flags), key
    assert {key.split("|")[1] for key in row if "|" in key} == {*INTERVALS}
    assert row["effective"] == sample.effective_units <= cell.units


def test_a_trial_of_seeds_is_what_evaluate_prints(atlas, monkeypatch):
    cell, kept = cell_of(atlas, spread=0.3), []
    make = atlas.as_run
    monkeypatch.setattr(atlas, "as_run", lambda *a: kept.append(make(*a)) or kept[-1])
    row = atlas.seeds_trial(cell, np.random.default_rng(2))
    files = [as_predictions(one, f"seed{n}", n) for n, (_, one) in enumerate(kept)]
    assert len(files) == atlas.SEEDS
    table = frostline.report.over_seeds(files, metrics=cell.metrics)
    assert list(table["metric"]) == list(atlas.OF_SEEDS)
    for _, one in table.iterrows():
        key = f"{one['metric']}|over seeds"
        held = one["low"] <= atlas.true_scores(cell)[one["metric"]] <= one["high"]
        assert row[key] == (-1 if np.isnan(one["low"]) else held)


def test_seeds_differ_by_the_spread_that_the_cell_says(atlas, monkeypatch):
    cell, lifts = cell_of(atlas, 10, sizes="one", spread=0.3), []
    make = atlas.as_run
    monkeypatch.setattr(atlas, "as_run", lambda *a: lifts.append(a[3]) or make(*a))
    rng = np.random.default_rng(0)
    for _ in range(40):
        atlas.seeds_trial(cell, rng)
    assert len(lifts) == 40 * atlas.SEEDS
    assert np.std(lifts) == pytest.approx(0.3, rel=0.15)


def test_a_run_resumes_and_is_summarised(atlas, tmp_path, monkeypatch):
    cells = [cell_of(atlas, 30), cell_of(atlas, 600, sizes="one"), cell_of(atlas, 30, spread=0.15)]
    monkeypatch.setattr(atlas, "grid", lambda: cells)
    monkeypatch.setattr(atlas, "COMPARED_CHUNKS", 1)
    atlas.run_chunks(tmp_path, range(1), (0, 3), cells, atlas.run_chunk)
    (first,) = tmp_path.iterdir()
    assert first.name == "0000-000.parquet"
    before = first.stat().st_mtime_ns
    atlas.run_chunks(tmp_path, range(2), (0, 1), cells, atlas.run_chunk)
    assert len(list(tmp_path.iterdir())) == 6
    assert first.stat().st_mtime_ns == before
    table = atlas.summarise(tmp_path)
    assert set(table["method"]) == {*INTERVALS, "over seeds"}
    assert set(table[table["method"].isin(["auto", "over seeds"])]["trials"]) == {6}
    assert set(table[table["method"].isin(["bca", "replicate-mean"])]["trials"]) == {3}
    assert ((table["unflagged"] <= table["given"]) & (table["given"] <= 1)).all()
    atlas.draw(table, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 10_000
    assert atlas.methods_markdown(table).count("\n") == 2 + 2 * len(atlas.COMPARED)


def test_what_misses_the_goal_is_marked_beyond_chance(atlas):
    figure = {"method": "auto", "trials": 2000, "unflagged": 1.0, "metric": "accuracy"}
    shares = (0.90, 0.91, 0.92, 0.97, 0.975, 0.98)
    table = pd.DataFrame([figure | {"covered_unflagged": share} for share in shares])
    assert atlas.missed(table).tolist() == [True, False, False, False, False, True]
    table.loc[0, "unflagged"], table.loc[1, "method"] = 0.49, "bca"
    assert list(atlas.judged(table).index) == [2, 3, 4, 5]


def test_the_docs_name_every_metric_and_method():
    text = (ROOT / "docs" / "statistics.md").read_text(encoding="utf-8")
    for name in [*METRICS, *(f"{base}[c]" for base in PER_CLASS)]:
        assert f"`{name}`" in text, name
    for name in INTERVALS:
        assert f"**{name}**" in text, name
    for path in ("coverage.csv.gz", "coverage.png"):
        assert (ROOT / "docs" / path).exists()


def test_what_is_published_is_what_the_docs_say(atlas):
    """The claim about what is not flagged, from the committed figures."""
    table = pd.read_csv(ROOT / "docs" / "coverage.csv.gz")
    judged = atlas.judged(table)
    share, wrong = judged["covered_unflagged"], atlas.missed(judged)
    below, above = share < 0.92, share > 0.97
    assert (len(judged), int(below.sum()), int(above.sum())) == (903, 1, 106)
    assert ((wrong & below).sum(), (wrong & above).sum(), wrong.sum()) == (0, 30, 30)
    assert set(judged["trials"]) == {2000}
    text = (ROOT / "docs" / "statistics.md").read_text(encoding="utf-8")
    said = "Of 903 figures 88% lie within 92–97%, 1 below and 106 above. 30 are outside by more"
    assert said in text
    assert atlas.as_markdown(table) in text
    assert atlas.methods_markdown(table) in text
