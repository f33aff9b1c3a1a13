"""Forest plots: the score of each row, and what freezing changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from frostline.report.figures.style import (
    GREY,
    INK,
    NORMAL,
    SMALL,
    STYLES,
    key,
    legend_height,
    new_figure,
    tidy,
)
from frostline.report.statistics.metrics import find_metric
from frostline.report.statistics.names import (
    DEPTHS,
    FREEZING_VERDICTS,
    MAJORITY_HEAD,
    Record,
    describe,
    way_of,
)
from frostline.report.tables import escape
from frostline.report.tables.numbers import bound_word, extent, is_share, number, unit_of
from frostline.report.tables.positive import metric_title, metric_words, shared

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME, LINE = 0.22, 0.2  # inches of a name and of an interval
# Shares of the width for intervals; numbers stand beside them, with signs they are longer.
PLOT, SIGNED = 0.66, 0.62
DASHES: Any = (0, (2, 1.5))
GAP = 0.02  # of the width, on either side of a number


def forest_figure(frame: pd.DataFrame, dataset: str, metric: str = "accuracy") -> Figure:
    """Draw estimates and 95% intervals of `metric`, the runs of one backbone together.

    Names in order of their best run; where there are several depths, each is marked by its number
    of blocks. The dashed line is the majority class; if it lies far below
    all others, it is beyond the left edge. `frame` is what `evaluate` returned.
    """
    part = frame[(frame["dataset"] == dataset) & (frame["metric"] == metric)]
    part = part.astype({"estimate": float, "low": float, "high": float})
    labels = describe(part)
    groups: dict[str, list[Record]] = {}
    best_first = part.sort_values(
        "estimate", ascending=not find_metric(metric).higher, kind="stable"
    )
    depths = {row for row in part["unfreeze"].astype(str) if row.isdigit()}
    for row in best_first.to_dict("records"):
        name, details = labels[row["run"]]
        row["way"] = way_of(row["unfreeze"], row["head"], depths)
        groups.setdefault(f"{name} ({details})" if details else name, []).append(row)
    limits = limits_of(part[part["head"] != MAJORITY_HEAD], "estimate", metric)
    majority = part.loc[part["head"] == MAJORITY_HEAD, "estimate"] * unit_of(metric)
    if len(majority) and limits[0] - majority.min() < limits[1] - limits[0]:
        limits = limits_of(part, "estimate", metric)
    there = {row["way"] for rows in groups.values() for row in rows}
    ways = [way for way in STYLES if way in there - {"", MAJORITY_HEAD}]
    inside = majority[majority >= limits[0]]
    more: dict[str, Any] = {"always the commonest": (GREY, "", DASHES)} if len(inside) else {}
    figure, axes = draw_lines(groups, "estimate", metric, limits, legend=[*ways, *more])
    for value in inside:
        draw_rule(axes, groups, value, color=GREY, linewidth=1, linestyle=DASHES)
    percent = " (%)" if is_share(metric) else ""
    write_xlabel(figure, f"{metric_title(shared(part, metric))}{percent} with 95% interval")
    key(figure, ways, STYLES, lines=False, more=more)
    return figure


def difference_figure(differences: pd.DataFrame, metric: str = "accuracy") -> Figure:
    """Draw frozen minus fine-tuned for each backbone of one data set, in points, with intervals.

    Parameters
    ----------
    differences : DataFrame
        Columns `name`, `difference`, `low`, `high`, `verdict` (of the frozen one).
    """
    groups: dict[str, list[Record]] = {}
    for row in differences.to_dict("records"):
        words = FREEZING_VERDICTS.get(str(row["verdict"]), str(row["verdict"]))
        groups.setdefault(f"{row['name']}: {words}", []).append(row)
    words = find_metric(metric).words
    if "positive" in differences:
        words = metric_words(shared(differences.assign(metric=metric), metric))
    reach = max(map(abs, limits_of(differences, "difference", metric)))
    figure, axes = draw_lines(groups, "difference", metric, (-reach, reach))
    draw_rule(axes, groups, 0, color=INK, linewidth=0.8)
    write_xlabel(figure, f"Frozen minus fine-tuned, {'points of ' * is_share(metric)}{words}")
    return figure


def draw_lines(
    groups: Mapping[str, Sequence[Record]],
    value: str,
    metric: str,
    limits: tuple[float, float],
    *,
    legend: Sequence[str] = (),
) -> tuple[Figure, Any]:
    """Draw each name above its lines, from the top down."""
    inside = sum(NAME + LINE * len(rows) for rows in groups.values()) + 0.1
    top, bottom = legend_height(legend), 0.48
    height = top + inside + bottom
    figure = new_figure(height)
    share = SIGNED if value == "difference" else PLOT
    axes = figure.add_axes((0.02, bottom / height, share, inside / height))
    tidy(axes)
    axes.spines["left"].set_visible(False)
    axes.set_yticks([])
    axes.set_xlim(*limits)
    axes.set_ylim(-inside, 0)
    y = 0.0
    for name, rows in groups.items():
        y -= NAME
        axes.text(
            0,
            y + 0.02,
            escape.plain(name, 58),
            va="bottom",
            parse_math=False,
            color=INK,
            fontsize=SMALL,
            transform=axes.get_yaxis_transform(),
        )
        for row in rows:
            _line(axes, y - LINE / 2, row, value, metric)
            y -= LINE
    return figure, axes


def _line(axes: Any, y: float, row: Record, value: str, metric: str) -> None:
    colour, marker = _look(row)
    low, high, middle = (unit_of(metric) * float(row[column]) for column in ("low", "high", value))
    sign, word = ("+", bound_word) if value == "difference" else ("", number)
    text = number(row[value], metric, sign=sign)
    if not np.isnan(low):
        text += f" [{word(row['low'], metric, sign=sign)}, {word(row['high'], metric, sign=sign)}]"
    axes.text(
        1.03,
        y,
        text,
        va="center",
        color=INK,
        fontsize=SMALL,
        transform=axes.get_yaxis_transform(),
    )
    if middle < axes.get_xlim()[0]:
        axes.plot(
            [0.012],
            [y],
            marker="<",
            color=colour,
            markersize=6,
            transform=axes.get_yaxis_transform(),
        )
        return
    numbered = marker.startswith("$")
    # A line through a number would make it another one.
    gap = GAP * float(np.ptp(axes.get_xlim())) if numbered else 0.0
    for ends in [(low, middle - gap), (middle + gap, high)]:
        if ends[0] < ends[1]:  # not where there is no interval: nan
            axes.plot(ends, [y, y], color=colour, linewidth=2.2, solid_capstyle="butt")
    size, edge = (7.5, 0.6) if numbered else (6.5, 1.5)
    axes.plot([middle], [y], marker=marker, color=colour, markersize=size, markeredgewidth=edge)


def _look(row: Record) -> tuple[str, str]:
    if "look" in row:
        return row["look"]
    if "verdict" not in row:
        colour, marker, _ = STYLES[row["way"]]
        return colour, f"${row['unfreeze']}$" if row["way"] == DEPTHS else marker
    way = {"better": "frozen", "worse": "fine-tuned"}.get(str(row["verdict"]))
    return STYLES[way][:2] if way else (GREY, "D")


def draw_rule(
    axes: Any, groups: Mapping[str, Sequence[Record]], value: float, **style: Any
) -> None:
    """Draw a vertical line next to the intervals, which crosses no name."""
    y = 0.0
    for rows in groups.values():
        bottom = y - NAME - LINE * len(rows)
        axes.plot([value, value], [y - NAME, bottom], zorder=0, **style)
        y = bottom


def write_xlabel(figure: Figure, text: str) -> None:
    height = figure.get_figheight()
    figure.text(0.02, 0.06 / height, text, va="bottom", color=INK, fontsize=NORMAL)


def limits_of(part: pd.DataFrame, value: str, metric: str) -> tuple[float, float]:
    unit = unit_of(metric)
    ends = extent(part[["low", "high", value]].to_numpy(np.float64))
    low, high = (unit * end for end in ends)
    margin = max(0.06 * (high - low), unit / 100)
    if not is_share(metric):
        return low - margin, high + margin
    return max(low - margin, -101.0 if value == "difference" else -1.0), min(high + margin, 101.0)
