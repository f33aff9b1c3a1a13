"""Metrics of probabilities, compared: against scikit-learn on rows that are left out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from frostline.report import Predictions, compare, render_comparison
from frostline.report.statistics.comparisons.contributions import contributions
from frostline.report.statistics.comparisons.paired import (
    Paired,
    leave_out_values,
    make_paired,
)
from frostline.report.statistics.metrics import find_metric

CLASSES = ("a", "b", "c")
BY_HAND = {
    "roc_auc": lambda t, p: sk.roc_auc_score(t, p, multi_class="ovr", labels=[0, 1, 2]),
    "average_precision": lambda t, p: sk.average_precision_score(np.eye(3)[t], p),
    "log_loss": lambda t, p: sk.log_loss(t, p, labels=[0, 1, 2]),
    "brier_score_loss": lambda t, p: ((np.eye(3)[t] - p) ** 2).sum(1).mean(),
}


def made(groups, seed=0):
    """Truth, probabilities of three runs with ties, and groups, as rows and paired."""
    rng = np.random.default_rng(seed)
    n = len(groups)
    truth = rng.integers(0, 3, n)
    probs = []
    for skill in (0.5, 1.0, 1.5):
        scores = np.round(rng.normal(size=(n, 3)) + skill * np.eye(3)[truth], 1)
        probs.append(np.exp(scores) / np.exp(scores).sum(1, keepdims=True))
    answers = [one.argmax(1) for one in probs]
    paired = make_paired(truth, answers, CLASSES, groups)
    return truth, probs, Paired(paired.matrices, paired.counts, CLASSES, (truth, probs, groups))


@pytest.mark.parametrize("metric", BY_HAND)
def test_left_out_units_are_those_of_rows(metric):
    groups = np.random.default_rng(2).integers(0, 15, 60)
    truth, probs, paired = made(groups)
    left, counts = leave_out_values(paired, metric)
    assert counts.tolist() == [1] * 15
    slow = [BY_HAND[metric](truth[groups != g], probs[1][groups != g]) for g in range(15)]
    np.testing.assert_allclose(np.sort(left[1]), np.sort(slow), atol=1e-12)


def test_rows_and_names_of_groups_do_not_matter():
    groups = np.random.default_rng(3).integers(0, 9, 50)
    truth, probs, paired = made(groups)
    order = np.random.default_rng(4).permutation(50)
    rows = (truth[order], [one[order] for one in probs], 8 - groups[order])
    other = Paired(paired.matrices, paired.counts, CLASSES, rows)
    for metric in BY_HAND:
        one, same = (contributions(each, metric) for each in (paired, other))
        assert (one.residuals == same.residuals).all()
        assert (one.weights == same.weights).all()


@pytest.mark.parametrize("metric", BY_HAND)
def test_compare_by_probabilities(run, metric):
    runs = [run(skill=3.0, n_groups=40), run(seed=1, skill=0.3, n_groups=40)]
    (row,) = compare(runs, metric=metric, replicates=1000).to_dict("records")
    assert row["verdict"] == "better"
    assert (row["difference"] > 0) == find_metric(metric).higher
    table = runs[0].table
    truth = (table["label"] == "PNEUMONIA").to_numpy().astype(int)
    probs = [one.table[["prob_NORMAL", "prob_PNEUMONIA"]].to_numpy() for one in runs]
    by_hand = {
        "roc_auc": lambda t, p: sk.roc_auc_score(t, p[:, 1]),
        "average_precision": lambda t, p: sk.average_precision_score(t, p[:, 1]),
        "log_loss": lambda t, p: sk.log_loss(t, p[:, 1]),
        "brier_score_loss": lambda t, p: sk.brier_score_loss(t, p[:, 1]),
    }[metric]
    assert row["estimate_a"] == pytest.approx(by_hand(truth, probs[0]))
    groups = table["group_id"].to_numpy()
    left = np.array(
        [
            by_hand(truth[groups != g], probs[0][groups != g])
            - by_hand(truth[groups != g], probs[1][groups != g])
            for g in np.unique(groups)
        ]
    )
    units = len(left)
    error = np.sqrt((units - 1) / units * ((left - left.mean()) ** 2).sum())
    assert row["group_error"] == pytest.approx(error, rel=0.1)
    # Sign flips are wider than Student's t only as far as groups differ.
    reach = stats.t.ppf(0.975, units - 1) * error
    assert (row["high"] - row["low"]) / 2 == pytest.approx(reach, rel=0.15)


def test_words_of_a_metric_that_is_no_share(run):
    runs = [run(skill=3.0, n_groups=40), run(seed=1, skill=0.3, n_groups=40)]
    text = " ".join(render_comparison(compare(runs, metric="log_loss", replicates=300)).split())
    assert "(frozen, run-0) is better than resnet50 (frozen, run-1): log loss " in text
    assert "log loss \N{MINUS SIGN}0." in text
    assert "points" not in text


def test_classes_in_another_order_are_the_same(run):
    other = run(seed=1, skill=1.0)
    turned = Predictions(other.table, {**other.meta, "classes": other.classes[::-1]})
    one, same = (compare([run(), two], metric="roc_auc", replicates=200) for two in (other, turned))
    assert one["difference"].tolist() == same["difference"].tolist()
    assert one["p"].tolist() == same["p"].tolist()
