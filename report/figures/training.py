"""What training looked like and what it cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from frostline.report.figures.style import BLUE, INK, SMALL, STYLES, VERMILION, key, panels
from frostline.report.statistics.metrics import find_metric
from frostline.report.statistics.names import DEPTHS, FROM_SCRATCH, way_of
from frostline.report.tables import escape
from frostline.report.tables.numbers import is_share, unit_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOSS_LINES = {
    "training loss": (BLUE, "o", "-"),
    "validation loss": (VERMILION, "s", (0, (4, 1.2))),
}
KEPT = "epoch kept"
SCRATCH = (VERMILION, "X", "-")
COLUMN_OF_LINE = {"training loss": "train_loss", "validation loss": "val_loss"}
COSTS = {
    "parameters": "Parameters of the backbone",
    "seconds": "Seconds of training",
    "embedding_seconds": "Seconds of embedding",
    "memory": "Peak memory in bytes",
}


# Panels share an axis, of at most so many times the highest loss of the one in the middle.
MOST_OF_MEDIAN = 2.5


def learning_figure(history: pd.DataFrame) -> Figure:
    """Draw the loss by epoch, a panel for each method, a dot at the epoch that was kept.

    Parameters
    ----------
    history : DataFrame
        Columns `panel`, `run`, `epoch`, `train_loss`, `val_loss`, `best` (the epoch kept, or NaN).
    """
    from matplotlib.ticker import MaxNLocator

    titles = list(history["panel"].unique())
    more = {KEPT: (VERMILION, "o", "")} if history["best"].notna().any() else {}
    names = [*LOSS_LINES, *more]
    figure, axes = panels(titles, xlabel="Epoch", ylabel="Loss", height=1.2, legend=names)
    columns = list(COLUMN_OF_LINE.values())
    tops = history.groupby("panel", sort=False)[columns].max().max(axis=1)
    # One run that diverges does not flatten the others.
    top = min(float(tops.max()), MOST_OF_MEDIAN * float(tops.median()))
    for one, title in zip(axes, titles, strict=True):
        for _, run in history[history["panel"] == title].groupby("run", sort=False):
            for name, (colour, _, dash) in LOSS_LINES.items():
                one.plot(
                    run["epoch"],
                    run[COLUMN_OF_LINE[name]],
                    color=colour,
                    linestyle=dash,
                    linewidth=1,
                )
            kept = run[run["epoch"] == run["best"]]
            one.plot(
                kept["epoch"],
                kept["val_loss"],
                "o",
                color=LOSS_LINES["validation loss"][0],
                markersize=4,
            )
        if tops[title] > top:
            style: dict[str, Any] = {"ha": "right", "va": "top", "transform": one.transAxes}
            said = f"up to {tops[title]:.3g}"
            one.text(0.98, 0.98, said, fontsize=SMALL - 1, color=INK, **style)
        one.set_ylim(0, 1.05 * top)
        one.set_xlim(0, float(history["epoch"].max()) + 0.5)
        one.locator_params(axis="y", nbins=4)
        one.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    key(figure, list(LOSS_LINES), LOSS_LINES, more=more)
    return figure


def cost_figure(costs: pd.DataFrame, metric: str) -> Figure:
    """Draw the primary metric against what it costs, a panel for each cost, on a log scale.

    Parameters
    ----------
    costs : DataFrame
        Columns `cost`, `value`, `estimate`, `name` (of the backbone), `unfreeze`, `way` (of
        `STYLES`, or "from scratch").
    """
    from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, NullLocator

    kinds = [kind for kind in COSTS if kind in set(costs["cost"])]
    title = find_metric(metric).title
    depths = {name for name in costs["unfreeze"].astype(str) if name.isdigit()}
    styles = STYLES | {FROM_SCRATCH: SCRATCH}
    ways = [
        row["way"] if row["way"] == FROM_SCRATCH else way_of(row["unfreeze"], depths=depths)
        for row in costs.to_dict("records")
    ]
    names = [way for way in styles if way in ways]
    figure, axes = panels(
        [COSTS[kind] for kind in kinds],
        xlabel="",
        ylabel=f"{title} (%)" if is_share(metric) else title,
        columns=1,
        height=1.7,
        own_axes=True,
        legend=names,
    )
    costs = costs.assign(way=ways, estimate=costs["estimate"] * unit_of(metric))
    for one, kind in zip(axes, kinds, strict=True):
        part = costs[costs["cost"] == kind]
        for row in part.to_dict("records"):
            colour, marker, _ = styles[row["way"]]
            marker = f"${row['unfreeze']}$" if row["way"] == DEPTHS else marker
            one.plot(
                [row["value"]],
                [row["estimate"]],
                marker=marker,
                color=colour,
                markersize=6,
                markeredgewidth=0.6,
            )
        one.set_xscale("log")
        one.margins(x=0.16, y=0.18)
        one.xaxis.set_major_locator(LogLocator(subs=(1, 3), numticks=8))
        # A thousand seconds are no kiloseconds, and a third of one no milliseconds.
        seconds = FuncFormatter(lambda value, _: f"{value:,g}")
        one.xaxis.set_major_formatter(seconds if "seconds" in kind else EngFormatter(sep=""))
        one.xaxis.set_minor_locator(NullLocator())
        _name_points(one, part, higher=find_metric(metric).higher)
    key(figure, names, styles, lines=False)
    return figure


def _name_points(axes: Any, part: pd.DataFrame, *, higher: bool) -> None:
    """Name the best point of each backbone, a line lower where that place is taken."""
    axes.autoscale_view()
    scores = part.groupby("name", sort=False)["estimate"]
    tops = part.loc[scores.idxmax() if higher else scores.idxmin()]
    taken: list[tuple[float, float]] = []
    for row in tops.sort_values("estimate", ascending=False).to_dict("records"):
        point = axes.transData.transform((row["value"], row["estimate"]))
        x, y = axes.transAxes.inverted().transform(point)
        side = "right" if x > 0.5 else "left"
        while any(abs(y - b) < 0.09 and abs(x - a) < 0.4 for a, b in taken) and y > 0.09:
            y -= 0.09
        taken.append((x, y))
        axes.text(
            x + (-0.03 if side == "right" else 0.03),
            y,
            escape.plain(row["name"], 24),
            ha=side,
            va="center",
            fontsize=SMALL - 1,
            color=INK,
            parse_math=False,
            transform=axes.transAxes,
        )
