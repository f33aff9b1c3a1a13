"""Many logistic heads over one matrix by Newton's method, all of them in each matrix product.

A Newton step solves ``H d = -g`` by conjugate gradients. One product of a head's Hessian with a
vector is two products with the data, ``Z.T @ (curvature * (Z @ v))``; side by side, the heads
turn those into products of matrices, which is what makes hundreds of heads cost little more than
a few. Logits are linear in the parameters, so the step's logits come out of the conjugate
gradients, and searching along the step costs no product at all.

The preconditioner is what keeps the number of products small. With per-image class covariances
``B_i = diag(p_i) - p_i p_i'`` the Hessian is ``sum_i w_i B_i (x) z_i z_i' + penalty``. Replacing
every ``B_i`` by their weighted mean ``B``, and ``Z'Z`` by the diagonal it is in its own eigenbasis,
leaves ``B (x) diag(s^2) + penalty``: one small eigenproblem per head (K x K), then a division. At
the start (zero coefficients) all ``p_i`` are equal and this is the Hessian itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from frostline.probe.factored import Factor, factors

Array = NDArray[np.floating]
Vector = NDArray[np.float64]
Index = NDArray[np.intp]

# Below this many heads a product with their coefficients takes as long as reading the data.
_FEW = 16


@dataclass
class Parameters:
    """Coefficients [k, r, h] and intercepts [k, h] of h heads (k = 1 column for two classes)."""

    coef: Array
    intercept: Array

    def take(self, heads: Index | NDArray[np.bool_]) -> Parameters:
        return Parameters(self.coef[..., heads], self.intercept[..., heads])

    def put(self, heads: Index, other: Parameters) -> None:
        self.coef[..., heads] = other.coef
        self.intercept[..., heads] = other.intercept

    def add(self, scale: Vector, other: Parameters) -> None:
        scale = scale.astype(self.coef.dtype)
        self.coef += scale * other.coef
        self.intercept += scale * other.intercept

    def dot(self, other: Parameters) -> Vector:
        total = np.einsum("krh,krh->h", self.coef, other.coef)
        return (total + (self.intercept * other.intercept).sum(axis=0)).astype(np.float64)


@dataclass(frozen=True)
class Problem:
    """The data that all heads share, and the weights and penalties in which they differ.

    Each head minimises ``sum_i weight_i loss_i + penalty / 2 * |coef|^2``, weights summing to one.

    Attributes
    ----------
    Z : float [n, r]
        Orthogonal columns (see `rotation`), unless `gram` is given.
    power : float64 [r]
        Mean square of each column.
    codes : int [n]
        Class of each row.
    classes : int
        Number of classes.
    weights : float [n, h]
    penalty : float64 [h]
    gram : float [r, r], optional
        ``Z'Z / n``, where the columns of Z are not orthogonal.
    """

    Z: Array
    power: Vector
    codes: Index
    classes: int
    weights: Array
    penalty: Vector
    gram: Array | None = None

    def take(self, heads: Index | NDArray[np.bool_]) -> Problem:
        return replace(self, weights=self.weights[:, heads], penalty=self.penalty[heads])

    def logits(self, at: Parameters) -> Array:
        """Logits [k, n, h]."""
        columns, _, heads = at.coef.shape
        if heads < _FEW and columns > 1:
            # All classes in one product: one at a time would read Z once for each.
            flat = self.Z @ at.coef.transpose(1, 0, 2).reshape(self.Z.shape[1], -1)
            out: Array = flat.reshape(-1, columns, heads).transpose(1, 0, 2) + 0
        else:
            out = np.matmul(self.Z, at.coef)
        out += at.intercept[:, None, :]
        return out

    def probabilities(self, logits: Array) -> tuple[Array, Array]:
        """Probabilities [k, n, h] and the loss of every row [n, h]."""
        if self.classes == 2:
            return _binomial(logits, self.codes)
        top = logits.max(axis=0)
        P = np.exp(logits - top)
        total = P.sum(axis=0)
        P /= total
        own = logits[self.codes, np.arange(len(self.codes))]
        return P, np.log(total) + (top - own)

    def gradient(self, P: Array, at: Parameters) -> Parameters:
        """Gradient of the objective where the probabilities are P."""
        residual = P.copy()
        if self.classes == 2:
            residual[0] -= self.codes[:, None]
        else:
            residual[self.codes, np.arange(len(self.codes))] -= 1
        residual *= self.weights
        return self._pull_back(residual, at)

    def curve(self, P: Array, moved: Array, along: Parameters) -> Parameters:
        """Product of the Hessian, where the probabilities are P, with `along` (logits `moved`)."""
        if self.classes == 2:
            bent = P * (1 - P)
            bent *= moved
        else:
            bent = P * moved
            bent -= P * bent.sum(axis=0)
        bent *= self.weights
        return self._pull_back(bent, along)

    def value(self, row_loss: Array, square: Vector) -> Vector:
        """Objective [h] from row losses and squared norms of the coefficients."""
        loss = np.einsum("nh,nh->h", row_loss.astype(np.float64), self.weights)
        return loss + 0.5 * self.penalty * square

    def _pull_back(self, rows: Array, at: Parameters) -> Parameters:
        columns, _, heads = rows.shape
        if heads < _FEW and columns > 1:
            flat = self.Z.T @ rows.transpose(1, 0, 2).reshape(len(self.Z), -1)
            coef = flat.reshape(-1, columns, heads).transpose(1, 0, 2) + 0
        else:
            coef = np.matmul(self.Z.T, rows)
        coef += self.penalty.astype(coef.dtype) * at.coef
        return Parameters(coef, rows.sum(axis=1))


@dataclass(frozen=True)
class Metric:
    """The Hessian with every image's class covariance replaced by their mean: easy to invert."""

    turn: Array  # [k, k, h] eigenvectors of the mean class covariance
    inverse: Array | None  # [k, r, h], where the columns of the data are orthogonal
    intercept: Array  # [k, k, h] inverse of the covariance itself
    factors: list[list[Factor]] | None = None  # [h][k], where they are not

    @classmethod
    def at(cls, problem: Problem, P: Array, old: Metric | None = None) -> Metric:
        mean = _mean_covariance(problem, P)
        values, vectors = np.linalg.eigh(mean)
        values = np.maximum(values, 0)
        k = mean.shape[-1]
        # Adding one number to all intercepts changes nothing: any positive curvature will do there.
        size = np.trace(mean, axis1=1, axis2=2)[:, None, None] + 1e-30
        full = mean + (size / k if k > 1 else 0) + 1e-10 * size * np.eye(k)
        dtype, found, inverse = P.dtype, None, None
        if problem.gram is not None:
            known = None if old is None else old.factors
            found = factors(problem.gram, values, problem.penalty, known, dtype)
        else:
            scale = values.T[:, None, :] * problem.power[:, None] + problem.penalty
            inverse = (1 / scale).astype(dtype)
        return cls(
            np.ascontiguousarray(vectors.transpose(1, 2, 0)).astype(dtype),
            inverse,
            np.ascontiguousarray(np.linalg.inv(full).transpose(1, 2, 0)).astype(dtype),
            found,
        )

    def take(self, heads: Index | NDArray[np.bool_]) -> Metric:
        inverse = None if self.inverse is None else self.inverse[..., heads]
        chosen = None
        if self.factors is not None:
            chosen = [self.factors[head] for head in np.arange(len(self.factors))[heads]]
        return Metric(self.turn[..., heads], inverse, self.intercept[..., heads], chosen)

    def apply(self, at: Parameters) -> Parameters:
        intercept = (self.intercept * at.intercept).sum(axis=1)
        if len(self.turn) == 1:
            return Parameters(self._divide(at.coef), intercept)
        turned = _mix(self.turn.transpose(1, 0, 2), at.coef)
        return Parameters(_mix(self.turn, self._divide(turned)), intercept)

    def _divide(self, coef: Array) -> Array:
        if self.inverse is not None:
            return self.inverse * coef
        assert self.factors is not None
        out = np.empty_like(coef)
        for head, mine in enumerate(self.factors):
            for place, factor in enumerate(mine):
                out[place, :, head] = factor.solve(coef[place, :, head])
        return out


