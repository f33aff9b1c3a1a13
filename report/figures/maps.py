"""Maps of embeddings: a row for each backbone, coloured by class and by group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from frostline.report.figures.style import COLOURS, GREY, INK, MARKERS, SMALL, legend_layout, panels
from frostline.report.tables import escape

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_GROUPS = 6
LONGEST_NAME = 16


def map_figure(points: pd.DataFrame, classes: Sequence[str]) -> Figure:
    """Draw embeddings in two dimensions.

    Groups in colour are the `MOST_GROUPS` with the most images; the others are grey. Where every
    group is one image there is only the panel of classes.

    Parameters
    ----------
    points : DataFrame
        Columns `panel`, `x`, `y`, `label`, `group`.
    classes : sequence of str
        The class list: its order decides the colours.
    """
    titles = list(points["panel"].unique())
    first = points[points["panel"] == titles[0]]
    sizes = first["group"].value_counts()
    grouped = bool(len(sizes)) and int(sizes.iloc[0]) > 1
    ways = ["class", "group"] if grouped else ["class"]
    figure, axes = panels(
        [f"{title}, by {way}" for title in titles for way in ways],
        xlabel="",
        ylabel="",
        height=1.75 if grouped else 2.6,
        columns=len(ways),
        legend=[escape.plain(name, LONGEST_NAME) for name in classes],
    )
    largest = list(sizes.index[:MOST_GROUPS])
    for number, one in enumerate(axes):
        part = points[points["panel"] == titles[number // len(ways)]]
        by_class = number % len(ways) == 0
        names = list(classes) if by_class else largest
        _scatter(one, part, part["label"] if by_class else part["group"], names, by_class)
    _legend(figure, classes)
    return figure


def _scatter(
    axes: Any, part: pd.DataFrame, of: pd.Series, names: Sequence[str], all_: bool
) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_color(GREY)
    code = pd.Index(list(names)).get_indexer(pd.Index(of, dtype=object))
    rest = code < 0
    # Lines of markers alone: many times as fast as `scatter`.
    style: dict[str, Any] = {"linestyle": "", "markeredgewidth": 0, "rasterized": True}
    x, y = part["x"].to_numpy(), part["y"].to_numpy()
    axes.plot(x[rest], y[rest], "o", markersize=3**0.5, color="#b0b0b0", alpha=0.6, **style)
    # The commonest first, so that rare ones are not hidden.
    for i in sorted(range(len(names)), key=lambda i: -int(np.sum(code == i))):
        axes.plot(
            x[code == i],
            y[code == i],
            MARKERS[i % 8],
            markersize=5**0.5 if all_ else 4,
            color=COLOURS[i % 8],
            **style,
        )


def _legend(figure: Figure, classes: Sequence[str]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D(
            [],
            [],
            color=COLOURS[i % 8],
            marker=MARKERS[i % 8],
            linestyle="",
            markersize=5,
            label=escape.plain(name, LONGEST_NAME),
        )
        for i, name in enumerate(classes)
    ]
    legend = figure.legend(
        handles=handles,
        loc="upper left",
        frameon=False,
        labelcolor=INK,
        fontsize=SMALL,
        ncols=legend_layout([escape.plain(name, LONGEST_NAME) for name in classes])[0],
        columnspacing=0.7,
        handletextpad=-0.2,
        borderaxespad=0.1,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
