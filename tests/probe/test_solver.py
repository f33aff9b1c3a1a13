"""The solver against scikit-learn, on what is easy and what is not."""

from __future__ import annotations

import re
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pretended import pretended_gpu
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from frostline.probe.solver.solve import Heads, solve_logistic

CS = (1e-6, 1e-3, 1.0, 100.0)


def objective(
    coef: np.ndarray, intercept: np.ndarray, case: Case, C: float, weight: np.ndarray
) -> float:
    """``mean loss + |coef|^2 / (2 C sum of weights)``, in float64."""
    z = case.X @ coef.T.astype(np.float64) + intercept
    if z.shape[1] == 1:
        z = np.hstack([np.zeros_like(z), z])
    z = z - z.max(axis=1, keepdims=True)
    loss = np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(z)), case.y]
    total = weight.sum()
    return float(weight @ loss / total + np.square(coef.astype(np.float64)).sum() / (2 * C * total))


class Case:
    """A made-up problem of any shape: overlapping, separable or badly scaled."""

    def __init__(self, seed: int, kind: str) -> None:
        rng = np.random.default_rng(seed)
        n, p = int(rng.integers(8, 60)), int(rng.integers(1, 40))
        self.k = int(rng.integers(2, 5))
        X = rng.normal(size=(n, p))
        self.y = rng.integers(0, self.k, n)
        if kind == "separable":
            self.y = (X @ rng.normal(size=(p, self.k))).argmax(axis=1)
        self.y[: self.k] = np.arange(self.k)
        if kind == "badly scaled":
            X = X * 10 ** rng.uniform(-3, 3, p) + rng.normal(size=p) * 10
        self.X = X
        self.weight = rng.exponential(size=n)

    def reference(self, C: float, weight: np.ndarray, **options: Any) -> LogisticRegression:
        model = LogisticRegression(C=C, max_iter=1000, **options)
        return model.fit(self.X, self.y, sample_weight=weight)


cases = st.builds(
    Case, st.integers(0, 2**32), st.sampled_from(["overlapping", "separable", "badly scaled"])
)


def solve(case: Case, weight: np.ndarray, dtype: type = np.float64, **options: Any) -> Heads:
    X = case.X.astype(dtype)
    return solve_logistic(X, case.y, C=CS, n_classes=case.k, sample_weight=weight, **options)


@given(cases)
def test_converged_objective_is_that_of_the_reference(case: Case) -> None:
    heads = solve(case, case.weight, tol=1e-9)
    for i, C in enumerate(CS):
        reference = case.reference(C, case.weight, tol=1e-9, solver="newton-cholesky")
        best = objective(reference.coef_, reference.intercept_, case, C, case.weight)
        ours = objective(heads.coef[i], heads.intercept[i], case, C, case.weight)
        assert ours <= best + 1e-6 * max(best, 1e-3)
        np.testing.assert_allclose(heads.objective[i], ours, rtol=1e-6, atol=1e-12)


@pytest.mark.filterwarnings("ignore:lbfgs failed to converge")
@given(cases)
def test_objective_is_no_worse_than_lbfgs_at_the_same_tolerance(case: Case) -> None:
    case.X = case.X.astype(np.float32).astype(np.float64)
    heads = solve(case, case.weight, np.float32, tol=1e-4)
    assert heads.converged.all()
    for i, C in enumerate(CS):
        theirs = case.reference(C, case.weight, tol=1e-4)
        limit = objective(theirs.coef_, theirs.intercept_, case, C, case.weight)
        ours = objective(heads.coef[i], heads.intercept[i], case, C, case.weight)
        # Within the tolerance either may happen to stop a little nearer to the minimum.
        assert ours <= limit + 5e-6


