"""The coverage atlas scores as `evaluate` does and resumes; the docs name every metric."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from frostline.report import METRICS
from frostline.report.intervals import INTERVALS, compute_intervals
from frostline.report.metrics import PER_CLASS
from frostline.report.sample import Sample

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def coverage():
    spec = importlib.util.spec_from_file_location("coverage", ROOT / "benchmarks" / "coverage.py")
    module = importlib.util.module_from_spec(spec)
    import sys

    # Dataclasses look their module up while it is made.
    sys.modules["frostline_coverage_benchmark"] = sys.modules.setdefault(spec.name, module)
    spec.loader.exec_module(module)
    module.TRIALS, module.REPLICATES = 4, 200
    yield module
    sys.modules.pop(spec.name)
    sys.modules.pop("frostline_coverage_benchmark")


def test_the_grid_is_the_whole_plan(coverage):
    cells = coverage.grid()
    assert len(cells) == len(set(cells)) == 440
    assert {cell.units for cell in cells} == {9, 30, 75, 150, 600}


@pytest.mark.parametrize(
    ("units", "classes", "rarest", "accuracy", "grouped"),
    [(30, 2, 0.2, 0.9, True), (30, 3, 0.05, 0.99, False), (600, 2, 0.5, 0.7, False)],
)
def test_auto_of_the_atlas_is_auto(coverage, units, classes, rarest, accuracy, grouped):
    """The outcome put together from methods is what `compute_intervals` gives on the same rows."""
    cell = coverage.Cell(units, classes, rarest, accuracy, grouped)
    truths = dict.fromkeys(coverage.METRICS, accuracy)
    kept = []
    make = coverage.matrices
    coverage.matrices = lambda *args: kept.append(make(*args)) or kept[-1]
    try:
        table = coverage.run_chunk(cell, 0, 1.5, truths)
    finally:
        coverage.matrices = make
    for trial, found in enumerate(kept):
        unit, true, called = (
            np.repeat(index, found[found > 0]) for index in np.nonzero(found)
        )  # fmt: skip
        names = tuple(str(c) for c in range(classes))
        sample = Sample(true, called, unit, names, "group", "", "test", (), n_images=len(true))
        ours = compute_intervals(sample, coverage.METRICS, replicates=4000)
        for name, one in ours.items():
            row = table.iloc[[trial]]
            expected = coverage.auto_outcome(cell, name, row)[0]
            if one.method == "percentile":
                continue
            held = -1 if np.isnan(one.low) else int(one.low <= accuracy <= one.high)
            assert expected == held, name
            if held >= 0:
                assert bool(one.note) >= bool(coverage.flags(cell, name, row)[0]), name


def test_a_run_resumes_and_is_summarised(coverage, tmp_path, monkeypatch, capsys):
    cells = [coverage.Cell(30, 2, 0.5, 0.7, True), coverage.Cell(600, 2, 0.5, 0.9, False)]
    monkeypatch.setattr(coverage, "grid", lambda: cells)
    monkeypatch.setattr(coverage, "calibrate", lambda cell: (1.0, dict.fromkeys(
        coverage.METRICS, 0.7)))  # fmt: skip
    coverage.run(tmp_path, 1, (0, 2))
    assert [path.name for path in tmp_path.iterdir()] == ["0000-000.parquet"]
    before = (tmp_path / "0000-000.parquet").stat().st_mtime_ns
    coverage.run(tmp_path, 2, (0, 1))
    assert len(list(tmp_path.iterdir())) == 4
    assert (tmp_path / "0000-000.parquet").stat().st_mtime_ns == before
    table = coverage.summarise(tmp_path)
    assert set(table["trials"]) == {8}
    assert set(table["method"]) == {*coverage.METHODS, "auto"}
    coverage.draw(table, tmp_path / "picture.png")
    assert coverage.as_markdown(table).count("\n") == 2 + 2 * len(coverage.METRICS)


def test_the_docs_name_every_metric_and_method():
    text = (ROOT / "docs" / "statistics.md").read_text(encoding="utf-8")
    for name in [*METRICS, *(f"{base}[c]" for base in PER_CLASS)]:
        assert f"`{name}`" in text, name
    for name in INTERVALS:
        assert f"**{name}**" in text, name
    for path in ("coverage.csv.gz", "coverage.png", "type-one.csv"):
        assert (ROOT / "docs" / path).exists()


def test_what_is_published_is_what_the_docs_say():
    """The claim about `auto`, from the committed figures."""
    table = pd.read_csv(ROOT / "docs" / "coverage.csv.gz")
    auto = table[(table["method"] == "auto") & (table["unflagged"] >= 0.5)]
    share, trials = auto["covered_unflagged"], auto["trials"] * auto["unflagged"]
    low = share < 0.92 - 2 * np.sqrt(0.92 * 0.08 / trials)
    high = share > 0.97 + 2 * np.sqrt(0.97 * 0.03 / trials)
    assert (len(auto), int(low.sum()), int(high.sum())) == (1296, 0, 3)
    assert (int((share < 0.92).sum()), int((share > 0.97).sum())) == (26, 92)
