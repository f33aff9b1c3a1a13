"""The picture of depth as text, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from frostline.cache.tables.unfreezing import is_lora
from frostline.report.depth.curve import NESTED, Curves, is_repeated
from frostline.report.statistics.metrics import find_metric
from frostline.report.tables.numbers import extent, is_share, number

Record = Mapping[Any, Any]
SIGNS = {"read": "●", "nested": "◆", "train": "■", "nested train": "◈", "scratch": "□"}
WORDS = {
    "read": "read here",
    "nested": "choice repeated in every fold",
    "train": "trained",
    "nested train": "the same of training",
    "scratch": "from random weights",
}
VALIDATION, CHOSEN = "·", "◀ chosen"
LONGEST_NAME = 18
NARROWEST = 16


def depth_chart(curves: Curves, width: int = 80) -> str:
    """Draw the curves in lines of text: a line a point, from input to output.

    Parameters
    ----------
    width : int
        Of the terminal, in characters.
    """
    return "\n\n".join(
        "\n".join(_panel(curves, str(backbone), width))
        for backbone in curves.table["backbone"].unique()
    )


def _panel(curves: Curves, backbone: str, width: int) -> Iterator[str]:
    part = curves.table[curves.table["backbone"] == backbone]
    rows = sorted(
        part.to_dict("records"), key=lambda row: (row["depth"], list(SIGNS).index(row["road"]))
    )
    names = [_name(row, curves.places[backbone][-1].depth) for row in rows]
    longest = min(max(map(len, names)), LONGEST_NAME)
    score = max(len(number(row["estimate"], curves.metric)) for row in rows)
    room = max(width - longest - score - len(CHOSEN) - 6, NARROWEST)
    low, high = _limits(
        part[["val_estimate", "low", "high", "estimate"]].to_numpy(float), curves.metric
    )
    ends = number(low, curves.metric), number(high, curves.metric)
    title = find_metric(curves.metric).title
    unit = " (%)" if is_share(curves.metric) else ""
    images = "" if is_repeated(part) else " on test images"
    lower = "" if find_metric(curves.metric).higher else ", lower is better"
    yield f"{backbone}: {title}{unit}{images}, 95% intervals{lower}"
    scale = ends[0] + ends[1].rjust(room - len(ends[0]))
    yield f"{'':{longest + score + 4}}{scale}"
    for name, row in zip(names, rows, strict=True):
        bar = _bar(row, low, high, room)
        text = (
            f"{name[:longest]:<{longest}}  {number(row['estimate'], curves.metric):>{score}}  {bar}"
        )
        yield f"{text} {CHOSEN if row['chosen'] else ''}".rstrip()
    used = [road for road in SIGNS if (part["road"] == road).any()]
    yield ", ".join(
        [*(f"{SIGNS[road]} {WORDS[road]}" for road in used), f"{VALIDATION} validation"]
    )


def _name(row: Record, blocks: int) -> str:
    """Say where it is read, or what is trained, as `--train` names it."""
    if row["road"] in NESTED.values():
        return "each fold's choice"
    if row["road"] == "read":
        return str(row["block"])
    if is_lora(row["unfreeze"]):
        return f"train {str(row['unfreeze']).partition(' ')[0]}"
    last = f"last {blocks - row['depth']}" if row["depth"] >= 0 else "all"
    return "from scratch" if row["road"] == "scratch" else f"train {last}"


def _limits(values: Any, metric: str) -> tuple[float, float]:
    low, high = extent(values)
    if high > low:
        return low, high
    least, most = find_metric(metric).bounds or (-np.inf, np.inf)
    return max(low - 0.5, least), min(high + 0.5, most)


def _bar(row: Record, low: float, high: float, room: int) -> str:
    def place(value: float) -> int:
        return round((value - low) / (high - low) * (room - 1))

    cells = [" "] * room
    if np.isfinite(row["low"]):
        first, last = place(row["low"]), place(row["high"])
        cells[first : last + 1] = "─" * (last - first + 1)
        cells[first], cells[last] = "├", "┤"
    if np.isfinite(row["val_estimate"]):
        at = place(row["val_estimate"])
        cells[at] = cells[at] if cells[at] in "├┤" else VALIDATION
    cells[place(row["estimate"])] = SIGNS[row["road"]]
    return "".join(cells)
