"""Metrics equal scikit-learn's on any labels, and behave as metrics must."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from frostline.cache import InputError
from frostline.report import METRICS, compute_metrics
from frostline.report.statistics.metrics import (
    DEFAULT_METRICS,
    ORDINAL,
    PER_CLASS,
    confusion_matrix,
    find_metric,
    of_probabilities,
)

COUNTED = [name for name in METRICS if not of_probabilities(name)]
# Their classes are in an order, so they alone change when classes are renamed.
UNORDERED = [name for name in COUNTED if name not in ORDINAL]


@st.composite
def labelled(draw: st.DrawFn, least: int = 2, most: int = 6) -> tuple[int, np.ndarray, np.ndarray]:
    """Class count and two label vectors; often with classes that are absent from either."""
    k = draw(st.integers(least, most))
    n = draw(st.integers(1, 40))
    codes = st.lists(st.integers(0, k - 1), min_size=n, max_size=n)
    return k, np.array(draw(codes)), np.array(draw(codes))


def by_sklearn(k: int, truth: np.ndarray, prediction: np.ndarray) -> dict[str, float]:
    labels = list(range(k))
    found = {
        "accuracy": sk.accuracy_score(truth, prediction),
        "balanced_accuracy": sk.balanced_accuracy_score(truth, prediction),
        "mean_absolute_error": sk.mean_absolute_error(truth, prediction),
        "matthews_corrcoef": sk.matthews_corrcoef(truth, prediction),
        "cohen_kappa": sk.cohen_kappa_score(truth, prediction, labels=labels),
        **{
            f"cohen_kappa_{weights}": sk.cohen_kappa_score(
                truth, prediction, labels=labels, weights=weights
            )
            for weights in ("linear", "quadratic")
        },
        # Recall of "not the class" by those not called it.
        "specificity_macro": np.mean(
            [sk.recall_score(truth != c, prediction != c, zero_division=0) for c in labels]
        ),
    }
    for name in ("precision", "recall", "f1"):
        function = getattr(sk, f"{name}_score")
        for average in ("weighted", "macro"):
            found[f"{name}_{average}"] = function(
                truth, prediction, labels=labels, average=average, zero_division=0
            )
        each = function(truth, prediction, labels=labels, average=None, zero_division=0)
        found |= {f"{name}[{c}]": value for c, value in enumerate(each)}
    for c in labels:
        found[f"specificity[{c}]"] = sk.recall_score(truth != c, prediction != c, zero_division=0)
    return found


@pytest.mark.filterwarnings("ignore")
@given(labelled())
def test_every_metric_equals_scikit_learn(case):
    k, truth, prediction = case
    expected = by_sklearn(*case)
    names = [*COUNTED, *(f"{base}_per_class" for base in PER_CLASS)]
    ours = compute_metrics(confusion_matrix(truth, prediction, k), names, list(map(str, range(k))))
    assert set(expected) == set(ours)
    for name, value in ours.items():
        assert float(value) == pytest.approx(expected[name], abs=1e-12, nan_ok=True), name


@given(labelled(), st.randoms(use_true_random=False))
def test_neither_names_of_classes_nor_scale_of_weights_matter(case, random):
    k, truth, prediction = case
    order = list(range(k))
    random.shuffle(order)
    confusion = confusion_matrix(truth, prediction, k)
    renamed = 2.5 * confusion[np.ix_(order, order)]
    after = compute_metrics(renamed, UNORDERED)
    for name, value in compute_metrics(confusion, UNORDERED).items():
        assert float(after[name]) == pytest.approx(float(value), abs=1e-12, nan_ok=True)


@given(st.lists(labelled(least=3, most=3), min_size=2, max_size=4))
def test_leading_axes_are_independent(cases):
    stack = np.stack([confusion_matrix(t, p, k) for k, t, p in cases])[:, None]
    for name, values in compute_metrics(stack, COUNTED).items():
        assert values.shape == (len(cases), 1)
        one_by_one = [float(compute_metrics(matrix[0], COUNTED)[name]) for matrix in stack]
        np.testing.assert_allclose(values[:, 0], one_by_one, atol=1e-12)


def test_an_empty_matrix_is_undefined():
    assert all(np.isnan(value) for value in compute_metrics(np.zeros((3, 3)), COUNTED).values())


def test_the_default_ones_are_few():
    assert tuple(compute_metrics(np.eye(2))) == DEFAULT_METRICS


def test_metrics_of_one_class():
    confusion = np.array([[3, 1], [2, 4]])
    names = ["recall[a]", "precision[b]"]
    values = compute_metrics(confusion, names, ["a", "b"])
    assert {k: float(v) for k, v in values.items()} == {"recall[a]": 0.75, "precision[b]": 0.8}
    assert find_metric("f1[x [1]]").title == "F1 score: x [1]"
    with pytest.raises(InputError, match=r"^recall\[c\]: the classes are a, b; choose from them.$"):
        compute_metrics(confusion, ["recall[c]"], ["a", "b"])


def test_probabilities_are_not_in_a_matrix():
    with pytest.raises(InputError, match=r"^roc_auc needs probabilities: a confusion matrix "):
        compute_metrics(np.eye(2), ["roc_auc"])


def test_unknown_metric():
    with pytest.raises(InputError, match=r"^There is no metric 'f2': choose from accuracy, "):
        compute_metrics(np.eye(2), ["f2"])


def test_names_and_classes_keep_their_capitals_within_a_sentence():
    words = [find_metric(n).words for n in ("accuracy", "roc_auc", "cohen_kappa", "recall[AMD]")]
    assert words == ["accuracy", "ROC AUC", "Cohen's kappa", "recall: AMD"]
