"""The atlas scores as the package does, and resumes; the docs agree."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from frostline.report import METRICS
from frostline.report.statistics.intervals.intervals import INTERVALS, compute_intervals
from frostline.report.statistics.metrics import PER_CLASS, compute_metrics
from frostline.report.statistics.sample import Sample

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("situations", "coverage_atlas")


@pytest.fixture(scope="module")
def benchmarks():
    """The two modules, which import one another as scripts do; few trials a chunk."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        found = [importlib.import_module(name) for name in NAMES]
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))
    kept = [(one, one.TRIALS, one.REPLICATES) for one in found[1:]]
    for one, *_ in kept:
        one.TRIALS, one.REPLICATES = 4, 200
    yield found
    for one, trials, replicates in kept:
        one.TRIALS, one.REPLICATES = trials, replicates
    for name in NAMES:
        sys.modules.pop(name)


@pytest.fixture(scope="module")
def situations(benchmarks):
    return benchmarks[0]


@pytest.fixture(scope="module")
def coverage(benchmarks):
    return benchmarks[1]


def sample_of(situations, images, logits, push, trial=None):
    """The rows of one trial as `evaluate` sees them."""
    if trial is not None:
        images = situations.Images(
            *(getattr(images, name)[trial] for name in ("truth", "noise", "there"))
        )
        logits = logits[trial]
    truth, probs, unit = situations.rows_of(images, logits, push)
    names = tuple(str(c) for c in range(logits.shape[-1]))
    # Groups of one image each are images, as `make_sample` has it.
    groups, kind = (unit, "group") if images.there.shape[-1] > 1 else (None, "image")
    called = logits[images.there].argmax(-1)
    return Sample(truth, called, groups, names, kind, "", "test", (), probs, len(truth))


def test_the_grid_is_the_whole_plan(situations):
    cells = situations.grid()
    assert len(cells) == len(set(cells)) == 440
    assert {cell.units for cell in cells} == {9, 30, 75, 150, 600}


def test_metrics_of_margins_are_the_package_s(situations):
    found = np.random.default_rng(0).integers(0, 4, (50, 3, 3)).astype(float)
    found[:5, 0] = 0
    found[5:9, :, 1] = 0
    diagonal = np.diagonal(found, axis1=1, axis2=2)
    sums = np.stack([found.sum(2), found.sum(1), diagonal], 1).transpose(1, 2, 0)
    ours = compute_metrics(found, situations.COUNTED, ["0", "1", "2"])
    for name, values in situations.metrics_of_margins(sums).items():
        np.testing.assert_allclose(values, ours[name], atol=1e-12, err_msg=name)


@pytest.mark.parametrize("grouped", [False, True])
def test_true_values_are_those_of_a_large_sample(situations, grouped):
    cell = situations.Cell(150, 2, 0.2, 0.9, grouped)
    push = situations.push_of(2, 0.9, grouped)
    images = situations.make_images(cell, (40_000,), np.random.default_rng(1))
    sample = sample_of(situations, images, images.logits(push), push)
    values = compute_metrics(sample.confusion, situations.COUNTED, sample.classes)
    values |= {
        "log_loss": sk.log_loss(sample.truth, sample.probs[:, 1]),
        "brier_score_loss": sk.brier_score_loss(sample.truth, sample.probs[:, 1]),
        "roc_auc": sk.roc_auc_score(sample.truth, sample.probs[:, 1]),
        "average_precision": sk.average_precision_score(sample.truth, sample.probs[:, 1]),
    }
    truths = situations.true_values(cell) | situations.true_ranking(cell)
    assert truths.keys() == values.keys()
    for name, value in truths.items():
        assert value == pytest.approx(float(values[name]), abs=0.012), name


@pytest.mark.parametrize(
    ("units", "classes", "rarest", "accuracy", "grouped"),
    [(30, 2, 0.2, 0.9, True), (30, 3, 0.05, 0.99, False), (600, 2, 0.5, 0.7, False)],
)
def test_auto_of_the_atlas_is_auto(
    coverage, situations, monkeypatch, units, classes, rarest, accuracy, grouped
):
    """The outcome put together from methods is what `compute_intervals` gives on the same rows."""
    cell = coverage.Cell(units, classes, rarest, accuracy, grouped)
    push, kept = situations.push_of(classes, accuracy, grouped), []
    make = coverage.make_images
    monkeypatch.setattr(coverage, "make_images", lambda *a: kept.append(make(*a)) or kept[-1])
    tables = [coverage.run_chunk(cell, 0, push, situations.true_values(cell))]
    samples = [
        sample_of(situations, images, images.logits(push), push, trial)
        for images in kept
        for trial in range(len(images.truth))
    ]
    if classes == 2:
        kept.clear()
        tables.append(coverage.ranking_chunk(cell, 0, push, situations.true_ranking(cell)))
        samples = [samples, [sample_of(situations, one, one.logits(push), push) for one in kept]]
    else:
        samples = [samples]
    for table, those in zip(tables, samples, strict=True):
        assert len(table) == len(those) == coverage.TRIALS
        names = [name.removesuffix("|estimate") for name in table if name.endswith("|estimate")]
        for trial, sample in enumerate(those):
            ours = compute_intervals(sample, names, replicates=4000)
            row = table.iloc[[trial]]
            for name, one in ours.items():
                assert row[f"{name}|estimate"].iloc[0] == pytest.approx(one.estimate, abs=1e-5)
                expected = coverage.auto_outcome(cell, name, row)[0]
                truth = row[f"{name}|truth"].iloc[0]
                held = -1 if np.isnan(one.low) else int(one.low - 1e-6 <= truth <= one.high + 1e-6)
                if one.method != "percentile":
                    assert expected == held, name
                if held >= 0:
                    assert bool(one.notes) >= bool(coverage.flags(cell, name, row)[0]), name


