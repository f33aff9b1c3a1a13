"""Heads as estimators: scikit-learn's own checks, selection, and equality with plain training."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    PredefinedSplit,
    cross_val_predict,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from frostline.probe import AdamProbe, AttentionProbe, LogisticProbe
from frostline.probe.solver.stacked_adam import Batches, HeadRecipe, train_heads

from .conftest import embeddings

REPEATED = "weighting a row is not repeating it: {} differ then"
FOLDS = {"check_sample_weight_equivalence_on_dense_data": REPEATED.format("folds")}
BATCHES = {"check_sample_weight_equivalence_on_dense_data": REPEATED.format("batches")}

ROUNDED = {"check_sample_weight_equivalence_on_dense_data": "a search ends within its tolerance"}


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Embeddings, labels and groups of two rows."""
    codes = np.random.default_rng(5).integers(0, 3, 120)
    codes = np.repeat(codes, 2)
    return embeddings(codes), np.array(["cyst", "glioma", "none"])[codes], np.arange(240) // 2


@pytest.mark.parametrize(
    ("estimator", "expected"),
    [
        # A tight tolerance, because the check wants weighted and repeated rows equal to 1e-7.
        (LogisticProbe(tol=1e-12), {}),
        (LogisticProbe(Cs=[0.1, 1.0], cv=3), FOLDS),
        (AdamProbe(epochs=10), BATCHES),
        (AttentionProbe(hidden=4), ROUNDED),
        (AdamProbe(epochs=10, hidden=4, cv=2), BATCHES),
    ],
)
def test_scikit_learn_checks(estimator: object, expected: dict[str, str]) -> None:
    check_estimator(estimator, expected_failed_checks=expected, on_skip=None)


def test_logistic_is_scikit_learn_on_standardised_features(data: tuple[np.ndarray, ...]) -> None:
    X, y, _ = data
    weight = np.random.default_rng(0).exponential(size=len(y))
    ours = LogisticProbe(C=0.3, tol=1e-9).fit(X.astype(np.float64), y, sample_weight=weight)
    scaler = StandardScaler().fit(X.astype(np.float64), sample_weight=weight)
    theirs = LogisticRegression(C=0.3, tol=1e-10, max_iter=10_000)
    theirs.fit(scaler.transform(X.astype(np.float64)), y, sample_weight=weight)
    expected = theirs.predict_proba(scaler.transform(X.astype(np.float64)))
    np.testing.assert_allclose(ours.predict_proba(X.astype(np.float64)), expected, atol=1e-6)
    np.testing.assert_allclose(ours.coef_ * scaler.scale_, theirs.coef_, atol=1e-6)


def test_class_weight_is_sample_weight_by_class(data: tuple[np.ndarray, ...]) -> None:
    X, y, _ = data
    weight = np.where(y == "cyst", 3.0, 1.0)
    classes = {"cyst": 3.0, "glioma": 1.0, "none": 1.0}
    by_class = LogisticProbe(class_weight=classes, tol=1e-8).fit(X, y)
    scaled = (X - X.mean(axis=0, dtype=np.float64)) / X.std(axis=0, dtype=np.float64)
    reference = LogisticRegression(tol=1e-10, max_iter=5000).fit(scaled, y, sample_weight=weight)
    expected = reference.predict_proba(scaled)
    np.testing.assert_allclose(by_class.predict_proba(X), expected, atol=1e-4)


def test_strength_has_the_least_validation_log_loss(data: tuple[np.ndarray, ...]) -> None:
    X, y, _ = data
    is_val = np.arange(len(y)) % 6 >= 4
    Cs = np.logspace(-4, 2, 7)
    probe = LogisticProbe(Cs=Cs, cv=PredefinedSplit(np.where(is_val, 0, -1))).fit(X, y)
    scaled = (X - X.mean(axis=0, dtype=np.float64)) / X.std(axis=0, dtype=np.float64)
    losses = []
    for C in Cs:
        model = LogisticRegression(C=C, tol=1e-8, max_iter=5000).fit(scaled[~is_val], y[~is_val])
        losses.append(log_loss(y[is_val], model.predict_proba(scaled[is_val])))
    np.testing.assert_allclose(-probe.scores_[0], losses, atol=2e-3)
    assert Cs[int(np.argmin(losses))] == probe.C_
    refit = LogisticProbe(C=probe.C_).fit(X, y)
    np.testing.assert_allclose(probe.predict_proba(X), refit.predict_proba(X), atol=1e-6)


def test_of_equal_scores_the_strongest_penalty_wins() -> None:
    X = np.repeat([[-5.0], [5.0]], 20, axis=0) + np.linspace(0, 0.1, 40)[:, None]
    y = np.repeat([0, 1], 20)
    probe = LogisticProbe(Cs=[10.0, 0.1, 1.0], cv=4, scoring="accuracy").fit(X, y)
    assert (probe.scores_ == 1).all()
    assert probe.C_ == 0.1


def test_groups_reach_the_splitter(data: tuple[np.ndarray, ...]) -> None:
    X, y, groups = data
    probe = LogisticProbe(Cs=[0.1, 1.0], cv=GroupKFold(4)).fit(X, y, groups=groups)
    assert probe.scores_.shape == (4, 2)
    with pytest.raises(ValueError, match="groups"):
        LogisticProbe(Cs=[0.1, 1.0], cv=GroupKFold(4)).fit(X, y)


