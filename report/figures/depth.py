"""The picture of depth: where to read a backbone, where to train it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from frostline.cache.tables.unfreezing import is_lora
from frostline.report.depth.curve import NESTED
from frostline.report.figures.style import (
    BLUE,
    COLOURS,
    GREEN,
    GREY,
    INK,
    NORMAL,
    ORANGE,
    SMALL,
    VERMILION,
    WIDTH,
    add_legend,
    new_figure,
    tidy,
)
from frostline.report.statistics.metrics import find_metric
from frostline.report.tables import escape
from frostline.report.tables.numbers import extent, is_share

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROADS: dict[str, tuple[str, str, str, Any]] = {
    "read": ("read here, nothing trained", BLUE, "o", "-"),
    "train": ("train what lies behind", VERMILION, "s", (0, (4, 1.2))),
    "lora": ("train LoRA adapters there", ORANGE, "v", (0, (3, 1, 1, 1))),
}
SCRATCH: tuple[str, str, Any] = ("from scratch", GREEN, (0, (1, 1)))
MAJORITY: tuple[str, str, Any] = ("majority class", GREY, (0, (3, 1, 1, 1)))
LONGEST_NAME = 10
MOST_LETTERS = 44  # side by side
PANEL = 2.1  # inches
LEFT, RIGHT, TITLE = 0.62, 0.1, 0.24
SLANTED, LEVEL = 1.05, 0.72  # below a panel, by how the names of blocks are written
COST_LINE = 0.16  # of the shares of a further backbone
COLUMN = WIDTH - LEFT - RIGHT
KEY, LETTER, LEGEND_LINE = 0.5, 0.056, 0.19  # inches of an entry of the legend
NOTHING_FROZEN = -1
MOST_OVERLAID = 3  # backbones whose blocks have the same names
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
    """Draw the curves of one data set: backbones in one panel where few and alike, else each alone.

    Lines are scores on test images, bands their 95% intervals, thin dashes validation; a ring marks
    what validation chose. Reading and training meet at the output. In a panel of several, colours
    are those of the backbones.

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
    metric = str(table["metric"].iloc[0])
    panels = panels_of(table, places)
    across = width / columns
    wide = (across - LEFT - RIGHT) / COLUMN
    named = [_names(table[table["backbone"].isin(own)], places[own[0]]) for own in panels]
    below = SLANTED if any(_slanted(names, wide) for names in named) else LEVEL
    below += COST_LINE * (max(map(len, panels)) - 1)
    title = TITLE if len(panels[0]) == 1 else 0.0
    each = PANEL + title + below
    handles = _handles(table, majority, panels[0])
    # As many of a legend's entries side by side as there is room for.
    longest = max((len(handle.get_label()) for handle in handles), default=0)
    entries = max(1, int(width / (KEY + LETTER * longest)))
    top = 0.1 + LEGEND_LINE * math.ceil(len(handles) / entries)
    height = top + math.ceil(len(panels) / columns) * each
    figure = new_figure(height, width)
    low, high = _limits(table, majority)
    for number, names in enumerate(panels):
        row, column = divmod(number, columns)
        left, bottom = column * across + LEFT, height - top - row * each - title - PANEL
        inside = (left / width, bottom / height, (across - LEFT - RIGHT) / width, PANEL / height)
        axes = figure.add_axes(inside)
        tidy(axes, escape.plain(names[0], 50) if len(names) == 1 else "")
        _level(axes, _scale(table) * majority, MAJORITY)
        for place, name in enumerate(names):
            own = COLOURS[place] if len(names) > 1 else ""
            part = table[table["backbone"] == name]
            _curves(axes, part, list(places[name]), own, BESIDE * (place + 1))
        axes.set_ylim(low, high)
        _label(axes, named[number], [list(places[name]) for name in names], metric, wide)
    add_legend(figure, handles, entries, 2.2)
    return figure


def panels_of(table: pd.DataFrame, places: Mapping[str, Sequence[Any]]) -> list[list[str]]:
    """Share out the backbones: up to three whose blocks have the same names are one panel."""
    names = [str(name) for name in table["backbone"].unique()]
    blocks = {tuple(place.block for place in places[name]) for name in names}
    together = len(names) <= MOST_OVERLAID and len(blocks) == 1
    return [names] if together else [[name] for name in names]


def _scale(table: pd.DataFrame) -> float:
    return 100.0 if is_share(str(table["metric"].iloc[0])) else 1.0


def _curves(axes: Any, part: pd.DataFrame, places: list[Any], own: str, beside: float) -> None:
    """Draw the curves of one backbone, in a colour of its own or in those of the roads."""
    scale = _scale(part)
    scratch = part[part["road"] == "scratch"]
    if len(scratch):
        _level(axes, scale * float(scratch["estimate"].iloc[0]), SCRATCH, own)
    for road, (_, of_road, marker, dash) in ROADS.items():
        colour, mine = own or of_road, _of_line(part, road)
        trained = mine
        if road != "read" and len(mine):
            # Nothing trained is where the roads meet.
            end = (part["road"] == "read") & (part["depth"] == places[-1].depth)
            mine = pd.concat([mine, part[end]])
        mine = mine.sort_values("depth")
        if mine.empty:
            continue
        x, own_points = mine["depth"].to_numpy(float), mine.index.isin(trained.index)
        values = {name: scale * mine[name].to_numpy(float) for name in _DRAWN}
        if road == "read":
            faint = 0.1 if own else 0.16
            axes.fill_between(x, values["low"], values["high"], color=colour, alpha=faint, lw=0)
        else:  # few depths are trained, and nothing is known in between
            # To either side, as adapters and all of a block begin at the same depths.
            bars = {name: values[name][own_points] for name in ("low", "high")}
            aside = x[own_points] + (beside if road == "train" else -beside)
            axes.vlines(aside, bars["low"], bars["high"], color=colour, linewidth=1.0)
        axes.plot(x, values["val_estimate"], color=colour, linewidth=0.8, linestyle=(0, (2, 2)))
        marked = np.flatnonzero(own_points).tolist()
        style: dict[str, Any] = {"marker": marker, "markersize": 4.5, "linewidth": 1.8}
        style["markevery"] = marked  # where the roads meet, the point is that of reading
        axes.plot(x, values["estimate"], color=colour, linestyle=dash, **style)
        chosen = mine["chosen"].to_numpy(bool) & own_points
        nested = part[part["road"] == NESTED["read" if road == "read" else "train"]]
        if chosen.any():
            _ring(axes, x[chosen], values["estimate"][chosen], nested)


