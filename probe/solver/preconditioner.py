"""Curvature that is easy to invert: what makes a few steps of L-BFGS enough.

With per-image class covariances `B_i = diag(p_i) - p_i p_i'` the Hessian of a head is
`sum_i w_i B_i (x) z_i z_i' + penalty`. Replacing every `B_i` by their weighted mean leaves
something that one decomposition of `Z'Z` inverts for every head. At the start (zero
coefficients) all `p_i` are equal and it is the Hessian itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from frostline.probe.solver.problem import Array, Chosen, Parameters, Problem, Vector

# With a penalty above this part of the data's whole curvature an inverse is not worth its cost.
_STRONG = 5e-3
# An inverse serves until curvature has fallen to this part of what it was made for.
_FALLEN = 0.03


class Preconditioner(Protocol):
    """An approximation of the Hessian of every head."""

    def apply(self, gradient: Parameters) -> Parameters:
        """Multiply a vector by its inverse."""

    def take(self, heads: Chosen) -> Self:
        """Take the part of some heads."""


@dataclass(frozen=True)
class Turned:
    """For many heads, on orthogonal columns of data: a small eigenproblem each, and a division.

    `Z'Z` is diagonal there (see `rotation`), so that with the eigenvectors of the mean `B` of
    a head, K x K, all of `B (x) diag(power) + penalty` is.
    """

    turn: Array  # [k, k, h] eigenvectors of the mean class covariance
    inverse: Array  # [r, k, h]
    intercept: Array  # [k, k, h] inverse of the covariance itself

    @classmethod
    def at(cls, power: Vector, problem: Problem, P: Array) -> Turned:
        """Make it where the probabilities are P, given the mean square of each data column, [r]."""
        mean = _mean_covariance(problem, P)
        values, vectors = np.linalg.eigh(mean)
        values = np.maximum(values, 0)
        k = mean.shape[-1]
        # Adding one number to all intercepts changes nothing: any positive curvature will do there.
        size = np.trace(mean, axis1=1, axis2=2)[:, None, None] + 1e-30
        full = mean + (size / k if k > 1 else 0) + 1e-10 * size * np.eye(k)
        scale = power[:, None, None] * values.T + problem.penalty
        return cls(
            np.ascontiguousarray(vectors.transpose(1, 2, 0)).astype(P.dtype),
            (1 / scale).astype(P.dtype),
            np.ascontiguousarray(np.linalg.inv(full).transpose(1, 2, 0)).astype(P.dtype),
        )

    def take(self, heads: Chosen) -> Turned:
        return Turned(self.turn[..., heads], self.inverse[..., heads], self.intercept[..., heads])

    def apply(self, gradient: Parameters) -> Parameters:
        intercept = (self.intercept * gradient.intercept).sum(axis=1)
        if len(self.turn) == 1:
            return Parameters(self.inverse * gradient.coef, intercept)
        turned = np.einsum("lkh,rlh->rkh", self.turn, gradient.coef)
        turned *= self.inverse
        return Parameters(np.einsum("klh,rlh->rkh", self.turn, turned), intercept)


@dataclass(frozen=True)
class Inverted:
    """For one head, on any columns: `sigma Z'Z / n + penalty`, inverted outright.

    That costs a part of the decomposition that serves any number of heads. Sigma is the mean over
    classes of what a class covariance holds; L-BFGS finds the rest.
    """

    inverse: NDArray[np.floating] | None
    sigma: float
    penalty: float

    def take(self, heads: Chosen) -> Inverted:
        return self

    def apply(self, gradient: Parameters) -> Parameters:
        rows = gradient.coef[:, :, 0]
        if self.inverse is None:
            solved = rows / rows.dtype.type(self.sigma + self.penalty)
        else:
            solved = self.inverse @ rows
        return Parameters(solved[:, :, None], gradient.intercept / rows.dtype.type(self.sigma))


class Inverting:
    """Inverts for a head: again only where curvature has fallen a lot.

    `power` float64 [r] is the mean square of each column of data.
    """

    def __init__(self, power: Vector) -> None:
        self._square = float(power.sum())
        self._gram: Array | None = None
        self._last: Inverted | None = None

    def __call__(self, problem: Problem, P: Array) -> Inverted:
        """Make it where the probabilities are P; invert nothing if the penalty is most of it."""
        columns = max(P.shape[1] - 1, 1)
        spread = np.einsum("nkh,nh->", P * (1 - P), problem.weights, dtype=np.float64)
        sigma, penalty = max(float(spread) / columns, 1e-9), float(problem.penalty[0])
        last = self._last
        if last is not None and (last.inverse is None or sigma > _FALLEN * last.sigma):
            return last
        inverse = None
        if penalty <= _STRONG * sigma * self._square:
            if self._gram is None:
                self._gram = problem.Z.T @ problem.Z
                self._gram /= len(problem.Z)
            inverse = _inverse(self._gram, sigma, penalty)
        elif last is not None:
            return last
        self._last = Inverted(inverse, sigma, penalty)
        return self._last


def _inverse(gram: Array, sigma: float, penalty: float) -> Array:
    """Invert `sigma gram + penalty`, raised as far as rounding of a singular gram demands."""
    factorise, invert = linalg.get_lapack_funcs(("potrf", "potri"), (gram,))
    ridge = max(penalty, float(np.finfo(gram.dtype).eps) * sigma * float(np.trace(gram)))
    while np.isfinite(ridge):
        # The transpose is the same matrix, in the order of which LAPACK needs no copy.
        matrix = (gram * gram.dtype.type(sigma)).T
        matrix[np.diag_indices_from(matrix)] += ridge
        lower, failed = factorise(matrix, lower=True, overwrite_a=True, clean=True)
        if not failed:
            half: Array = invert(lower, lower=True, overwrite_c=True)[0]
            whole = half + half.T
            whole[np.diag_indices_from(whole)] /= 2
            return whole
        ridge *= 10
    raise ValueError("The embeddings hold NaN or infinity.")


def _mean_covariance(problem: Problem, P: Array) -> Vector:
    """Weighted mean over images of `diag(p) - p p'`: [h, k, k]."""
    weighted = P * problem.weights[:, None]
    columns, heads = P.shape[1:]
    mean = np.empty((heads, columns, columns))
    for k in range(columns):
        mean[:, k] = -np.einsum("nh,nlh->hl", weighted[:, k], P)
        mean[:, k, k] += weighted[:, k].sum(axis=0, dtype=np.float64)
    return mean
