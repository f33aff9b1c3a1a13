"""What a fit of ordinal heads minimises: proportional odds, in the same products as logistic heads.

The chance that an image is past cut j, of a class above the j-th, is σ(x·w + b_j) with b falling:
McCullagh (1980), "Regression models for ordinal data", equation 2.2, with b_j = -θ_j. So the class
between the cuts j - 1 and j has, with a = x·w + b,

    σ(a_{j-1}) - σ(a_j) = σ(a_{j-1}) σ(-a_j) (1 - exp(b_j - b_{j-1})),

and minus its logarithm is a logistic loss at each of its cuts, and a term of the gap between both
that no image has a part in. All are convex, and the last keeps the cuts in order.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from frostline.probe.solver.problem import Array, Parameters, Problem, Vector
from frostline.probe.solver.solve import Heads, solve_logistic

# The logit of a cut that no image is beyond, whose best place is at infinity: this is near enough.
_FAR = 500.0
# Where cuts are not in order, what is computed of their gap: the loss is infinite.
_LEAST = 1e-12


class OrdinalProblem(Problem):
    """As `Problem`, with one column of coefficients and an intercept for each cut.

    Logits [n + 1, classes - 1, h] and all of their shape have a last row of no image: it holds what
    is of intercepts alone. That of `P` is the intercepts.
    """

    name = "ordinal"

    @staticmethod
    def columns(classes: int) -> int:
        """Count the cuts."""
        return classes - 1

    @staticmethod
    def start(share: Vector) -> Vector:
        """Give the intercepts [f, classes - 1] of the shares of classes."""
        past = share[:, ::-1].cumsum(axis=1)[:, -2::-1]
        return np.asarray(np.log(past / (1 - past)))

    @staticmethod
    def free(intercept: Array) -> Array:
        """Give the first intercept, and the logarithms of the gaps to the next ones."""
        gaps = np.log(intercept[:, :-1] - intercept[:, 1:])
        return np.concatenate([intercept[:, :1], gaps], axis=1)

    @staticmethod
    def bound(free: Array) -> Array:
        """Invert `free`."""
        steps = np.concatenate([free[:, :1], -np.exp(free[:, 1:])], axis=1)
        return np.asarray(steps.cumsum(axis=1))

    def logits(self, at: Parameters) -> Array:
        """Compute logits of being past each cut, [n + 1, classes - 1, h]."""
        out = np.empty((len(self.Z) + 1, *at.intercept.shape), self.Z.dtype)
        out[:] = at.intercept
        if at.coef.any():
            out[:-1] += (self.Z @ at.coef[:, 0])[:, None]
        return out

    def probabilities(self, logits: Array) -> tuple[Array, Vector]:
        """Compute the chances of being past each cut, and the weighted mean loss [h]."""
        a = logits[:-1]
        small = np.exp(-np.abs(a))
        loss = np.log1p(small)
        loss += np.maximum(a, 0)
        loss -= self._past * a
        loss *= self._near
        P = np.empty_like(logits)
        np.divide(np.where(a >= 0, a.dtype.type(1), small), 1 + small, out=P[:-1])
        P[-1] = logits[-1]
        value = np.einsum("njh,nh->h", loss, self.weights, dtype=np.float64)
        return P, value + self._gap_loss(P)

    def residual(self, P: Array) -> Array:
        """Derive the weighted mean loss by the logits, and its last row by the intercepts."""
        out = np.empty_like(P)
        np.subtract(P[:-1], self._past, out=out[:-1])
        out[:-1] *= self._near
        out[:-1] *= self.weights[:, None]
        slope = self._gap_slope(P)
        out[-1] = 0
        out[-1, :-1] += slope
        out[-1, 1:] -= slope
        return out

    def slope(self, P: Array, moved: Array) -> Vector:
        """Derive the weighted mean loss along steps that move the logits by `moved`: [h]."""
        return np.einsum("njh,njh->h", self.residual(P), moved, dtype=np.float64)

    def curve(self, P: Array, moved: Array, along: Parameters) -> Parameters:
        """Multiply the Hessian, where the chances are P, by `along` (logits `moved`)."""
        bent = np.empty_like(P)
        bent[:-1] = self._bend(P) * moved[:-1]
        gaps = self._gap_bend(P) * (moved[-1, :-1] - moved[-1, 1:])
        bent[-1] = 0
        bent[-1, :-1] += gaps
        bent[-1, 1:] -= gaps
        return self.gradient(bent, along)

    def curvature(self, P: Array) -> tuple[Vector, Vector]:
        """Average the Hessian by the logits: float64 [h, 1, 1], [h, classes - 1, classes - 1]."""
        cuts = self._bend(P).sum(axis=0, dtype=np.float64).T
        full = cuts[:, :, None] * np.eye(cuts.shape[1])
        gaps = self._gap_bend(P).T
        for j in range(gaps.shape[1]):
            full[:, j : j + 2, j : j + 2] += gaps[:, j, None, None] * np.array([[1, -1], [-1, 1]])
        return cuts.sum(axis=1)[:, None, None], full

    def gradient(self, residual: Array, at: Parameters) -> Parameters:
        """Compute the gradient of the objective where the loss has this `residual`."""
        coef = (self.Z.T @ residual[:-1].sum(axis=1))[:, None]
        coef += self.penalty.astype(coef.dtype) * at.coef
        return Parameters(coef, residual.sum(axis=0))

    @cached_property
    def _past(self) -> Array:
        """1 where an image is past a cut next to its class: [n, classes - 1, 1]."""
        past = self.codes[:, None] == np.arange(1, self.classes)
        return np.asarray(past.astype(self.Z.dtype)[..., None])

    @cached_property
    def _near(self) -> Array:
        """1 where a cut is next to an image's class, 0 elsewhere: [n, classes - 1, 1]."""
        at = np.arange(self.classes - 1)
        near = (self.codes[:, None] == at) | (self.codes[:, None] == at + 1)
        return np.asarray(near.astype(self.Z.dtype)[..., None])

    def _bend(self, P: Array) -> Array:
        return np.asarray(P[:-1] * (1 - P[:-1]) * self._near * self.weights[:, None])

    @cached_property
    def _shares(self) -> Vector:
        """Weights of the classes between two cuts: float64 [classes - 2, h]."""
        inner = (self.codes == code for code in range(1, self.classes - 1))
        return np.stack([self.weights[one].sum(axis=0, dtype=np.float64) for one in inner])

    def _gaps(self, P: Array) -> Vector:
        return np.asarray(P[-1, :-1] - P[-1, 1:], dtype=np.float64)

    def _gap_loss(self, P: Array) -> Vector:
        """-log(1 - exp(-gap)), weighted: infinite where cuts are not in order."""
        gaps = self._gaps(P)
        size = -np.log(-np.expm1(-np.maximum(gaps, _LEAST)))
        return np.asarray(np.where(gaps > 0, self._shares * size, np.inf).sum(axis=0))

    def _gap_slope(self, P: Array) -> Vector:
        return np.asarray(-self._shares / np.expm1(np.maximum(self._gaps(P), _LEAST)))

    def _gap_bend(self, P: Array) -> Vector:
        half = np.maximum(self._gaps(P), _LEAST) / 2
        return np.asarray(self._shares / (4 * np.sinh(half) ** 2))


