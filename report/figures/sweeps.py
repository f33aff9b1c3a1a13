"""What a sweep of heads found: label-efficiency curves, and validation scores over its grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from frostline.report.figures.style import (
    COLOURS,
    INK,
    MARKERS,
    NORMAL,
    SMALL,
    WIDTH,
    add_legend,
    new_figure,
    panels,
    tidy,
)
from frostline.report.statistics.metrics import find_metric
from frostline.report.tables import escape

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Lines that can be distinguished in one panel.
MOST_CURVES = len(COLOURS)


def efficiency_figure(curves: pd.DataFrame, metric: str = "balanced_accuracy") -> Figure:
    """Draw the score against the number of training groups, a panel for each data set.

    A line is the mean over draws, its band the middle 95% of them (from the lowest to the highest
    of fewer than 40). The largest size, all groups, is one training set and has no band.

    Parameters
    ----------
    curves : DataFrame
        Columns `dataset`, `line`, `groups` (training groups), `draw`, `metric`, `score`.
    metric : str
        Which rows of it are drawn.
    """
    part = curves[curves["metric"] == metric]
    names = list(dict.fromkeys(part["line"]))[:MOST_CURVES]
    titles = list(dict.fromkeys(part["dataset"]))
    lines = -(-len(names) // 2)
    figure, axes = panels(
        titles,
        xlabel="Training groups",
        ylabel=_label(metric),
        height=1.9,
        columns=1 if len(titles) == 1 else 2,
        own_axes=len(titles) > 1,
    )
    for one, title in zip(axes, titles, strict=True):
        for place, name in enumerate(names):
            mine = part[(part["dataset"] == title) & (part["line"] == name)]
            if len(mine):
                _line(one, mine, COLOURS[place], MARKERS[place])
        one.set_xscale("log")
        sizes = part.loc[part["dataset"] == title, "groups"].unique()
        _size_ticks(one, sizes, 0.2 if len(titles) > 1 else 0.08)
        one.grid(axis="y", color="#c9ced3", linewidth=0.5)
    _key_below(figure, names, lines)
    return figure


def heat_map_figure(scores: pd.DataFrame, rows: str, columns: str, metric: str) -> Figure:
    """Draw validation scores over two hyper-parameters, or one and the backbone, the best framed.

    Parameters
    ----------
    scores : DataFrame
        Columns `rows`, `columns` and `score`; where cells repeat, their mean is drawn.
    rows, columns : str
        Columns of `scores`.
    metric : str
        What `score` is.
    """
    higher = find_metric(metric).higher
    table = scores.pivot_table(index=rows, columns=columns, values="score", sort=True)
    values = table.to_numpy(dtype=np.float64)
    low, high = _colour_limits(values, higher)
    names = [escape.plain(_number(name), 24) for name in table.index]
    left = 0.35 + 0.075 * max(map(len, names))
    cell = min(0.34, 2.4 / len(names)) if len(names) > 7 else 0.34
    height = 0.3 + cell * len(names) + 1.05
    figure = new_figure(height)
    axes = figure.add_axes(
        (left / WIDTH, 1.05 / height, (WIDTH - left - 0.1) / WIDTH, cell * len(names) / height)
    )
    shown = axes.pcolormesh(
        values,
        cmap="viridis" if higher else "viridis_r",
        vmin=low,
        vmax=high,
        edgecolors="white",
        linewidth=0.4 if values.shape[1] < 16 else 0,
    )
    best = np.nanargmax(values) if higher else np.nanargmin(values)
    row, column = divmod(int(best), values.shape[1])
    _frame(axes, row, column)
    _label_cells(axes, table.columns.tolist(), names)
    style: dict[str, Any] = {"fontsize": NORMAL, "color": INK, "parse_math": False}
    axes.set_xlabel(columns, **style)
    at = f"{rows} {_number(table.index[row])}, {columns} {_number(table.columns[column])}"
    figure.text(
        0.02,
        1 - 0.06 / height,
        escape.plain(f"Best (framed): {at}", 60),
        va="top",
        fontsize=SMALL,
        color=INK,
        parse_math=False,
    )
    bar = figure.add_axes((left / WIDTH, 0.42 / height, (WIDTH - left - 0.1) / WIDTH, 0.1 / height))
    figure.colorbar(shown, cax=bar, orientation="horizontal", extend=_extend(values, low, high))
    bar.tick_params(colors=INK, labelsize=SMALL, width=0.8, length=2)
    bar.locator_params(nbins=4)
    figure.text(left / WIDTH, 0.04 / height, f"Validation: {_label(metric)}", va="bottom", **style)
    return figure


def _colour_limits(values: npt.NDArray[np.float64], higher: bool) -> tuple[float, float]:
    """Choose the ends of the colours: of losses many times the best, all have one colour."""
    good = np.sort(values[np.isfinite(values)])
    low, high = float(good[0]), float(good[-1])
    if not higher:
        high = min(high, max(low + 3 * (float(np.median(good)) - low), low + 1e-9))
    return low, high


def _label_cells(axes: Any, columns: Sequence[Any], rows: Sequence[str]) -> None:
    """Label the rows and columns of a heat map, the first row at the top."""
    tidy(axes)
    _ticks(axes, columns)
    axes.set_yticks(np.arange(len(rows)) + 0.5, rows)
    axes.invert_yaxis()
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _line(axes: Any, mine: pd.DataFrame, colour: str, marker: str) -> None:
    groups = mine.groupby("groups")["score"]
    mean = groups.mean()
    several = groups.count() > 1
    low, high = groups.quantile(0.025), groups.quantile(0.975)
    few = groups.count() < 40
    low, high = low.where(~few, groups.min()), high.where(~few, groups.max())
    band = mean.index[several]
    axes.fill_between(band, low[band], high[band], color=colour, alpha=0.18, linewidth=0)
    axes.plot(mean.index, mean, color=colour, marker=marker, markersize=4, linewidth=1.5)


def _key_below(figure: Figure, names: Sequence[str], lines: int) -> None:
    """Draw a legend of as many lines as it takes, for which the figure grows at its top."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D(
            [],
            [],
            color=COLOURS[i],
            marker=MARKERS[i],
            markersize=4,
            linewidth=1.5,
            label=escape.plain(name, 34),
        )
        for i, name in enumerate(names)
    ]
    width, height = figure.get_size_inches()
    more = 0.18 * max(lines - 1, 0)
    places = [(one, one.get_position(), one.get_title(loc="left")) for one in figure.axes]
    figure.set_size_inches(width, height + more)
    for one, place, _ in places:
        factor = height / (height + more)
        one.set_position((place.x0, place.y0 * factor, place.width, place.height * factor))
    for text in figure.texts:
        x, y = text.get_position()
        text.set_position((x, y * height / (height + more)))
    add_legend(figure, handles, 2, 2)


