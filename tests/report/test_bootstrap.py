"""The reduced bootstrap is the bootstrap: same draws agree, and the law is the enumerated one."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare, multinomial

from frostline.report.statistics.metrics import compute_metrics, confusion_matrix
from frostline.report.statistics.resampling import bootstrap
from frostline.report.statistics.resampling.bootstrap import (
    bootstrap_confusions,
    find_kinds,
    replicate_confusions,
)

K = 3
GROUPED = st.lists(
    st.tuples(st.integers(0, K - 1), st.integers(0, K - 1), st.integers(0, 7)),
    min_size=1,
    max_size=40,
)


def kind_of_each_group(truth, prediction, groups, kinds):
    """The number of the kind that every group (in order of its number) belongs to."""
    members = []
    for group in np.unique(groups):
        rows = groups == group
        matrix = confusion_matrix(truth[rows], prediction[rows], K)
        members.append(next(i for i, m in enumerate(kinds.matrices) if (m == matrix).all()))
    return np.array(members)


@given(GROUPED, st.integers(0, 2**32 - 1))
def test_drawing_kinds_equals_drawing_rows_of_the_same_groups(rows, seed):
    truth, prediction, groups = np.array(rows).T
    kinds = find_kinds(truth, prediction, K, groups)
    names = np.unique(groups)
    assert kinds.n_units == len(names)
    drawn = np.random.default_rng(seed).integers(0, len(names), size=(5, len(names)))
    member = kind_of_each_group(truth, prediction, groups, kinds)
    counts = np.stack([np.bincount(member[d], minlength=len(kinds.counts)) for d in drawn])
    fast = compute_metrics(replicate_confusions(kinds, counts))
    for replicate, draw in enumerate(drawn):
        picked = np.concatenate([np.flatnonzero(groups == names[i]) for i in draw])
        slow = compute_metrics(confusion_matrix(truth[picked], prediction[picked], K))
        for name in slow:
            assert fast[name][replicate] == pytest.approx(float(slow[name]), abs=1e-12)


@given(GROUPED, st.randoms(use_true_random=False))
def test_order_of_rows_and_names_of_groups_change_nothing(rows, random):
    truth, prediction, groups = np.array(rows).T
    shuffled, renaming = list(range(len(rows))), list(range(8))
    random.shuffle(shuffled)
    random.shuffle(renaming)
    one = find_kinds(truth, prediction, K, groups)
    other = find_kinds(
        truth[shuffled], prediction[shuffled], K, np.array(renaming)[groups[shuffled]]
    )
    assert (one.matrices == other.matrices).all()
    assert (one.counts == other.counts).all()


def enumerated_law(matrices):
    """Probability of every confusion matrix over all G**G resamples of G units."""
    g = len(matrices)
    totals = Counter(
        matrices[list(draw)].sum(axis=0).tobytes() for draw in itertools.product(range(g), repeat=g)
    )
    return {key: times / g**g for key, times in totals.items()}


@pytest.mark.parametrize("grouped", [False, True], ids=["images", "groups"])
def test_law_is_the_enumerated_one_for_six_units(grouped):
    truth = np.array([0, 0, 0, 1, 1, 1, 0, 1, 0, 1])
    prediction = np.array([0, 0, 1, 1, 1, 0, 0, 1, 1, 1])
    groups = np.array([0, 1, 2, 3, 4, 5, 0, 1, 2, 3]) if grouped else None
    n = 10 if grouped else 6
    truth, prediction = truth[:n], prediction[:n]
    names = np.arange(6) if groups is None else groups
    units = np.stack(
        [confusion_matrix(truth[names == i], prediction[names == i], 2) for i in range(6)]
    )
    law = enumerated_law(units.reshape(6, -1).astype(np.float64))
    draws = 40_000
    drawn = bootstrap_confusions(
        find_kinds(truth, prediction, 2, groups), draws, np.random.default_rng(1)
    )
    seen = Counter(row.tobytes() for row in drawn.reshape(draws, -1))
    assert set(seen) <= set(law)
    likely = [key for key, share in law.items() if share * draws >= 5]
    expected = np.array([law[key] for key in likely]) * draws
    observed = np.array([seen[key] for key in likely])
    rest = [draws - observed.sum()], [draws - expected.sum()]
    p = chisquare(np.append(observed, rest[0]), np.append(expected, rest[1])).pvalue
    assert p > 1e-3


def test_enumeration_is_the_multinomial_of_cells():
    """The reduction itself, without random numbers: resampled images are a multinomial of cells."""
    cells = np.array([3, 2, 1])
    units = np.repeat(np.eye(3), cells, axis=0)
    for key, share in enumerated_law(units).items():
        counts = np.frombuffer(key)
        assert share == pytest.approx(multinomial.pmf(counts, 6, cells / 6), abs=1e-12)


def test_poisson_draws_have_the_multinomial_law(monkeypatch):
    """Forced on six units, where most rows need topping up and some are drawn again."""
    monkeypatch.setattr(bootstrap, "FEWEST_BY_POISSON", 1)
    monkeypatch.setattr(bootstrap, "SPARE", 0.5)
    counts = np.array([3, 2, 1])
    drawn = bootstrap.multinomial(counts, 40_000, np.random.default_rng(2))
    assert (drawn.sum(1) == 6).all()
    seen = Counter(map(tuple, drawn.tolist()))
    law = {
        key: multinomial.pmf(key, 6, counts / 6)
        for key in itertools.product(range(7), repeat=3)
        if sum(key) == 6
    }
    likely = [key for key, share in law.items() if share * 40_000 >= 5]
    expected = np.array([law[key] for key in likely]) * 40_000
    observed = np.array([seen[key] for key in likely])
    rest = 40_000 - observed.sum(), 40_000 - expected.sum()
    p = chisquare(np.append(observed, rest[0]), np.append(expected, rest[1])).pvalue
    assert p > 1e-3


def test_block_size_changes_no_number(monkeypatch):
    kinds = find_kinds(np.arange(30) % 3, np.arange(30) % 2, K, np.arange(30) // 4)
    whole = bootstrap_confusions(kinds, 50, np.random.default_rng(5))
    monkeypatch.setattr(bootstrap, "BLOCK_ELEMENTS", 7)
    assert (bootstrap_confusions(kinds, 50, np.random.default_rng(5)) == whole).all()


def test_equal_groups_are_merged():
    kinds = find_kinds(np.array([0, 1] * 50), np.array([0, 1] * 50), 2, np.arange(100) // 2)
    assert kinds.counts.tolist() == [50]
    assert kinds.matrices.tolist() == [[[1, 0], [0, 1]]]
