"""The simulation of operating points asks the package, and the docs show its figures."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def operating():
    """The benchmark, imported as scripts import one another."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        yield importlib.import_module("operating")
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))
        for name in ("operating", "situations"):
            sys.modules.pop(name, None)


def test_the_truth_is_that_of_an_endless_sample(operating):
    for sizes in ("one", "1 to 12"):
        cell = operating.PointCell(60_000, 2, 0.5, 0.85, sizes != "one", sizes)
        sample, _ = operating.made_sample(cell, np.random.default_rng(0))
        for threshold in (0.2, 0.7):
            called = sample.probs[:, 1] >= threshold
            found = called[sample.truth == 1].mean(), 1 - called[sample.truth == 0].mean()
            assert operating.true_values(cell, threshold) == pytest.approx(found, abs=0.01)


@pytest.mark.parametrize("folds", [False, True])
def test_a_chunk_has_a_row_a_trial_and_rule_and_is_the_same_again(operating, monkeypatch, folds):
    monkeypatch.setattr(operating, "TRIALS", 2)
    cell = operating.PointCell(75, 2, 0.5, 0.85, False, "one", folds)
    table = operating.run_chunk(cell, 0)
    assert list(table["rule"]) == [0, 1, 2, 0, 1, 2]
    pd.testing.assert_frame_equal(table, operating.run_chunk(cell, 0))
    held = table["sensitivity|high"] - table["sensitivity|low"]
    assert (held > 0).all()
    if folds:
        assert table["specificity|flagged_repeated"].all()
    else:
        wider = table["sensitivity|high_repeated"] - table["sensitivity|low_repeated"]
        assert (wider > held).all()


def test_intervals_that_miss_are_counted_as_such(operating):
    rows = pd.DataFrame(
        {"sensitivity|true": [0.9, 0.9, 0.9], "sensitivity|low": [0.8, 0.95, np.nan]}
    )
    rows = rows.assign(**{"sensitivity|high": [1.0, 1.0, np.nan], "sensitivity|flagged": 0})
    found = operating._summary(rows, "sensitivity", "held")
    assert (found["given"], found["covered"]) == (pytest.approx(2 / 3), 0.5)


def test_the_docs_show_the_published_figures(operating):
    table = pd.read_csv(ROOT / "docs" / "operating.csv")
    text = (ROOT / "docs" / "clinical.md").read_text(encoding="utf-8")
    assert operating.as_markdown(table) in text
    judged = operating.judged(table)
    below, above = (judged["covered_unflagged"] < 0.92, judged["covered_unflagged"] > 0.97)
    assert (len(judged), int(below.sum()), int(above.sum())) == (72, 1, 9)
    assert "Of 72 figures 62 lie within 92–97%, 1 below (91.3) and 9 above" in text
    assert not (below & operating.missed(judged)).any()
    assert set(table["trials"]) == {2000}
