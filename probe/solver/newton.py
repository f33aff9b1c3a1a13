"""Many logistic heads over one matrix by Newton's method: for what L-BFGS in float32 cannot finish.

A Newton step solves `H d = -g` by preconditioned conjugate gradients. One product of a head's
Hessian with a vector is two products with the data, shared by all heads. Logits are linear in the
parameters, so the step's logits come out of the conjugate gradients, and searching along the step
costs no product at all. Badly scaled and separable data take hundreds of steps of
L-BFGS, but few of these.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from frostline.probe.solver.preconditioner import Turned
from frostline.probe.solver.problem import Array, Parameters, Problem, Solution, Stop, Vector


def minimise(problem: Problem, power: Vector, start: Parameters, stop: Stop) -> Solution:
    """Minimise all heads of a problem by Newton's method, dropping each when it converges.

    Parameters
    ----------
    problem, start
        On orthogonal columns (see `rotation`).
    power : float64 [r]
        Mean square of each column.
    stop : Stop
    """
    heads, found = len(problem.penalty), Solution.begin(start)
    live, at = np.arange(heads), Parameters(start.coef.copy(), start.intercept.copy())
    logits = problem.logits(at)
    eps = float(np.finfo(logits.dtype).eps)
    P, loss = problem.probabilities(logits)
    value = loss + 0.5 * problem.penalty * at.dot_coef(at)
    stuck, last = np.zeros(heads, bool), np.full(heads, np.inf)
    for _ in range(stop.max_iter + 1):
        gradient = problem.gradient(problem.residual(P.copy()), at)
        preconditioner = Turned.at(power, problem, P)
        decrement = gradient.dot(preconditioner.apply(gradient))
        limit = problem.reachable(value, stop.tol)
        done = stop.done(gradient, decrement <= limit)
        # Newton's steps no longer gain, and what is left is below rounding: that is the minimum.
        idle = (decrement > 0.5 * last) | (found.steps[live] > 50)
        done |= (decrement <= eps) & (idle | stuck)
        found.at.put(live, at)
        found.value[live], found.converged[live] = value, done
        keep = ~(done | stuck)
        if not keep.any():
            break
        if not keep.all():
            live, at, logits, P = live[keep], at.take(keep), logits[..., keep], P[..., keep]
            problem, gradient = problem.take(keep), gradient.take(keep)
            preconditioner = preconditioner.take(keep)
            decrement, value, limit = decrement[keep], value[keep], limit[keep]
        found.steps[live] += 1
        last = decrement
        # Loose while far (the quadratic model is not worth more), tight where it ends the fit.
        target = np.minimum(0.1 * decrement, np.maximum(10 * decrement**2, limit))
        step, moved = conjugate_gradients(problem, P, preconditioner, gradient, target)
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
    before, square, cross = at.dot_coef(at), step.dot_coef(step), 2 * at.dot_coef(step)
    while True:
        P, loss = problem.probabilities(logits + length * moved)
        squared = before + length * cross + length**2 * square
        reached = loss + 0.5 * problem.penalty * squared
        worse = reached > value + 1e-4 * length * slope + slack * (np.abs(value) + 0.1)
        worse &= length > 1e-10
        if not worse.any():
            break
        length[worse] /= 2
    logits += length * moved
    at.add(length, step)
    return P, reached, length <= 1e-10


def conjugate_gradients(
    problem: Problem,
    P: Array,
    preconditioner: Turned,
    gradient: Parameters,
    target: Vector,
    max_iter: int = 500,
) -> tuple[Parameters, Array]:
    """Find steps d with `H d = -gradient`, to a squared, preconditioned residual of `target`.

    Returns the steps and the logits `Z d` that belong to them, [n, k, h].
    """
    step = Parameters(np.zeros_like(gradient.coef), np.zeros_like(gradient.intercept))
    moved = np.zeros_like(P)
    live = np.arange(len(target))
    residual = Parameters(-gradient.coef, -gradient.intercept)
    along = preconditioner.apply(residual)
    size = residual.dot(along)
    mine, my_moved = step, moved
    for _ in range(max_iter):
        logits = problem.logits(along)
        curved = problem.curve(P, logits, along)
        bend = along.dot(curved)
        length = np.where((size > target) & (bend > 0), size / np.where(bend > 0, bend, 1), 0)
        mine.add(length, along)
        logits *= length
        my_moved += logits
        residual.add(-length, curved)
        turned = preconditioner.apply(residual)
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
            problem, P, preconditioner = (
                problem.take(going),
                P[..., going],
                preconditioner.take(going),
            )
            mine, my_moved = mine.take(going), my_moved[..., going]
            along, residual = along.take(going), residual.take(going)
    step.put(live, mine)
    moved[..., live] = my_moved
    return step, moved
