"""What a fit of logistic heads minimises: many heads over one matrix, all in each product.

The columns of every product are the classes of every head side by side, so that hundreds of heads
cost little more than a few, and a head with seven classes no more than seven with one column.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Vector = NDArray[np.float64]
Index = NDArray[np.intp]
Chosen = Index | NDArray[np.bool_]


@dataclass
class Parameters:
    """Coefficients [r, k, h] and intercepts [k, h] of h heads (k = 1 column for two classes)."""

    coef: Array
    intercept: Array

    def take(self, heads: Chosen) -> Parameters:
        return Parameters(self.coef[..., heads], self.intercept[..., heads])

    def put(self, heads: Index, other: Parameters) -> None:
        self.coef[..., heads] = other.coef
        self.intercept[..., heads] = other.intercept

    def add(self, scale: Vector, other: Parameters) -> None:
        scale = scale.astype(self.coef.dtype)
        self.coef += scale * other.coef
        self.intercept += scale * other.intercept

    def scale(self, factor: Vector) -> None:
        self.coef *= factor.astype(self.coef.dtype)
        self.intercept *= factor.astype(self.coef.dtype)

    def minus(self, other: Parameters) -> Parameters:
        return Parameters(self.coef - other.coef, self.intercept - other.intercept)

    def dot(self, other: Parameters) -> Vector:
        total = self.dot_coef(other) + (self.intercept * other.intercept).sum(axis=0)
        return np.asarray(total, dtype=np.float64)

    def dot_coef(self, other: Parameters) -> Vector:
        return np.einsum("rkh,rkh->h", self.coef, other.coef).astype(np.float64)


@dataclass(frozen=True)
class Problem:
    """The data that all heads share, and the weights and penalties in which they differ.

    Each head minimises `sum_i weight_i loss_i + penalty / 2 * |coef|^2`, weights summing to one.

    Attributes
    ----------
    Z : float [n, r]
    codes : int [n]
        Class of each row.
    classes : int
        Number of classes.
    weights : float [n, h]
    penalty : float64 [h]
    """

    Z: Array
    codes: Index
    classes: int
    weights: Array
    penalty: Vector

    name: ClassVar[str] = "logistic"

    @staticmethod
    def columns(classes: int) -> int:
        """Count the columns of logits."""
        return 1 if classes == 2 else classes

    @staticmethod
    def start(share: Vector) -> Vector:
        """Give the intercepts [f, k] that know nothing but the shares [f, classes] of classes."""
        return np.log(share[:, 1:] / share[:, :1]) if share.shape[1] == 2 else np.log(share)

    @staticmethod
    def free(intercept: Array) -> Array:
        """Turn intercepts [h, k] into numbers that may be anything; `bound` is the way back."""
        return intercept

    @staticmethod
    def bound(free: Array) -> Array:
        """Turn such numbers into intercepts [h, k]."""
        return free

    def take(self, heads: Chosen) -> Problem:
        return replace(self, weights=self.weights[:, heads], penalty=self.penalty[heads])

    def rows(self, some: slice) -> Problem:
        """Take some rows, with the weights that they have in the whole."""
        part = self.Z[some], self.codes[some]
        return Problem(*part, self.classes, self.weights[some], self.penalty)

    def logits(self, at: Parameters) -> Array:
        """Compute logits [n, k, h]."""
        if not at.coef.any():  # where fits begin
            return np.repeat(at.intercept[None], len(self.Z), axis=0)
        flat = self.Z @ at.coef.reshape(len(at.coef), -1)
        out: Array = flat.reshape(len(flat), *at.intercept.shape)
        out += at.intercept
        return out

    def probabilities(self, logits: Array) -> tuple[Array, Vector]:
        """Compute probabilities [n, k, h] and the weighted mean loss [h]."""
        if self.classes == 2:
            P, loss = _binomial(logits, self.codes)
        else:
            top = logits.max(axis=1)
            P = logits - top[:, None]
            np.exp(P, out=P)
            total = P.sum(axis=1)
            P /= total[:, None]
            loss = np.log(total)
            loss += top
            loss -= logits[np.arange(len(self.codes)), self.codes]
        return P, np.einsum("nh,nh->h", loss, self.weights, dtype=np.float64)

    def residual(self, P: Array) -> Array:
        """Derive the weighted mean loss by the logits: [n, k, h]; P is used up for it."""
        if self.classes == 2:
            P[:, 0] -= self.codes[:, None]
        else:
            P[np.arange(len(self.codes)), self.codes] -= 1
        P *= self.weights[:, None]
        return P

    def slope(self, P: Array, moved: Array) -> Vector:
        """Derive the weighted mean loss along steps that move the logits by `moved`: [h]."""
        if self.classes == 2:
            change = (P[:, 0] - self.codes[:, None]) * moved[:, 0]
        else:
            change = np.einsum("nkh,nkh->nh", P, moved)
            change -= moved[np.arange(len(self.codes)), self.codes]
        return np.einsum("nh,nh->h", change, self.weights, dtype=np.float64)

    def curve(self, P: Array, moved: Array, along: Parameters) -> Parameters:
        """Multiply the Hessian, where the probabilities are P, by `along` (logits `moved`)."""
        bent = P * moved
        bent -= P * bent.sum(axis=1, keepdims=True)
        bent *= self.weights[:, None]
        return self.gradient(bent, along)

    def curvature(self, P: Array) -> tuple[Vector, Vector]:
        """Average the Hessian by the logits over images: for coefficients, and for intercepts.

        It is `diag(p) - p p'`, float64 [h, k, k]. Adding one number to all intercepts changes
        nothing: for intercepts any positive curvature will do there.
        """
        weighted = P * self.weights[:, None]
        columns, heads = P.shape[1:]
        mean = np.empty((heads, columns, columns))
        for k in range(columns):
            mean[:, k] = -np.einsum("nh,nlh->hl", weighted[:, k], P)
            mean[:, k, k] += weighted[:, k].sum(axis=0, dtype=np.float64)
        size = np.trace(mean, axis1=1, axis2=2)[:, None, None] + 1e-30
        return mean, mean + (size / columns if columns > 1 else 0)

    def gradient(self, residual: Array, at: Parameters) -> Parameters:
        """Compute the gradient of the objective where the loss has this `residual`."""
        coef = (self.Z.T @ residual.reshape(len(residual), -1)).reshape(at.coef.shape)
        coef += self.penalty.astype(coef.dtype) * at.coef
        return Parameters(coef, residual.sum(axis=0))

    def reachable(self, value: Vector, tol: float) -> Vector:
        """Give twice the decrease that a head [h] may still have ahead of it when it is done.

        A gradient within the tolerance may leave `tol**2 / penalty` to gain where the data are
        flat: far more than a pass over the data is worth if the penalty is weak, nothing if it is
        strong. Of that and of four times the objective, a two-hundredth is the limit, or as much
        of `tol` where that is more: scikit-learn's lbfgs stops farther from the minimum.
        """
        flat = np.minimum(tol**2 / self.penalty, 4 * value) / 200
        return np.asarray(np.maximum(5e-3 * tol, flat), dtype=np.float64)


@dataclass(frozen=True)
class Stop:
    """When a head is done.

    Its largest gradient is at most `tol`, and the decrease still to be had (half the squared
    gradient, preconditioned) is small, see `Problem.reachable`: a gradient alone says little where
    a feature's scale is small.

    Attributes
    ----------
    size : callable
        Largest entry of each head's gradient [h] in the user's own coordinates.
    tol : float
    max_iter : int
        Steps at most.
    """

    size: Callable[[Parameters], Vector]
    tol: float
    max_iter: int

    def done(self, gradient: Parameters, small: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Say which heads are done, of those whose decrease is `small`: bool [h]."""
        found = np.zeros(len(small), bool)
        candidates = np.flatnonzero(small)
        if len(candidates):
            found[candidates[self.size(gradient.take(candidates)) <= self.tol]] = True
        return found


@dataclass
class Solution:
    """Fitted heads, and how the fit went: `converged` bool [h], `steps` int [h], `value` [h]."""

    at: Parameters
    converged: NDArray[np.bool_]
    steps: Index
    value: Vector

    @classmethod
    def begin(cls, start: Parameters) -> Solution:
        heads = start.intercept.shape[-1]
        return cls(start, np.zeros(heads, bool), np.zeros(heads, np.intp), np.zeros(heads))


def _binomial(logits: Array, codes: Index) -> tuple[Array, Array]:
    z = logits[:, 0]
    small = np.exp(-np.abs(z))
    loss = np.log1p(small)
    loss += np.maximum(z, 0)
    loss -= z * codes[:, None].astype(z.dtype)
    return (np.where(z >= 0, z.dtype.type(1), small) / (1 + small))[:, None], loss
