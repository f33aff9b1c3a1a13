"""What all figures share: size, colours, panels, and how they become files and parts of a page.

Made from Figure objects, never through pyplot, so that nothing of the caller's plotting changes.
Figures are as wide as a column, so that text set in 9 points or more is legible in print and on a
telephone alike. Colours are Okabe and Ito's (2008), and differ in shape or dash too.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frostline.cache.atomic import atomic_write, write_text
from frostline.report.statistics.names import DEPTHS, MAJORITY_HEAD, PARTLY
from frostline.report.tables import escape

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH = 4.0  # inches
SMALL, NORMAL = 9, 10  # points
# In a page this colour becomes that of its text, so that a figure is legible on light and dark.
INK = "#010203"
GREY = "#7f7f7f"
BLUE, VERMILION, PURPLE, GREEN = "#0072b2", "#d55e00", "#cc79a7", "#009e73"
ORANGE, SKY, YELLOW = "#e69f00", "#56b4e9", "#f0e442"
# Okabe and Ito's, yellow last: it is faint on white.
COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, "#7a7a7a", YELLOW)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "h")
# How a run was trained: colour, marker, dash. Of several depths each has its number as marker.
STYLES: dict[str, tuple[str, str, Any]] = {
    "frozen": (BLUE, "o", "-"),
    "fine-tuned": (VERMILION, "s", (0, (4, 1.2))),
    PARTLY: (PURPLE, "^", (0, (1.2, 1))),
    DEPTHS: (PURPLE, "$N$", (0, (1.2, 1))),
    MAJORITY_HEAD: (GREY, "x", "-"),
    "": (GREEN, "D", "-"),
}
FILE_FORMATS = ("svg", "png", "pdf")
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "frostline",
    "pdf.fonttype": 42,
    "pdf.compression": 3,
}
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"


def new_figure(height: float, width: float = WIDTH) -> Figure:
    """Make an empty figure; sizes in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height))


def panels(
    titles: Sequence[str],
    *,
    xlabel: str,
    ylabel: str,
    height: float = 1.3,
    columns: int = 2,
    own_axes: bool = False,
    legend: bool = True,
) -> tuple[Figure, list[Any]]:
    """Make a figure with one panel for each title, in rows of `columns`, and give its panels.

    Panels have the same limits, and ticks are labelled at the left and below alone; with
    `own_axes` each has its own.
    """
    columns = min(columns, len(titles))
    rows = math.ceil(len(titles) / columns)
    left, right, bottom = 0.62 if ylabel else 0.06, 0.1, 0.5 if xlabel else 0.06
    bottom = max(bottom, 0.3) if own_axes else bottom
    top, title = 0.32 if legend else 0.04, 0.24 if any(titles) else 0.04
    across, down = (0.45, 0.3) if own_axes else (0.2, 0.0)
    total = top + rows * (height + title) + (rows - 1) * down + bottom
    width = (WIDTH - left - right - across * (columns - 1)) / columns
    figure = new_figure(total)
    out = []
    for number, name in enumerate(titles):
        row, column = divmod(number, columns)
        x = left + column * (width + across)
        y = total - top - (row + 1) * (height + title) - row * down
        axes = figure.add_axes((x / WIDTH, y / total, width / WIDTH, height / total))
        tidy(axes, escape.plain(name, 26 if columns > 1 else 50))
        last = number + columns >= len(titles)
        axes.tick_params(labelleft=own_axes or column == 0, labelbottom=own_axes or last)
        out.append(axes)
    style: dict[str, Any] = {"fontsize": NORMAL, "color": INK, "parse_math": False}
    centre = (left + (WIDTH - left - right) / 2) / WIDTH
    figure.text(centre, 0.06 / total, xlabel, ha="center", va="bottom", **style)
    middle = (bottom + (total - top - bottom) / 2) / total
    figure.text(0.02, middle, ylabel, ha="left", va="center", rotation=90, **style)
    return figure, out


