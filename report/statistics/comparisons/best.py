"""Which rows of a table are not separated from the best."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from frostline.cache.errors import InputError
from frostline.report.statistics.comparisons.compare import compare_methods
from frostline.report.statistics.comparisons.decisions import ALPHA, IDENTICAL
from frostline.report.statistics.comparisons.differences import Options
from frostline.report.statistics.comparisons.methods import Method
from frostline.report.statistics.metrics import find_metric
from frostline.report.statistics.names import ALIKE, ALONE

MARK_COLUMNS = ("dataset", "run", "mark", "why", "same")


def mark_best(
    methods: Sequence[Method], metric: str, *, replicates: int = 10_000, seed: int = 0
) -> pd.DataFrame:
    """Mark the best method of one data set, and those that are not separated from it.

    The family is all pairs of the data set, compared and adjusted as `compare` does.

    Returns
    -------
    DataFrame
        Columns `MARK_COLUMNS`, a row a marked method: `alone` for a best that is separated from
        all others, else `alike`; `same` where its predictions are the best's. Without marks one
        row whose `why` gives the reason.
    """
    dataset = methods[0].dataset
    if len(methods) < 2:
        return pd.DataFrame(columns=list(MARK_COLUMNS))
    try:
        compared = compare_methods(methods, Options(metric, replicates=replicates, seed=seed))
    except InputError:
        return _none(dataset, "not all runs were scored on the same images")
    values: dict[str, float] = {}
    for one in compared:
        assert one.found is not None
        values |= {one.a.name: one.found.estimate_a, one.b.name: one.found.estimate_b}
    sign = 1 if find_metric(metric).higher else -1
    names = [one.name for one in methods]
    best = names[int(np.nanargmax([sign * values[name] for name in names]))]
    close, same = {best}, {best}
    for one in compared:
        pair = {one.a.name, one.b.name}
        if best in pair and one.found is not None and not one.found.p_adjusted < ALPHA:
            close |= pair
            same |= pair if one.found.verdict == IDENTICAL else set()
    mark = ALIKE if len(close) > 1 else ALONE
    return pd.DataFrame(
        [(dataset, name, mark, "", name in same) for name in names if name in close],
        columns=list(MARK_COLUMNS),
    )


def _none(dataset: str, why: str) -> pd.DataFrame:
    return pd.DataFrame([(dataset, "", "", why, False)], columns=list(MARK_COLUMNS))