def _of_line(part: pd.DataFrame, road: str) -> pd.DataFrame:
    """Give the points of a line; training of adapters has one of its own."""
    adapted = part["unfreeze"].map(is_lora)
    if road == "lora":
        return part[(part["road"] == "train") & adapted]
    return part[(part["road"] == road) & ~adapted]


def _ring(axes: Any, x: Any, y: Any, nested: pd.DataFrame) -> None:
    """Mark a choice; where each fold chose for itself, at the score of that, with its interval."""
    if len(nested):
        y, low, high = (_scale(nested) * nested[name].to_numpy(float) for name in _DRAWN[:3])
        axes.vlines(x, low, high, color=INK, linewidth=1.4)
    style: dict[str, Any] = {"markersize": 11, "markeredgewidth": 1.4, "markeredgecolor": INK}
    axes.plot(x, y, linestyle="", marker="o", markerfacecolor="none", **style)


def _level(axes: Any, value: float, style: tuple[str, str, Any], own: str = "") -> None:
    if math.isfinite(value):
        axes.axhline(value, color=own or style[1], linewidth=1.0, linestyle=style[2])


def _limits(table: pd.DataFrame, majority: float) -> tuple[float, float]:
    """Find what all panels have room for."""
    scale = _scale(table)
    values = np.append(table[list(_DRAWN)].to_numpy(float).ravel(), majority)
    low, high = (scale * end for end in extent(values))
    room = 0.06 * (high - low or 1.0)
    bounds = find_metric(str(table["metric"].iloc[0])).bounds
    top = high + room
    return low - room, min(top, scale * bounds[1] + room) if bounds else top


def _names(part: pd.DataFrame, places: Sequence[Any]) -> dict[int, str]:
    """Name the depths of a panel."""
    names = {place.depth: escape.plain(str(place.block), LONGEST_NAME) for place in places}
    return {NOTHING_FROZEN: "none"} | names if (part["depth"] == NOTHING_FROZEN).any() else names


def _slanted(names: Mapping[int, str], wide: float) -> bool:
    """Whether names have no room side by side, a letter being a tenth of an inch."""
    return len(names) * (max(map(len, names.values())) + 2) > MOST_LETTERS * wide


def _label(
    axes: Any,
    names: Mapping[int, str],
    places: Sequence[Sequence[Any]],
    metric: str,
    wide: float = 1.0,
) -> None:
    """Name the blocks below, and the share of the forward pass that is needed to get there.

    `places` are those of each backbone, `wide` is how many times as wide the panel is as in a
    column of print.
    """
    axes.set_xlim(min(names) - 0.4, max(names) + 0.4)
    axes.set_xticks(list(names), list(names.values()))
    many = _slanted(names, wide)
    for text in axes.get_xticklabels():
        text.set(rotation=40 if many else 0, ha="right" if many else "center", parse_math=False)
    style: dict[str, Any] = {"fontsize": SMALL, "ha": "center", "va": "top"}
    transform = axes.get_xaxis_transform()
    every = max(1, math.ceil(len(names) / (9 * wide)))
    below = -0.32 if many else -0.14
    for number, own in enumerate(places):
        colour = COLOURS[number] if len(places) > 1 else INK
        for place in list(own)[::-every]:
            height = below - number * COST_LINE / PANEL
            share = f"{100 * place.cost:.0f}%"
            axes.text(place.depth, height, share, transform=transform, color=colour, **style)
    title = "Last frozen block, and share of the forward pass"
    axes.set_xlabel(title, fontsize=SMALL, color=INK, va="top")
    axes.xaxis.set_label_coords(0.5, below - 0.08 - (len(places) - 1) * COST_LINE / PANEL)
    unit = " (%)" if is_share(metric) else ""
    label = f"{find_metric(metric).title}{unit}"
    axes.set_ylabel(label, fontsize=NORMAL, color=INK)


def _handles(table: pd.DataFrame, majority: float, together: Sequence[str]) -> list[Any]:
    """Make the entries of the legend, of what there is; of several backbones their colours."""
    from matplotlib.lines import Line2D

    several = len(together) > 1
    handles = [
        Line2D(
            [], [], color=colour, linewidth=4.0, solid_capstyle="butt", label=escape.plain(name, 50)
        )
        for name, colour in zip(together if several else (), COLOURS, strict=False)
    ]
    handles += [
        Line2D(
            [],
            [],
            color=INK if several else colour,
            marker=marker,
            linestyle=dash,
            linewidth=1.8,
            markersize=4.5,
            label=name,
        )
        for road, (name, colour, marker, dash) in ROADS.items()
        if len(_of_line(table, road))
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
        Line2D([], [], color=own, linestyle=dash, linewidth=1.0, label=name)
        for (name, colour, dash), there in levels
        for own in [INK if several and name == SCRATCH[0] else colour]
        if there
    ]
    return handles