def _mix(weights: Array, coef: Array) -> Array:
    """Combine the classes of every head: ``out[k] = sum_l weights[k, l] coef[l]``."""
    return np.einsum("klh,lrh->krh", weights, coef, optimize=True)


def _mean_covariance(problem: Problem, P: Array) -> Vector:
    """Weighted mean over images of ``diag(p) - p p'``: [h, k, k]."""
    weighted = P * problem.weights
    outer = np.einsum("knh,lnh->hkl", weighted, P, optimize=False).astype(np.float64)
    diagonal = weighted.sum(axis=1, dtype=np.float64)
    mean: Vector = -outer
    index = np.arange(len(P))
    mean[:, index, index] += diagonal.T
    return mean


def _binomial(logits: Array, codes: Index) -> tuple[Array, Array]:
    z = logits[0]
    small = np.exp(-np.abs(z))
    loss = np.log1p(small) + np.maximum(z, 0) - z * codes[:, None].astype(z.dtype)
    return (np.where(z >= 0, z.dtype.type(1), small) / (1 + small))[None], loss


@dataclass
class Solution:
    """Fitted heads, and how the fit went: `converged` bool [h], `steps` int [h], `value` [h]."""

    at: Parameters
    converged: NDArray[np.bool_]
    steps: Index
    value: Vector


