"""Which rule should choose a depth? Small validation sets drawn from real predictions.

    python benchmarks/depth_rule.py WORKSPACE WORKSPACE/reports/STUDY [--metric balanced_accuracy]

The test images of a study's readings stand for a population, in which the score of every depth is
known. Groups are drawn from them, without replacement, as a validation set, and three rules choose
a depth by it: the best score; the cheapest within the standard error of the best score (Breiman et
al. 1984); the cheapest within the standard error of the difference from the best (what Frostline
does). Printed is how far the choice lies below the population's best depth, in points, and what
share of the forward pass it takes: means over draws, data sets and backbones.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from frostline.report import Predictions, read_predictions
from frostline.report.depth.choice import Floats, best_place, choose_depth
from frostline.report.statistics.comparisons.aligned import align
from frostline.report.statistics.comparisons.differences import Options, compare_family
from frostline.report.statistics.evaluation import score
from frostline.report.statistics.seeds import over_seeds

GROUPS = (25, 50, 100, 200, 400)
RULES = ("best score", "error of the best score", "error of the difference")


def drawn(runs: list[Predictions], groups: np.ndarray) -> list[Predictions]:
    """The images of some groups as the test set of each run."""
    return [Predictions(run.table[run.table["group_id"].isin(groups)], run.meta) for run in runs]


def choices(runs: list[Predictions], costs: Floats, metric: str) -> list[int | None]:
    """The depth that each rule chooses by all images of the runs."""
    scored = score(runs)
    rows = over_seeds(scored, metrics=[metric], ci="jackknife-t")
    scores = rows["estimate"].to_numpy(float)
    best = best_place(scores, higher=True)
    if best is None:
        return [None] * len(RULES)
    pairs = [(slice(row, row + 1), slice(best, best + 1)) for row in range(len(runs))]
    found = compare_family(align(scored), pairs, Options(metric, replicates=1))
    own = np.full(len(runs), rows["group_error"].to_numpy(float)[best])
    paired = np.array([one.group_error for one in found])
    errors = (np.zeros(len(runs)), own, paired)
    return [choose_depth(scores, error, costs, higher=True) for error in errors]


def trials(
    runs: list[Predictions], costs: Floats, metric: str, draws: int, rng: np.random.Generator
) -> Iterator[dict[str, object]]:
    """What each rule lost and spent in each draw."""
    runs = [Predictions(run.table[run.table["split"] == "test"], run.meta) for run in runs]
    truth = over_seeds(score(runs), metrics=[metric], ci="jackknife-t")["estimate"].to_numpy(float)
    groups = runs[0].table["group_id"].unique()
    for size in GROUPS:
        if size > len(groups) / 2:
            break
        for _ in range(draws):
            chosen = choices(drawn(runs, rng.choice(groups, size, replace=False)), costs, metric)
            for rule, place in zip(RULES, chosen, strict=True):
                if place is not None:
                    lost = 100 * (truth.max() - truth[place])
                    yield {"groups": size, "rule": rule, "lost": lost, "cost": costs[place]}


def main() -> None:
    """Parse, draw, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("workspace", type=Path)
    parser.add_argument("report", type=Path)
    parser.add_argument("--metric", default="balanced_accuracy")
    parser.add_argument("--draws", type=int, default=100)
    options = parser.parse_args()
    depths = pd.read_csv(options.report / "tables" / "depth.csv")
    depths = depths[(depths["road"] == "read") & (depths["seeds"] == 1)]
    rng, rows = np.random.default_rng(0), []
    for (dataset, backbone), part in depths.groupby(["dataset", "backbone"], sort=False):
        runs = [
            read_predictions(options.workspace / "predictions" / f"{run}.parquet")
            for run in part["run"]
        ]
        costs = part["cost"].to_numpy(float)
        for row in trials(runs, costs, options.metric, options.draws, rng):
            rows.append({"dataset": dataset, "backbone": backbone, **row})
    table = pd.DataFrame(rows)
    by = table.groupby(["dataset", "groups", "rule"], sort=False)[["lost", "cost"]].mean()
    print(by.unstack("rule").round(2).to_string())
    print(table.groupby(["rule"], sort=False)[["lost", "cost"]].mean().round(2).to_string())


if __name__ == "__main__":
    main()
