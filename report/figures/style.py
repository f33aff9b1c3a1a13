"""What all figures share: size, colours, panels, and how they become files and parts of a page.

Made from Figure objects, never through pyplot, so that nothing of the caller's plotting changes.
Figures are as wide as a column, so that text set in 9 points or more is legible in print and on a
telephone alike. Colours are Okabe and Ito's (2008), and differ in shape or dash too.
"""

from __future__ import annotations

import io
import itertools
import math
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frostline.cache.atomic import atomic_write, write_text
from frostline.report.statistics.names import ADAPTED, DEPTHS, MAJORITY_HEAD, PARTLY
from frostline.report.tables import escape

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Point = tuple[float, float]
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
    ADAPTED: (ORANGE, "v", (0, (3, 1, 1, 1))),
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
# The page says its font once (page.css).
_FONT = "var(--_sans, sans-serif)"
_LETTER = 0.0705  # inches of a letter in small print
_LEGEND_LETTER, _LEGEND_LINE, _LONGEST = 0.076, 0.19, 46


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
    legend: Sequence[str] = ("",),
) -> tuple[Figure, list[Any]]:
    """Make a figure with one panel for each title, in rows of `columns`, and give its panels.

    Panels have the same limits, and ticks are labelled at the left and below alone; with
    `own_axes` each has its own. `legend` are the names for which `key` needs room.
    """
    columns = min(columns, len(titles))
    rows = math.ceil(len(titles) / columns)
    left, right, bottom = 0.62 if ylabel else 0.06, 0.1, 0.5 if xlabel else 0.06
    bottom = max(bottom, 0.3) if own_axes else bottom
    across, down = (0.45, 0.3) if own_axes else (0.2, 0.0)
    width = (WIDTH - left - right - across * (columns - 1)) / columns
    # Titles may reach over the gap to the next panel, and over the margin.
    lines = [title_lines(name, width + right) for name in titles]
    top = legend_height(legend)
    title = 0.09 + 0.15 * max(map(len, lines)) if any(titles) else 0.04
    total = top + rows * (height + title) + (rows - 1) * down + bottom
    figure = new_figure(total)
    out = []
    for number in range(len(titles)):
        row, column = divmod(number, columns)
        x = left + column * (width + across)
        y = total - top - (row + 1) * (height + title) - row * down
        axes = figure.add_axes((x / WIDTH, y / total, width / WIDTH, height / total))
        tidy(axes, "\n".join(lines[number]))
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
        axes.set_title(title, y=1, fontsize=SMALL, color=INK, loc="left", pad=3, parse_math=False)


def title_lines(title: str, width: float) -> list[str]:
    """Break a title behind commas, else between words, else behind _ and the like.

    Lines are of so many inches; what is longer still is cut.
    """
    letters = int(width / _LETTER)
    lines = [""]
    for part in escape.plain(title).split(", "):
        joined = f"{lines[-1]}, {part}" if lines[-1] else part
        if len(joined) <= letters:
            lines[-1] = joined
            continue
        lines += [""] if lines[-1] else []
        for word in re.findall(r"[^ ]+ ?", part):
            whole = len(word.rstrip()) <= letters
            for piece in [word] if whole else re.findall(r"[^:/_-]+[:/_-]*|[:/_-]+", word):
                if lines[-1] and len((lines[-1] + piece).rstrip()) > letters:
                    lines.append("")
                lines[-1] += piece
    return [escape.plain(line, max(letters, 3)) for line in lines]


def key(
    figure: Figure,
    names: Sequence[str],
    styles: Mapping[str, tuple[str, str, Any]],
    *,
    lines: bool = True,
    more: Mapping[str, tuple[str, str, Any]] | None = None,
) -> None:
    """Draw a legend above the panels: lines or markers, and lines or markers of `more` kinds.

    `more` are drawn as they are: a marker where the dash is "", else a line.
    """
    from matplotlib.lines import Line2D

    looks: list[tuple[str, str, str, Any]] = [
        (name, styles[name][0], "" if lines else styles[name][1], styles[name][2] if lines else "")
        for name in names
    ]
    looks += [(name, *look) for name, look in (more or {}).items()]
    handles = [
        Line2D(
            [],
            [],
            color=colour,
            marker=marker,
            linestyle=dash,
            markersize=6.5 if name in styles else 9 if marker == "|" else 5,
            linewidth=2 if name in styles else 1.2,
            markeredgewidth=1.5 if name in styles else 1,
            label=escape.plain(name, _LONGEST),
        )
        for name, colour, marker, dash in looks
    ]
    if handles:
        length = 2.2 if lines or more else 1
        columns, _ = legend_layout([name for name, *_ in looks])
        add_legend(figure, handles, columns, length)


