"""Methods: runs that differ in their seed alone are one row of a paper's table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from frostline.cache.errors import InputError
from frostline.report.statistics.evaluation import COLUMNS, MAJORITY_HEAD, Scored, tabulate
from frostline.report.statistics.sample import Sample
from frostline.report.statistics.seeds import method_key, over_seeds

POOLED = "jackknife-t of the mean over seeds"


@dataclass(frozen=True)
class Method:
    """The runs of one method on one data set, one a seed; named by the first of them."""

    runs: tuple[Scored, ...]

    @property
    def name(self) -> str:
        """Name of the first run."""
        return self.runs[0][0].run

    @property
    def meta(self) -> dict[str, Any]:
        """Metadata of the first run."""
        return self.runs[0][0].meta

    @property
    def dataset(self) -> str:
        """The data set, empty where the file does not say."""
        return str(self.meta["dataset"] or "")

    @property
    def sample(self) -> Sample:
        """What is scored of the first run."""
        return self.runs[0][1]

    @property
    def confusion(self) -> npt.NDArray[np.int64]:
        """Counts summed over seeds, [K, K], rows truth."""
        return np.asarray(sum(sample.confusion for _, sample in self.runs))


def group_methods(scored: Sequence[Scored]) -> list[Method]:
    """The methods of runs, in the order in which they first occur; seeds of other test sets apart.

    The majority class is no method.
    """
    kin: dict[tuple[str, ...], list[Scored]] = {}
    for run, sample in scored:
        if run.meta["head"] != MAJORITY_HEAD:
            ids = "" if sample.ids is not None else run.run
            kin.setdefault((*method_key(run), sample.test_set, ids), []).append((run, sample))
    return [Method(tuple(runs)) for runs in kin.values()]


def tabulate_methods(
    methods: Sequence[Method],
    metrics: Sequence[str],
    options: dict[str, Any],
    scoring: dict[str, Any],
) -> pd.DataFrame:
    """One row a method and metric, in the columns of `evaluate` and `n_seeds`, `seeds`.

    Of several seeds the mean with both variances (`over_seeds`), of one seed what `evaluate` gives.

    Parameters
    ----------
    options : dict
        `ci`, `replicates`, `seed`, `stratified` of `evaluate`.
    scoring : dict
        `split`, `unit`, `aggregate` of `evaluate`.
    """
    parts = []
    for method in methods:
        if len(method.runs) == 1:
            part = tabulate(method.runs, metrics=metrics, **options)[0].assign(
                n_seeds=1, seeds=_seeds(method)
            )
            parts.append(part[part["head"] != MAJORITY_HEAD])
            continue
        part = over_seeds([run for run, _ in method.runs], metrics=metrics, **scoring)
        parts.append(part.fillna({"weights": "", "candidates": ""}).assign(
            split=method.sample.split, method=POOLED, replicates=0, seed=0, run_seed=None,
            seeds=_seeds(method),
        ))  # fmt: skip
    if not parts:
        raise InputError("there are no runs to tabulate; give at least one.")
    return pd.concat([part[[*COLUMNS, "n_seeds", "seeds"]].astype(object) for part in parts],
                     ignore_index=True)  # fmt: skip


def _seeds(method: Method) -> str:
    return ", ".join(str(run.meta["seed"]) for run, _ in method.runs)
