"""Rules that choose a threshold, and the thresholds that they choose.

A row is called positive where its probability is at least the threshold, as in scikit-learn's
`roc_curve`, and a chosen threshold is the probability of a row itself, none between two. Above all
of them, at infinity, nothing is called. Of thresholds that are equally good the highest is taken.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from frostline.cache.errors import InputError
from frostline.report.statistics.metrics import Array

YOUDEN, FIXED = "youden", "fixed"
# What a rule wants, with an example for sentences.
WANTED = {"sensitivity": "sensitivity=0.95", "specificity": "specificity=0.9", "cost": "cost=5"}
FORMS = f"{YOUDEN}, {', '.join(WANTED.values())} or a number from 0 to 1"
# What differs less is rounding, of counts and of their products.
ROUNDING, DECIMALS = 1e-9, 6


@dataclass(frozen=True)
class Rule:
    """How a threshold is chosen.

    Attributes
    ----------
    kind : str
        "youden", "sensitivity", "specificity", "cost" or "fixed".
    value : float
        What is wanted; the cost of a missed positive in false calls; the threshold itself.
    """

    kind: str
    value: float = math.nan

    @property
    def is_fixed(self) -> bool:
        """Whether the threshold was given, so that nothing is chosen."""
        return self.kind == FIXED

    @property
    def text(self) -> str:
        """What was typed."""
        return {YOUDEN: YOUDEN, FIXED: f"{self.value:g}"}.get(
            self.kind, f"{self.kind}={self.value:g}"
        )

    def gain(self, true: Array, false: Array, prevalence: float | None) -> Array:
        """Say how good each threshold is, from what it calls: [R, C], for comparison in a row.

        - youden: sensitivity + specificity - 1 (Youden 1950).
        - sensitivity: the specificity, of thresholds whose sensitivity is at least the value.
        - specificity: the sensitivity, of thresholds whose specificity is at least the value.
        - cost: minus the expected cost of a case in false calls, c π (1 - sensitivity) +
          (1 - π) (1 - specificity), with prevalence π and cost c (Metz 1978; Zweig and Campbell
          1993).

        Each is multiplied by the numbers of positives and others where that spares a division, and
        so equal ones are equal to the last digit.

        Parameters
        ----------
        true, false : float64 [R, C]
            Positives and others that are called at each threshold, from none to all of them.
        prevalence : float, optional
            Of rule "cost"; that of the rows if not given.
        """
        positives, others = true[:, -1:], false[:, -1:]
        if self.kind == "sensitivity":
            return np.where(true >= self.value * positives - ROUNDING, -false, -np.inf)
        if self.kind == "specificity":
            return np.where(false <= (1 - self.value) * others + ROUNDING, true, -np.inf)
        if self.kind == "cost" and prevalence is None:
            return np.round(self.value * true - false, DECIMALS)
        if self.kind == "cost" and prevalence is not None:
            odds = self.value * prevalence / (1 - prevalence)
            return np.round(odds * others * true - positives * false, DECIMALS)
        return true * others - false * positives


def parse_rule(given: str | float) -> Rule:
    """Read a rule: `youden`, `sensitivity=0.95`, `specificity=0.9`, `cost=5`, or a threshold.

    Raises
    ------
    InputError
        If it is none of them, or a value cannot be.
    """
    text = str(given).strip()
    kind, sign, value = text.partition("=")
    if text == YOUDEN:
        return Rule(YOUDEN)
    if sign and kind in WANTED:
        number, most = _number(value), math.inf if kind == "cost" else 1.0
        if not (0 < number <= most and number < math.inf):
            limits = "above 0" if kind == "cost" else "above 0 and at most 1"
            raise InputError(f"--threshold {text}: {kind} must be a number {limits}: correct it.")
        return Rule(kind, number)
    number = _number(text)
    if not 0 <= number <= 1:
        raise InputError(f"--threshold is {FORMS}, not {text!r}: give one of them.")
    return Rule(FIXED, number)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


class Candidates:
    """Every threshold that rows allow.

    Attributes
    ----------
    thresholds : float64 [C]
        Infinity, then every probability that a row has, from the highest down.
    """

    def __init__(self, positive: npt.NDArray[np.bool_], score: Array) -> None:
        order = np.argsort(-score, kind="stable")
        self._order, self._positive = order, positive[order]
        ends = np.append(np.diff(score[order]) != 0, True) if len(order) else np.zeros(0, bool)
        self._ends = np.flatnonzero(ends)
        self.thresholds = np.r_[np.inf, score[order][self._ends]]

    def called(self, weights: Array) -> tuple[Array, Array]:
        """Sum the weights [R, n] of positives and of others at each threshold: [R, C] each."""
        rows, nothing = weights[:, self._order], np.zeros((len(weights), 1))
        every, true = (
            np.concatenate([nothing, np.cumsum(part, axis=1)[:, self._ends]], axis=1)
            for part in (rows, rows * self._positive)
        )
        return true, every - true

    def choose(self, rule: Rule, weights: Array, prevalence: float | None = None) -> Array:
        """Choose a threshold for each weighting of the rows.

        Parameters
        ----------
        weights : float64 [R, n]
            One row a weighting: all 1, or how often a replicate drew each row.

        Returns
        -------
        float64 [R]
            NaN where positives or others are missing.
        """
        true, false = self.called(weights)
        best = rule.gain(true, false, prevalence).argmax(1)
        both = (true[:, -1] > 0) & (false[:, -1] > 0)
        return np.where(both, self.thresholds[best], np.nan)
