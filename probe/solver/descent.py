"""Many logistic heads over one matrix by L-BFGS, all of them in each matrix product.

L-BFGS (Nocedal, 1980) with a good preconditioner: instead of a multiple of the identity its
recursion starts from curvature that is easy to invert, and learns only what that leaves out. Logits
are linear in the parameters, so that the logits of a step come from one product, and searching
along it costs none: a step is two products with the data, whatever its length.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from frostline.probe.solver.preconditioner import Turned
from frostline.probe.solver.problem import (
    Array,
    Chosen,
    Index,
    Parameters,
    Problem,
    Solution,
    Stop,
    Vector,
)

# Steps that are remembered: with the preconditioner, more gain nothing.
_MEMORY = 6
# The preconditioner is made again after so many steps: curvature falls as heads grow sure.
_RENEW = 5

# Heads that are done are taken out when they are this part of those that are left.
_DONE = 0.1


@dataclass
class _Memory:
    """Latest steps of every head, the change of gradient along each, and 1 over their product."""

    steps: list[Parameters] = field(default_factory=list)
    changes: list[Parameters] = field(default_factory=list)
    rates: list[Vector] = field(default_factory=list)
    gamma: Vector | float = 1.0

    def direction(self, gradient: Parameters, preconditioner: Turned) -> Parameters:
        """Give minus the inverse Hessian, as far as it is known, times the gradient."""
        out = Parameters(-gradient.coef, -gradient.intercept)
        shares = []
        for step, change, rate in self._latest_first():
            shares.append(rate * step.dot(out))
            out.add(-shares[-1], change)
        out = preconditioner.apply(out)
        out.scale(np.asarray(self.gamma))
        for (step, change, rate), share in zip(
            reversed(self._latest_first()), reversed(shares), strict=True
        ):
            out.add(share - rate * change.dot(out), step)
        return out

    def learn(self, step: Parameters, change: Parameters, turned: Vector) -> None:
        """Remember a step; `turned` [h] is the squared change of gradient, preconditioned."""
        bend = step.dot(change)
        known = (bend > 0) & (turned > 0)
        rate = np.where(known, 1 / np.where(known, bend, 1), 0)
        # How far the preconditioner itself is off along the latest step.
        self.gamma = np.where(known, bend / np.where(known, turned, 1), self.gamma)
        self.steps = [*self.steps, step][-_MEMORY:]
        self.changes = [*self.changes, change][-_MEMORY:]
        self.rates = [*self.rates, rate][-_MEMORY:]

    def forget(self, heads: NDArray[np.bool_]) -> None:
        for rate in self.rates:
            rate[heads] = 0

    def take(self, heads: Chosen) -> _Memory:
        return _Memory(
            [one.take(heads) for one in self.steps],
            [one.take(heads) for one in self.changes],
            [one[heads] for one in self.rates],
            self.gamma if isinstance(self.gamma, float) else self.gamma[heads],
        )

    def _latest_first(self) -> list[tuple[Parameters, Parameters, Vector]]:
        return list(zip(self.steps, self.changes, self.rates, strict=True))[::-1]


@dataclass
class _State:
    """Heads that are not done: `live` int [h] are their places, the rest where each is."""

    live: Index
    problem: Problem
    preconditioner: Turned
    at: Parameters
    logits: Array
    value: Vector
    gradient: Parameters
    turned: Parameters  # the inverse preconditioner times the gradient
    stalled: NDArray[np.bool_]
    memory: _Memory = field(default_factory=_Memory)

    @classmethod
    def begin(cls, problem: Problem, power: Vector, start: Parameters) -> _State:
        at = Parameters(start.coef.copy(), start.intercept.copy())
        logits = problem.logits(at)
        P, loss = problem.probabilities(logits)
        value = loss + 0.5 * problem.penalty * at.dot_coef(at)
        preconditioner, heads = Turned.at(power, problem, P), len(problem.penalty)
        gradient = problem.gradient(problem.residual(P), at)
        turned, stalled = preconditioner.apply(gradient), np.zeros(heads, bool)
        places = np.arange(heads)
        return cls(places, problem, preconditioner, at, logits, value, gradient, turned, stalled)

    def take(self, heads: NDArray[np.bool_]) -> _State:
        return _State(
            self.live[heads],
            self.problem.take(heads),
            self.preconditioner.take(heads),
            self.at.take(heads),
            self.logits[..., heads],
            self.value[heads],
            self.gradient.take(heads),
            self.turned.take(heads),
            self.stalled[heads],
            self.memory.take(heads),
        )

    def decrement(self) -> Vector:
        """Give twice the decrease that the preconditioner expects to be left."""
        return self.gradient.dot(self.turned) * self.memory.gamma

    def step(self, power: Vector | None) -> NDArray[np.bool_]:
        """Move every head; say which could not. With `power`, the preconditioner is made again."""
        direction = self.memory.direction(self.gradient, self.preconditioner)
        moved = self.problem.logits(direction)
        length, P, self.value = _search(self, direction, moved)
        moved *= length.astype(moved.dtype)
        self.logits += moved
        direction.scale(length)
        self.at.add(np.ones(1), direction)
        before, turned = self.gradient, self.turned
        if power is not None:
            self.preconditioner = Turned.at(power, self.problem, P)
            turned = self.preconditioner.apply(before)
        self.gradient = self.problem.gradient(self.problem.residual(P), self.at)
        self.turned = self.preconditioner.apply(self.gradient)
        change = self.gradient.minus(before)
        self.memory.learn(direction, change, change.dot(self.turned.minus(turned)))
        stalled = length == 0
        self.memory.forget(stalled)
        stuck = stalled & self.stalled
        self.stalled = stalled
        return stuck


def descend(
    problem: Problem,
    power: Vector,
    start: Parameters,
    stop: Stop,
) -> Solution:
    """Fit all heads of a problem, dropping each when it converges.

    Parameters
    ----------
    problem, start
        What to minimise and where to begin, on orthogonal columns (see `rotation`).
    power : float64 [r]
        Mean square of each column.
    stop : Stop
    """
    found = Solution.begin(start)
    state = _State.begin(problem, power, start)
    stuck = np.zeros(len(problem.penalty), bool)
    for number in range(stop.max_iter + 1):
        small = state.decrement() <= state.problem.reachable(state.value, stop.tol)
        converged = stop.done(state.gradient, small)
        found.converged[state.live], found.value[state.live] = converged, state.value
        over = converged | stuck
        last = over.all() or number == stop.max_iter
        if last or over.mean() >= _DONE:
            found.at.put(state.live, state.at)
            if last:
                break
            state = state.take(~over)
        found.steps[state.live] += 1
        stuck = state.step(power if number % _RENEW == _RENEW - 1 else None)
    return found


def _search(state: _State, direction: Parameters, moved: Array) -> tuple[Vector, Array, Vector]:
    """Lengths [h] of steps along a direction, and P and the objective there.

    The whole step first; where the slope at its end is not small, the length that a parabola
    through both slopes has its minimum at; from there halved until the objective decreases.
    """
    problem, value = state.problem, state.value
    slope = state.gradient.dot(direction)
    square, cross = direction.dot_coef(direction), state.at.dot_coef(direction)
    slack = 8 * float(np.finfo(moved.dtype).eps) * (np.abs(value) + 0.1)
    base = state.at.dot_coef(state.at)
    length = np.ones(len(value))
    P, loss = problem.probabilities(state.logits + moved)
    end = problem.slope(P, moved) + problem.penalty * (cross + square)

    def worse() -> NDArray[np.bool_]:
        return np.asarray(~(reached <= value + 1e-4 * length * slope + slack), dtype=bool)

    reached = loss + 0.5 * problem.penalty * (base + 2 * cross + square)
    again = worse() | (np.abs(end) > 0.5 * np.abs(slope))
    bend = end - slope
    ratio = np.where(bend > 0, -slope / np.where(bend > 0, bend, 1), 4)
    length = np.where(again, np.clip(np.nan_to_num(ratio, nan=0.1), 0.1, 4), 1)
    while again.any():
        some = np.flatnonzero(again)
        part = problem.take(some)
        logits = state.logits[..., some] + length[some].astype(moved.dtype) * moved[..., some]
        P[..., some], loss[some] = part.probabilities(logits)
        reached = loss + 0.5 * problem.penalty * (base + length * (2 * cross + length * square))
        again = worse() & (length > 0)
        length[again] = np.where(length[again] > 1e-8, length[again] / 2, 0)
    return length, P, reached
