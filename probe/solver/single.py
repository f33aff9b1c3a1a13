"""One head at a time by L-BFGS, with one pass over the data a step.

A single column of coefficients makes every product with the data as slow as memory: scikit-learn's
solver, the same L-BFGS of SciPy, reads the embeddings twice for each value of the objective. Here
they are read once, in blocks that stay in a core's cache between the product that gives the logits
and the one that gives the gradient; or they stay on a GPU, whose memory is fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from frostline.probe.solver.problem import Array, Parameters, Problem, Solution, Stop

if TYPE_CHECKING:
    from torch import Tensor

# Bytes of a block of rows: half of what a core's second cache holds, or less.
_BLOCK = 1 << 20
# The largest gradient is brought to this part of the tolerance: where data are flat a tolerance
# alone leaves much of the objective, and a step costs little.
_FURTHER = 0.3
Vector = NDArray[np.float64]


class Loss(Protocol):
    """The weighted mean loss of one head, and its gradient."""

    def at(self, here: Parameters) -> tuple[float, Vector]:
        """Compute the loss, and its gradient [r + 1, k], the intercepts' last."""
        ...


def fit_one(loss: Loss, problem: Problem, start: Parameters, stop: Stop) -> Solution:
    """Fit the only head of a problem, in coordinates of any kind.

    Parameters
    ----------
    loss : Loss
        Computes that of the problem.
    problem : Problem
        With one head.
    start : Parameters
        Coefficients [r, k, 1] and intercepts [k, 1].
    stop : Stop
        Its `max_iter` are steps of L-BFGS; `reachable` decreases are not looked at.
    """
    penalty, (columns, _) = float(problem.penalty[0]), start.intercept.shape

    def parameters(at: Vector) -> Parameters:
        narrow = at.astype(problem.Z.dtype).reshape(-1, columns, 1)
        return Parameters(narrow[:-1], narrow[-1])

    def objective(at: Vector) -> tuple[float, Vector]:
        value, gradient = loss.at(parameters(at))
        coef = at.reshape(gradient.shape)[:-1]
        gradient[:-1] += penalty * coef
        return value + 0.5 * penalty * float(np.square(coef).sum()), gradient.ravel()

    both = np.concatenate([start.coef[..., 0], start.intercept.T]).astype(np.float64)
    options = {"maxiter": stop.max_iter, "gtol": _FURTHER * stop.tol, "ftol": 0.0}
    result = minimize(objective, both.ravel(), jac=True, method="L-BFGS-B", options=options)
    return Solution(
        parameters(result.x),
        stop.size(parameters(result.jac)) <= stop.tol,
        np.array([result.nit]),
        np.array([result.fun]),
    )


class Blocked:
    """The loss of a head of two classes, by blocks of rows."""

    def __init__(self, problem: Problem) -> None:
        rows = max(_BLOCK // max(problem.Z[:1].nbytes, 1), 1)
        pieces = (slice(first, first + rows) for first in range(0, len(problem.Z), rows))
        self._parts = [problem.rows(piece) for piece in pieces]

    def at(self, here: Parameters) -> tuple[float, Vector]:
        """Compute the loss and its gradient, each block's sums in float64."""
        value, gradient = 0.0, np.zeros((len(here.coef) + 1, 1))
        for part in self._parts:
            P, loss = part.probabilities(part.logits(here))
            residual = part.residual(P)[:, 0, 0]
            value += float(loss[0])
            gradient[:-1, 0] += residual @ part.Z
            gradient[-1, 0] += residual.sum(dtype=np.float64)
        return value, gradient


class OnDevice:
    """The loss of a head of any number of classes, of data that lie on a GPU.

    Parameters
    ----------
    Z : tensor [n, r]
        Those of the problem, there.
    """

    def __init__(self, Z: Tensor, problem: Problem) -> None:
        self._Z, self._two = Z, problem.classes == 2
        self._codes = on_device(problem.codes, Z.device.type)
        self._weights = on_device(problem.weights[:, 0], Z.device.type)

    def at(self, here: Parameters) -> tuple[float, Vector]:
        """Compute the loss and its gradient; one copy there, and one back."""
        import torch
        from torch.nn import functional

        both = np.concatenate([here.coef[..., 0], here.intercept.T])
        at = on_device(both, self._Z.device.type)
        logits = torch.addmm(at[-1], self._Z, at[:-1])
        if self._two:
            there = self._codes[:, None].to(logits.dtype)
            loss = (functional.softplus(logits) - there * logits)[:, 0]
            residual = logits.sigmoid() - there
        else:
            loss = functional.cross_entropy(logits, self._codes, reduction="none")
            residual = logits.softmax(1) - functional.one_hot(self._codes, logits.shape[1])
        residual = residual * self._weights[:, None]
        value = (loss * self._weights).sum(dtype=torch.float64)
        slopes = residual.sum(0, keepdim=True, dtype=torch.float64)
        gradient = torch.cat([(self._Z.T @ residual).double(), slopes])
        found = torch.cat([value[None], gradient.flatten()]).cpu().numpy()
        return float(found[0]), found[1:].reshape(both.shape)


def on_device(values: Array | NDArray[np.intp], device: str) -> Tensor:
    """Copy an array to a device."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(values)).to(device)