@given(cases)
def test_gradient_on_the_features_is_within_the_tolerance(case: Case) -> None:
    case.X /= np.abs(case.X).max()
    heads = solve(case, case.weight, np.float32, tol=1e-4)
    X, share = case.X.astype(np.float32).astype(np.float64), case.weight / case.weight.sum()
    for coef, intercept, C in zip(heads.coef, heads.intercept, CS, strict=True):
        z = X @ coef.T.astype(np.float64) + intercept
        z = np.hstack([np.zeros_like(z), z]) if case.k == 2 else z
        P = np.exp(z - z.max(axis=1, keepdims=True))
        P /= P.sum(axis=1, keepdims=True)
        P[np.arange(len(P)), case.y] -= 1
        P = P[:, 1:] if case.k == 2 else P
        gradient = (share[:, None] * P).T @ X + coef / (C * case.weight.sum())
        assert np.abs(gradient).max() <= 1.1e-4
        assert np.abs(share @ P).max() <= 1.1e-4


@pytest.mark.slow
@given(cases)
def test_weights_of_zero_are_the_same_as_no_rows(case: Case) -> None:
    kept = np.arange(len(case.y)) % 3 > 0
    kept[: case.k] = True
    heads = solve(case, case.weight * kept, tol=1e-10)
    small = Case.__new__(Case)
    small.X, small.y, small.k = case.X[kept], case.y[kept], case.k
    alone = solve(small, case.weight[kept], tol=1e-10)
    np.testing.assert_allclose(heads.objective, alone.objective, rtol=1e-8)


@pytest.mark.parametrize("classes", [2, 3])
def test_folds_and_strengths_together_are_each_alone(classes: int) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(90, 20)).astype(np.float32)
    y = (X[:, :classes] + rng.normal(size=(90, classes))).argmax(axis=1)
    weights = (rng.integers(0, 5, 90) != np.arange(5)[:, None]).astype(float)
    C, row = np.tile([1e-3, 0.1, 10.0], 5), np.repeat(np.arange(5), 3)
    options = {"n_classes": classes, "tol": 1e-8}
    together = solve_logistic(X, y, C=C, sample_weight=weights, weight_row=row, **options)
    for i in range(len(C)):
        alone = solve_logistic(X, y, C=C[i], sample_weight=weights[row[i]], **options)
        np.testing.assert_allclose(together.coef[i], alone.coef[0], atol=1e-5)
        np.testing.assert_allclose(together.intercept[i], alone.intercept[0], atol=1e-5)


@given(cases, st.lists(st.floats(-6, 2), min_size=5, max_size=40), st.booleans())
def test_any_strengths_in_any_order_are_each_alone(
    case: Case, powers: list[float], twice: bool
) -> None:
    C = 10 ** np.array(powers + powers[:3] * twice)
    given = {"n_classes": case.k, "sample_weight": case.weight, "tol": 1e-9}
    together = solve_logistic(case.X, case.y, C=C, **given)
    assert together.converged.all()
    for i in (0, len(C) // 2, len(C) - 1):
        alone = solve_logistic(case.X, case.y, C=C[i], **given)
        np.testing.assert_allclose(together.objective[i], alone.objective[0], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("classes", [2, 3])
def test_strengths_between_others_begin_where_these_ended(classes: int) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 60)).astype(np.float32)
    y = (X[:, :classes] + rng.normal(size=(400, classes))).argmax(axis=1)
    C = np.logspace(-6, 2, 45)
    together = solve_logistic(X, y, C=C, n_classes=classes).n_iter.sum()
    weights = np.ones((45, 400))  # each a row of its own: none begins where another ended
    rows = {"sample_weight": weights, "weight_row": np.arange(45)}
    assert together < solve_logistic(X, y, C=C, n_classes=classes, **rows).n_iter.sum() / 2


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_strengths_between_others_where_features_are_far_from_zero(dtype: type) -> None:
    """There the intercept is a small difference of large numbers."""
    rng = np.random.default_rng(1)
    X = (rng.normal(size=(204, 30)) + 1000 * rng.normal(size=30)).astype(dtype)
    y, C = rng.integers(0, 3, 204), np.logspace(-6, 2, 17)
    heads = solve_logistic(X, y, C=C, n_classes=3, sample_weight=np.full(204, 4e4))
    assert heads.converged.all()
    for one, strength in zip(heads.objective[::2], C[::2], strict=True):
        best = solve_logistic(X, y, C=strength, n_classes=3, sample_weight=np.full(204, 4e4))
        assert one <= best.objective[0] + 1e-6


