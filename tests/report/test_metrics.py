"""Metrics equal scikit-learn's on any labels, and behave as metrics must."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from frostline.report import METRICS, InputError, compute_metrics
from frostline.report.metrics import confusion_matrix


@st.composite
def labelled(draw: st.DrawFn, least: int = 2, most: int = 6) -> tuple[int, np.ndarray, np.ndarray]:
    """Class count and two label vectors; often with classes that are absent from either."""
    k = draw(st.integers(least, most))
    n = draw(st.integers(1, 40))
    codes = st.lists(st.integers(0, k - 1), min_size=n, max_size=n)
    return k, np.array(draw(codes)), np.array(draw(codes))


def by_sklearn(k: int, truth: np.ndarray, prediction: np.ndarray) -> dict[str, float]:
    labels = list(range(k))
    options = {"labels": labels, "average": "weighted", "zero_division": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {
            "accuracy": sk.accuracy_score(truth, prediction),
            "balanced_accuracy": sk.balanced_accuracy_score(truth, prediction),
            "precision_weighted": sk.precision_score(truth, prediction, **options),
            "recall_weighted": sk.recall_score(truth, prediction, **options),
            "f1_weighted": sk.f1_score(truth, prediction, **options),
        }


@given(labelled())
def test_every_metric_equals_scikit_learn(case):
    k, truth, prediction = case
    expected = by_sklearn(*case)
    ours = compute_metrics(confusion_matrix(truth, prediction, k))
    assert set(expected) == set(ours) == set(METRICS)
    for name, value in ours.items():
        assert float(value) == pytest.approx(expected[name], abs=1e-12), name


@given(labelled(), st.randoms(use_true_random=False))
def test_neither_names_of_classes_nor_scale_of_weights_matter(case, random):
    k, truth, prediction = case
    order = list(range(k))
    random.shuffle(order)
    confusion = confusion_matrix(truth, prediction, k)
    renamed = 2.5 * confusion[np.ix_(order, order)]
    for name, value in compute_metrics(confusion).items():
        assert float(compute_metrics(renamed)[name]) == pytest.approx(float(value), abs=1e-12)


@given(st.lists(labelled(least=3, most=3), min_size=2, max_size=4))
def test_leading_axes_are_independent(cases):
    stack = np.stack([confusion_matrix(t, p, k) for k, t, p in cases])[:, None]
    for name, values in compute_metrics(stack).items():
        assert values.shape == (len(cases), 1)
        one_by_one = [float(compute_metrics(matrix[0])[name]) for matrix in stack]
        assert values[:, 0].tolist() == one_by_one


def test_an_empty_matrix_is_undefined():
    assert all(np.isnan(value) for value in compute_metrics(np.zeros((3, 3))).values())


def test_unknown_metric():
    with pytest.raises(InputError, match=r"^there is no metric 'f2'; choose from accuracy, "):
        compute_metrics(np.eye(2), ["f2"])
