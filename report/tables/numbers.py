"""Numbers as text: shares in percent, what has no highest value as it is, and p-values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from frostline.cache.tables.words import counted, minus
from frostline.report.notes import missing
from frostline.report.statistics.comparisons.decisions import ALPHA, IDENTICAL
from frostline.report.statistics.metrics import find_metric
from frostline.report.statistics.names import NONE
from frostline.report.tables.table import Cell

MOST_DECIMALS = 7


def percent(value: float, decimals: int = 1) -> str:
    """Write a fraction in percent, without the sign."""
    return NONE if pd.isna(value) else minus(f"{100 * value:.{decimals}f}")


def is_share(metric: str) -> bool:
    """Say whether percent means something: what has no highest value is no share."""
    return find_metric(metric).bounds is not None


def unit_of(metric: str) -> float:
    """Give what a value of a metric is multiplied by where it is drawn: shares are in percent."""
    return 100.0 if is_share(metric) else 1.0


def number(value: float, metric: str, decimals: int = 1, sign: str = "") -> str:
    """Write a value of a metric: shares in percent, others with two more decimals.

    `sign` is that of `format`: "+" for signs of both kinds.
    """
    if pd.isna(value):
        return NONE
    value += 0.0  # no minus before nothing
    text = (
        f"{100 * value:{sign}.{decimals}f}"
        if is_share(metric)
        else f"{value:{sign}.{decimals + 2}f}"
    )
    return minus(text)


def score_cell(row: Mapping[Any, Any], decimals: int = 1, mark: str = "") -> Cell:
    """Write the estimate of a row of `evaluate`, with its interval or the reason why not."""
    metric, bounds, why = row["metric"], ("", ""), ""
    if pd.isna(row["low"]):
        why = missing(row["notes"])
    else:
        bounds = (number(row["low"], metric, decimals), number(row["high"], metric, decimals))
    value = float(row["estimate"])
    return Cell(number(value, metric, decimals), why, *bounds, mark, value)


def bounds_shown(row: Mapping[Any, Any]) -> tuple[float, float]:
    """Give the interval that a comparison's verdict rests on: of equivalence that of 90%."""
    kind = "equivalence_" if row["verdict"] == "equivalent" else ""
    return float(row[f"{kind}low"]), float(row[f"{kind}high"])


def difference_cell(row: Mapping[Any, Any]) -> Cell:
    """Write the difference of a row of a comparison, in points, with its interval."""
    metric, bounds = row["metric"], ("", "")
    low, high = bounds_shown(row)
    if not pd.isna(low):
        bounds = (bound_word(low, metric), bound_word(high, metric))
    # Of identical predictions the verdict says why.
    why = missing(row["notes"]) if pd.isna(low) and row["verdict"] != IDENTICAL else ""
    text = number(row["difference"], metric, sign="+")
    return Cell(text, why, *bounds, value=float(row["difference"]))


def bound_word(value: float, metric: str, sign: str = "+") -> str:
    """Write an end of an interval of a difference: never 0 if it is not."""
    texts = (number(value, metric, decimals, sign) for decimals in range(1, MOST_DECIMALS))
    return next((text for text in texts if text.strip("+0.\N{MINUS SIGN}") or value == 0), "0")


def sizes_words(row: Mapping[Any, Any]) -> str:
    """Count the units and images of a row of `evaluate` or `compare`, behind its data set."""
    name = f"{row['dataset']}: " if row["dataset"] else ""
    units = f"{counted(row['n_units'], 'group')} of " if row["unit"] == "group" else ""
    return f"{name}{units}{counted(row['n_images'], 'image')}"


def points_word(difference: float, metric: str) -> str:
    """Write a size of a difference without its sign: points, of shares."""
    if not is_share(metric):
        return f"{difference:g}"
    points = 100 * difference
    return f"{points:g} point{'s' * (points != 1)}"


def margin_words(row: Mapping[Any, Any]) -> str:
    """Write the margin of a row of a comparison: points, of shares."""
    return points_word(row["margin"], row["metric"])


def p_word(p: float) -> str:
    """Write a p-value as papers print it; a dash where nothing was tested."""
    if pd.isna(p):
        return NONE
    if p < ALPHA and f"{p:.3f}" == f"{ALPHA:.3f}":
        return f"< {ALPHA:g}"  # what is decided never looks as if it were not
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def extent(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Give the lowest and the highest value that is known; 0 and 1 where none is."""
    known = values[np.isfinite(values)]
    return (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
