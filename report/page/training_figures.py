"""Figures of training, cost and embeddings: what each shows, and in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from frostline.report import figures
from frostline.report.figures.sweeps import efficiency_figure, heat_map_figure
from frostline.report.page.numbers import DatasetNumbers, ReportNumbers
from frostline.report.statistics.metrics import find_metric
from frostline.report.statistics.names import FROM_SCRATCH, weights_word

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Costs = Mapping[str, Mapping[str, float]]


class Swept(NamedTuple):
    """What sweeps found, as plain tables.

    Attributes
    ----------
    efficiency : DataFrame
        Scores of heads trained on fewer groups: columns `dataset`, `line`, `groups`, `draw`,
        `metric`, `score`.
    validation : DataFrame
        Of logistic heads, one row a candidate: columns `dataset`, `backbone`, `C`, `metric` (the
        one that selected, one a data set) and `score`.
    """

    efficiency: pd.DataFrame = pd.DataFrame(columns=["dataset"])
    validation: pd.DataFrame = pd.DataFrame(columns=["dataset", "C"])

    def of(self, part: DatasetNumbers) -> Swept:
        """Give the rows of one data set."""
        return Swept(*(table[table["dataset"] == part.name] for table in self))


def draw_efficiency(lines: pd.DataFrame, primary: str) -> tuple[Figure, str] | None:
    """Draw the score by number of training groups."""
    if not len(lines):
        return None
    there = set(lines["metric"])
    metric = primary if primary in there else str(lines["metric"].iloc[0])
    sizes = lines["groups"].astype(int)
    words = f"{find_metric(metric).title} from {sizes.min():,} to {sizes.max():,} training groups."
    return efficiency_figure(lines, metric), words


def draw_validation(scores: pd.DataFrame) -> tuple[Figure, str] | None:
    """Draw validation scores by backbone and strength of the penalty."""
    if scores["C"].nunique() < 2:
        return None
    metric = str(scores["metric"].iloc[0])
    title = find_metric(metric).title
    words = f"{title} on validation of {scores['backbone'].nunique()} backbones by strength C."
    return heat_map_figure(scores, "backbone", "C", metric), words


def draw_learning(part: DatasetNumbers) -> tuple[Figure, str] | None:
    """Draw the loss by epoch."""
    titles = dict(zip(part.names["run"], part.names["short"], strict=True))
    tables = []
    for method in part.methods:
        for run, _ in method.runs:
            if run.meta.get("history"):
                table = pd.DataFrame(run.meta["history"]).reindex(
                    columns=["epoch", "train_loss", "val_loss"]
                )
                best = run.meta.get("best_epoch")
                best = np.nan if best is None else float(best)
                title = titles[method.name]
                tables.append(table.assign(panel=title, run=run.run, best=best))
    if not tables:
        return None
    words = f"Training and validation loss of {len(tables)} runs, by epoch."
    return figures.learning_figure(pd.concat(tables, ignore_index=True)), words


def draw_cost(
    numbers: ReportNumbers, part: DatasetNumbers, costs: Costs
) -> tuple[Figure, str] | None:
    """Draw the score against what it costs."""
    frame = numbers.by_method[numbers.by_method["metric"] == numbers.primary]
    scores = frame.set_index("run")["estimate"]
    names = part.names.set_index("run")
    rows: list[dict[str, Any]] = []
    for method in part.methods:
        known: dict[str, float] = dict(costs.get(str(method.meta["backbone"]), {}))
        seconds = [run.meta["seconds"] for run, _ in method.runs if run.meta["seconds"]]
        known |= {k: method.meta[k] for k in figures.COSTS if method.meta.get(k)}
        known |= {"seconds": float(np.mean(seconds))} if seconds else {}
        unfreeze, weights = (str(method.meta[name] or "") for name in ("unfreeze", "weights"))
        scratch = weights_word(weights, unfreeze) == FROM_SCRATCH
        rows += [
            {
                "cost": cost,
                "value": float(value),
                "estimate": scores[method.name],
                "name": str(method.meta["backbone"] or names.loc[method.name, "panel"]),
                "unfreeze": unfreeze,
                "way": FROM_SCRATCH if scratch else names.loc[method.name, "way"],
            }
            for cost, value in known.items()
            if value and cost in figures.COSTS
        ]
    if not rows:
        return None
    table = pd.DataFrame(rows)
    kinds = [figures.COSTS[cost].lower() for cost in dict.fromkeys(table["cost"])]
    return figures.cost_figure(table, numbers.primary), f"Against {', '.join(kinds)}."


def draw_maps(part: DatasetNumbers, way: str) -> tuple[Figure, str] | None:
    """Draw embeddings in two dimensions, projected by `PCA` or `UMAP`."""
    if not len(part.maps) or not (part.maps["way"] == way).any():
        return None
    points = part.maps[part.maps["way"] == way]
    words = f"{len(points) // points['backbone'].nunique():,} images, coloured by class and group."
    return figures.map_figure(points.rename(columns={"backbone": "panel"}), part.class_list), words
