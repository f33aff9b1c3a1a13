"""How alike embeddings are: linear CKA of every two as a heat map, and RankMe of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from frostline.report.figures.style import INK, SMALL, WIDTH, new_figure
from frostline.report.similarity import Similarity
from frostline.report.tables import escape

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CELL, LETTER = 0.2, 0.071  # inches: the least of a cell, and of a letter of a name
WRITTEN = 0.23  # inches of a cell that has room for its number
LONGEST_NAME = 34
TOP, BOTTOM, EDGE, NUMBER, RANK = 0.44, 0.5, 0.06, 0.32, 1.0
DARK = 0.45  # up to here white is more legible than black


def similarity_figure(found: Similarity) -> Figure:
    """Draw CKA as numbers on colours, and behind each row its RankMe and number of dimensions."""
    cka = found.cka
    names = [escape.plain(str(name), LONGEST_NAME) for name in cka]
    count = len(names)
    left = EDGE + LETTER * max(map(len, names)) + NUMBER
    cell = max(CELL, min((WIDTH - left - RANK) / count, 0.34))
    width, height = max(WIDTH, left + cell * count + RANK), TOP + cell * count + BOTTOM
    figure = new_figure(height, width)
    side = cell * count
    axes = figure.add_axes((left / width, BOTTOM / height, side / width, side / height))
    values = cka.to_numpy(np.float64)
    shown = axes.pcolormesh(values, cmap="viridis", vmin=0, vmax=1, edgecolors="white", lw=0.4)
    axes.set_xlim(0, count)
    axes.set_ylim(count, 0)
    axes.set_axis_off()
    if cell >= WRITTEN:
        _write_values(axes, values)
    style: dict[str, Any] = {"fontsize": SMALL, "color": INK, "parse_math": False, "va": "center"}
    for place, name in enumerate(names):
        middle = place + 0.5
        axes.text(-NUMBER / cell, middle, name, ha="right", **style)
        axes.text(-0.08 / cell, middle, str(place + 1), ha="right", **style)
        axes.text(middle, -0.1 / cell, str(place + 1), ha="center", **style)
        rank, dimensions = found.rankme.iloc[place]
        axes.text(count + 0.1 / cell, middle, f"{rank:.0f} of {dimensions:.0f}", **style)
    heading = TOP - 0.13
    axes.text(count + 0.1 / cell, -heading / cell, "RankMe", **style)
    axes.text(0, -heading / cell, "Linear CKA", **style)
    _colour_bar(figure, shown, left, side, width, height)
    return figure


def _write_values(axes: Any, values: np.ndarray) -> None:
    """Write each value into its cell, in two digits."""
    for (row, column), value in np.ndenumerate(values):
        text = "1" if value >= 0.995 else f"{value:.2f}".replace("0.", ".").replace("-", "−")
        # Not in the page's ink: the colours below stay as they are on dark.
        colour = "#ffffff" if value <= DARK else "#000000"
        place = {"ha": "center", "va": "center_baseline"}
        axes.text(column + 0.5, row + 0.5, text, fontsize=SMALL - 1.5, color=colour, **place)


def _colour_bar(figure: Figure, shown: Any, left: float, side: float, *size: float) -> None:
    width, height = size
    bar = figure.add_axes((left / width, 0.3 / height, side / width, 0.09 / height))
    figure.colorbar(shown, cax=bar, orientation="horizontal", ticks=[0, 0.5, 1])
    bar.tick_params(colors=INK, labelsize=SMALL, width=0.8, length=2)
