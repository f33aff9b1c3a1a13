"""The sweeps of a study as tables beside its report."""

from __future__ import annotations

import numpy as np
import pandas as pd

from frostline.cache import Workspace, atomic_write
from frostline.study.file import Study
from frostline.study.plan import Plan
from frostline.study.records import record_done


def write_sweep_tables(workspace: Workspace, study: Study, plan: Plan) -> None:
    """Write `tables/sweep-<name>.csv` for every sweep of which anything is done."""
    found: dict[str, list[pd.DataFrame]] = {}
    for step in plan.steps:
        record = record_done(workspace, step.key) if step.sweep else None
        if step.sweep is not None and record is not None:
            path = workspace.root / "sweeps" / record["sweep"] / "results.parquet"
            found.setdefault(step.sweep[0], []).append(pd.read_parquet(path))
    for name, tables in found.items():
        folder = workspace.report(study.name) / "tables"
        with atomic_write(folder / f"sweep-{name}.csv") as temporary:
            summarise(pd.concat(tables)).to_csv(temporary, index=False, lineterminator="\n")


def summarise(results: pd.DataFrame) -> pd.DataFrame:
    """Test scores of selected heads by size of the training part.

    Returns
    -------
    DataFrame
        `dataset`, `backbone`, `head`, `train_groups` (all of them if missing), `metric`, `mean`
        and `sd` over `n` draws and seeds.
    """
    test = results[(results["split"] == "test") & results["selected"]]
    names = ["dataset", "backbone", "head", "train_groups", "metric"]
    sizes = pd.to_numeric(test["train_groups"], errors="coerce").fillna(np.inf)
    grouped = test.assign(train_groups=sizes).groupby(names, sort=True)["value"]
    table = grouped.agg(mean="mean", sd="std", n="count").reset_index()
    return table.assign(train_groups=table["train_groups"].replace(np.inf, np.nan))
