"""Metrics of a user's own: functions of truth, prediction and probabilities, known by name."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from frostline.cache.errors import InputError
from frostline.report.statistics.metrics import OWN_METRICS, Array, Codes

CALLS_AT_ONCE = 100  # resampled test sets that are held at once


@dataclass(frozen=True)
class Answers:
    """What a user's function is given.

    Attributes
    ----------
    truth, prediction : object [n]
        Names of classes.
    probs : float64 [n, K] or None
        Probabilities, one column a class in the order of the class list.
    """

    truth: npt.NDArray[np.object_]
    prediction: npt.NDArray[np.object_]
    probs: Array | None

    def score(self, name: str) -> float:
        """Call the function of this name.

        Raises
        ------
        InputError
            If it fails.
        """
        try:
            return float(OWN_METRICS[name](self.truth, self.prediction, self.probs))
        except Exception as error:
            raise InputError(
                f"Your metric {name} failed: {type(error).__name__}: {error}."
            ) from error

    def score_rows(self, name: str, rows: Codes) -> float:
        """Call it on some rows, with repetitions; NaN where it raises ValueError."""
        probs = None if self.probs is None else self.probs[rows]
        try:
            return float(OWN_METRICS[name](self.truth[rows], self.prediction[rows], probs))
        except ValueError:
            return float("nan")


def number_units(groups: Codes | None, n: int) -> tuple[Codes, int]:
    """Number units in the order of their first rows: the unit of each row [n], and how many."""
    if groups is None:
        return np.arange(n), n
    _, first, member = np.unique(groups, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[member].astype(np.int64), len(first)
