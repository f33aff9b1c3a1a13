"""Curves over thresholds: ROC, precision-recall, calibration, decisions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from frostline.report.figures.style import COLOURS, GREY, INK, STYLES, key, panels
from frostline.report.tables import escape

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CHANCE, TRUE, BAR = "chance", "calibrated", "95% of points if calibrated"
# Of calibration before and after scaling: the mark, and how far to the side it stands.
BEFORE, AFTER = "as they are", "scaled"
ASIDE = 0.012
POINT = "operating point"
AXES = {
    "roc": ("False positive rate", "True positive rate"),
    "precision-recall": ("Recall", "Precision"),
}


def curve_figure(
    curves: pd.DataFrame, kind: str, positive: str = "", points: pd.DataFrame | None = None
) -> Figure:
    """Draw ROC or precision-recall curves with their bands, a panel for each backbone.

    Parameters
    ----------
    curves : DataFrame
        Columns `panel`, `way`, `kind`, `x`, `y`, `low`, `high`.
    positive : str
        The positive class, where there are two, for the axis.
    points : DataFrame, optional
        Points to mark: `panel`, `way`, `x`, `y`.
    """
    part = curves[curves["kind"] == kind]
    titles = list(part["panel"].unique())
    ways = _ways(part)
    more = {CHANCE: (GREY, "", ":")} if kind == "roc" else {}
    marked = pd.DataFrame({"panel": []}) if points is None else points
    if len(marked):
        more[POINT] = (INK, "D", "")
    figure, axes = panels(
        titles,
        xlabel=_of(AXES[kind][0], positive),
        ylabel=AXES[kind][1],
        legend=[*ways, *more],
    )
    for one, title in zip(axes, titles, strict=True):
        for way, line in part[part["panel"] == title].groupby("way", sort=False):
            colour, _, dash = STYLES[str(way)]
            one.fill_between(
                line["x"], line["low"], line["high"], color=colour, alpha=0.22, linewidth=0
            )
            one.plot(line["x"], line["y"], color=colour, linestyle=dash, linewidth=1.6)
        if kind == "roc":
            one.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":")
        for row in marked[marked["panel"] == title].to_dict("records"):
            look = {"markerfacecolor": STYLES[str(row["way"])][0], "markeredgecolor": INK}
            one.plot(row["x"], row["y"], "D", markersize=4.5, clip_on=False, zorder=4, **look)
        _square(one)
    key(figure, ways, STYLES, more=more)
    return figure


def reliability_figure(bins: pd.DataFrame, positive: str = "") -> Figure:
    """Draw frequency against confidence, with bars of what good calibration would show.

    A panel for each method: bars of two would hide each other. What was scaled is hollow, and a
    little to the right.

    Parameters
    ----------
    bins : DataFrame
        What `reliability_of` returned, with `panel` and `way`.
    positive : str
        As of `curve_figure`.
    """
    titles = list(bins["panel"].unique())
    more: dict[str, tuple[str, str, Any]] = {TRUE: (GREY, "", ":"), BAR: (GREY, "|", "")}
    scaled = bool((bins["when"] == "after").any())
    states = {BEFORE: (GREY, "o", ""), AFTER: (INK, "$\\circ$", "")} if scaled else {}
    figure, axes = panels(
        titles,
        xlabel=_of("Mean confidence", positive),
        ylabel="Observed frequency",
        height=1.5,
        legend=[*states, *more],
    )
    for one, title in zip(axes, titles, strict=True):
        one.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":")
        part = bins[bins["panel"] == title]
        for (way, when), line in part.groupby(["way", "when"], sort=False):
            colour, marker, _ = STYLES[str(way)]
            aside, look = -ASIDE * scaled, {"color": colour, "markersize": 3.2}
            bar = {"color": colour, "linewidth": 2, "alpha": 0.4}
            if when == "after":
                aside, look = ASIDE, {"color": INK, "markersize": 3.6, "markerfacecolor": "none"}
                bar = {"color": INK, "linewidth": 0.8, "alpha": 0.7}
            x = line["confidence"] + aside
            one.vlines(x, line["bar_low"], line["bar_high"], **bar)
            one.plot(x, line["frequency"], marker, markeredgewidth=0.8, clip_on=False, **look)
        _square(one)
    key(figure, [], STYLES, more={**states, **more})
    return figure


def decision_figure(curves: pd.DataFrame, lines: Mapping[str, str], positive: str = "") -> Figure:
    """Draw net benefit with bands against the threshold, a panel for each backbone or class.

    Parameters
    ----------
    curves : DataFrame
        Columns `panel`, `line`, `kind`, `x`, `y`, `low`, `high`.
    lines : mapping of str to str
        Name of every line, and the way to train whose style it has, or "".
    positive : str
        As of `curve_figure`.
    """
    titles = list(curves["panel"].unique())
    tops = _tops(curves)
    # Panels of one class have one prevalence, and so one scale.
    alike = max(tops.values()) < 1.5 * min(tops.values())
    x = _of("Threshold probability", positive)
    styles = {
        name: STYLES[way] if way else (COLOURS[i % 7], "o", "-")
        for i, (name, way) in enumerate(lines.items())
    }
    more: dict[str, tuple[str, str, Any]] = {
        "act on all": (GREY, "", ":"),
        "act on none": (GREY, "", "-"),
    }
    figure, axes = panels(
        titles, xlabel=x, ylabel="Net benefit", own_axes=not alike, legend=[*styles, *more]
    )
    for one, title in zip(axes, titles, strict=True):
        part = curves[curves["panel"] == title]
        one.axhline(0, color=GREY, linewidth=0.8)
        everyone = part[part["kind"] == "act-on-all"].drop_duplicates("x")
        one.plot(everyone["x"], everyone["y"], color=GREY, linewidth=1.2, linestyle=":")
        for name, line in part[part["kind"] == "net-benefit"].groupby("line", sort=False):
            colour, _, dash = styles[str(name)]
            one.fill_between(
                line["x"], line["low"], line["high"], color=colour, alpha=0.22, linewidth=0
            )
            one.plot(line["x"], line["y"], color=colour, linestyle=dash, linewidth=1.6)
        top = max(tops.values()) if alike else tops[title]
        one.set_ylim(-0.12 * top, 1.1 * top)
        one.set_xlim(0, 1)
        one.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        one.locator_params(axis="y", nbins=4)
    key(figure, list(styles), styles, more=more)
    return figure


def _of(axis: str, positive: str) -> str:
    return f"{axis} (positive: {escape.plain(positive, 30)})" if positive else axis


def _tops(curves: pd.DataFrame) -> dict[str, float]:
    """Find the highest net benefit of each panel."""
    highest = curves.groupby("panel", sort=False)["y"].max()
    return {str(title): max(float(top), 0.02) for title, top in highest.items()}


def _square(axes: Any) -> None:
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    axes.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])


def _ways(part: pd.DataFrame) -> list[str]:
    return [name for name in STYLES if name in set(part["way"])]
