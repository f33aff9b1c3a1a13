"""Proportional odds: against others' code and examples, and what must be so whatever the data."""

from __future__ import annotations

import warnings
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.model_selection import KFold, PredefinedSplit
from sklearn.utils.estimator_checks import check_estimator

from frostline.probe import LogisticProbe, OrdinalProbe, solve_logistic, solve_ordinal
from frostline.probe.solver.ordinal import class_shares

CS = (1e-6, 1e-3, 1.0, 100.0)
GRADES = np.array(["low", "medium", "high"])
UNORDERED = "names without numbers have no order but the one that `classes` gives"
REPEATED = "weighting a row is not repeating it: folds differ then"


def grades(n: int, p: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features, float64 [n, p], and grades that overlap, each of which occurs."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p))
    along = X @ rng.normal(size=p) + rng.logistic(size=n)
    y = np.digitize(along, np.quantile(along, np.linspace(0, 1, classes + 1)[1:-1]))
    y[:classes] = np.arange(classes)
    return X, y


def objective(X: np.ndarray, y: np.ndarray, weight: np.ndarray, C: float, head: Any) -> float:
    """``mean loss + |w|^2 / (2 C sum of weights)`` by differences of chances, in float64."""
    coef, intercept = (value.astype(np.float64) for value in head)
    past = expit((X @ coef[0])[:, None] + intercept)
    ends = np.ones((len(X), 1))
    own = -np.diff(np.hstack([ends, past, 0 * ends]))[np.arange(len(y)), y]
    total = weight.sum()
    return float(-weight @ np.log(own) / total + np.square(coef).sum() / (2 * C * total))


problems = st.tuples(
    st.integers(12, 60), st.integers(1, 30), st.integers(3, 5), st.integers(0, 2**32)
)


@given(problems, st.sampled_from([np.float32, np.float64]))
def test_no_step_from_the_minimum_is_down(problem: Any, dtype: Any) -> None:
    X, y = grades(*problem)
    rng = np.random.default_rng(problem[-1])
    X, weight = X.astype(dtype).astype(np.float64), rng.exponential(size=len(X))
    exact = dtype == np.float64
    heads = solve_ordinal(
        X.astype(dtype),
        y,
        C=CS,
        n_classes=problem[2],
        sample_weight=weight,
        tol=1e-8 if exact else 1e-4,
    )
    assert heads.converged.all()
    assert (np.diff(heads.intercept) < 0).all()
    for C, coef, intercept, found in zip(
        CS, heads.coef, heads.intercept, heads.objective, strict=True
    ):
        here = objective(X, y, weight, C, (coef, intercept))
        assert found == pytest.approx(here, rel=1e-9 if exact else 1e-5, abs=1e-6)
        for size in (1e-4, 1e-2):
            step = size * rng.normal(size=coef.shape), size * rng.normal(size=intercept.shape)
            moved = coef + step[0], np.sort(intercept + step[1])[::-1]
            # Convex: no place that is lower anywhere near is none anywhere.
            assert objective(X, y, weight, C, moved) >= here - (1e-9 if exact else 1e-5)


@given(problems)
def test_of_two_classes_it_is_the_logistic_head(problem: Any) -> None:
    X, y = grades(*problem)
    y = (y > 0).astype(int)
    ours = solve_ordinal(X, y, C=CS, n_classes=2)
    theirs = solve_logistic(X, y, C=CS, n_classes=2)
    np.testing.assert_array_equal(ours.coef, theirs.coef)
    np.testing.assert_array_equal(ours.intercept, theirs.intercept)
    probe, plain = OrdinalProbe(C=0.3).fit(X, y), LogisticProbe(C=0.3).fit(X, y)
    np.testing.assert_allclose(probe.predict_proba(X), plain.predict_proba(X), atol=1e-12)


@given(problems)
def test_the_other_way_round_is_the_mirror_image(problem: Any) -> None:
    X, y = grades(*problem)
    names = list(range(problem[2]))
    one = OrdinalProbe(C=0.1, tol=1e-9, classes=names).fit(X, y)
    other = OrdinalProbe(C=0.1, tol=1e-9, classes=names[::-1]).fit(X, y)
    np.testing.assert_allclose(other.coef_, -one.coef_, atol=1e-7)
    np.testing.assert_allclose(other.thresholds_, -one.thresholds_[::-1], atol=1e-6)
    np.testing.assert_allclose(other.predict_proba(X), one.predict_proba(X), atol=1e-7)
    assert list(other.classes_) == names


@given(problems)
def test_a_weight_is_so_many_rows(problem: Any) -> None:
    X, y = grades(*problem)
    times = np.random.default_rng(problem[-1]).integers(0, 4, len(y))
    times[: problem[2]] = 1
    weighted = OrdinalProbe(C=0.1, tol=1e-10).fit(X, y, sample_weight=times)
    rows = np.repeat(np.arange(len(y)), times)
    repeated = OrdinalProbe(C=0.1, tol=1e-10).fit(X[rows], y[rows])
    np.testing.assert_allclose(
        weighted.predict_proba(X), repeated.predict_proba(X), atol=1e-6, rtol=1e-6
    )


@given(problems)
def test_chances_of_a_class_above_fall_and_all_are_one(problem: Any) -> None:
    X, y = grades(*problem)
    probe = OrdinalProbe(C=100.0).fit(X.astype(np.float32), y)
    assert (np.diff(probe.thresholds_) > 0).all()
    far = np.vstack([X, 1e3 * X, -1e3 * X]).astype(np.float32)
    shares = probe.predict_proba(far)
    assert (shares >= 0).all()
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-12)
    # Who lies further along the direction is of a higher class, in every sense.
    order = np.argsort(far @ probe.coef_, kind="stable")
    below = shares[order].cumsum(axis=1)
    assert (np.diff(below, axis=0) <= 1e-12).all()


