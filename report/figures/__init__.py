"""Figures of a report: one function each, drawn from plain tables."""

from __future__ import annotations

from frostline.report.figures.confusion import confusion_figure, confusion_panels
from frostline.report.figures.curves import curve_figure, decision_figure, reliability_figure
from frostline.report.figures.forest import difference_figure, forest_figure
from frostline.report.figures.maps import map_figure
from frostline.report.figures.pairs import pair_figure
from frostline.report.figures.style import (
    FILE_FORMATS,
    INK,
    WIDTH,
    inline_svg,
    panels,
    save_figure,
    to_svg,
)
from frostline.report.figures.subgroups import subgroup_figure
from frostline.report.figures.training import COSTS, cost_figure, learning_figure

__all__ = [
    "COSTS",
    "FILE_FORMATS",
    "INK",
    "WIDTH",
    "confusion_figure",
    "confusion_panels",
    "cost_figure",
    "curve_figure",
    "decision_figure",
    "difference_figure",
    "forest_figure",
    "inline_svg",
    "learning_figure",
    "map_figure",
    "pair_figure",
    "panels",
    "reliability_figure",
    "save_figure",
    "subgroup_figure",
    "to_svg",
]
