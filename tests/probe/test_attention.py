"""Gated attention: the formula, its gradient, and what it can learn that a mean cannot."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import expit

from frostline.probe.heads.attention import AttentionProbe
from frostline.probe.heads.logistic import LogisticProbe
from frostline.probe.heads.storage import load_head, save_head
from frostline.probe.solver.attention import Attention, first_weights, loss_and_gradient
from frostline.probe.solver.bags import Bags


def random_bags(counts: list[int], features: int = 6, seed: int = 0) -> Bags:
    values = np.random.default_rng(seed).normal(size=(sum(counts), features))
    return Bags(values, np.array(counts))


def some_weights(features: int = 6, hidden: int = 4, classes: int = 3) -> Attention:
    first = first_weights(features, hidden, classes, seed=1)
    random = np.random.default_rng(2)
    return first.like(random.normal(size=first.flat().shape))


def needles(patients: int, seed: int) -> tuple[Bags, np.ndarray]:
    """Patients of 5 to 30 images, of which one alone says the class; the others are loud."""
    random = np.random.default_rng(seed)
    counts = random.integers(5, 31, patients)
    values = random.normal(size=(counts.sum(), 12))
    labels = np.arange(patients) % 2
    starts = np.cumsum(counts) - counts
    marked = starts + random.integers(0, counts)
    values[marked, 0] += 8  # which image counts
    values[marked, 1] = np.where(labels == 1, 2.0, -2.0)
    return Bags(values, counts), labels.astype(str)


def test_the_answer_is_that_of_the_published_formula() -> None:
    at, bags = some_weights(), random_bags([3, 1, 5])
    for place, start in enumerate(bags.starts):
        h = bags.values[start : start + bags.counts[place]]
        scores = [at.w @ (np.tanh(at.V.T @ one) * expit(at.U.T @ one)) for one in h]
        a = np.exp(scores) / np.exp(scores).sum()
        logits = at.coef.T @ sum(x * one for x, one in zip(a, h, strict=True)) + at.intercept
        shares = np.exp(logits) / np.exp(logits).sum()
        np.testing.assert_allclose(at.probabilities(bags)[place], shares, rtol=1e-12)
        mine = at.weights(bags)[start : start + len(h)]
        np.testing.assert_allclose(mine, a, rtol=1e-12)
        assert mine.sum() == pytest.approx(1)


def test_the_gradient_is_that_of_autograd() -> None:
    at, bags = some_weights(), random_bags([4, 2, 1, 7])
    target = np.eye(3)[[0, 2, 1, 2]] * np.array([0.1, 0.2, 0.3, 0.4])[:, None]
    loss, gradient = loss_and_gradient(at, bags, target, penalty=0.3)
    parts = {k: torch.tensor(v, requires_grad=True) for k, v in vars(at).items()}
    total = torch.tensor(0.0, dtype=torch.float64)
    for place, h in enumerate(torch.tensor(bags.values).split(bags.counts.tolist())):
        gated = torch.tanh(h @ parts["V"]) * torch.sigmoid(h @ parts["U"])
        z = torch.softmax(gated @ parts["w"], 0) @ h
        logs = torch.log_softmax(z @ parts["coef"] + parts["intercept"], 0)
        total = total - (torch.tensor(target[place]) * logs).sum()
    total = total + 0.15 * sum((parts[name] ** 2).sum() for name in ("V", "U", "w", "coef"))
    total.backward()
    assert loss == pytest.approx(total.item())
    for name, value in parts.items():
        np.testing.assert_allclose(vars(gradient)[name], value.grad, rtol=1e-9, atol=1e-12)


def test_where_one_image_decides_attention_finds_it_and_the_mean_does_not() -> None:
    (train, y), (test, truth) = needles(120, seed=0), needles(100, seed=1)
    attention = AttentionProbe(C=10, hidden=16, random_state=0).fit(train, y)
    mean = LogisticProbe(C=10).fit(train.mean(), y)
    assert attention.score(test, truth) > 0.95
    assert mean.score(test.mean(), truth) < 0.85
    heaviest = [part.argmax() for part in np.split(attention.attention(test), test.starts[1:])]
    marked = [part[:, 0].argmax() for part in np.split(test.values, test.starts[1:])]
    assert np.mean(np.equal(heaviest, marked)) > 0.95


def test_the_order_of_images_and_of_patients_changes_nothing() -> None:
    bags, y = needles(40, seed=3)
    order = np.random.default_rng(0).permutation(len(bags))
    turned = bags[order]
    starts = turned.starts
    within = np.concatenate(
        [s + np.arange(n)[::-1] for s, n in zip(starts, turned.counts, strict=True)]
    )
    turned = Bags(turned.values[within], turned.counts)
    how = {"C": 1.0, "hidden": 8, "random_state": 0}
    first, second = AttentionProbe(**how).fit(bags, y), AttentionProbe(**how).fit(turned, y[order])
    np.testing.assert_allclose(first.predict_proba(bags[order]), first.predict_proba(turned))
    np.testing.assert_allclose(
        first.predict_proba(bags), second.predict_proba(bags), rtol=0, atol=2e-3
    )


def test_bags_of_one_image_are_logistic_regression() -> None:
    random = np.random.default_rng(0)
    X = random.normal(size=(90, 5))
    y = (X[:, 0] + random.normal(size=90) > 0).astype(str)
    weight = random.uniform(0.5, 2, 90)
    for extra in ({}, {"class_weight": "balanced"}):
        how = {"C": 0.5, "tol": 1e-8, "max_iter": 2000, **extra}
        attention = AttentionProbe(hidden=3, random_state=0, **how).fit(X, y, weight)
        logistic = LogisticProbe(**how).fit(X, y, weight)
        np.testing.assert_allclose(attention.predict_proba(X), logistic.predict_proba(X), atol=1e-4)
        assert (attention.attention(X) == 1).all()


def test_fewer_images_than_features_are_solved_in_their_span() -> None:
    bags = random_bags([2, 3, 4, 2, 1, 3] * 2, features=60)
    y = np.array(list("aabbab") * 2)
    head = AttentionProbe(C=1.0, hidden=5, tol=1e-9, max_iter=3000, random_state=0).fit(bags, y)
    values = (bags.values - head.mean_) / head.scale_
    target = np.eye(2)[(y == "b").astype(int)] / len(y)
    at = Attention(head.V_, head.U_, head.w_, head.coef_.T, head.intercept_)
    _, gradient = loss_and_gradient(at, Bags(values, bags.counts), target, 2 / len(y))
    assert np.abs(gradient.flat()).max() < 1e-5


def test_a_seed_decides_and_a_stored_head_answers_the_same(tmp_path) -> None:  # type: ignore[no-untyped-def]
    bags, y = needles(30, seed=5)
    how = {"C": 1.0, "hidden": 4}
    one, same = (AttentionProbe(**how, random_state=1).fit(bags, y) for _ in range(2))
    other = AttentionProbe(**how, random_state=2).fit(bags, y)
    assert (one.predict_proba(bags) == same.predict_proba(bags)).all()
    assert (one.predict_proba(bags) != other.predict_proba(bags)).any()
    save_head(tmp_path, one)
    assert (load_head(tmp_path).predict_proba(bags) == one.predict_proba(bags)).all()


def test_bags_are_taken_in_any_order() -> None:
    bags = random_bags([2, 1, 3])
    taken = bags[np.array([2, 0])]
    np.testing.assert_array_equal(taken.values, bags.values[[3, 4, 5, 0, 1]])
    assert taken.counts.tolist() == [3, 2]
    np.testing.assert_allclose(taken.mean()[1], bags.values[:2].mean(0))
    np.testing.assert_array_equal(taken.max()[0], bags.values[3:].max(0))
    assert len(bags[np.array([], dtype=int)]) == 0
