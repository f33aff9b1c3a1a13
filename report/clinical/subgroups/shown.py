"""The subgroups that a page shows: of the best methods of a data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from frostline.cache.errors import InputError
from frostline.report.clinical.subgroups.columns import Asked, find_column, make_subgroups
from frostline.report.statistics.comparisons.methods import Method
from frostline.report.statistics.metrics import find_metric
from frostline.report.statistics.sample import Scored


def chosen_runs(
    methods: Sequence[Method], estimates: Mapping[str, float], metric: str
) -> list[Scored]:
    """Choose the best frozen and the best fine-tuned method, else the two best: a run of each.

    Parameters
    ----------
    estimates : mapping
        The metric of each method, by its name.
    """
    ranked = sorted(
        methods, key=lambda one: estimates[one.name], reverse=find_metric(metric).higher
    )
    ways = [str(one.meta.get("unfreeze")) == "none" for one in ranked]
    if len(set(ways)) == 2:
        ranked = [ranked[place] for place in sorted((ways.index(True), ways.index(False)))]
    return [one.runs[0] for one in ranked[:2]]


def known_columns(
    scored: Scored, asked: Sequence[Asked]
) -> tuple[list[Asked], pd.DataFrame, list[str]]:
    """Take the columns that a data set has.

    Returns
    -------
    known : list of Asked
    values : DataFrame
        Of each the number of each row's subgroup, by the name of the row.
    missing : list of str
        A sentence for each that it has not, or that cannot be cut so.
    """
    run, sample = scored
    known, values, missing = [], {}, []
    for one in asked:
        try:
            _, values[one.name] = make_subgroups(find_column(run, sample, one), one)
            known.append(one)
        except InputError as error:
            missing.append(str(error))
    return known, pd.DataFrame(values, index=sample.ids if known else None), missing
