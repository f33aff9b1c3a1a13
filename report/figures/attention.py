"""The weights of a patient's images, by position or next to the images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from frostline.report.figures.style import BLUE, GREY, INK, SMALL, new_figure, panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Patients of a figure, and images of each.
MOST_PATIENTS, MOST_IMAGES = 8, 4


def attention_figure(
    weights: pd.DataFrame, images: Mapping[str, npt.NDArray[np.uint8]] | None = None
) -> Figure:
    """Draw the first patients: the weight of each image by its position, or the images themselves.

    Parameters
    ----------
    weights : DataFrame
        Columns `image_id`, `group_id`, `label`, `prediction` and `weight`, one row an image.
    images : mapping, optional
        Images by id, uint8 [h, w] or [h, w, 3]: then those of the greatest weights are shown,
        greatest first, each with its weight.
    """
    patients = list(weights.groupby("group_id", sort=False))[:MOST_PATIENTS]
    return _positions(patients) if images is None else _images(patients, images)


def shown_images(weights: pd.DataFrame) -> list[str]:
    """List the ids of the images that `attention_figure` shows."""
    patients = list(weights.groupby("group_id", sort=False))[:MOST_PATIENTS]
    return [str(name) for _, mine in patients for name in _heaviest(mine)["image_id"]]


def _heaviest(mine: pd.DataFrame) -> pd.DataFrame:
    return mine.sort_values("weight", ascending=False, kind="stable").head(MOST_IMAGES)


def _title(group: Any, mine: pd.DataFrame) -> str:
    first = mine.iloc[0]
    label = "" if pd.isna(first["label"]) else f"{first['label']}, "
    return f"{group}: {label}called {first['prediction']}"


def _positions(patients: list[tuple[Any, pd.DataFrame]]) -> Figure:
    from matplotlib.ticker import MaxNLocator

    titles = [_title(group, mine) for group, mine in patients]
    figure, axes = panels(titles, xlabel="Image", ylabel="Weight (%)", height=1.0, own_axes=True)
    most = 100 * max(mine["weight"].max() for _, mine in patients)
    for one, (_, mine) in zip(axes, patients, strict=True):
        one.bar(np.arange(1, len(mine) + 1), 100 * mine["weight"], color=BLUE, width=0.8)
        one.axhline(100 / len(mine), color=GREY, linewidth=0.8, linestyle="--")
        one.set(xlim=(0.3, len(mine) + 0.7), ylim=(0, 1.1 * most))
        one.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        one.yaxis.set_major_locator(MaxNLocator(4))
    return figure


def _images(
    patients: list[tuple[Any, pd.DataFrame]], images: Mapping[str, npt.NDArray[np.uint8]]
) -> Figure:
    figure = new_figure(1.35 * len(patients))
    top = 1 - 0.42 / figure.get_figheight()
    grid = figure.add_gridspec(
        len(patients), MOST_IMAGES, left=0.01, right=0.99, bottom=0.01, top=top, hspace=0.55
    )
    for row, (group, mine) in enumerate(patients):
        shown = _heaviest(mine)
        for column, (name, weight) in enumerate(
            zip(shown["image_id"], 100 * shown["weight"], strict=True)
        ):
            axes = figure.add_subplot(grid[row, column])
            pixels = images.get(str(name))
            if pixels is not None:
                axes.imshow(pixels, cmap="gray", vmin=0, vmax=255)
            axes.set_axis_off()
            axes.set_title(f"{weight:.2g}%", fontsize=SMALL, color=INK, pad=2)
            if column == 0:
                place = axes.get_position()
                figure.text(
                    0.01,
                    place.y1 + 0.2 / figure.get_figheight(),
                    _title(group, mine),
                    fontsize=SMALL,
                    color=INK,
                    va="bottom",
                    parse_math=False,
                )
    return figure