@pytest.mark.parametrize("absent", [(0,), (2,), (4,), (1, 2), (0, 4), (0, 1, 3)])
def test_a_class_without_a_weighted_row_has_no_probability(absent: tuple[int, ...]) -> None:
    X, y = grades(80, 6, 5)
    kept = ~np.isin(y, absent)
    probe = OrdinalProbe(C=0.5, tol=1e-10).fit(X, y, sample_weight=kept)
    shares, there = probe.predict_proba(X), [c for c in range(5) if c not in absent]
    np.testing.assert_allclose(shares[:, list(absent)], 0, atol=1e-30)
    alone = OrdinalProbe(C=0.5, tol=1e-10).fit(X[kept], y[kept])
    np.testing.assert_allclose(shares[:, there], alone.predict_proba(X), atol=1e-6)
    assert np.isfinite(probe.thresholds_).all()


def test_strengths_and_folds_together_are_each_alone() -> None:
    X, y = grades(120, 20, 4)
    weights = (np.random.default_rng(0).integers(0, 3, 120) != np.arange(3)[:, None]).astype(float)
    weights[0, y == 2] = 0  # a fold without a grade
    C, row = np.tile(np.logspace(-4, 2, 20), 3), np.repeat(np.arange(3), 20)
    how = {"n_classes": 4, "tol": 1e-8}
    together = solve_ordinal(X, y, C=C, sample_weight=weights, weight_row=row, **how)
    assert together.converged.all()
    for i in range(0, 60, 7):
        alone = solve_ordinal(X, y, C=C[i], sample_weight=weights[row[i]], **how)
        np.testing.assert_allclose(together.objective[i], alone.objective[0], rtol=1e-7)
        np.testing.assert_allclose(together.intercept[i], alone.intercept[0], atol=1e-3)


def test_shares_of_images_far_beyond_all_cuts() -> None:
    shares = class_shares(np.array([-800.0, 0.0, 40.0, 800.0]), np.array([-1.0, 1.0]))
    assert shares[0, 0] == shares[3, 2] == 1
    # By a difference of chances that are both nearly 1 there would be nothing left of it.
    assert shares[2, 1] == pytest.approx(np.exp(-39) - np.exp(-41), rel=1e-12)


# Cheese tasting: 4 cheeses, 52 answers each, 9 grades (McCullagh and Nelder 1989, section 5.6). The
# fit is that of SAS/STAT's user's guide, "The LOGISTIC Procedure", example of ordinal regression.
CHEESE = np.array(
    [
        [0, 0, 1, 7, 8, 8, 19, 8, 1],
        [6, 9, 12, 11, 7, 6, 1, 0, 0],
        [1, 1, 6, 8, 23, 7, 5, 1, 0],
        [0, 0, 0, 1, 3, 7, 14, 16, 11],
    ]
)


def test_the_published_fit_of_the_cheeses() -> None:
    """Effects against the fourth cheese, and cuts."""
    cheese, grade = (part.ravel() for part in np.indices(CHEESE.shape))
    X = (cheese[:, None] == np.arange(3)).astype(np.float64)
    weight = CHEESE.ravel()
    head = solve_ordinal(X, grade, C=1e9, n_classes=9, sample_weight=weight, tol=1e-9)
    np.testing.assert_allclose(-head.coef[0, 0], [1.6128, 4.9645, 3.3227], atol=2e-4)
    cuts = [-7.0801, -6.0249, -4.9254, -3.8568, -2.5205, -1.5685, -0.0669, 1.4930]
    np.testing.assert_allclose(-head.intercept[0], cuts, atol=2e-4)


