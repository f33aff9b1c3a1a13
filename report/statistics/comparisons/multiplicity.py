"""Several tests of one family: p-values that keep the chance of any false alarm at 5%."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from frostline.report.statistics.comparisons.swaps import TIE, Swaps
from frostline.report.statistics.metrics import Array


def holm(p_values: npt.ArrayLike) -> Array:
    """Adjust by Holm's (1979) step-down: valid whatever depends on what."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    out = np.empty_like(p)
    out[order] = np.minimum(stepped, 1)
    return out


def max_t(swaps: Swaps) -> Array:
    """Adjust by step-down max-T over all pairs, by the pairs' joint law: [P].

    Westfall and Young (1993); that stepping down keeps the error rate with resampling is Romano
    and Wolf's (2005). The same units are swapped in every pair, which keeps how the differences
    hang together, so that alike runs cost less than with Holm. Each difference is in units of its
    own spread over swaps.
    """
    undefined = np.isnan(swaps.swapped)
    spread = np.sqrt((np.where(undefined, 0, swaps.swapped) ** 2).mean(1))
    scale = np.where(spread > 0, spread, 1.0)
    # Where the metric is undefined, the arrangement counts against a difference.
    observed = np.nan_to_num(np.abs(swaps.observed)) / scale
    drawn = np.where(undefined, np.inf, np.abs(swaps.swapped)) / scale[:, None]
    order = np.argsort(-observed, kind="stable")
    # The largest of this pair and of those after it, for each arrangement.
    largest = np.maximum.accumulate(drawn[order][::-1], axis=0)[::-1]
    reached = (largest >= observed[order][:, None] - TIE).sum(1)
    total = drawn.shape[1]
    p = reached / total if swaps.complete else (reached + 1) / (total + 1)
    out = np.empty_like(p)
    out[order] = np.minimum(np.maximum.accumulate(p), 1)
    return out