def legend_height(names: Sequence[str]) -> float:
    """Give the inches that `key` needs for a legend of these names."""
    return 0.13 + _LEGEND_LINE * legend_layout(names)[1] if names else 0.04


def legend_layout(names: Sequence[str]) -> tuple[int, int]:
    """Find how many columns of names fit, and how many lines those have."""
    widths = [0.46 + _LEGEND_LETTER * min(len(name), _LONGEST) for name in names]
    for columns in range(len(names), 0, -1):
        lines, longer = divmod(len(names), columns)
        # Legends are filled column by column, the first ones with one more.
        counts = [lines + (place < longer) for place in range(columns)]
        ends = list(itertools.accumulate(counts))
        across = [max(widths[end - n : end]) for end, n in zip(ends, counts, strict=True)]
        if sum(across) <= WIDTH:
            break
    return columns, counts[0]


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


def save_figure(figure: Figure, path: Path | str, *, dpi: int = 300) -> None:
    """Write a figure to `path` (.svg, .png, .pdf), atomically, on white, same bytes."""
    import matplotlib as mpl

    path = Path(path)
    kind = path.suffix.removeprefix(".")
    if kind == "svg":
        return write_text(path, to_svg(figure))
    dates: dict[str, Any] = {"pdf": {"CreationDate": None}}
    style: dict[str, Any] = {"dpi": dpi, "facecolor": "white", "metadata": dates.get(kind)}
    with atomic_write(path) as temporary, mpl.rc_context(_SETTINGS):
        _save(figure, temporary, format=kind, **style)


def to_svg(figure: Figure) -> str:
    """Write a figure as SVG, on white, its text as text."""
    import matplotlib as mpl

    out = io.StringIO()
    with mpl.rc_context(_SETTINGS):
        _save(figure, out, format="svg", facecolor="white", metadata={"Date": None})
    return out.getvalue()


def _save(figure: Figure, *to: Any, **style: Any) -> None:
    """Save a figure; say once, and not for every letter, that the font lacks some."""
    _without_ligatures(figure)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        figure.savefig(*to, **style)
    absent = [one for one in said if "missing from font" in str(one.message)]
    for one in said:
        if one not in absent:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
    if absent:
        warnings.warn(
            "Letters of some names are not in the font of the figures, and are boxes there.",
            stacklevel=2,
        )


def _without_ligatures(figure: Figure) -> None:
    """Write each letter as itself: a ligature is not found by a search in a PDF.

    Matplotlib (since 3.11) embeds ligatures as a second font, which takes as long again.
    """
    from matplotlib.text import Text

    if hasattr(Text, "set_fontfeatures"):
        for text in figure.findobj(Text):
            text.set_fontfeatures(("-liga",))


def inline_svg(svg: str, name: str, description: str, *, adapt: bool = True) -> str:
    """Write what `to_svg` gave as markup of a page, in the page's colours and fonts.

    `name` makes the ids inside unique in the page, `description` is read to those who do not see.
    `adapt` lets the page change colours on dark; not where points are pixels, which cannot change.
    """
    from markupsafe import escape as escape_html

    svg = re.sub(
        r"<metadata>.*?</metadata>|<!--.*?-->", "", svg[svg.index("<svg") :], flags=re.DOTALL
    )
    # The first patch is the paper.
    svg = re.sub(r'<g id="patch_1">.*?</g>', "", svg, count=1, flags=re.DOTALL)
    svg = re.sub(r">\s+<", "><", svg)
    used = dict.fromkeys(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))
    ids = {old: f"{name}-{number}" for number, old in enumerate(used)}
    looks: dict[str, str] = {}
    # Only inside tags: a label may read like an id, a colour or a link.
    svg = re.sub(r"<[^>]*>", lambda tag: _in_page(tag.group(), name, adapt, ids, looks), svg)
    rules = "".join(f".{look}{{{style}}}" for style, look in looks.items())
    start = f'<svg role="img" aria-label="{escape_html(description)}"'
    return start + svg.removeprefix("<svg").replace(">", f"><style>{rules}</style>", 1)


