"""Figures: forest plots and confusion matrices, as files or as SVG inside a page.

Made from Figure objects, never through pyplot, so that nothing of the caller's plotting changes.
Colours are Okabe and Ito's (2008), told apart by shape too.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from frostline.report import escape
from frostline.report.atomic import atomic_path
from frostline.report.evaluation import MAJORITY_HEAD
from frostline.report.layout import describe, percent, trained_word
from frostline.report.metrics import find_metric

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# In a page this colour becomes that of its text, so that a figure is legible on light and dark.
INK = "#010203"
STYLES = {
    "frozen": ("#0072B2", "o"),
    "fine-tuned": ("#D55E00", "s"),
    "part fine-tuned": ("#CC79A7", "^"),
    MAJORITY_HEAD: ("#7f7f7f", "x"),
    "": ("#009E73", "D"),
}
FILE_FORMATS = ("svg", "png", "pdf")
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "frostline",
    "pdf.fonttype": 42,
}
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"


def forest_figure(frame: pd.DataFrame, dataset: str, metric: str = "accuracy") -> Figure:
    """One line a run of `dataset`: estimate and 95% interval of `metric`, best first.

    The dashed marks are the majority class. `frame` is what `evaluate` returned.
    """
    from matplotlib.figure import Figure

    part = frame[(frame["dataset"] == dataset) & (frame["metric"] == metric)]
    part = part.sort_values("estimate", ascending=False, kind="stable")
    labels = describe(part)
    height = 1.15 + 0.62 * len(part)
    figure = Figure(figsize=(4.4, height))
    axes = figure.add_axes((0.03, 0.78 / height, 0.94, 1 - 1.1 / height))
    for line, row in enumerate(part.to_dict("records")):
        _forest_line(axes, -line, row, labels[row["run"]])
    for value in part.loc[part["head"] == MAJORITY_HEAD, "estimate"]:
        # In pieces beside the intervals, so that it crosses no label.
        for line in range(len(part)):
            axes.plot([100 * value] * 2, [-line - 0.2, -line + 0.2], color="#7f7f7f", linewidth=1.2,
                      linestyle=(0, (2, 1.5)), zorder=0)  # fmt: skip
    axes.set_xlim(*_limits(part))
    axes.set_ylim(-len(part) + 0.6, 0.75)
    axes.set_yticks([])
    axes.tick_params(axis="x", colors=INK, labelsize=11)
    axes.set_xlabel(f"{find_metric(metric).title} (%) with 95% interval", color=INK, fontsize=12)
    for side in ("left", "right", "top"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(INK)
    _legend(figure, part)
    return figure


def confusion_figure(
    confusion: npt.NDArray[np.generic], classes: Sequence[str], title: str = ""
) -> Figure:
    """A confusion matrix [K, K], rows truth: counts, shaded by the share of their row."""
    from matplotlib.figure import Figure

    counts = np.asarray(confusion, dtype=np.int64)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = [escape.plain(name, 18) for name in classes]
    k = len(names)
    cell = 0.8 if k <= 3 else 0.52
    longest = 0.1 * max(map(len, names))
    turned = longest > cell
    left, top, bottom = 0.45 + longest, 0.4 if title else 0.1, 0.5 + (longest if turned else 0.1)
    width, height = left + k * cell + 0.1, top + k * cell + bottom
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((left / width, bottom / height, k * cell / width, k * cell / height))
    axes.pcolormesh(shares, cmap="Blues", vmin=0, vmax=1, edgecolors="white", linewidth=1)
    axes.invert_yaxis()
    size = 12 if counts.max() < 1000 else 10
    for row, column in np.ndindex(k, k):
        colour = "white" if shares[row, column] > 0.55 else "#10202f"
        axes.text(column + 0.5, row + 0.5, f"{counts[row, column]:,}", ha="center", va="center",
                  color=colour, fontsize=size)  # fmt: skip
    _name_ticks(axes, names, turned)
    axes.set_xlabel("Predicted", color=INK, fontsize=12)
    axes.set_ylabel("True", color=INK, fontsize=12)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if title:
        axes.set_title(escape.plain(title, 44), color=INK, fontsize=12, parse_math=False)
    return figure


def save_figure(figure: Figure, path: Path | str) -> None:
    """Write a figure to `path` (.svg, .png at 200 dpi, .pdf), atomically, on white, same bytes."""
    import matplotlib as mpl

    path = Path(path)
    kind = path.suffix.removeprefix(".")
    dates: dict[str, Any] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
    settings = _SETTINGS | ({"svg.fonttype": "path"} if kind == "svg" else {})
    with atomic_path(path) as temporary, mpl.rc_context(settings):
        figure.savefig(temporary, format=kind, dpi=200, facecolor="white", metadata=dates.get(kind))


def inline_svg(figure: Figure, name: str, description: str) -> str:
    """A figure as SVG markup for a page: the page's colours and fonts, `description` for readers.

    `name` makes the ids inside unique in the page.
    """
    import matplotlib as mpl
    from markupsafe import escape as escape_html

    out = io.StringIO()
    with mpl.rc_context(_SETTINGS):
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    text = out.getvalue()
    svg = text[text.index("<svg") :].replace(INK, "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # Only inside tags: a label may read like an id or a link.
    svg = re.sub(r"<[^>]*>", lambda tag: _unique(tag.group(), name), svg)
    start = f'<svg role="img" aria-label="{escape_html(description)}"'
    return start + svg.removeprefix("<svg")


def _unique(tag: str, name: str) -> str:
    tag = re.sub(r'\bid="', f'id="{name}-', tag)
    tag = re.sub(r'href="#', f'href="#{name}-', tag)
    tag = tag.replace("url(#", f"url(#{name}-")
    return re.sub(r"font:( ?[^;\"']*?)'DejaVu Sans'[^;\"]*", rf"font:\1{_FONT}", tag)


def _forest_line(axes: Any, y: int, row: Mapping[Any, Any], label: tuple[str, str]) -> None:
    colour, marker = STYLES[_style(row)]
    low, high, middle = (100 * float(row[name]) for name in ("low", "high", "estimate"))
    if not np.isnan(low):
        axes.plot([low, high], [y, y], color=colour, linewidth=2.4, solid_capstyle="butt")
    axes.plot([middle], [y], marker=marker, color=colour, markersize=8, markeredgewidth=2)
    interval = "" if np.isnan(low) else f" [{percent(row['low'])}, {percent(row['high'])}]"
    name = f"{label[0]} ({label[1]})" if label[1] else label[0]
    style = {"transform": axes.get_yaxis_transform(), "color": INK, "fontsize": 11}
    axes.text(0, y + 0.28, escape.plain(name, 30), va="bottom", parse_math=False, **style)
    axes.text(1, y + 0.28, percent(row["estimate"]) + interval, va="bottom", ha="right", **style)


def _style(row: Mapping[Any, Any]) -> str:
    if row["head"] == MAJORITY_HEAD:
        return MAJORITY_HEAD
    word = trained_word(str(row["unfreeze"]))
    return word if word in STYLES else "part fine-tuned"


def _limits(part: pd.DataFrame) -> tuple[float, float]:
    values = 100 * part[["low", "high", "estimate"]].to_numpy(dtype=np.float64)
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    margin = max(0.06 * (high - low), 1.0)
    return max(low - margin, -1.0), min(high + margin, 101.0)


def _legend(figure: Figure, part: pd.DataFrame) -> None:
    from matplotlib.lines import Line2D

    there = {_style(row) for row in part.to_dict("records")} - {"", MAJORITY_HEAD}
    handles = [
        Line2D([], [], color=colour, marker=marker, linestyle="", markersize=8, label=name,
               markeredgewidth=2)
        for name, (colour, marker) in STYLES.items() if name in there
    ]  # fmt: skip
    if handles:
        figure.legend(handles=handles, loc="upper left", ncols=len(handles), frameon=False,
                      labelcolor=INK, fontsize=11, handletextpad=0.2, columnspacing=1.0,
                      borderaxespad=0.1)  # fmt: skip


def _name_ticks(axes: Any, names: Sequence[str], turned: bool) -> None:
    places = np.arange(len(names)) + 0.5
    axes.set_xticks(places, names, rotation=90 if turned else 0)
    axes.set_yticks(places, names)
    axes.tick_params(length=0, colors=INK, labelsize=11)
    for tick in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        tick.set_parse_math(False)