def test_bounds_of_the_atlas_are_the_package_s(coverage, situations):
    cell, push = coverage.Cell(40, 3, 0.2, 0.7, True), 1.5
    images = situations.make_images(cell, (3, 40), np.random.default_rng(2))
    logits = images.logits(push)
    units, loss = situations.margins(images, logits), situations.losses(images, logits, push)
    every = coverage.evaluate_units(units, loss, np.ones((40, 1)))
    left = coverage.leave_one_out(units, loss)
    drawn = np.random.default_rng(3).multinomial(40, np.full(40, 1 / 40), size=20_000).T
    values = coverage.evaluate_units(units, loss, drawn.astype(np.float32))
    for trial in range(3):
        sample = sample_of(situations, images, logits, push, trial)
        for method, close in {"percentile": 0.012, "bca": 0.02, "jackknife-t": 1e-6}.items():
            ours = compute_intervals(sample, coverage.METRICS, ci=method, replicates=20_000)
            for name, one in ours.items():
                low, high = coverage.score_metric(
                    name, units, every[name][:, 0], left[name], values[name]
                )[method]
                assert low[trial] == pytest.approx(one.low, abs=close), (method, name)
                assert high[trial] == pytest.approx(one.high, abs=close), (method, name)


def test_ranks_of_weighted_rows_are_scikit_learn_s(coverage):
    rng = np.random.default_rng(0)
    positive, weights = rng.random(60) < 0.3, rng.integers(0, 4, (60, 5)).astype(float)
    found = coverage.rank_units(positive, np.arange(60), weights)
    score = -np.arange(60)
    for column in range(5):
        given = {"y_true": positive, "y_score": score, "sample_weight": weights[:, column]}
        assert found["roc_auc"][column] == pytest.approx(sk.roc_auc_score(**given))
        assert found["average_precision"][column] == pytest.approx(
            sk.average_precision_score(**given)
        )


def test_a_run_resumes_and_is_summarised(coverage, tmp_path, monkeypatch):
    cells = [coverage.Cell(30, 2, 0.5, 0.7, True), coverage.Cell(600, 2, 0.5, 0.9, False)]
    monkeypatch.setattr(coverage, "grid", lambda: cells)
    coverage.run(tmp_path, 1, (0, 2))
    assert [path.name for path in tmp_path.iterdir()] == ["0000-000.parquet"]
    before = (tmp_path / "0000-000.parquet").stat().st_mtime_ns
    coverage.run(tmp_path, 2, (0, 1))
    coverage.run_ranking(tmp_path, 1, (0, 1))
    assert len(list(tmp_path.iterdir())) == 6
    assert (tmp_path / "0000-000.parquet").stat().st_mtime_ns == before
    table = coverage.summarise(tmp_path)
    assert set(table[table["metric"].isin(coverage.METRICS)]["trials"]) == {8}
    assert set(table[table["metric"].isin(coverage.RANKING)]["trials"]) == {4}
    assert set(table["method"]) == {*coverage.METHODS, "auto"}
    coverage.draw(table, tmp_path / "picture.png")
    names = [*coverage.METRICS, *coverage.RANKING]
    assert coverage.as_markdown(table).count("\n") == 2 + 2 * len(names)


def test_the_docs_name_every_metric_and_method():
    text = (ROOT / "docs" / "statistics.md").read_text(encoding="utf-8")
    for name in [*METRICS, *(f"{base}[c]" for base in PER_CLASS)]:
        assert f"`{name}`" in text, name
    for name in INTERVALS:
        assert f"**{name}**" in text, name
    for path in ("coverage.csv.gz", "coverage.png"):
        assert (ROOT / "docs" / path).exists()


def test_what_is_published_is_what_the_docs_say():
    """The claim about `auto`, from the committed figures."""
    table = pd.read_csv(ROOT / "docs" / "coverage.csv.gz")
    auto = table[(table["method"] == "auto") & (table["unflagged"] >= 0.5)]
    share, trials = auto["covered_unflagged"], auto["trials"] * auto["unflagged"]
    low = share < 0.92 - 2 * np.sqrt(0.92 * 0.08 / trials)
    high = share > 0.97 + 2 * np.sqrt(0.97 * 0.03 / trials)
    assert (len(auto), int(low.sum()), int(high.sum())) == (1746, 1, 1)
    assert (int((share < 0.92).sum()), int((share > 0.97).sum())) == (8, 43)
