"""The picture of depth: where to read a backbone, where to train it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from frostline.report.depth.curve import NESTED
from frostline.report.figures.style import (
    BLUE,
    GREEN,
    GREY,
    INK,
    NORMAL,
    SMALL,
    VERMILION,
    WIDTH,
    add_legend,
    new_figure,
    tidy,
)
from frostline.report.statistics.metrics import find_metric
from frostline.report.tables import escape
from frostline.report.tables.numbers import is_share

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROADS: dict[str, tuple[str, str, str, Any]] = {
    "read": ("read here, nothing trained", BLUE, "o", "-"),
    "train": ("train what lies behind", VERMILION, "s", (0, (4, 1.2))),
}
SCRATCH: tuple[str, str, Any] = ("from scratch", GREEN, (0, (1, 1)))
MAJORITY: tuple[str, str, Any] = ("majority class", GREY, (0, (3, 1, 1, 1)))
LONGEST_NAME = 10
MOST_LETTERS = 44  # side by side
PANEL = 2.1  # inches
LEFT, RIGHT, TITLE, BELOW = 0.62, 0.1, 0.24, 1.05
COLUMN = WIDTH - LEFT - RIGHT
ENTRY, LEGEND_LINE = 1.95, 0.19  # inches of an entry of the legend
NOTHING_FROZEN = -1
BESIDE = 0.07  # of the distance of two blocks: intervals of training do not hide those of reading
_DRAWN = ("estimate", "low", "high", "val_estimate")


def depth_figure(
    table: pd.DataFrame,
    places: Mapping[str, Sequence[Any]],
    majority: float = math.nan,
    *,
    columns: int = 1,
    width: float = WIDTH,
) -> Figure:
    """Draw the curves of one data set, a panel for each backbone.

    Lines are scores on test images, bands their 95% intervals, thin dashes validation; a ring marks
    what validation chose. Reading and training meet at the output.

    Parameters
    ----------
    table : DataFrame
        `Curves.table`.
    places : mapping
        Of each backbone its places from input to output, with `depth`, `block` and `cost`.
    majority : float
        The level of always answering the most frequent class.
    columns : int
        Panels side by side.
    width : float
        Inches of the figure.
    """
    backbones = [str(name) for name in table["backbone"].unique()]
    metric = str(table["metric"].iloc[0])
    each, across = PANEL + TITLE + BELOW, width / columns
    handles = _handles(table, majority)
    # As many of a legend's entries side by side as there is room for.
    entries = max(2, int(width / ENTRY))
    top = 0.1 + LEGEND_LINE * math.ceil(len(handles) / entries)
    height = top + math.ceil(len(backbones) / columns) * each
    figure = new_figure(height, width)
    low, high = _limits(table, majority)
    for number, name in enumerate(backbones):
        row, column = divmod(number, columns)
        left, bottom = column * across + LEFT, height - top - row * each - TITLE - PANEL
        inside = (left / width, bottom / height, (across - LEFT - RIGHT) / width, PANEL / height)
        axes = figure.add_axes(inside)
        tidy(axes, escape.plain(name, 50))
        part = table[table["backbone"] == name]
        _panel(axes, part, list(places[name]), majority)
        axes.set_ylim(low, high)
        _label(axes, part, list(places[name]), metric, (across - LEFT - RIGHT) / COLUMN)
    add_legend(figure, handles, entries, 2.2)
    return figure


def _panel(axes: Any, part: pd.DataFrame, places: list[Any], majority: float) -> None:
    scale = 100.0 if is_share(str(part["metric"].iloc[0])) else 1.0
    _level(axes, scale * majority, MAJORITY)
    scratch = part[part["road"] == "scratch"]
    if len(scratch):
        _level(axes, scale * float(scratch["estimate"].iloc[0]), SCRATCH)
    for road, (_, colour, marker, dash) in ROADS.items():
        mine = part[part["road"] == road]
        if road == "train" and len(mine):
            # Nothing trained is where the roads meet.
            end = (part["road"] == "read") & (part["depth"] == places[-1].depth)
            mine = pd.concat([mine, part[end]])
        mine = mine.sort_values("depth")
        if mine.empty:
            continue
        x = mine["depth"].to_numpy(float)
        values = {name: scale * mine[name].to_numpy(float) for name in _DRAWN}
        if road == "read":
            axes.fill_between(x, values["low"], values["high"], color=colour, alpha=0.16, lw=0)
        else:  # few depths are trained, and nothing is known in between
            axes.vlines(x + BESIDE, values["low"], values["high"], color=colour, linewidth=1.0)
        axes.plot(x, values["val_estimate"], color=colour, linewidth=0.8, linestyle=(0, (2, 2)))
        style: dict[str, Any] = {"marker": marker, "markersize": 4.5, "linewidth": 1.8}
        axes.plot(x, values["estimate"], color=colour, linestyle=dash, **style)
        chosen = mine["chosen"].to_numpy(bool) & (mine["road"] == road).to_numpy()
        y, nested = values["estimate"][chosen], part[part["road"] == NESTED[road]]
        if len(nested):  # scored where each fold chose for itself
            y = scale * nested["estimate"].to_numpy(float)
            bounds = (scale * nested[side].to_numpy(float) for side in ("low", "high"))
            axes.vlines(x[chosen], *bounds, color=INK, linewidth=1.4)
        axes.plot(
            x[chosen],
            y,
            linestyle="",
            marker="o",
            markersize=11,
            markerfacecolor="none",
            markeredgecolor=INK,
            markeredgewidth=1.4,
        )


def _level(axes: Any, value: float, style: tuple[str, str, Any]) -> None:
    if math.isfinite(value):
        axes.axhline(value, color=style[1], linewidth=1.0, linestyle=style[2])


def _limits(table: pd.DataFrame, majority: float) -> tuple[float, float]:
    """Find what all panels have room for."""
    scale = 100.0 if is_share(str(table["metric"].iloc[0])) else 1.0
    values = np.append(table[list(_DRAWN)].to_numpy(float).ravel(), majority)
    low, high = scale * float(np.nanmin(values)), scale * float(np.nanmax(values))
    room = 0.06 * (high - low or 1.0)
    bounds = find_metric(str(table["metric"].iloc[0])).bounds
    top = high + room
    return low - room, min(top, scale * bounds[1] + room) if bounds else top


def _label(
    axes: Any, part: pd.DataFrame, places: list[Any], metric: str, wide: float = 1.0
) -> None:
    """Name the blocks below, and the share of the forward pass that is needed to get there.

    `wide` is how many times as wide the panel is as in a column of print.
    """
    names = {place.depth: escape.plain(str(place.block), LONGEST_NAME) for place in places}
    if (part["depth"] == NOTHING_FROZEN).any():
        names = {NOTHING_FROZEN: "none"} | names
    axes.set_xlim(min(names) - 0.4, max(names) + 0.4)
    axes.set_xticks(list(names), list(names.values()))
    costs = {place.depth: f"{100 * place.cost:.0f}%" for place in places}
    # Names of a tenth of an inch a letter, side by side, or slanted.
    many = len(names) * (max(map(len, names.values())) + 2) > MOST_LETTERS * wide
    for text in axes.get_xticklabels():
        text.set(rotation=40 if many else 0, ha="right" if many else "center", parse_math=False)
    style: dict[str, Any] = {"fontsize": SMALL, "color": INK, "ha": "center", "va": "top"}
    transform = axes.get_xaxis_transform()
    every = max(1, math.ceil(len(names) / (9 * wide)))
    for depth, cost in list(costs.items())[::-every]:
        axes.text(depth, -0.32 if many else -0.14, cost, transform=transform, **style)
    title = "Last frozen block, and share of the forward pass"
    axes.set_xlabel(title, fontsize=SMALL, color=INK, va="top")
    axes.xaxis.set_label_coords(0.5, -0.4 if many else -0.22)
    unit = " (%)" if is_share(metric) else ""
    label = f"{find_metric(metric).title}{unit}"
    axes.set_ylabel(label, fontsize=NORMAL, color=INK)


def _handles(table: pd.DataFrame, majority: float) -> list[Any]:
    """Make the entries of the legend, of what there is."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D(
            [],
            [],
            color=colour,
            marker=marker,
            linestyle=dash,
            linewidth=1.8,
            markersize=4.5,
            label=name,
        )
        for road, (name, colour, marker, dash) in ROADS.items()
        if (table["road"] == road).any()
    ]
    thin: dict[str, Any] = {"color": INK, "linewidth": 0.8, "linestyle": (0, (2, 2))}
    if table["val_estimate"].notna().any():
        handles.append(Line2D([], [], label="validation", **thin))
    if table["chosen"].any():
        ring: dict[str, Any] = {"markersize": 9, "markerfacecolor": "none", "markeredgecolor": INK}
        label = "chosen in every fold" if (table["road"] == "nested").any() else "chosen"
        handles.append(Line2D([], [], linestyle="", marker="o", label=label, **ring))
    levels = [(SCRATCH, (table["road"] == "scratch").any()), (MAJORITY, math.isfinite(majority))]
    handles += [
        Line2D([], [], color=colour, linestyle=dash, linewidth=1.0, label=name)
        for (name, colour, dash), there in levels
        if there
    ]
    return handles
