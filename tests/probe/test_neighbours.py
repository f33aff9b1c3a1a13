"""Neighbours, class means and the majority against scikit-learn and against counting by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.dummy import DummyClassifier
from sklearn.model_selection import GridSearchCV, PredefinedSplit
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.utils.estimator_checks import check_estimator

from frostline.probe import CentroidProbe, KNNProbe, MajorityProbe

from .conftest import embeddings

CODES = np.random.default_rng(5).integers(0, 3, 150)
X = embeddings(CODES)
Y = np.array(["cyst", "glioma", "none"])[CODES]


REPEATED = {"check_sample_weight_equivalence_on_dense_data": "folds and neighbours differ"}


@pytest.mark.parametrize(
    ("estimator", "expected"),
    [
        (KNNProbe(), {}),
        (KNNProbe(ks=[5, 20], cv=2), REPEATED),
        (CentroidProbe(), {}),
        (CentroidProbe(metric="cosine"), {}),
        (MajorityProbe(), {}),
    ],
    ids=str,
)
def test_scikit_learn_checks(estimator: object, expected: dict[str, str]) -> None:
    check_estimator(estimator, expected_failed_checks=expected, on_skip=None)


@pytest.mark.parametrize("block", [1, 32 << 20])
def test_knn_is_scikit_learns_with_the_same_weights(
    monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr("frostline.probe.heads.knn._BLOCK_BYTES", block)
    double = X.astype(np.float64)
    for k in (1, 4, 30):
        theirs = KNeighborsClassifier(
            k, metric="cosine", weights=lambda distance: np.exp((1 - distance) / 0.07)
        )
        expected = theirs.fit(double[:100], Y[:100]).predict_proba(double[100:])
        ours = KNNProbe(k).fit(double[:100], Y[:100])
        np.testing.assert_allclose(ours.predict_proba(double[100:]), expected, atol=1e-9)


@given(st.lists(st.integers(1, 300), min_size=1, max_size=6))
def test_many_k_at_once_are_each_alone(ks: list[int]) -> None:
    probe = KNNProbe().fit(X[:100], Y[:100])
    for k, together in zip(ks, probe.predict_proba_many(X[100:], ks), strict=True):
        alone = KNNProbe(k).fit(X[:100], Y[:100]).predict_proba(X[100:])
        np.testing.assert_allclose(together, alone, atol=1e-12)


def test_k_is_chosen_as_a_grid_search_would() -> None:
    cv = PredefinedSplit(np.where(np.arange(150) % 3 == 0, 0, -1))
    ks = [1, 3, 10, 40]
    for scoring in ("neg_log_loss", "accuracy"):
        probe = KNNProbe(ks=ks, cv=cv, scoring=scoring).fit(X, Y)
        search = GridSearchCV(KNNProbe(), {"n_neighbors": ks[::-1]}, cv=cv, scoring=scoring)
        search.fit(X, Y)
        assert probe.k_ == search.best_params_["n_neighbors"]
        np.testing.assert_allclose(probe.scores_[0], search.cv_results_["mean_test_score"])


def test_votes_of_a_weight() -> None:
    weight = np.where(Y[:100] == "none", 0.0, 1.0)
    probe = KNNProbe(5).fit(X[:100], Y[:100], sample_weight=weight)
    assert (probe.predict_proba(X[100:])[:, 2] == 0).all()
    tilted = KNNProbe(100, temperature=1e6, class_weight={"none": 1e6}).fit(X[:100], Y[:100])
    assert set(tilted.predict(X[100:])) == {"none"}


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_centroid_is_nearest(metric: str) -> None:
    rows = X / np.linalg.norm(X, axis=1, keepdims=True) if metric == "cosine" else X
    ours = CentroidProbe(metric=metric).fit(X, Y)
    if metric == "euclidean":
        expected = NearestCentroid().fit(rows, Y).predict(rows)
    else:
        means = np.stack([rows[name == Y].mean(axis=0) for name in np.unique(Y)])
        means /= np.linalg.norm(means, axis=1, keepdims=True)
        expected = np.unique(Y)[(rows @ means.T).argmax(axis=1)]
    assert (ours.predict(X) == expected).all()
    weight = np.random.default_rng(0).integers(0, 3, 150)
    weighted = CentroidProbe(metric=metric).fit(X, Y, sample_weight=weight)
    repeated = CentroidProbe(metric=metric).fit(np.repeat(X, weight, axis=0), np.repeat(Y, weight))
    np.testing.assert_allclose(
        weighted.predict_proba(X), repeated.predict_proba(X), rtol=1e-3, atol=1e-5
    )


def test_majority_is_the_prior() -> None:
    expected = DummyClassifier(strategy="prior").fit(X, Y).predict_proba(X)
    np.testing.assert_allclose(MajorityProbe().fit(X, Y).predict_proba(X), expected)


def test_sentences_of_refusal() -> None:
    for bad in (0, 1.5):
        with pytest.raises(ValueError, match=r"^n_neighbors must be whole numbers from 1, and \["):
            KNNProbe(bad).fit(X, Y)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^temperature must be positive, and 0 is not\.$"):
        KNNProbe(temperature=0).fit(X, Y)
    with pytest.raises(ValueError, match=r"^metric must be 'euclidean' or 'cosine', and is 'l1'"):
        CentroidProbe(metric="l1").fit(X, Y)
