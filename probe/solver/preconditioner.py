"""Curvature that is easy to invert: what makes a few steps of L-BFGS enough.

With per-image class covariances `B_i = diag(p_i) - p_i p_i'` the Hessian of a head is
`sum_i w_i B_i (x) z_i z_i' + penalty`. Replacing every `B_i` by their weighted mean leaves
something that one decomposition of `Z'Z` inverts for every head. At the start (zero
coefficients) all `p_i` are equal and it is the Hessian itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from frostline.probe.solver.problem import Array, Chosen, Parameters, Problem, Vector


@dataclass(frozen=True)
class Turned:
    """An approximation of the Hessian of every head, on orthogonal columns of data.

    `Z'Z` is diagonal there (see `rotation`), so that with the eigenvectors of the mean `B` of
    a head, K x K, all of `B (x) diag(power) + penalty` is.
    """

    turn: Array  # [k, k, h] eigenvectors of the mean class covariance
    inverse: Array  # [r, k, h]
    intercept: Array  # inverse of the curvature of intercepts, [k, k, h]

    @classmethod
    def at(cls, power: Vector, problem: Problem, P: Array) -> Turned:
        """Make it where the probabilities are P, given the mean square of each data column, [r]."""
        mean, full = problem.curvature(P)
        values, vectors = np.linalg.eigh(mean)
        values = np.maximum(values, 0)
        size = np.trace(mean, axis1=1, axis2=2)[:, None, None] + 1e-30
        full += 1e-10 * size * np.eye(full.shape[-1])
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
