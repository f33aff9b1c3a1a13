"""Which rows of a table are not told apart from the best."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from frostline.cache.errors import InputError
from frostline.report.statistics.comparisons.align import align
from frostline.report.statistics.comparisons.comparison import ALPHA
from frostline.report.statistics.comparisons.multiplicity import max_t
from frostline.report.statistics.comparisons.paired import Swaps, swap_units
from frostline.report.statistics.methods import Method
from frostline.report.statistics.metrics import find_metric, of_probabilities

ALONE, ALIKE = "alone", "alike"
REPLICATES = 10_000
MARK_COLUMNS = ("dataset", "run", "mark", "why")


def mark_best(
    methods: Sequence[Method], metric: str, *, replicates: int = REPLICATES, seed: int = 0
) -> pd.DataFrame:
    """The best method of one data set, and those that all-pairs max-T does not separate from it.

    Predictions of whole units are swapped between two methods, for all their seeds at once, and
    the means over seeds are compared; the family is all pairs of the data set.

    Returns
    -------
    DataFrame
        Columns `MARK_COLUMNS`, a row a marked method: `alone` for a best that is separated from
        all others, else `alike`. Without marks one row whose `why` says the reason.
    """
    dataset = methods[0].dataset
    if len(methods) < 2:
        return pd.DataFrame(columns=list(MARK_COLUMNS))
    seeds = {len(method.runs) for method in methods}
    if of_probabilities(metric):
        return _none(dataset, f"{find_metric(metric).title} is not compared over all pairs")
    if len(seeds) > 1:
        return _none(dataset, "methods have different numbers of seeds")
    try:
        aligned = align([run for method in methods for run in method.runs])
    except InputError:
        return _none(dataset, "not all runs were scored on the same images")
    n_seeds, pairs = seeds.pop(), list(combinations(range(len(methods)), 2))
    runs = [(a * n_seeds + s, b * n_seeds + s) for s in range(n_seeds) for a, b in pairs]
    swaps = swap_units(aligned.paired, metric, runs, replicates, np.random.default_rng(seed))
    shape = (n_seeds, len(pairs), -1)
    p = max_t(Swaps(
        swaps.observed.reshape(shape[:2]).mean(0), swaps.swapped.reshape(shape).mean(0),
        swaps.complete, swaps.n_differing.reshape(shape[:2]).max(0),
    ))  # fmt: skip
    values = aligned.paired.values(metric, aligned.paired.totals).reshape(-1, n_seeds).mean(1)
    best = int(np.nanargmax(values if find_metric(metric).higher else -values))
    close = {best} | {
        b if a == best else a
        for (a, b), value in zip(pairs, p, strict=True) if best in (a, b) and value >= ALPHA
    }  # fmt: skip
    mark = ALIKE if len(close) > 1 else ALONE
    return pd.DataFrame(
        [(dataset, methods[i].name, mark, "") for i in sorted(close)], columns=list(MARK_COLUMNS)
    )


def _none(dataset: str, why: str) -> pd.DataFrame:
    return pd.DataFrame([(dataset, "", "", why)], columns=list(MARK_COLUMNS))
