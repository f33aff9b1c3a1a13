"""Metrics of probabilities equal scikit-learn's for any weights, one weighting or many."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk
from sklearn.linear_model import LogisticRegression

from frostline.report.statistics.scores import CALIBRATION_BINS, SCORES, Scores, compute_scores


@st.composite
def scored(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truth in which every class occurs, probabilities full of ties, whole weights."""
    k = draw(st.integers(2, 5))
    rest = draw(st.lists(st.integers(0, k - 1), max_size=30))
    truth = np.array([*range(k), *rest])
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    steps = draw(st.sampled_from([2, 4, 1000]))
    parts = rng.multinomial(steps, np.full(k, 1 / k), size=len(truth))
    weights = rng.integers(0, 4, len(truth)).astype(float)
    weights[:k] += 1
    return truth, parts / steps, weights


def by_sklearn(truth, probs, weights):
    two = probs.shape[1] == 2
    score = probs[:, 1] if two else probs
    options = {} if two else {"multi_class": "ovr"}
    labels = {} if two else {"labels": list(range(probs.shape[1]))}
    options["sample_weight"] = labels["sample_weight"] = weights
    return {
        "roc_auc": sk.roc_auc_score(truth, score, average="macro", **options),
        "roc_auc_ovr_weighted": sk.roc_auc_score(truth, score, average="weighted", **options),
        "average_precision": sk.average_precision_score(truth, score, sample_weight=weights),
        "log_loss": sk.log_loss(truth, probs, sample_weight=weights),
        "brier_score_loss": sk.brier_score_loss(truth, score, **labels),
    }


@given(scored())
def test_scores_equal_scikit_learn(case):
    truth, probs, weights = case
    ours = compute_scores(Scores(truth, probs), SCORES, weights[:, None])
    for name, value in by_sklearn(*case).items():
        assert ours[name][0] == pytest.approx(value, abs=1e-10), name


@given(scored())
def test_weights_are_repeated_rows(case):
    truth, probs, weights = case
    again = np.repeat(np.arange(len(truth)), weights.astype(int))
    weighted = compute_scores(Scores(truth, probs), SCORES, weights[:, None])
    repeated = compute_scores(Scores(truth[again], probs[again]), SCORES)
    for name, value in weighted.items():
        assert value[0] == pytest.approx(repeated[name][0], abs=1e-7, nan_ok=True), name


@given(scored())
def test_weightings_are_independent(case):
    truth, probs, weights = case
    many = np.stack([weights, np.ones_like(weights), 3 * weights], axis=1)
    together = compute_scores(Scores(truth, probs), SCORES, many)
    for name, values in together.items():
        alone = [
            compute_scores(Scores(truth, probs), [name], many[:, [i]])[name][0] for i in range(3)
        ]
        np.testing.assert_allclose(values, alone, atol=1e-7)


@pytest.mark.filterwarnings("ignore")
def test_an_absent_class():
    """As scikit-learn: no ROC AUC, and an average precision of 0."""
    truth, probs = np.zeros(4, dtype=int), np.array([[0.5, 0.5], [0.9, 0.1]] * 2)
    ours = compute_scores(Scores(truth, probs), SCORES)
    assert np.isnan(ours["roc_auc"][0])
    assert np.isnan(sk.roc_auc_score(truth, probs[:, 1]))
    assert ours["average_precision"][0] == sk.average_precision_score(truth, probs[:, 1]) == 0
    assert np.isnan([ours["calibration_slope"][0], ours["calibration_intercept"][0]]).all()


def overconfident(n=4000, slope=0.5, shift=0.3, seed=0):
    rng = np.random.default_rng(seed)
    logit = rng.normal(size=n) * 2
    truth = (rng.random(n) < 1 / (1 + np.exp(-(slope * logit + shift)))).astype(int)
    p = 1 / (1 + np.exp(-logit))
    return Scores(truth, np.stack([1 - p, p], axis=1)), logit


def test_calibration_slope_of_equal_answers_is_undefined():
    """Rounding alone must not look like a fit."""
    probs = np.array([[0.25, 0.75, 0.0], [0.75, 0.25, 0.0], [0.75, 0.0, 0.25]])
    for truth in ([2, 2, 2], [0, 2, 2], [1, 0, 0]):
        scores = Scores(np.array(truth), probs)
        assert np.isnan(compute_scores(scores, ["calibration_slope"])["calibration_slope"][0])


def test_calibration_slope_is_the_unpenalised_fit():
    scores, logit = overconfident()
    fit = LogisticRegression(C=np.inf, tol=1e-10).fit(logit[:, None], scores.truth)
    ours = compute_scores(scores, ["calibration_slope", "calibration_intercept"])
    assert ours["calibration_slope"][0] == pytest.approx(fit.coef_[0, 0], abs=1e-4)
    shift = ours["calibration_intercept"][0]
    assert np.mean(1 / (1 + np.exp(-(logit + shift)))) == pytest.approx(scores.truth.mean())


def test_separated_outcomes_have_no_slope():
    truth, p = np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.8, 0.9])
    slope = compute_scores(Scores(truth, np.stack([1 - p, p], 1)), ["calibration_slope"])
    assert np.isnan(slope["calibration_slope"][0])


def test_calibration_error_is_debiased():
    """Calibrated answers: the plain estimate is far from 0 with few images, the debiased is not."""
    squares, plain = [], []
    for seed in range(200):
        scores, _ = overconfident(n=150, slope=1, shift=0, seed=seed)
        squares.append(compute_scores(scores, ["calibration_error"])["calibration_error"][0] ** 2)
        confidence, outcome = scores.called
        bins = (confidence * CALIBRATION_BINS).astype(int)
        gaps = [
            (bins == b).mean() * (confidence[bins == b].mean() - outcome[bins == b].mean()) ** 2
            for b in np.unique(bins)
        ]
        plain.append(sum(gaps))
    assert np.mean(squares) < np.mean(plain) / 3
    far, _ = overconfident(slope=0.2)
    assert compute_scores(far, ["calibration_error"])["calibration_error"][0] > 0.15