def test_a_head_alone_whose_features_are_far_from_zero() -> None:
    rng = np.random.default_rng(5)
    X = (rng.normal(size=(300, 40)) + rng.uniform(20, 60, 40)).astype(np.float32)
    y = (X @ rng.normal(size=40) > 0).astype(int)
    y[:100] = rng.integers(0, 2, 100)
    for C in (1e-3, 1.0):
        head = solve_logistic(X, y, C=C, n_classes=2)
        theirs = LogisticRegression(C=C, max_iter=10_000, tol=1e-9).fit(X.astype(np.float64), y)
        assert head.converged.all()
        np.testing.assert_allclose(head.coef[0], theirs.coef_, atol=2e-3)


@pytest.mark.parametrize("classes", [2, 4])
def test_heads_on_a_gpu_are_those_of_the_cpu(classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 30)).astype(np.float32)
    y = (X[:, :classes] + rng.normal(size=(400, classes))).argmax(axis=1)
    weights = (rng.integers(0, 2, 400) != np.arange(2)[:, None]).astype(float)
    folds = {"sample_weight": weights, "weight_row": np.repeat([0, 1], 7)}
    C = np.tile(np.logspace(-5, 1, 7), 2)
    cpu = solve_logistic(X, y, C=C, n_classes=classes, tol=1e-5, **folds)
    monkeypatch.setattr("frostline.probe.solver.solve.LARGE", X.nbytes)
    with pretended_gpu() as seen:
        gpu = solve_logistic(X, y, C=C, n_classes=classes, tol=1e-5, **folds)
        small = solve_logistic(X[:-1], y[:-1], C=1.0, n_classes=classes)
    assert (cpu.device, gpu.device, small.device) == ("cpu", "cuda", "cpu")
    assert gpu.converged.all()
    np.testing.assert_allclose(gpu.objective, cpu.objective, rtol=1e-5)
    np.testing.assert_allclose(gpu.coef, cpu.coef, atol=2e-3)
    # Coefficients go there, and the value of the objective comes back with its gradient.
    assert set(seen.waits) == {
        "copy from pageable memory in probe.solver.single.on_device",
        "copy to the host in probe.solver.single.at",
    }


@pytest.mark.parametrize("kind", ["float64", "scales"])
def test_heads_on_a_gpu_in_float64(kind: str) -> None:
    case = Case(3, "overlapping")
    X = case.X if kind == "float64" else (case.X * [1e4, *[1] * (case.X.shape[1] - 1)])
    X = X if kind == "float64" else X.astype(np.float32)
    cpu = solve_logistic(X, case.y, C=CS, n_classes=case.k, tol=1e-6)
    with pretended_gpu():
        gpu = solve_logistic(X, case.y, C=CS, n_classes=case.k, tol=1e-6, device="cuda")
    assert gpu.converged.all()
    np.testing.assert_allclose(gpu.objective, cpu.objective, rtol=1e-5, atol=1e-9)


def test_a_gpu_that_is_too_small_leaves_heads_to_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(3, "overlapping")
    cpu = solve(case, case.weight)

    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("frostline.probe.solver.solve.on_device", full)
    with pytest.warns(UserWarning, match="does not hold the embeddings"):
        found = solve(case, case.weight, device="cuda")
    assert found.device == "cpu"
    np.testing.assert_array_equal(found.coef, cpu.coef)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"C": [1.0, np.inf]}, "C must be positive and finite"),
        ({"C": 0.0}, "C must be positive and finite"),
        ({"C": 1.0, "sample_weight": np.zeros(60)}, "leaves out every image"),
    ],
)
def test_what_no_head_can_be_fitted_by_is_refused(given: dict[str, Any], sentence: str) -> None:
    X, y = np.random.default_rng(0).normal(size=(60, 4)), np.arange(60) % 2
    with pytest.raises(ValueError, match=sentence):
        solve_logistic(X, y, n_classes=2, **given)


@pytest.mark.parametrize("C", [1e-320, 1e308])
def test_strengths_at_the_ends_of_float64_overflow_in_silence(C: float) -> None:
    X, y = np.random.default_rng(0).normal(size=(60, 4)), np.arange(60) % 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isfinite(solve_logistic(X, y, C=C, n_classes=2).coef).all()