def solve_ordinal(
    X: Array,
    y: ArrayLike,
    *,
    C: ArrayLike,
    n_classes: int,
    sample_weight: ArrayLike | None = None,
    weight_row: ArrayLike | None = None,
    **options: Any,
) -> Heads:
    """Fit one ordinal head for every entry of `C`.

    Its objective is `C * sum_i w_i loss_i + |w|^2 / 2`, intercepts free: of two classes it is that
    of `solve_logistic`, which then fits it. A class that a row of weights leaves out has no
    probability: the cuts next to it are one, or lie at infinity where it is the lowest or highest.

    Parameters
    ----------
    X, C, sample_weight, weight_row, options
        As in `solve_logistic`.
    y : int [n]
        Class codes from the lowest to the highest, below `n_classes`.

    Returns
    -------
    Heads
        `coef` [h, 1, p] and `intercept` [h, n_classes - 1]: an image is of a class above the j-th
        with the chance σ(x·coef + intercept_j).
    """
    codes, strengths = np.asarray(y, np.intp), np.atleast_1d(np.asarray(C, np.float64))
    given = np.ones(len(X)) if sample_weight is None else sample_weight
    weights = np.atleast_2d(np.asarray(given, np.float64))
    rows = np.asarray(np.zeros(len(strengths)) if weight_row is None else weight_row, np.intp)
    present = np.stack([np.bincount(codes, row, n_classes) > 0 for row in weights])
    out = _blank(len(strengths), X, n_classes)
    for pattern in np.unique(present[rows], axis=0):
        mine = np.flatnonzero((present[rows] == pattern).all(axis=1))
        rank = pattern.cumsum()
        # Images of a class that is left out weigh nothing, whatever they are taken for.
        found = solve_logistic(
            X,
            np.maximum(rank - 1, 0)[codes],
            C=strengths[mine],
            n_classes=int(rank[-1]),
            sample_weight=weights,
            weight_row=rows[mine],
            kind=OrdinalProblem,
            **options,
        )
        far = np.full((len(mine), 1), _FAR, X.dtype)
        out.intercept[mine] = np.hstack([far, found.intercept, -far])[:, rank[:-1]]
        for name in ("coef", "objective", "n_iter", "converged"):
            getattr(out, name)[mine] = getattr(found, name)
    return out


def _blank(heads: int, X: Array, classes: int) -> Heads:
    return Heads(
        np.zeros((heads, 1, X.shape[1]), X.dtype),
        np.zeros((heads, classes - 1), X.dtype),
        np.zeros(heads),
        np.zeros(heads, np.intp),
        np.zeros(heads, bool),
    )


def class_shares(x: Array, thresholds: Array) -> NDArray[np.float64]:
    """Give the probabilities of the classes, from the lowest to the highest: [..., n, K].

    Parameters
    ----------
    x : float [..., n]
        x·w of each image.
    thresholds : float [..., K - 1]
        Not falling: the chance of a class above the j-th is σ(x - thresholds_j).
    """
    a = x[..., None] - np.asarray(thresholds, np.float64)[..., None, :]
    one = np.ones((*x.shape, 1))
    # A product, and no difference of chances that are nearly the same.
    gaps = -np.expm1(-np.diff(np.asarray(thresholds, np.float64), axis=-1))
    ends = np.ones((*thresholds.shape[:-1], 1))
    between = np.concatenate([ends, gaps, ends], axis=-1)[..., None, :]
    past, short = np.concatenate([one, expit(a)], axis=-1), np.concatenate([expit(-a), one], -1)
    return np.asarray(past * short * between)