def test_without_a_penalty_it_is_statsmodels_model() -> None:
    miscmodels = pytest.importorskip("statsmodels.miscmodels.ordinal_model")
    X, y = grades(300, 4, 4)
    model = miscmodels.OrderedModel(y, X, distr="logit")
    theirs = model.fit(method="bfgs", disp=False, gtol=1e-8, maxiter=500)
    head = solve_ordinal(X, y, C=1e10, n_classes=4, tol=1e-10)
    np.testing.assert_allclose(head.coef[0, 0], theirs.params[:4], atol=1e-5)
    cuts = model.transform_threshold_params(theirs.params)[1:-1]
    np.testing.assert_allclose(-head.intercept[0], cuts, atol=1e-5)
    assert head.objective[0] == pytest.approx(-theirs.llf / 300, rel=1e-9)


@pytest.mark.parametrize(
    ("estimator", "expected"),
    [
        (OrdinalProbe(tol=1e-12), {}),
        (
            OrdinalProbe(Cs=[0.1, 1.0], cv=3),
            {"check_sample_weight_equivalence_on_dense_data": REPEATED},
        ),
    ],
)
def test_scikit_learn_checks(estimator: Any, expected: dict[str, str]) -> None:
    expected = {**expected, "check_classifiers_classes": UNORDERED}
    check_estimator(estimator, expected_failed_checks=expected, on_skip=None)


def test_the_order_is_given_or_of_numbers_and_never_the_alphabets() -> None:
    X, y = grades(90, 5, 3)
    numbers = OrdinalProbe(C=0.1).fit(X, y)
    named = OrdinalProbe(C=0.1, classes=["none", *GRADES]).fit(X, GRADES[y])
    assert [named.classes_[place] for place in named.order_] == [*GRADES]
    assert list(named.classes_) == sorted(GRADES)
    columns = np.argsort(GRADES)
    np.testing.assert_allclose(named.predict_proba(X), numbers.predict_proba(X)[:, columns])
    assert list(named.predict(X)) == list(GRADES[numbers.predict(X)])
    stems = np.array(["G2", "G9", "G10"])
    found = OrdinalProbe(C=0.1).fit(X, stems[y])
    assert [found.classes_[place] for place in found.order_] == [*stems]
    np.testing.assert_allclose(found.coef_, numbers.coef_)
    with pytest.raises(ValueError, match=r"^OrdinalProbe goes by the order of the classes, and no"):
        OrdinalProbe().fit(X, GRADES[y])
    with pytest.raises(ValueError, match=r"^classes must name each class of y .* 'medium'"):
        OrdinalProbe(classes=["low", "high"]).fit(X, GRADES[y])
    two = OrdinalProbe().fit(X, np.array(["sick", "fine"])[(y > 1).astype(int)])
    assert list(two.classes_) == ["fine", "sick"]


@pytest.mark.parametrize("scoring", ["neg_log_loss", "accuracy", "balanced_accuracy"])
def test_the_strength_is_the_best_on_validation_rows(scoring: str) -> None:
    from sklearn.metrics import get_scorer

    X, y = grades(200, 30, 3)
    is_val = np.arange(200) % 3 == 0
    Cs = np.logspace(-4, 2, 7)
    split = PredefinedSplit(np.where(is_val, 0, -1))
    how = {"classes": [*GRADES], "tol": 1e-8}
    probe = OrdinalProbe(Cs=Cs, cv=split, scoring=scoring, class_weight="balanced", **how)
    probe.fit(X, GRADES[y])
    # All rows standardise, and weigh the classes.
    scaled, scores = (X - X.mean(axis=0)) / X.std(axis=0), []
    weight = (~is_val) * (len(y) / (3 * np.bincount(y)))[y]
    one = OrdinalProbe(**how).fit(scaled, GRADES[y])
    for C in Cs:
        head = solve_ordinal(scaled, y, C=C, n_classes=3, sample_weight=weight, tol=1e-8)
        one.coef_, one.thresholds_ = head.coef[0, 0], -head.intercept[0]
        scores.append(get_scorer(scoring)(one, scaled[is_val], GRADES[y[is_val]]))
    np.testing.assert_allclose(probe.scores_[0], scores, atol=1e-6)
    assert Cs[int(np.argmax(scores))] == probe.C_


def test_more_than_a_fold_and_a_fold_without_a_class() -> None:
    X, y = grades(90, 5, 3)
    rows = np.argsort(y, kind="stable")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        probe = OrdinalProbe(Cs=[0.1, 1.0], cv=KFold(3)).fit(X[rows], y[rows])
    assert probe.scores_.shape == (3, 2)
    assert np.isfinite(probe.scores_).all()


def test_of_equal_scores_the_strongest_penalty_wins() -> None:
    X = np.repeat([[-9.0], [0.0], [9.0]], 20, axis=0) + np.linspace(0, 0.1, 60)[:, None]
    probe = OrdinalProbe(Cs=[100.0, 1.0, 10.0], cv=4, scoring="accuracy")
    probe.fit(X, np.repeat([0, 1, 2], 20))
    assert (probe.scores_ == 1).all()
    assert probe.C_ == 1.0
    assert all(low < high for low, high in pairwise(probe.thresholds_))