@pytest.mark.parametrize("shape", [(60, 0), (60,)])
def test_features_without_a_column_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(
        ValueError, match=rf"at least one column, and is {re.escape(str([*shape]))}"
    ):
        solve_logistic(np.zeros(shape), np.arange(60) % 2, C=1.0, n_classes=2)


@pytest.mark.parametrize("present", [[0, 1], [1], [0, 2]])
def test_absent_classes_get_no_probability_and_change_nothing(present: list[int]) -> None:
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(60, 8)), rng.choice(present, 60)
    heads = solve_logistic(X, y, C=[0.01, 100.0], n_classes=3, tol=1e-9)
    assert heads.converged.all()
    for coef, intercept in zip(heads.coef, heads.intercept, strict=True):
        z = X @ coef.T + intercept
        P = np.exp(z - z.max(axis=1, keepdims=True))
        P /= P.sum(axis=1, keepdims=True)
        absent = [k for k in range(3) if k not in present]
        assert P[:, absent].max() < 1e-9
    if len(present) == 2:
        codes = (y == present[1]).astype(int)
        # Two columns share the step between them: half each, a quarter of the squares apiece, so
        # together half the penalty that one column bears alone.
        two = solve_logistic(X, codes, C=[0.02, 200.0], n_classes=2, tol=1e-9)
        slope = heads.coef[:, present[1]] - heads.coef[:, present[0]]
        np.testing.assert_allclose(slope, two.coef[:, 0], rtol=1e-4, atol=1e-7)


def test_float32_keeps_small_features_beside_large_ones() -> None:
    rng = np.random.default_rng(2)
    X = rng.normal(size=(80, 3)) * [1e5, 1.0, 1e-2]
    y = (X[:, 2] > 0).astype(int)
    X = X.astype(np.float32)
    heads = solve_logistic(X, y, C=1e6, n_classes=2)
    z = X.astype(np.float64) @ heads.coef[0, 0].astype(np.float64) + heads.intercept[0, 0]
    assert ((z > 0) == (y == 1)).mean() > 0.98


def test_memory_bound_batches_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(3, "overlapping")
    whole = solve(case, case.weight, tol=1e-9)
    monkeypatch.setattr("frostline.probe.solver.solve._WORKING_BYTES", 1)
    pieces = solve(case, case.weight, tol=1e-9)
    np.testing.assert_allclose(pieces.objective, whole.objective, rtol=1e-12)
    np.testing.assert_allclose(pieces.coef, whole.coef, atol=1e-9)


def test_too_few_steps_are_said() -> None:
    case = Case(4, "overlapping")
    with pytest.warns(ConvergenceWarning, match=r"of 4 logistic heads did not converge in 1 steps"):
        solve(case, case.weight, max_iter=1, tol=1e-9)


@pytest.mark.parametrize("classes", [2, 4])
def test_single_fits_on_features_of_falling_spectrum(classes: int) -> None:
    """A small gradient alone does not do here: much of the objective lies in flat directions."""
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(900, 600)) * np.arange(1, 601) ** -0.6
    y = (hidden @ rng.normal(size=(600, classes)) + rng.normal(size=(900, classes))).argmax(axis=1)
    X = (hidden @ np.linalg.qr(rng.normal(size=(600, 600)))[0]).astype(np.float32)
    X /= X.std(axis=0)
    for C in (1e-4, 1.0, 100.0):
        head = solve_logistic(X, y, C=C, n_classes=classes)
        assert head.converged.all()
        theirs = LogisticRegression(C=C, max_iter=1000).fit(X, y)
        best = LogisticRegression(C=C, max_iter=10_000, tol=1e-9).fit(X.astype(np.float64), y)
        case = Case.__new__(Case)
        case.X, case.y = X.astype(np.float64), y
        limit, least, ours = (
            objective(coef, intercept, case, C, np.ones(900))
            for coef, intercept in (
                (theirs.coef_, theirs.intercept_),
                (best.coef_, best.intercept_),
                (head.coef[0], head.intercept[0]),
            )
        )
        assert ours <= limit + 1e-6
        assert ours <= least + 2e-4
