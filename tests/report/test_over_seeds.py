"""The simulation of methods with several seeds: what it asks, and what the docs show of it."""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("situations", "type_one", "over_seeds")


@pytest.fixture(scope="module")
def over_seeds():
    """The module, which imports the others as scripts do."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        yield [importlib.import_module(name) for name in NAMES][-1]
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))
        for name in NAMES:
            sys.modules.pop(name, None)


def cell_of(over_seeds, **changes):
    return replace(over_seeds.grid()[0], **changes)


def test_seeds_are_each_method_s_own_or_do_the_same_to_all(over_seeds):
    rng = np.random.default_rng(0)
    own = cell_of(over_seeds, seeds=5, spread=0.3, shared=False).lift(rng, 400)
    assert own.shape == (400, 5)
    assert own.std() == pytest.approx(0.3, rel=0.1)
    same = cell_of(over_seeds, seeds=5, spread=0.3, shared=True).lift(rng, 3)
    assert (same == same[0]).all()
    assert len(set(same[0])) == 5


def test_the_true_difference_is_that_of_many_seeds(over_seeds):
    cell = cell_of(over_seeds, units=20_000, accuracy=0.9, seeds=30, spread=0.3)
    rng = np.random.default_rng(1)
    aligned = over_seeds.made(cell, over_seeds.make_rows(cell, rng), [0.9, 0.85], rng)
    values = aligned.paired.estimates("accuracy").reshape(2, 30).mean(1)
    for value, level in zip(values, (0.9, 0.85), strict=True):
        assert over_seeds.true_accuracy(cell, level) == pytest.approx(value, abs=0.03)


def test_a_trial_answers_yes_or_no(over_seeds, monkeypatch):
    monkeypatch.setattr(over_seeds, "TRIALS", 2)
    table = over_seeds.run_chunk(cell_of(over_seeds, units=30), 0)
    assert set(table.stack().dropna()) <= {0.0, 1.0}
    assert {"marked, six methods", "covered", "found", "contradiction"} <= set(table)


def test_what_is_marked_is_read_off_the_comparison(over_seeds, monkeypatch):
    monkeypatch.setattr(over_seeds, "TRIALS", 1)
    made = over_seeds.compare_family

    def asked(**changes):
        def changed(*given):
            return [replace(one, **changes) for one in made(*given)]

        monkeypatch.setattr(over_seeds, "compare_family", changed)
        return over_seeds.run_chunk(cell_of(over_seeds, units=30), 0).iloc[0]

    wide = {"low": -1.0, "high": 1.0, "pair_low": -1.0, "pair_high": 1.0}
    never = asked(p=0.5, p_adjusted=0.5, **wide)
    marks = [name for name in never.index if name.startswith(("marked", "found"))]
    assert len(marks) == 5
    assert not never[marks].any()
    assert never["covered"]
    far = {"low": 0.5, "high": 1.0, "pair_low": 0.5, "pair_high": 1.0}
    always = asked(p=0.01, p_adjusted=0.01, **far)
    assert always[marks].all()
    assert not always["covered"]
    assert asked(p=0.01, p_adjusted=0.5, **wide)["contradiction"]


def test_the_docs_show_the_published_figures(over_seeds):
    table = pd.read_csv(ROOT / "docs" / "over-seeds.csv")
    text = (ROOT / "docs" / "statistics.md").read_text(encoding="utf-8")
    assert over_seeds.as_markdown(table) in text
    assert not over_seeds.missed(table[table["question"] == "contradiction"]).any()
