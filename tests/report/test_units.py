"""Weighted replicates are resampled rows, whatever the order of rows and names of groups."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frostline.report.statistics.intervals.estimates import Draws, leave_out, replicate
from frostline.report.statistics.resampling import units as module
from frostline.report.statistics.resampling.units import (
    draw_units,
    leave_out_scores,
    make_units,
    replicate_scores,
)
from frostline.report.statistics.sample import Sample
from frostline.report.statistics.scores import SCORES, Scores, compute_scores

NAMES = list(SCORES)


@st.composite
def rows(draw: st.DrawFn):
    """Truth, coarse probabilities of three classes, groups; equal rows and groups are common."""
    n = draw(st.integers(4, 30))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    probs = rng.multinomial(4, np.full(3, 1 / 3), size=n) / 4
    groups = rng.integers(0, draw(st.integers(2, 8)), n) if draw(st.booleans()) else None
    return np.array([0, 1, 2, *rng.integers(0, 3, n - 3)]), probs, groups


@given(rows(), st.integers(0, 2**32 - 1))
def test_weights_equal_resampled_rows_of_the_same_draws(case, seed):
    units = make_units(*case)
    fast = replicate_scores(units, NAMES, 4, np.random.default_rng(seed))
    counts = draw_units(units.stratum, 4, np.random.default_rng(seed), stratified=False)
    for i in range(4):
        again = [
            np.flatnonzero(units.member == u)
            for u in np.repeat(np.arange(units.n_units), counts[:, i])
        ]
        picked = np.concatenate(again)
        slow = compute_scores(Scores(units.scores.truth[picked], units.scores.probs[picked]), NAMES)
        for name in NAMES:
            near = 1e-6 if name.startswith("calibration") else 1e-12
            assert fast[name][i] == pytest.approx(slow[name][0], abs=near, nan_ok=True), name


@given(rows(), st.randoms(use_true_random=False))
def test_order_of_rows_and_names_of_groups_change_nothing(case, random):
    truth, probs, groups = case
    order, renaming = list(range(len(truth))), list(range(8))
    random.shuffle(order)
    random.shuffle(renaming)
    renamed = None if groups is None else np.array(renaming)[groups][order]
    one = replicate_scores(make_units(*case), NAMES, 5, np.random.default_rng(1))
    other = replicate_scores(
        make_units(truth[order], probs[order], renamed), NAMES, 5, np.random.default_rng(1)
    )
    for name in NAMES:
        np.testing.assert_array_equal(one[name], other[name])


@given(rows())
def test_leaving_a_unit_out_is_scoring_without_it(case):
    units = make_units(*case)
    left = leave_out_scores(units, ["roc_auc", "log_loss"])
    for unit in range(units.n_units):
        kept = units.member != unit
        if not kept.any():
            continue
        alone = compute_scores(Scores(units.scores.truth[kept], units.scores.probs[kept]), left)
        for name, values in left.items():
            assert values[unit] == pytest.approx(alone[name][0], abs=1e-12, nan_ok=True)


def test_block_size_changes_no_number(monkeypatch):
    rng = np.random.default_rng(0)
    units = make_units(rng.integers(0, 3, 30), rng.dirichlet(np.ones(3), 30), None)
    whole = replicate_scores(units, NAMES, 50, np.random.default_rng(5))
    monkeypatch.setattr(module, "BLOCK_WEIGHTS", 210)
    blocks = replicate_scores(units, NAMES, 50, np.random.default_rng(5))
    for name in NAMES:
        np.testing.assert_allclose(whole[name], blocks[name], atol=1e-9)


def make_sample(n=60, groups=None, seed=0):
    rng = np.random.default_rng(seed)
    truth, probs = rng.integers(0, 3, n), rng.dirichlet(np.ones(3), n)
    return Sample(
        truth, probs.argmax(1), groups, ("a", "b", "c"), "group", "", "test", (), probs, n
    )


@pytest.mark.parametrize("grouped", [False, True], ids=["images", "groups"])
def test_strata_keep_their_sizes(grouped):
    """As many units of each class in every replicate; those of several classes are their own."""
    groups = np.arange(60) // 2 if grouped else None
    sample = make_sample(groups=groups)
    counts = draw_units(sample.units.stratum, 20, np.random.default_rng(0), stratified=True)
    for value in np.unique(sample.units.stratum):
        member = sample.units.stratum == value
        assert (counts[member].sum(0) == member.sum()).all()
    drawn = replicate(sample, ["recall[a]", "accuracy"], Draws(50, stratified=True))
    free = replicate(sample, ["recall[a]", "accuracy"], Draws(50))
    if not grouped:
        times = drawn["recall[a]"] * (sample.truth == 0).sum()
        np.testing.assert_allclose(times, np.round(times), atol=1e-9)
    assert (drawn["accuracy"] != free["accuracy"]).any()


@pytest.mark.parametrize("grouped", [False, True], ids=["images", "groups"])
def test_leave_out_by_kinds_is_leave_out_by_rows(grouped):
    groups = np.arange(60) // 3 if grouped else np.arange(60)
    sample = make_sample(groups=groups if grouped else None)
    found = leave_out(sample, ["f1_weighted"])["f1_weighted"]
    left, counts = found.values, found.counts
    slow = [
        replicate_free(sample.truth[groups != g], sample.prediction[groups != g])
        for g in np.unique(groups)
    ]
    np.testing.assert_allclose(np.sort(np.repeat(left, counts)), np.sort(slow), atol=1e-12)


def replicate_free(truth, prediction):
    from sklearn.metrics import f1_score

    return f1_score(truth, prediction, average="weighted", labels=[0, 1, 2], zero_division=0)


@pytest.mark.parametrize("metric", ["average_precision", "calibration_slope"])
@given(st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_left_out_at_once_is_left_out_one_by_one(metric, seed):
    """Ties, groups of one image and of many, a class in one group alone, separated outcomes."""
    rng = np.random.default_rng(seed)
    n, classes = int(rng.integers(2, 120)), int(rng.integers(2, 5))
    truth = rng.integers(0, classes, n)
    probs = rng.dirichlet(np.ones(classes), n)
    if rng.random() < 0.5:
        probs = np.round(probs * 5) / 5
    groups = rng.integers(0, rng.integers(1, n + 1), n) if rng.random() < 0.7 else None
    units = make_units(truth, probs, groups)
    weights = (units.member[:, None] != np.arange(units.n_units)).astype(np.float64)
    slow = compute_scores(units.scores, [metric], weights)[metric]
    fast = leave_out_scores(units, [metric])[metric]
    np.testing.assert_allclose(fast, slow, rtol=0, atol=1e-10)


def test_units_that_hardly_move_the_slope_are_never_weighed_one_by_one(monkeypatch):
    rng = np.random.default_rng(0)
    share = rng.random(2_000)
    truth = (rng.random(2_000) < share).astype(np.int64)
    units = make_units(truth, np.stack([1 - share, share], axis=1), np.arange(2_000) // 2)
    weighed = []
    monkeypatch.setattr(module, "compute_scores", lambda *given: weighed.append(given))
    assert np.isfinite(leave_out_scores(units, ["calibration_slope"])["calibration_slope"]).all()
    assert np.isfinite(leave_out_scores(units, ["average_precision"])["average_precision"]).all()
    assert not weighed