def tidy(axes: Any, title: str = "") -> None:
    """Give axes the colours of the page, and take away the lines that say nothing."""
    for name, spine in axes.spines.items():
        spine.set_visible(name in ("left", "bottom"))
        spine.set_color(INK)
        spine.set_linewidth(0.8)
    axes.tick_params(colors=INK, labelsize=SMALL, width=0.8, length=3)
    axes.patch.set_visible(False)
    if title:
        axes.set_title(title, fontsize=SMALL, color=INK, loc="left", pad=3, parse_math=False)


def key(
    figure: Figure,
    names: Sequence[str],
    styles: Mapping[str, tuple[str, str, Any]],
    *,
    lines: bool = True,
) -> None:
    """Draw a legend in one row above the panels."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D(
            [],
            [],
            color=styles[name][0],
            marker="" if lines else styles[name][1],
            linestyle=styles[name][2] if lines else "",
            markersize=6.5,
            linewidth=2,
            markeredgewidth=1.5,
            label=escape.plain(name, 24 if len(names) < 2 else 20),
        )
        for name in names
    ]
    if handles:
        add_legend(figure, handles, len(handles), 2.2 if lines else 1)


def add_legend(figure: Figure, handles: Sequence[Any], columns: int, length: float) -> None:
    """Write a legend at the top left; nobody's name becomes a formula."""
    legend = figure.legend(
        handles=handles,
        loc="upper left",
        ncols=columns,
        frameon=False,
        labelcolor=INK,
        fontsize=SMALL,
        handletextpad=0.4,
        columnspacing=1.0,
        borderaxespad=0.1,
        handlelength=length,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)


def save_figure(figure: Figure, path: Path | str, *, dpi: int = 200) -> None:
    """Write a figure to `path` (.svg, .png, .pdf), atomically, on white, same bytes."""
    import matplotlib as mpl

    path = Path(path)
    kind = path.suffix.removeprefix(".")
    if kind == "svg":
        return write_text(path, to_svg(figure))
    dates: dict[str, Any] = {"pdf": {"CreationDate": None}}
    with atomic_write(path) as temporary, mpl.rc_context(_SETTINGS):
        figure.savefig(temporary, format=kind, dpi=dpi, facecolor="white", metadata=dates.get(kind))


def to_svg(figure: Figure) -> str:
    """Write a figure as SVG, on white, its text as text."""
    import matplotlib as mpl

    out = io.StringIO()
    with mpl.rc_context(_SETTINGS):
        figure.savefig(out, format="svg", facecolor="white", metadata={"Date": None})
    return out.getvalue()


def inline_svg(svg: str, name: str, description: str, *, adapt: bool = True) -> str:
    """Write what `to_svg` gave as markup of a page, in the page's colours and fonts.

    `name` makes the ids inside unique in the page, `description` is read to those who do not see.
    `adapt` lets the page change colours on dark; not where points are pixels, which cannot change.
    """
    from markupsafe import escape as escape_html

    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    # The first patch is the paper.
    svg = re.sub(r'<g id="patch_1">.*?</g>', "", svg, count=1, flags=re.DOTALL)
    # Only inside tags: a label may read like an id, a colour or a link.
    svg = re.sub(r"<[^>]*>", lambda tag: _in_page(tag.group(), name, adapt), svg)
    start = f'<svg role="img" aria-label="{escape_html(description)}"'
    return start + svg.removeprefix("<svg")


def _in_page(tag: str, name: str, adapt: bool) -> str:
    """Give a tag ids of its own, and the page's colours and font."""
    tag = re.sub(r'\bid="', f'id="{name}-', tag)
    tag = re.sub(r'href="#', f'href="#{name}-', tag)
    tag = tag.replace("url(#", f"url(#{name}-").replace(INK, "currentColor")
    if adapt:
        # The page makes them lighter on dark (page.css).
        tag = re.sub(rf": ({'|'.join(COLOURS)})", lambda c: f": var(--c{c[1][1:]}, {c[1]})", tag)
    return re.sub(r"font:( ?[^;\"']*?)'DejaVu Sans'[^;\"]*", rf"font:\1{_FONT}", tag)
