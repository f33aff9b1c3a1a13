"""One head of two classes by L-BFGS, with one pass over the data a step.

A single column of coefficients makes every product with the data as slow as memory: scikit-learn's
solver, the same L-BFGS of SciPy, reads the embeddings twice for each value of the objective. Here
they are read once, in blocks that stay in a core's cache between the product that gives the logits
and the one that gives the gradient.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from frostline.probe.solver.problem import Parameters, Problem, Solution, Stop

# Bytes of a block of rows: half of what a core's second cache holds, or less.
_BLOCK = 1 << 20
# The largest gradient is brought this far below the tolerance: where data are flat a tolerance
# alone leaves much of the objective, and a step costs little.
_FURTHER = 0.1


def fit_one(problem: Problem, start: Parameters, stop: Stop) -> Solution:
    """Fit the only head of a problem of two classes, in coordinates of any kind.

    Parameters
    ----------
    problem : Problem
        With one head.
    start : Parameters
        Coefficients [r, 1, 1] and intercept [1, 1].
    stop : Stop
        Its `max_iter` are steps of L-BFGS. `reachable` decreases are not looked at.
    """
    blocked = _Blocked(problem)
    at = np.append(start.coef, start.intercept).astype(np.float64)
    options = {"maxiter": stop.max_iter, "gtol": _FURTHER * stop.tol, "ftol": 0.0, "maxls": 50}
    result = minimize(blocked, at, jac=True, method="L-BFGS-B", options=options)
    gradient = blocked.parameters(result.jac)
    return Solution(
        blocked.parameters(result.x),
        stop.size(gradient) <= stop.tol,
        np.array([result.nit]),
        np.array([result.fun]),
    )


class _Blocked:
    """The objective and its gradient [r + 1], the intercept's last, for `scipy.optimize`."""

    def __init__(self, problem: Problem) -> None:
        rows = max(_BLOCK // max(problem.Z[:1].nbytes, 1), 1)
        pieces = (slice(first, first + rows) for first in range(0, len(problem.Z), rows))
        self._parts = [problem.rows(piece) for piece in pieces]
        self._penalty, self._dtype = float(problem.penalty[0]), problem.Z.dtype

    def __call__(self, at: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        here, loss, gradient = self.parameters(at), 0.0, np.zeros_like(at)
        for part in self._parts:
            P, mean = part.probabilities(part.logits(here))
            residual = part.residual(P)[:, 0, 0]
            loss += float(mean[0])
            gradient[:-1] += residual @ part.Z
            gradient[-1] += residual.sum(dtype=np.float64)
        coef = at[:-1]
        gradient[:-1] += self._penalty * coef
        return loss + 0.5 * self._penalty * float(coef @ coef), gradient

    def parameters(self, at: NDArray[np.float64]) -> Parameters:
        """Give a vector [r + 1] the shape of coefficients and intercept."""
        narrow = at.astype(self._dtype)
        return Parameters(narrow[:-1, None, None], narrow[-1:, None])
