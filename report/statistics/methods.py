"""Methods: runs that differ in their seed alone are one row of a paper's table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from frostline.cache.errors import InputError
from frostline.report.statistics.comparisons.methods import Method
from frostline.report.statistics.evaluation import COLUMNS, tabulate
from frostline.report.statistics.names import MAJORITY_HEAD
from frostline.report.statistics.seeds import over_seeds


def tabulate_methods(
    methods: Sequence[Method],
    metrics: Sequence[str],
    options: dict[str, Any],
) -> pd.DataFrame:
    """Make one row a method and metric, in the columns of `evaluate` and `n_seeds`, `seeds`.

    Of several seeds the mean with both variances (`over_seeds`), of one seed what `evaluate` gives.

    Parameters
    ----------
    options : dict
        `ci`, `replicates`, `seed`, `stratified` of `evaluate`.
    """
    parts = []
    for method in methods:
        if len(method.runs) == 1:
            part = tabulate(method.runs, metrics=metrics, **options)[0].assign(
                n_seeds=1, seeds=_seeds(method)
            )
            parts.append(part[part["head"] != MAJORITY_HEAD])
            continue
        part = over_seeds(method.runs, metrics=metrics, **options)
        parts.append(
            part.fillna({"weights": "", "candidates": ""}).assign(
                split=method.sample.split,
                seed=options.get("seed", 0),
                run_seed=None,
                seeds=_seeds(method),
            )
        )
    if not parts:
        raise InputError("There are no runs to tabulate: give at least one.")
    return pd.concat(
        [part[[*COLUMNS, "n_seeds", "seeds"]].astype(object) for part in parts], ignore_index=True
    )


def _seeds(method: Method) -> str:
    return ", ".join(str(run.meta["seed"]) for run, _ in method.runs)
