"""Equivalence: p and interval agree, and a run that is worse by the margin is rarely equivalent."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtri

import frostline
from frostline.report.predictions import Predictions, predictions_table

MARGIN = 0.05


def pair_of(rng, accuracies, patients=120, classes=("a", "b"), sizes=None):
    """Runs on patients of several images: what is hard is so for all of them, mostly."""
    sizes = rng.integers(1, 13, patients) if sizes is None else sizes
    unit = np.repeat(np.arange(len(sizes)), sizes)
    truth = rng.integers(0, len(classes), len(sizes))[unit]
    hard = rng.standard_normal(len(sizes))[unit] + rng.standard_normal(len(unit))
    runs = []
    for place, accuracy in enumerate(accuracies):
        own = rng.standard_normal(len(sizes))[unit] + rng.standard_normal(len(unit))
        noise = (0.75**0.5 * hard + 0.25**0.5 * own) / 2**0.5
        wrong = noise < ndtri(1 - accuracy)
        called = np.where(wrong, (truth + 1) % len(classes), truth)
        images = pd.DataFrame(
            {
                "image_id": [f"{n:05d}" for n in range(len(unit))],
                "group_id": unit.astype(str),
                "split": "test",
                "label": np.array(classes)[truth],
            }
        )
        probs = 0.2 + 0.6 * np.eye(len(classes))[called]
        table = predictions_table(images, classes, probs / probs.sum(1, keepdims=True))
        meta = {"run": f"run{place}", "dataset": "made", "backbone": f"b{place}", "seed": 0}
        runs.append(Predictions(table, meta | {"classes": list(classes)}))
    return runs


def compare(runs, margin, **more):
    return frostline.compare(runs, margin=margin, replicates=199, **more)


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "log_loss"])
@pytest.mark.parametrize("methods", [2, 3])
def test_p_is_below_5_percent_exactly_if_the_interval_is_within_the_margin(metric, methods):
    found = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        runs = pair_of(rng, rng.uniform(0.85, 0.97, methods), patients=int(rng.integers(5, 150)))
        for margin in (0.02, 0.05, 0.2):
            table = compare(runs, margin, metric=metric)
            within = (table["equivalence_low"] > -margin) & (table["equivalence_high"] < margin)
            assert ((table["equivalence_p"] < 0.05) == within).all()
            if metric != "log_loss":
                assert (table[["equivalence_low", "equivalence_high"]].abs() <= 1).all(axis=None)
            assert (table["equivalence_low"] <= table["difference"]).all()
            assert (table["equivalence_high"] >= table["difference"]).all()
            found += within.tolist()
    assert 0 < sum(found) < len(found)


def test_the_margin_of_the_interval_s_own_end_is_at_5_percent():
    """The interval does not hang on the margin that was asked: its ends are where p is 5%."""
    runs = pair_of(np.random.default_rng(3), (0.95, 0.94))
    (row,) = compare(runs, 0.1).to_dict("records")
    end = max(-row["equivalence_low"], row["equivalence_high"])
    (there,) = compare(runs, end).to_dict("records")
    assert there["equivalence_p"] == pytest.approx(0.05, abs=1e-4)
    for name in ("equivalence_low", "equivalence_high"):
        assert there[name] == pytest.approx(row[name], abs=1e-8)


@pytest.mark.slow
def test_near_1_a_run_that_is_worse_by_the_margin_is_rarely_equivalent():
    """Sign flips of the same patients found 12% of such runs equivalent."""
    rng, times = np.random.default_rng(0), 150
    found = 0
    for _ in range(times):
        sizes = np.minimum(1 + rng.pareto(1.2, 200), 200).astype(int)
        runs = pair_of(rng, (0.97, 0.92), sizes=sizes)
        found += compare(runs, MARGIN)["equivalence_p"].iloc[0] < 0.05
    assert found / times < 0.08


def test_equal_runs_of_many_patients_are_equivalent():
    rng = np.random.default_rng(1)
    verdicts = [
        compare(pair_of(rng, (0.95, 0.95), patients=300), MARGIN)["verdict"].iloc[0]
        for _ in range(20)
    ]
    assert verdicts.count("equivalent") >= 16


def test_the_interval_of_many_that_differ_need_not_hold_0():
    """It did, whatever the difference, because the bound of few that differ is 0 there."""
    rng = np.random.default_rng(0)
    (row,) = compare(pair_of(rng, (0.9, 0.8), patients=300), 0.2).to_dict("records")
    assert row["verdict"] == "better"
    assert row["low"] < row["equivalence_low"] < row["difference"]
    assert row["equivalence_low"] > 0
    assert row["difference"] < row["equivalence_high"] < row["high"]