def minimise(
    problem: Problem,
    start: Parameters,
    size: Callable[[Parameters], Vector],
    *,
    tol: float,
    max_iter: int,
) -> Solution:
    """Newton's method for all heads of a problem, dropping each as it converges.

    Parameters
    ----------
    problem, start
        What to minimise and where to begin.
    size : callable
        Largest entry of each head's gradient in the user's own coordinates.
    tol : float
        A head is done when that is at most `tol`, and the decrease still to be had (half the
        squared gradient in the metric) at most ``tol / 400``: a small gradient alone says little
        where a feature's scale is small.
    max_iter : int
        Newton steps at most.
    """
    heads = len(problem.penalty)
    found = Solution(start, np.zeros(heads, bool), np.zeros(heads, np.intp), np.zeros(heads))
    live, at = np.arange(heads), Parameters(start.coef.copy(), start.intercept.copy())
    logits = problem.logits(at)
    eps = float(np.finfo(logits.dtype).eps)
    P, row_loss = problem.probabilities(logits)
    value = problem.value(row_loss, _square(at))
    stuck, last = np.zeros(heads, bool), np.full(heads, np.inf)
    metric: Metric | None = None
    for _ in range(max_iter + 1):
        gradient = problem.gradient(P, at)
        metric = Metric.at(problem, P, metric)
        decrement = gradient.dot(metric.apply(gradient))
        near = np.flatnonzero(decrement <= 5e-3 * tol)
        done = np.zeros(len(live), bool)
        done[near[size(gradient.take(near)) <= tol]] = True
        # Newton's steps no longer gain, and what is left is below rounding: in float64 that is the
        # minimum, in float32 it is for float64 to finish.
        idle = (decrement > 0.25 * last) | (found.steps[live] > 50)
        spent = (decrement <= eps) & idle
        done |= spent & (eps < 1e-10)
        found.at.put(live, at)
        found.value[live], found.converged[live] = value, done
        keep = ~(done | stuck | spent)
        if not keep.any():
            break
        if not keep.all():
            live, at, logits, P = live[keep], at.take(keep), logits[..., keep], P[..., keep]
            problem, metric, gradient = problem.take(keep), metric.take(keep), gradient.take(keep)
            decrement, value = decrement[keep], value[keep]
        found.steps[live] += 1
        last = decrement
        # Loose while far (the quadratic model is not worth more), tight where it ends the fit.
        target = np.minimum(0.25 * decrement, np.maximum(10 * decrement**2, 0.01 * tol))
        step, moved = conjugate_gradients(problem, P, metric, gradient, target)
        slope = gradient.dot(step)
        P, value, stuck = _search(problem, at, logits, step, moved, value, slope, 8 * eps)
    return found


def _search(
    problem: Problem,
    at: Parameters,
    logits: Array,
    step: Parameters,
    moved: Array,
    value: Vector,
    slope: Vector,
    slack: float,
) -> tuple[Array, Vector, NDArray[np.bool_]]:
    """Move `at` and `logits` (in place) along the step, halved until the objective decreases."""
    length = np.ones(len(value))
    before, square = _square(at), _square(step)
    cross = 2 * np.einsum("krh,krh->h", at.coef, step.coef).astype(np.float64)
    while True:
        P, row_loss = problem.probabilities(logits + length.astype(logits.dtype) * moved)
        reached = problem.value(row_loss, before + length * cross + length**2 * square)
        worse = reached > value + 1e-4 * length * slope + slack * np.abs(value)
        worse &= length > 1e-10
        if not worse.any():
            break
        length[worse] /= 2
    logits += length.astype(logits.dtype) * moved
    at.add(length, step)
    return P, reached, length <= 1e-10


def conjugate_gradients(
    problem: Problem,
    P: Array,
    metric: Metric,
    gradient: Parameters,
    target: Vector,
    max_iter: int = 500,
) -> tuple[Parameters, Array]:
    """Steps d with ``H d = -gradient``, to a squared residual of `target` in the metric.

    Returns the steps and the logits ``Z d`` that belong to them, [k, n, h].
    """
    step = Parameters(np.zeros_like(gradient.coef), np.zeros_like(gradient.intercept))
    moved = np.zeros_like(P)
    live = np.arange(len(target))
    residual = Parameters(-gradient.coef, -gradient.intercept)
    along = metric.apply(residual)
    size = residual.dot(along)
    mine, my_moved = step, moved
    for _ in range(max_iter):
        logits = problem.logits(along)
        curved = problem.curve(P, logits, along)
        bend = along.dot(curved)
        length = np.where((size > target) & (bend > 0), size / np.where(bend > 0, bend, 1), 0)
        mine.add(length, along)
        my_moved += length.astype(P.dtype) * logits
        residual.add(-length, curved)
        turned = metric.apply(residual)
        new = residual.dot(turned)
        going = (new > target) & (length > 0)
        if not going.any():
            break
        ratio = new / np.where(size > 0, size, 1)
        turned.add(ratio, along)
        along = turned
        size = np.where(going, new, 0)
        if going.mean() < 0.8:
            step.put(live, mine)
            moved[..., live] = my_moved
            live, size, target = live[going], size[going], target[going]
            problem, P, metric = problem.take(going), P[..., going], metric.take(going)
            mine, my_moved = mine.take(going), my_moved[..., going]
            along, residual = along.take(going), residual.take(going)
    step.put(live, mine)
    moved[..., live] = my_moved
    return step, moved


def _square(at: Parameters) -> Vector:
    return np.einsum("krh,krh->h", at.coef, at.coef).astype(np.float64)
