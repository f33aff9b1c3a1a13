"""One head by L-BFGS, started from the curvature of all images: for heads too few to rotate for.

L-BFGS works on ``u = L' coef``, where ``L L' = sigma Z'Z / n + penalty`` is the Hessian while every
image still has the class shares as its probabilities. In these coordinates that Hessian is the
identity, and about half as many passes over the data are needed as without.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, optimize

from frostline.probe.factored import Factor
from frostline.probe.newton import Parameters, Problem, Solution

Array = NDArray[np.floating]
Vector = NDArray[np.float64]

# With a penalty above this part of the data's whole curvature a factor is not worth its cost.
_STRONG = 5e-3


def descend(
    problem: Problem,
    start: Parameters,
    size: Callable[[Parameters], Vector],
    *,
    tol: float,
    max_iter: int,
) -> Solution:
    """Fit the heads of a problem one after the other; arguments as of `newton.minimise`."""
    heads = len(problem.penalty)
    found = Solution(start, np.zeros(heads, bool), np.zeros(heads, np.intp), np.zeros(heads))
    for head in range(heads):
        mine = np.array([head])
        one = _Descent(problem.take(mine), start.take(mine), size, tol)
        at = one.run(max_iter)
        found.at.put(mine, at)
        found.converged[head], found.steps[head] = one.converged, one.steps
        found.value[head] = one.value
    return found


class _Done(Exception):
    pass


class _Descent:
    """One head, and the last point that was looked at."""

    def __init__(
        self,
        problem: Problem,
        start: Parameters,
        size: Callable[[Parameters], Vector],
        tol: float,
    ) -> None:
        self.problem, self.size, self.tol = problem, size, tol
        self.shape, self.dtype = start.coef.shape, start.coef.dtype
        P, _ = problem.probabilities(problem.logits(start))
        self.sigma = self._curvature(P)
        self.lower = self._factor()
        self.at, self.start = start, self._pack(start, forward=True)
        self.converged, self.steps, self.value = False, 0, 0.0

    def run(self, max_iter: int) -> Parameters:
        options = {"maxiter": max_iter, "gtol": 0.0, "ftol": 0.0, "maxls": 50}
        try:
            optimize.minimize(
                self._look,
                self.start,
                jac=True,
                method="L-BFGS-B",
                callback=self._step,
                options=options,
            )
        except _Done:
            self.converged = True
        return self.at

    def _curvature(self, P: Array) -> float:
        """Mean over images and directions of the curvature of the loss in the logits."""
        columns = max(len(P) - 1, 1)
        spread = np.einsum("knh,nh->", P * (1 - P), self.problem.weights, dtype=np.float64)
        return max(float(spread) / columns, 1e-9)

    def _factor(self) -> Array | None:
        gram, penalty = self.problem.gram, float(self.problem.penalty[0])
        if gram is None or penalty > _STRONG * self.sigma * np.trace(gram):
            return None
        return Factor.of(gram, self.sigma, penalty, self.dtype).lower

    def _pack(self, at: Parameters, *, forward: bool) -> Vector:
        """Parameters (forward) or a gradient in the coordinates of L-BFGS, as one vector."""
        rows = at.coef[:, :, 0].T
        if self.lower is not None and forward:
            rows = self.lower.T @ rows
        elif self.lower is not None:
            rows = linalg.solve_triangular(self.lower, rows, lower=True, check_finite=False)
        scale = np.sqrt(self.sigma) if forward else 1 / np.sqrt(self.sigma)
        return np.concatenate([rows.ravel(), at.intercept[:, 0] * scale]).astype(np.float64)

    def _unpack(self, vector: Vector) -> Parameters:
        columns, count, _ = self.shape
        rows = vector[: columns * count].reshape(count, columns).astype(self.dtype)
        if self.lower is not None:
            rows = linalg.solve_triangular(
                self.lower, rows, lower=True, trans=1, check_finite=False
            )
        intercept = (vector[columns * count :] / np.sqrt(self.sigma)).astype(self.dtype)
        coef = np.ascontiguousarray(rows.T)[:, :, None]
        return Parameters(coef, intercept[:, None])

    def _look(self, vector: Vector) -> tuple[float, Vector]:
        self.at = self._unpack(vector)
        P, row_loss = self.problem.probabilities(self.problem.logits(self.at))
        square = np.einsum("krh,krh->h", self.at.coef, self.at.coef).astype(np.float64)
        self.value = float(self.problem.value(row_loss, square)[0])
        self.gradient = self.problem.gradient(P, self.at)
        packed = self._pack(self.gradient, forward=False)
        # Curvature falls as a head grows sure, and what is left to gain grows with its inverse.
        grown = max(1.0, self.sigma / self._curvature(P))
        self.decrement = grown * float(packed @ packed)
        return self.value, packed

    def _step(self, _: Vector) -> None:
        self.steps += 1
        if self.decrement <= 0.1 * self.tol and self.size(self.gradient)[0] <= self.tol:
            raise _Done
