"""Every pair of methods as a matrix: how far they are from each other, and what is decided."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from frostline.report.figures.style import BLUE, INK, SMALL, WIDTH, new_figure
from frostline.report.statistics.comparisons.decisions import IDENTICAL
from frostline.report.statistics.metrics import find_metric
from frostline.report.tables import escape
from frostline.report.tables.numbers import is_share, number
from frostline.report.tables.positive import metric_words, shared

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CELL, TALL = 0.4, 0.23  # inches of a cell; of many methods as wide as their numbers need
NAME, LETTERS = 0.17, 44  # inches of a line of names, and how long a name is
EDGE = 0.08
MANY = 12  # methods, of which the diagonal is too far from some cells
# Of a cell: how strong the largest difference is coloured.
STRONGEST = 0.55
SIGNS = {"equivalent": "≈", IDENTICAL: "="}


def pair_figure(frame: pd.DataFrame) -> Figure:
    """Draw the difference of every pair of one data set, methods in order of their score.

    Number (in points, of shares) and colour say how far the method of a cell's row is ahead of that
    of its column; a bold number in a frame is decided. Signs say what is equivalent within the
    margin and what has identical predictions. Methods are numbered on the diagonal, best first,
    and named above.

    Parameters
    ----------
    frame : DataFrame
        What `compare` returned: all pairs of one data set, or those of another family.
    """
    metric = str(frame["metric"].iloc[0])
    labels, scores = _ranked(frame, metric)
    count = len(labels)
    cell = max(CELL, (WIDTH - 2 * EDGE) / count)
    ends = 0.3 if count > MANY else 0.0
    width = 2 * EDGE + count * cell + ends
    across = max(1, int(width // WIDTH))
    lines = math.ceil(count / across)
    title, key = 0.26, 0.3
    inside = count * TALL
    height = title + lines * NAME + 0.1 + ends + inside + key
    figure = new_figure(height, width)
    axes = figure.add_axes((EDGE / width, key / height, count * cell / width, inside / height))
    axes.set_axis_off()
    axes.set_xlim(0, count)
    axes.set_ylim(count, 0)
    _numbers(axes, count)
    _cells(axes, frame, list(labels), metric)
    share = "points of " if is_share(metric) else ""
    heading = f"Row ahead of column, {share}{metric_words(shared(frame, metric))}"
    _write(figure, EDGE, height - 0.05, escape.plain(heading, 72))
    for place, (name, label) in enumerate(labels.items()):
        column, line = divmod(place, lines)
        x, y = EDGE + column * width / across, height - title - line * NAME
        said = f"{place + 1}  {escape.plain(label, LETTERS)}  {number(scores[name], metric)}"
        _write(figure, x, y, said)
    _write(figure, EDGE, key - 0.06, _legend(frame))
    return figure


def _ranked(frame: pd.DataFrame, metric: str) -> tuple[dict[str, str], dict[str, float]]:
    """Give label and score of each method, best first; of equals in the order that they came in."""
    labels: dict[str, str] = {}
    scores: dict[str, float] = {}
    for side in ("a", "b"):
        labels |= dict(zip(frame[side], frame[f"label_{side}"], strict=True))
        scores |= dict(zip(frame[side], frame[f"estimate_{side}"], strict=True))
    sign = -1 if find_metric(metric).higher else 1
    names = sorted(scores, key=lambda name: (math.isnan(scores[name]), sign * scores[name]))
    return {name: labels[name] for name in names}, scores


def _numbers(axes: Any, count: int) -> None:
    """Number the methods on the diagonal; of many at the ends of rows and columns too."""
    style: dict[str, Any] = {"va": "center", "fontsize": SMALL, "color": INK, "fontweight": "bold"}
    for place in range(count):
        axes.text(place + 0.5, place + 0.5, str(place + 1), ha="center", **style)
        if count > MANY and place:
            axes.text(place + 0.5, -0.5, str(place + 1), ha="center", **style)
        if count > MANY and place < count - 1:
            axes.text(count + 0.2, place + 0.5, str(place + 1), ha="left", **style)


def _cells(axes: Any, frame: pd.DataFrame, names: list[str], metric: str) -> None:
    from matplotlib.patches import Rectangle

    style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": SMALL, "color": INK}
    largest = float(np.nanmax([*frame["difference"].abs(), 0.0])) or 1.0
    for row in frame.to_dict("records"):
        a, b = names.index(row["a"]), names.index(row["b"])
        y, x = min(a, b), max(a, b)
        difference = float(row["difference"])
        if math.isnan(difference):
            continue
        colour = STRONGEST * abs(difference) / largest
        patch: dict[str, Any] = {"facecolor": BLUE, "alpha": colour, "linewidth": 0}
        axes.add_patch(Rectangle((x + 0.02, y + 0.03), 0.96, 0.94, **patch))
        decided = row["verdict"] in ("better", "worse")
        if decided:
            frame_style: dict[str, Any] = {"fill": False, "edgecolor": INK, "linewidth": 0.9}
            axes.add_patch(Rectangle((x + 0.05, y + 0.08), 0.9, 0.84, **frame_style))
        text = SIGNS.get(str(row["verdict"])) or _short(difference, metric)
        axes.text(x + 0.5, y + 0.5, text, fontweight="bold" if decided else "normal", **style)


def _short(difference: float, metric: str) -> str:
    """Write how far the row is ahead, whichever end of the metric is the better one."""
    return number(abs(difference), metric).removeprefix("0" if not is_share(metric) else "")


def _legend(frame: pd.DataFrame) -> str:
    """Say what frames and signs are of those that there are."""
    found = set(frame["verdict"])
    words = []
    if found & {"better", "worse"}:
        words.append("framed: decided")
    if "equivalent" in found:
        words.append("≈: equivalent")
    if IDENTICAL in found:
        words.append("=: identical predictions")
    if "undecided" in found:
        words.append("others: undecided")
    text = "; ".join(words)
    return text[:1].upper() + text[1:]


def _write(figure: Figure, x: float, y: float, text: str) -> None:
    """Write a line with its top left at so many inches."""
    width, height = figure.get_size_inches()
    figure.text(x / width, y / height, text, va="top", color=INK, fontsize=SMALL, parse_math=False)