def test_works_inside_scikit_learn(data: tuple[np.ndarray, ...]) -> None:
    X, y, _ = data
    pipeline = make_pipeline(StandardScaler(), LogisticProbe())
    search = GridSearchCV(pipeline, {"logisticprobe__C": [0.01, 1.0]}, cv=3).fit(X, y)
    assert search.best_score_ > 0.6
    out = cross_val_predict(LogisticProbe(), X, y, cv=3, method="predict_proba")
    np.testing.assert_allclose(out.sum(axis=1), 1)


def test_sentences_of_refusal(data: tuple[np.ndarray, ...]) -> None:
    X, y, _ = data
    with pytest.raises(ValueError, match=r"^C must be positive and finite, and -1 is not\.$"):
        LogisticProbe(C=-1).fit(X, y)
    with pytest.raises(ValueError, match=r"^Cs must be at most 10000 \(a weaker .*, not 1e\+10\.$"):
        LogisticProbe(Cs=[1, 1e10], cv=3).fit(X, y)
    with pytest.raises(
        ValueError,
        match=r"^AdamProbe needs images of at least two classes, and y has only one class: 'a'\.$",
    ):
        AdamProbe().fit(X, np.full(len(X), "a"))
    ordered = np.sort(y)
    with pytest.raises(ValueError, match=r"^The training part of fold 1 has images of 1 class"):
        LogisticProbe(cv=KFold(2)).fit(X[:160], np.r_[ordered[:80], np.full(80, "other")])


RECIPES = [
    HeadRecipe(1e-2),
    HeadRecipe(1e-3, weight_decay=0.1),
    HeadRecipe(1e-2, weight_decay=0.01, hidden=7),
    HeadRecipe(1e-3, hidden=7),
]


@pytest.fixture
def batches() -> Batches:
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(75, 10, generator=generator)
    codes = torch.randint(0, 3, (75,), generator=generator)
    return Batches(X, codes, torch.rand(75, generator=generator), size=32)


def test_heads_trained_together_are_each_alone(batches: Batches) -> None:
    together = train_heads(batches, 3, RECIPES, epochs=4, seed=3)
    for recipe, layers in zip(RECIPES, together, strict=True):
        alone = train_heads(batches, 3, [recipe], epochs=4, seed=3)[0]
        for ours, theirs in zip(layers, alone, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize("recipe", RECIPES, ids=str)
def test_a_head_is_what_plain_pytorch_trains(batches: Batches, recipe: HeadRecipe) -> None:
    start = train_heads(batches, 3, [recipe], epochs=0, seed=3)[0]
    modules: list[torch.nn.Module] = []
    for W, b in zip(start[::2], start[1::2], strict=True):
        linear = torch.nn.Linear(*W.shape)
        linear.weight.data, linear.bias.data = torch.tensor(W.T.copy()), torch.tensor(b)
        modules += [linear, torch.nn.ReLU()]
    network = torch.nn.Sequential(*modules[:-1])
    optimiser = torch.optim.Adam(
        network.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay
    )
    order = torch.Generator().manual_seed(3)
    for _ in range(4):
        for rows in torch.randperm(75, generator=order).split(32):
            optimiser.zero_grad()
            logits, weight = network(batches.X[rows]), batches.weight[rows]
            loss = torch.nn.functional.cross_entropy(logits, batches.codes[rows], reduction="none")
            ((loss * weight).sum() / weight.sum()).backward()
            optimiser.step()
    ours = train_heads(batches, 3, [recipe], epochs=4, seed=3)[0]
    for W, linear in zip(ours[::2], modules[::2], strict=True):
        np.testing.assert_allclose(W, linear.weight.detach().numpy().T, atol=1e-6)


def test_adam_keeps_the_earliest_best_epoch(data: tuple[np.ndarray, ...]) -> None:
    X, y, _ = data
    is_val = np.arange(len(y)) % 6 >= 4
    cv = PredefinedSplit(np.where(is_val, 0, -1))
    probe = AdamProbe(lr=0.01, epochs=30, cv=cv, random_state=0).fit(X, y)
    accuracy = probe.validation_accuracy_[0]
    assert probe.best_epoch_ == list(accuracy).index(accuracy.max()) + 1
    assert probe.score(X[is_val], y[is_val]) == pytest.approx(accuracy.max())
    again = AdamProbe(lr=0.01, epochs=probe.best_epoch_, random_state=0).fit(X[~is_val], y[~is_val])
    np.testing.assert_allclose(again.coefs_[0], probe.coefs_[0], atol=1e-6)


def test_adam_with_several_folds_trains_on_all_rows(data: tuple[np.ndarray, ...]) -> None:
    X, y, groups = data
    probe = AdamProbe(lr=0.01, epochs=8, cv=GroupKFold(3), random_state=0)
    probe.fit(X, y, groups=groups)
    assert probe.validation_accuracy_.shape == (3, 8)
    again = AdamProbe(lr=0.01, epochs=probe.best_epoch_, random_state=0).fit(X, y)
    np.testing.assert_array_equal(again.coefs_[0], probe.coefs_[0])


def test_adam_seed(data: tuple[np.ndarray, ...]) -> None:
    X, y, _ = data
    fit = [AdamProbe(epochs=2, random_state=seed).fit(X, y).coefs_[0] for seed in (0, 0, 1)]
    np.testing.assert_array_equal(fit[0], fit[1])
    assert not np.array_equal(fit[0], fit[2])


def test_feature_names_are_remembered(data: tuple[np.ndarray, ...]) -> None:
    X, y, _ = data
    frame = pd.DataFrame(X).add_prefix("f")
    for scoring in ("neg_log_loss", "accuracy"):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            probe = LogisticProbe(cv=2, Cs=[0.1, 1.0], scoring=scoring).fit(frame, y)
            probe.predict(frame)
        assert list(probe.feature_names_in_[:2]) == ["f0", "f1"]
