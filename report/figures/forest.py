"""Forest plots: the score of each row, and what freezing changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from frostline.report import escape
from frostline.report.evaluation import MAJORITY_HEAD
from frostline.report.figures.style import (
    GREY,
    INK,
    NORMAL,
    SMALL,
    STYLES,
    key,
    new_figure,
    tidy,
    way_of,
)
from frostline.report.layout import describe, percent
from frostline.report.metrics import find_metric

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LINE = 0.42  # inches a row
VERDICTS = {"better": "frozen better", "worse": "fine-tuned better"}


def forest_figure(frame: pd.DataFrame, dataset: str, metric: str = "accuracy") -> Figure:
    """One line a run of `dataset`: estimate and 95% interval of `metric`, best first.

    The dashed marks are the majority class. `frame` is what `evaluate` returned.
    """
    part = frame[(frame["dataset"] == dataset) & (frame["metric"] == metric)]
    part = part.astype({"estimate": float, "low": float, "high": float})
    part = part.sort_values("estimate", ascending=False, kind="stable")
    labels = describe(part)
    figure, axes = _rows(len(part))
    for line, row in enumerate(part.to_dict("records")):
        name, details = labels[row["run"]]
        colour, marker, _ = STYLES[way_of(row["unfreeze"], row["head"])]
        text = f"{name} ({details})" if details else name
        _line(axes, -line, row, "estimate", text, colour, marker)
    for value in part.loc[part["head"] == MAJORITY_HEAD, "estimate"]:
        # In pieces beside the intervals, so that it crosses no label.
        for line in range(len(part)):
            axes.plot([100 * value] * 2, [-line - 0.15, -line + 0.15], color=GREY, linewidth=1.2,
                      linestyle=(0, (2, 1.5)), zorder=0)  # fmt: skip
    axes.set_xlim(*_limits(part, "estimate"))
    axes.set_xlabel(f"{find_metric(metric).title} (%) with 95% interval", color=INK, fontsize=NORMAL)
    there = {way_of(row["unfreeze"], row["head"]) for row in part.to_dict("records")}
    names = [name for name in STYLES if name in there - {"", MAJORITY_HEAD}]
    key(figure, names, STYLES, lines=False)
    return figure


def difference_figure(differences: pd.DataFrame, metric: str = "accuracy") -> Figure:
    """One line a backbone of one data set: frozen minus fine-tuned, in points, with its interval.

    Parameters
    ----------
    differences : DataFrame
        Columns `backbone`, `difference`, `low`, `high`, `verdict` (of the frozen one).
    """
    figure, axes = _rows(len(differences))
    for line, row in enumerate(differences.to_dict("records")):
        verdict = str(row["verdict"])
        style = {"better": "frozen", "worse": "fine-tuned"}.get(verdict, MAJORITY_HEAD)
        colour, marker = STYLES[style][0], "D" if style == MAJORITY_HEAD else STYLES[style][1]
        words = VERDICTS.get(verdict, verdict)
        text = f"{row['name'] if 'name' in row else row['backbone']}: {words}"
        _line(axes, -line, row, "difference", text, colour, marker, signed=True)
    axes.axvline(0, color=INK, linewidth=0.8, zorder=0, ymax=0.995)
    low, high = _limits(differences, "difference")
    reach = max(abs(low), abs(high))
    axes.set_xlim(-reach, reach)
    title = find_metric(metric).title.lower()
    axes.set_xlabel(f"Frozen minus fine-tuned, points of {title}", color=INK, fontsize=NORMAL)
    return figure


def _rows(count: int) -> tuple[Figure, Any]:
    height = 0.85 + LINE * count
    figure = new_figure(height)
    axes = figure.add_axes((0.02, 0.48 / height, 0.96, LINE * count / height))
    tidy(axes)
    axes.spines["left"].set_visible(False)
    axes.set_ylim(-count + 0.5, 0.72)
    axes.set_yticks([])
    return figure, axes


def _line(
    axes: Any,
    y: int,
    row: Mapping[Any, Any],
    value: str,
    name: str,
    colour: str,
    marker: str,
    *,
    signed: bool = False,
) -> None:
    low, high, middle = (100 * float(row[column]) for column in ("low", "high", value))
    if not np.isnan(low):
        axes.plot([low, high], [y, y], color=colour, linewidth=2.2, solid_capstyle="butt")
    axes.plot([middle], [y], marker=marker, color=colour, markersize=7, markeredgewidth=1.6)
    sign = "+" if signed else ""
    number = f"{middle:{sign}.1f}" if signed else percent(row[value])
    interval = "" if np.isnan(low) else f" [{low:{sign}.1f}, {high:{sign}.1f}]"
    style = {"transform": axes.get_yaxis_transform(), "color": INK, "fontsize": SMALL}
    axes.text(0, y + 0.2, escape.plain(name, 34), va="bottom", parse_math=False, **style)
    axes.text(1, y + 0.2, number + interval, va="bottom", ha="right", **style)


def _limits(part: pd.DataFrame, value: str) -> tuple[float, float]:
    values = 100 * part[["low", "high", value]].to_numpy(dtype=np.float64)
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    margin = max(0.06 * (high - low), 1.0)
    return max(low - margin, -101.0 if value == "difference" else -1.0), min(high + margin, 101.0)
