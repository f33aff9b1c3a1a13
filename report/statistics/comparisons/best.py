"""Which rows of a table are not separated from the best, and how far the best is to be trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from frostline.cache.errors import InputError
from frostline.report.statistics.comparisons.compare import Comparison, compare_methods
from frostline.report.statistics.comparisons.contributions import Contributions, contributions
from frostline.report.statistics.comparisons.decisions import ALPHA, IDENTICAL
from frostline.report.statistics.comparisons.differences import Difference, Options
from frostline.report.statistics.comparisons.families import find_pairs
from frostline.report.statistics.comparisons.methods import Method
from frostline.report.statistics.metrics import Array, find_metric
from frostline.report.statistics.names import ALIKE, ALONE
from frostline.report.statistics.resampling.bootstrap import BLOCK_ELEMENTS, multinomial
from frostline.report.statistics.resampling.units import block_sizes

MARK_COLUMNS = (
    *("dataset", "run", "mark", "why", "same", "second", "needed"),
    *("methods", "rivals", "false_order", "optimism"),
)
ONE_CURVE = "depths of one backbone are compared in the answer"
# Fewer are not picked from.
FEWEST_PICKED_FROM = 3
OPTIMISM_REPLICATES = 2_000


def compare_all(
    methods: Sequence[Method], metric: str, *, replicates: int = 10_000, seed: int = 0
) -> list[Comparison]:
    """Compare all pairs of one data set, as `compare` does; none where images differ."""
    try:
        return compare_methods(methods, Options(metric, replicates=replicates, seed=seed))
    except InputError:
        return []


def mark_best(
    methods: Sequence[Method],
    metric: str,
    *,
    seed: int = 0,
    compared: Sequence[Comparison] | None = None,
) -> pd.DataFrame:
    """Mark the best method of one data set, and those that are not separated from it.

    The family is all pairs of the data set, compared and adjusted as `compare` does; the depths of
    one backbone are no rivals, because they are compared among themselves.

    Parameters
    ----------
    compared : sequence of Comparison, optional
        What `compare_all` returned for these methods, where it is at hand.

    Returns
    -------
    DataFrame
        Columns `MARK_COLUMNS`, a row a marked method: `alone` for a best that is separated from
        all others, else `alike`, "" where it was not compared with all; `same` where its
        predictions are the best's. `second` is the runner-up, `needed` how many units would
        separate the two (NaN where they are), `methods` how many there are and `rivals` how many
        the best was compared with, `false_order` and `optimism` what the functions say.
        Without marks one row whose `why` gives the reason.
    """
    dataset = methods[0].dataset
    if len(methods) < 2:
        return pd.DataFrame(columns=list(MARK_COLUMNS))
    if not find_pairs(methods, "pairs"):
        return _none(dataset, ONE_CURVE)
    compared = compare_all(methods, metric, seed=seed) if compared is None else compared
    if not compared:
        return _none(dataset, "not all runs were scored on the same images")
    found = {frozenset((one.a.name, one.b.name)): one.found for one in compared}
    ranked = _ranked(compared, metric)
    best = ranked[0]
    rivals = [name for name in ranked if frozenset((best, name)) in found]
    second = rivals[0]
    close, same = _close(best, found)
    nearest = found[frozenset((best, second))]
    assert nearest is not None
    names = [one.name for one in methods if one.name in close]
    about = {
        "dataset": dataset,
        # Of a backbone's depths a mark, or none, would say what was not asked here.
        "mark": _mark(close) if len(rivals) == len(methods) - 1 else "",
        "why": "",
        "second": second,
        "needed": nearest.groups_needed if nearest.verdict == "undecided" else np.nan,
        "methods": len(methods),
        "rivals": len(rivals),
        "false_order": false_order(nearest.p),
        "optimism": _optimism(compared, methods, metric, seed),
    }
    rows = [about | {"run": name, "same": name in same} for name in names]
    return pd.DataFrame(rows, columns=list(MARK_COLUMNS))


def _mark(close: set[str]) -> str:
    return ALIKE if len(close) > 1 else ALONE


def _close(
    best: str, found: Mapping[frozenset[str], Difference | None]
) -> tuple[set[str], set[str]]:
    """Find what is not separated from the best, and what has its very predictions."""
    close, same = {best}, {best}
    for pair, difference in found.items():
        assert difference is not None
        if best in pair and not difference.p_adjusted < ALPHA:
            close |= pair
            same |= pair if difference.verdict == IDENTICAL else set()
    return close, same


def false_order(p: float) -> float:
    """Give the probability that the order of two methods is false: half of their pair's p.

    One-sided p over all true differences is a confidence distribution (Xie and Singh 2013), and
    half of the two-sided p what it gives to those on the other side of 0. It is the probability of
    a false claim of Christodoulou et al. (2025, arXiv 2505.04720): of accuracy on single images
    their Dirichlet posterior gives half of McNemar's mid-p exactly, of means half of a paired t's.
    They have to take from elsewhere how often both methods are right; here it is in the data.
    """
    return p / 2


def optimism(
    values: Array, made: Contributions, replicates: int = OPTIMISM_REPLICATES, seed: int = 0
) -> float:
    """Estimate how much too good the best of several scores is, because it was picked.

    Bootstrap over units of all methods together (Efron 1983; Tsamardinos, Greasidou and
    Borboudakis 2018): in each replicate the best is picked again, and its score there is compared
    with its score in the sample. Of K equally good methods that is the true optimism divided by
    the root of 2, because the sample has spread them already: it is cautious.

    Parameters
    ----------
    values : float64 [K]
        The score of each method, where higher is better.
    made : Contributions
        Residuals and weights of each method [U, K], of the same scores.
    """
    rng = np.random.default_rng(seed)
    gained = []
    for size in block_sizes(replicates, BLOCK_ELEMENTS // len(made.counts)):
        drawn = multinomial(made.counts, size, rng).astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            moved = drawn @ made.residuals / (drawn @ made.weights)
        gained.append(moved[np.arange(size), np.argmax(values + moved, axis=1)])
    return float(np.mean(np.concatenate(gained)))


def _ranked(compared: Sequence[Comparison], metric: str) -> list[str]:
    """Give the names of the methods, best first; undefined scores last."""
    values: dict[str, float] = {}
    for one in compared:
        assert one.found is not None
        values |= {one.a.name: one.found.estimate_a, one.b.name: one.found.estimate_b}
    sign = -1 if find_metric(metric).higher else 1
    return sorted(values, key=lambda name: (np.isnan(values[name]), sign * values[name]))


def _optimism(
    compared: Sequence[Comparison], methods: Sequence[Method], metric: str, seed: int
) -> float:
    """Estimate the optimism of the best of these methods, each the mean over its seeds."""
    aligned = compared[0].aligned
    if len(methods) < FEWEST_PICKED_FROM or aligned is None:
        return float("nan")
    made, values = contributions(aligned.paired, metric), aligned.paired.estimates(metric)
    ends = np.cumsum([0, *(len(one.runs) for one in methods)])
    places = [slice(*ends[i : i + 2]) for i in range(len(methods))]
    sign = 1 if find_metric(metric).higher else -1
    means = Contributions(
        sign * np.stack([made.residuals[:, one].mean(1) for one in places], axis=1),
        np.stack([made.weights[:, one].mean(1) for one in places], axis=1),
        made.counts,
    )
    return optimism(np.array([sign * values[one].mean() for one in places]), means, seed=seed)


def _none(dataset: str, why: str) -> pd.DataFrame:
    row = {"dataset": dataset, "run": "", "mark": "", "why": why, "same": False, "second": ""}
    return pd.DataFrame([row], columns=list(MARK_COLUMNS))
