"""A sweep's curves and heat maps, as files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from frostline.cache.atomic import write_text
from frostline.cache.workspace import file_safe
from frostline.probe.sweep.results import Results, curves, heat_map
from frostline.report.figures import FILE_FORMATS, save_figure
from frostline.report.figures.sweeps import efficiency_figure, heat_map_figure
from frostline.report.tables.writers.records import frame_to_csv

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Hyper-parameters of each head that a heat map is drawn over.
AXES = {
    "logistic": ("C", None),
    "ordinal": ("C", None),
    "adam": ("lr", "weight_decay"),
    "knn": ("n_neighbors", None),
}


def write_figures(results: Results, metric: str, folder: Path) -> list[Path]:
    """Draw what there is to draw, with the plain tables (CSV) it is drawn from.

    Parameters
    ----------
    results : Results
    metric : str
        The metric that selected; label efficiency is drawn in it, and in balanced accuracy.
    folder : Path

    Returns
    -------
    list of Path
        Every file, `efficiency-<metric>` and `validation-<dataset>-<head>…` in all formats.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines, scores = curves(results), heat_map(results, metric)
    files = []
    for name, table in (("efficiency", lines), ("validation", scores)):
        if len(table):
            write_text(folder / f"{name}.csv", frame_to_csv(table))
            files.append(folder / f"{name}.csv")
    for name, figure in (*_efficiency(lines, metric), *_heat_maps(scores, metric)):
        for kind in FILE_FORMATS:
            save_figure(figure, folder / f"{name}.{kind}")
            files.append(folder / f"{name}.{kind}")
    return files


def _efficiency(lines: pd.DataFrame, metric: str) -> Iterator[tuple[str, Figure]]:
    if lines.empty:
        return
    named = lines.assign(line=_names(lines, ["backbone", "head", "feature"]))
    for name in dict.fromkeys(("balanced_accuracy", metric)):
        yield f"efficiency-{name}", efficiency_figure(named, name)


def _heat_maps(scores: pd.DataFrame, metric: str) -> Iterator[tuple[str, Figure]]:
    for (dataset, head), part in scores.groupby(["dataset", "head"], sort=False):
        if str(head) not in AXES:
            continue
        column, row = AXES[str(head)]
        name = f"validation-{file_safe(str(dataset))}-{head}"
        if row is None:
            if part[column].nunique() > 1:
                named = part.assign(backbone=_names(part, ["backbone", "feature"]))
                yield name, heat_map_figure(named, "backbone", column, metric)
            continue
        for (backbone, feature, hidden), mine in part.groupby(["backbone", "feature", "hidden"]):
            if mine[column].nunique() * mine[row].nunique() > 1:
                ending = f"{file_safe(str(backbone))}-{file_safe(str(feature))}-hidden{hidden:g}"
                yield f"{name}-{ending}", heat_map_figure(mine, row, column, metric)


def _names(table: pd.DataFrame, columns: list[str]) -> pd.Series:
    """What tells rows apart, in words: columns that are the same everywhere say nothing."""
    telling = [name for name in columns if table[name].nunique() > 1] or columns[:1]
    return table[telling].astype(str).agg(" · ".join, axis=1)
