"""Forest plots of subgroups: the score of each, by column, and the test of each column."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from frostline.cache.errors import InputError
from frostline.report.clinical.subgroups.table import row_title, run_labels
from frostline.report.figures.forest import draw_lines, draw_rule, limits_of, write_xlabel
from frostline.report.figures.style import COLOURS, MARKERS, key
from frostline.report.statistics.names import Record
from frostline.report.tables.numbers import is_share, p_word, unit_of
from frostline.report.tables.positive import metric_title, shared

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_RUNS = len(COLOURS)


def subgroup_figure(frame: pd.DataFrame) -> Figure:
    """Draw the estimate and 95% interval of each subgroup, those of all runs below its name.

    Behind each column stands the adjusted p of its test, one for each run. Thin lines are the
    scores of the whole.

    Parameters
    ----------
    frame : DataFrame
        What `subgroups` returned, of one data set.

    Raises
    ------
    InputError
        If it is of several data sets, or of more runs than there are colours.
    """
    datasets, runs = list(frame["dataset"].unique()), list(frame["run"].unique())
    if len(datasets) > 1 or len(runs) > MOST_RUNS:
        raise InputError(
            f"A figure shows up to {MOST_RUNS} runs of one data set, and these are {len(runs)} of "
            f"{len(datasets)}: give fewer."
        )
    looks = dict(zip(runs, zip(COLOURS, MARKERS, strict=True), strict=False))
    metric = str(frame["metric"].iloc[0])
    part = frame.astype({"estimate": float, "low": float, "high": float})
    groups: dict[str, list[Record]] = {}
    for column, rows in part.groupby("column", sort=False):
        if column:
            groups[_heading(rows)] = []
        for row in rows.to_dict("records"):
            lines = groups.setdefault(f"{row_title(row)} ({_size(row)})", [])
            if not pd.isna(row["estimate"]):
                lines.append(row | {"look": looks[row["run"]]})
    labels = run_labels(frame)
    styles = {labels[run]: (*look, "-") for run, look in looks.items()}
    names = list(styles) if len(runs) > 1 else []
    figure, axes = draw_lines(
        groups, "estimate", metric, limits_of(part, "estimate", metric), legend=names
    )
    for row in part[part["column"] == ""].to_dict("records"):
        colour = looks[row["run"]][0]
        draw_rule(
            axes, groups, unit_of(metric) * row["estimate"], color=colour, linewidth=0.8, alpha=0.6
        )
    percent = " (%)" if is_share(metric) else ""
    write_xlabel(figure, f"{metric_title(shared(frame, metric))}{percent} with 95% interval")
    key(figure, names, styles, lines=False)
    return figure


def _heading(rows: pd.DataFrame) -> str:
    tests = rows.drop_duplicates("run").to_dict("records")
    column = rows["column"].iloc[0]
    if all(row["reason"] for row in tests):
        return f"By {column}: not tested"
    words = " and ".join(p_word(row["p_adjusted"]) for row in tests)
    return f"By {column}: p {words}" if words.startswith("<") else f"By {column}: p = {words}"


def _size(row: Record) -> str:
    return f"{row['n_units']:,} {row['unit']}{'s' * (row['n_units'] != 1)}"