def _size_ticks(axes: Any, sizes: Any, room: float) -> None:
    """Label every size but those that would run into the one before; `room` is a share of all."""
    from matplotlib.ticker import NullLocator

    shown: list[int] = []
    least = room * math.log(max(sizes) / min(sizes))
    for size in sorted(sizes):
        if not shown or math.log(size / shown[-1]) >= least:
            shown.append(int(size))
    axes.set_xticks(shown, [f"{size:,}" for size in shown])
    axes.xaxis.set_minor_locator(NullLocator())


def _ticks(axes: Any, values: Sequence[Any]) -> None:
    """Label every column if there are few, else those nearest to powers of ten."""
    places = list(range(len(values)))
    names = [_number(value) for value in values]
    if len(values) > 7 and all(isinstance(value, int | float) and value > 0 for value in values):
        decades = np.log10(np.array(values, dtype=np.float64))
        first, last = math.ceil(decades[0] - 0.01), math.floor(decades[-1] + 0.01)
        wanted = range(first, last + 1, max(1, -(-(last - first) // 5)))
        places = [int(np.abs(decades - power).argmin()) for power in wanted]
        names = [f"{10.0**power:g}" for power in wanted]
    axes.set_xticks([place + 0.5 for place in places], names)


def _frame(axes: Any, row: int, column: int) -> None:
    from matplotlib.patches import Rectangle

    style: dict[str, Any] = {"fill": False, "clip_on": False, "zorder": 5}
    for colour, width in (("white", 3.2), (INK, 1.6)):
        axes.add_patch(Rectangle((column, row), 1, 1, edgecolor=colour, linewidth=width, **style))


def _number(value: Any) -> str:
    if isinstance(value, float | np.floating):
        return f"{value:.3g}"
    return str(value)


def _label(metric: str) -> str:
    return find_metric(metric).title


def _extend(values: Any, low: float, high: float) -> str:
    return "max" if np.nanmax(values) > high else "neither"
