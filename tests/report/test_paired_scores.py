"""Metrics of probabilities, compared: against scikit-learn on rows that are swapped by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from frostline.report import Predictions, compare, render_comparison
from frostline.report.statistics.comparisons.paired import (
    Paired,
    leave_out_values,
    make_paired,
    replicate_values,
)
from frostline.report.statistics.comparisons.swaps import swap_p_values, swap_units
from frostline.report.statistics.metrics import find_metric
from frostline.report.statistics.resampling.units import draw_units

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
def test_swaps_are_all_swaps_of_whole_groups(metric):
    groups = np.random.default_rng(1).integers(0, 6, 40)
    truth, probs, paired = made(groups)
    pairs = [(0, 1), (0, 2), (1, 2)]
    swaps = swap_units(paired, metric, pairs, 100, np.random.default_rng(0))
    assert swaps.complete
    p, smallest = swap_p_values(swaps)
    for row, (a, b) in enumerate(pairs):
        every = []
        for choice in itertools.product([False, True], repeat=6):
            swap = np.array(choice)[groups][:, None]
            one = np.where(swap, probs[b], probs[a])
            other = np.where(swap, probs[a], probs[b])
            every.append(BY_HAND[metric](truth, one) - BY_HAND[metric](truth, other))
        seen = BY_HAND[metric](truth, probs[a]) - BY_HAND[metric](truth, probs[b])
        assert swaps.observed[row] == pytest.approx(seen, abs=1e-12)
        np.testing.assert_allclose(np.sort(swaps.swapped[row]), np.sort(every), atol=1e-12)
        sizes = np.abs(every)
        assert p[row] == pytest.approx(np.mean(sizes >= abs(seen) - 1e-12))
        assert smallest[row] == pytest.approx(np.mean(sizes >= sizes.max() - 1e-12))


@pytest.mark.parametrize("metric", BY_HAND)
def test_replicates_and_left_out_units_are_those_of_rows(metric):
    groups = np.random.default_rng(2).integers(0, 15, 60)
    truth, probs, paired = made(groups)
    scores = paired.by_rows(metric)
    left, counts = leave_out_values(paired, metric)
    assert counts.tolist() == [1] * 15
    slow = [BY_HAND[metric](truth[groups != g], probs[1][groups != g]) for g in range(15)]
    np.testing.assert_allclose(np.sort(left[1]), np.sort(slow), atol=1e-12)
    drawn = replicate_values(paired, metric, 20, np.random.default_rng(5))
    times = draw_units(np.zeros(15, dtype=np.int64), 20, np.random.default_rng(5), stratified=False)
    for replicate in range(20):
        rows = np.repeat(np.arange(60), times[scores.member, replicate])
        for run in range(3):
            own = scores.runs[run]
            slow = BY_HAND[metric](own.truth[rows], own.probs[rows])
            assert drawn[run, replicate] == pytest.approx(slow, abs=1e-12)


def test_drawn_swaps_approach_enumerated_ones(monkeypatch):
    groups = np.arange(60) // 5
    _, _, paired = made(groups)
    exact = swap_p_values(swap_units(paired, "log_loss", [(0, 1)], 0, np.random.default_rng(0)))
    monkeypatch.setattr("frostline.report.statistics.comparisons.swaps.MOST_ENUMERATED", 3)
    swaps = swap_units(paired, "log_loss", [(0, 1)], 20_000, np.random.default_rng(0))
    assert not swaps.complete
    assert swap_p_values(swaps)[0][0] == pytest.approx(exact[0][0], abs=0.01)


def test_rows_and_names_of_groups_do_not_matter():
    groups = np.random.default_rng(3).integers(0, 9, 50)
    truth, probs, paired = made(groups)
    order = np.random.default_rng(4).permutation(50)
    rows = (truth[order], [one[order] for one in probs], 8 - groups[order])
    other = Paired(paired.matrices, paired.counts, CLASSES, rows)
    for metric in BY_HAND:
        one, same = (
            replicate_values(p, metric, 30, np.random.default_rng(0)) for p in (paired, other)
        )
        assert (one == same).all()


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
    reach = stats.t.ppf(0.975, units - 1) * error
    assert row["high"] - row["difference"] == pytest.approx(reach)


def test_many_units_are_resampled_by_probabilities_too(run):
    runs = [run(n=500, n_groups=5000), run(n=500, n_groups=5000, seed=1, skill=1.5)]
    (row,) = compare(runs, metric="log_loss", replicates=300).to_dict("records")
    assert row["method"] == "paired percentile"
    assert row["low"] < row["difference"] < row["high"] < 0


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
