"""Confusion matrices: one, or one panel for each method."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from frostline.report.figures.style import INK, NORMAL, SMALL, new_figure, title_lines
from frostline.report.tables import escape

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def confusion_figure(
    confusion: npt.NDArray[np.generic], classes: Sequence[str], title: str = ""
) -> Figure:
    """Draw a confusion matrix [K, K], rows truth: counts, shaded by the share of their row."""
    return confusion_panels({title: np.asarray(confusion)}, classes)


def confusion_panels(
    matrices: Mapping[str, npt.NDArray[np.generic]], classes: Sequence[str]
) -> Figure:
    """Draw confusion matrices [K, K] of one class list, by their titles."""
    names = [escape.plain(name, 18) for name in classes]
    k, cell = len(names), 0.62 if len(names) <= 3 else 0.46
    longest = 0.085 * max(map(len, names))
    turned = longest > cell
    left, below = 0.15 + longest, 0.15 + (longest if turned else 0.1)
    titles = [title_lines(title, left + k * cell) for title in matrices]
    top = 0.15 + 0.15 * max(map(len, titles))
    columns = min(3 if k <= 4 else 2, len(matrices))
    rows = math.ceil(len(matrices) / columns)
    across, down = left + k * cell + 0.15, top + k * cell + below
    width, height = 0.28 + columns * across, rows * down + 0.3
    figure = new_figure(height, width)
    for number, (lines, matrix) in enumerate(zip(titles, matrices.values(), strict=True)):
        row, column = divmod(number, columns)
        x, y = 0.28 + column * across + left, height - row * down - top - k * cell
        axes = figure.add_axes((x / width, y / height, k * cell / width, k * cell / height))
        _matrix(axes, np.asarray(matrix, dtype=np.int64), names, turned)
        style: dict[str, Any] = {"color": INK, "fontsize": SMALL, "parse_math": False}
        # Above the names of the rows too.
        axes.set_title("\n".join(lines), loc="left", x=-longest / (k * cell), y=1, **style)
    figure.text(0.5, 0.05 / height, "Predicted", color=INK, fontsize=NORMAL, ha="center")
    figure.text(0.06 / width, 0.5, "True", color=INK, fontsize=NORMAL, va="center", rotation=90)
    return figure


def _matrix(axes: Any, counts: npt.NDArray[np.int64], names: Sequence[str], turned: bool) -> None:
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.pcolormesh(shares, cmap="Blues", vmin=0, vmax=1, edgecolors="white", linewidth=1)
    axes.invert_yaxis()
    size = SMALL if counts.max() < 10_000 else 7
    for row, column in np.ndindex(counts.shape):
        colour = "white" if shares[row, column] > 0.55 else "#10202f"
        axes.text(
            column + 0.5,
            row + 0.5,
            f"{counts[row, column]:,}",
            ha="center",
            va="center",
            color=colour,
            fontsize=size,
        )
    places = np.arange(len(names)) + 0.5
    axes.set_xticks(places, names, rotation=90 if turned else 0)
    axes.set_yticks(places, names)
    axes.tick_params(length=0, colors=INK, labelsize=SMALL)
    for tick in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        tick.set_parse_math(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