def _in_page(
    tag: str, name: str, adapt: bool, ids: Mapping[str, str], looks: dict[str, str]
) -> str:
    """Give a tag the page's ids, colours and font, and no more digits than are seen.

    A style becomes a class, which is added to `looks`: hundreds of marks share a few.
    """
    tag = re.sub(r' ?\bid="([^"]*)"', lambda i: f' id="{ids[i[1]]}"' if i[1] in ids else "", tag)
    tag = re.sub(r'(href="#|url\(#)([^")]+)', lambda i: i[1] + ids[i[2]], tag)
    tag = tag.replace(INK, "currentColor")
    if adapt:
        # The page makes them lighter on dark (page.css).
        tag = re.sub(rf": ({'|'.join(COLOURS)})", lambda c: f": var(--c{c[1][1:]}, {c[1]})", tag)
    tag = re.sub(r"font:( ?[^;\"']*?)'DejaVu Sans'[^;\"]*", rf"font:\1{_FONT}", tag)
    tag = re.sub(r' d="([^"]*)"', lambda d: f' d="{_short_path(d[1])}"', tag)
    tag = re.sub(r' ([xy])="(-?[\d.]+)"', lambda n: f' {n[1]}="{_short(float(n[2]), 2)}"', tag)
    tag = re.sub(r"(translate|rotate)\(([-\d. ]+)", _short_transform, tag)

    def look(style: re.Match[str]) -> str:
        text = re.sub(r"([:;]) ", r"\1", style[1])
        return f' class="{looks.setdefault(text, f"{name}-s{len(looks)}")}"'

    return re.sub(r' style="([^"]*)"', look, tag)


def _short_transform(found: re.Match[str]) -> str:
    return f"{found[1]}({' '.join(_short(float(n), 2) for n in found[2].split())}"


def _short_path(path: str) -> str:
    """Write a path to a tenth of a point, small ones as of markers to a hundredth.

    Points of a line that are as near to the line without them are left out.
    """
    commands = [
        (letter, [float(number) for number in numbers.split()])
        for letter, numbers in re.findall(r"([A-Za-z])([^A-Za-z]*)", path)
    ]
    digits = 2 if all(abs(number) < 10 for _, own in commands for number in own) else 1
    out: list[str] = []
    place = 0
    while place < len(commands):
        letter, own = commands[place]
        end = place + 1
        while letter == "L" and end < len(commands) and commands[end][0] == "L":
            end += 1
        if letter == "L" and place:
            line = [(one[-2], one[-1]) for _, one in commands[place - 1 : end]]
            out.append(_steps(_needed(line, 0.6 * 10.0**-digits), digits))
        else:
            out.append(letter + " ".join(_short(number, digits) for number in own))
        place = end
    return "".join(out)


def _needed(line: list[Point], tolerance: float) -> list[Point]:
    """Leave out the points of a line that are no further from what remains (Ramer 1972)."""
    far, at = max(
        ((_apart(point, line[0], line[-1]), place) for place, point in enumerate(line[1:-1], 1)),
        default=(0.0, 0),
    )
    if far <= tolerance:
        return [line[0], line[-1]]
    return _needed(line[: at + 1], tolerance)[:-1] + _needed(line[at:], tolerance)


def _apart(point: Point, start: Point, end: Point) -> float:
    """Measure how far a point is from a stretch of line."""
    (x, y), (x0, y0), (x1, y1) = point, start, end
    square = (x1 - x0) ** 2 + (y1 - y0) ** 2
    share = ((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / square if square else 0.0
    share = min(max(share, 0.0), 1.0)
    return math.hypot(x - x0 - share * (x1 - x0), y - y0 - share * (y1 - y0))


def _steps(line: Sequence[Point], digits: int) -> str:
    """Write a line from its first point, which is there, as steps: they have fewer digits."""
    scale = 10**digits
    whole = [(round(x * scale), round(y * scale)) for x, y in line]
    steps = [
        f"{_short((x - a) / scale, digits)} {_short((y - b) / scale, digits)}"
        for (a, b), (x, y) in itertools.pairwise(whole)
    ]
    return f"l{' '.join(steps)}"


def _short(number: float, digits: int) -> str:
    return f"{number:.{digits}f}".rstrip("0").rstrip(".")
