"""Interval, p and verdict of any comparison agree, and every output says the same of it."""

from __future__ import annotations

import csv
import io
import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frostline.report import Predictions, compare, comparison_sentences, render_comparison
from frostline.report.statistics.comparisons.decisions import ALPHA, IDENTICAL

METRICS = (
    *("accuracy", "balanced_accuracy", "f1_macro", "precision_macro", "matthews_corrcoef"),
    *("cohen_kappa", "roc_auc", "average_precision", "log_loss", "brier_score_loss"),
)
NAMES = ("high", "low", "middle")


def random_runs(rng: np.random.Generator) -> list[Predictions]:
    """Two or three methods of one to three seeds, from few units or many, good or odd."""
    classes = NAMES[: rng.integers(2, 4)]
    units = int(rng.choice([3, 6, 9, 30, 80]))
    group = np.repeat(np.arange(units), rng.integers(1, rng.choice([2, 6]), units))
    of_unit = rng.integers(0, len(classes), units)
    truth = of_unit[group] if rng.random() < 0.6 else rng.integers(0, len(classes), len(group))
    shared = rng.normal(size=(len(truth), len(classes)))
    runs = []
    for method in range(rng.integers(2, 4)):
        kind = rng.choice(["plain", "plain", "plain", "perfect", "constant", "wrong"])
        skill = rng.choice([0.0, 1.0, 3.0])
        for seed in range(rng.choice([1, 1, 3])):
            scores = shared + rng.normal(size=shared.shape) * rng.choice([0.0, 0.5, 1.5])
            scores[np.arange(len(truth)), truth] += skill
            if kind == "constant":
                scores = np.tile(np.arange(len(classes), 0.0, -1), (len(truth), 1))
            elif kind != "plain":
                right = truth if kind == "perfect" else (truth + 1) % len(classes)
                scores = 3.0 * np.eye(len(classes))[right]
            runs.append(as_predictions(classes, (group, truth, scores), method, seed))
    return runs


def as_predictions(
    classes: tuple[str, ...], drawn: tuple[np.ndarray, ...], method: int, seed: int
) -> Predictions:
    """Lay out one run as its table and what it says of itself."""
    group, truth, scores = drawn
    probs = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    table = pd.DataFrame(
        {
            "image_id": [f"{i}.png" for i in range(len(truth))],
            "group_id": group.astype(str),
            "split": "test",
            "label": np.take(classes, truth),
            "prediction": np.take(classes, probs.argmax(1)),
            **{f"prob_{name}": probs[:, k] for k, name in enumerate(classes)},
        }
    )
    meta = {"run": f"run-{method}-{seed}", "dataset": "chest", "backbone": f"net{method}"}
    fixed = {"protocol": "paper", "unfreeze": "none", "head": "logistic", "weights": "pretrained"}
    return Predictions(table, {**meta, **fixed, "seed": seed, "classes": list(classes)})


def agrees(one: dict) -> None:
    """Interval, p, verdict and equivalence of a comparison say the same."""
    if one["verdict"] == IDENTICAL:
        assert math.isnan(one["low"])
        assert math.isnan(one["p"])
        return
    significant = one["p_adjusted"] < ALPHA
    assert (one["verdict"] in ("better", "worse")) == significant
    if math.isnan(one["low"]):
        assert not significant
        return
    assert one["low"] <= one["difference"] <= one["high"]
    assert one["low"] < one["high"]
    assert (one["low"] <= 0 <= one["high"]) == (not significant), one
    assert one["low"] <= one["pair_low"] + 1e-12
    assert one["pair_high"] <= one["high"] + 1e-12
    if not math.isnan(one["smallest_p"]):
        assert one["smallest_p"] <= one["p"]
    if any("no test can decide" in note.text for note in one["notes"]):
        assert one["p"] >= ALPHA
    if one["seed_df"] > 0 and one["test"].startswith("Student"):
        assert one["df"] >= min(one["seed_df"], one["effective_units"] - 1) - 1e-9
    if one["metric"].endswith("_loss"):
        assert one["high"] - one["low"] <= 100 * max(one["estimate_a"], one["estimate_b"])
    if significant:
        higher = not one["metric"].endswith("_loss")
        assert (one["verdict"] == "better") == ((one["difference"] > 0) == higher)


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    metric=st.sampled_from(METRICS),
    margin=st.sampled_from([None, 0.02, 0.2]),
)
def test_interval_p_and_verdict_agree(seed, metric, margin):
    runs = random_runs(np.random.default_rng(seed))
    frame = compare(runs, metric=metric, margin=margin, replicates=999)
    for one in frame.to_dict("records"):
        agrees(one)
    if len(frame) == 1:
        assert (frame["low"].isna() | (frame["low"] == frame["pair_low"])).all()


@pytest.mark.parametrize("seed", range(12))
def test_terminal_csv_and_json_say_what_was_found(seed):
    runs = random_runs(np.random.default_rng(seed))
    frame = compare(runs, replicates=999)
    written = json.loads(render_comparison(frame, "json"))
    rows = list(csv.DictReader(io.StringIO(render_comparison(frame, "csv"))))
    sentences = comparison_sentences(frame)
    assert len(sentences) == len(frame) == len(written) == len(rows)
    records = frame.to_dict("records")
    for found, one, row, said in zip(records, written, rows, sentences, strict=True):
        assert found["verdict"] == one["verdict"] == row["verdict"]
        for name in ("difference", "low", "high", "p"):
            missing = math.isnan(found[name])
            assert (one[name] is None) == (row[name] == "") == missing
            if not missing:
                assert one[name] == pytest.approx(found[name])
                assert float(row[name]) == pytest.approx(found[name])
        assert (found["verdict"] == "undecided") == (" cannot be separated from " in said)
        if found["verdict"] != IDENTICAL:
            assert f"{abs(found['difference']) * 100:.1f} points" in said
