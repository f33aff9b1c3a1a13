"""Figures of scores: what each shows, and in words, from the numbers of one data set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from frostline.report import figures
from frostline.report.clinical.calibration import AFTER
from frostline.report.clinical.subgroups.table import test_sentences
from frostline.report.page.numbers import DatasetNumbers, ReportNumbers
from frostline.report.statistics.names import describe, trained_word
from frostline.report.tables.freezing import pair_names
from frostline.report.tables.numbers import difference_cell, is_share, number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FEWEST_PAIRS = 3


def draw_freezing(numbers: ReportNumbers, part: DatasetNumbers) -> tuple[Figure, str] | None:
    """Draw what freezing changed for each backbone."""
    rows = part.freezing
    rows = rows[rows["difference"].notna()] if len(rows) else rows
    if not len(rows):
        return None
    rows = rows.assign(name=pair_names(rows)).sort_values("difference", ascending=False)
    words = []
    for row in rows.to_dict("records"):
        cell = difference_cell({**row, "metric": numbers.primary})
        words.append(f"{row['name']} {cell.text} {cell.interval}, {row['verdict']}")
    said = f"Frozen minus fine-tuned: {'; '.join(words)}."
    return figures.difference_figure(rows, numbers.primary), said


def draw_forest(numbers: ReportNumbers, part: DatasetNumbers) -> tuple[Figure, str]:
    """Draw the score of each method with its interval."""
    frame = numbers.by_method[numbers.by_method["dataset"] == part.name]
    rows = frame[frame["metric"] == numbers.primary]
    labels = describe(frame)
    words = [
        f"{' '.join(filter(None, labels[row['run']]))} {trained_word(row['unfreeze'])} "
        f"{number(row['estimate'], numbers.primary)}"
        for row in rows.to_dict("records")
    ]
    figure = figures.forest_figure(frame, part.name, numbers.primary)
    percent = "In percent: " if is_share(numbers.primary) else ""
    return figure, f"{percent}{'; '.join(words)}."


def draw_subgroups(part: DatasetNumbers) -> tuple[Figure, str] | None:
    """Draw the scores of subgroups, where they are asked for."""
    if not len(part.subgroups):
        return None
    said = [one for own in test_sentences(part.subgroups).values() for one in own]
    return figures.subgroup_figure(part.subgroups), " ".join(said)


def draw_pairs(part: DatasetNumbers) -> tuple[Figure, str] | None:
    """Draw how far methods are from each other, where there are three or more."""
    if len(part.pairs) < FEWEST_PAIRS:
        return None
    counts = part.pairs["verdict"].replace("worse", "better").value_counts()
    decided = int(counts.get("better", 0))
    words = f"Of {len(part.pairs)} pairs of methods {decided} are decided."
    return figures.pair_figure(part.pairs), words


def draw_confusion(part: DatasetNumbers) -> tuple[Figure, str]:
    """Draw the confusion matrix of each method."""
    titles = dict(zip(part.names["run"], part.names["title"], strict=True))
    matrices = {titles[method.name]: method.confusion for method in part.methods}
    return figures.confusion_panels(matrices, part.class_list), "One matrix a method."


def draw_curves(part: DatasetNumbers, kind: str) -> tuple[Figure, str] | None:
    """Draw ROC or precision-recall curves."""
    # NumPy has it from 2.0 on, and 1.26 is allowed.
    from scipy.integrate import trapezoid

    curves = part.curves[part.curves["kind"] == kind]
    if not len(curves):
        return None
    areas = [
        f"{row['title']} {trapezoid(line['y'], line['x']):.3f}"
        for row in part.names.to_dict("records")
        if len(line := curves[curves["run"] == row["run"]])
    ]
    points = _points(part) if kind == "roc" else None
    figure = figures.curve_figure(curves.merge(part.names, on="run"), kind, part.positive, points)
    return figure, f"Area under each: {'; '.join(areas)}."


def _points(part: DatasetNumbers) -> pd.DataFrame | None:
    """Place the operating points of methods among their ROC curves, those of the same class."""
    points = part.operating
    if not (len(points) and part.positive and (points["positive"] == part.positive).all()):
        return None
    wide = points.pivot(index="run", columns="metric", values="estimate").dropna()
    wide = wide.assign(x=1 - wide["specificity"], y=wide["sensitivity"]).reset_index()
    return wide.merge(part.names, on="run")


def draw_decision(numbers: ReportNumbers, part: DatasetNumbers) -> tuple[Figure, str] | None:
    """Draw net benefit: one panel for each backbone, or for each of more than two classes.

    With more than two classes the lines are those of the best method of each way to train.
    """
    curves = part.curves[part.curves["kind"].isin(["net-benefit", "act-on-all"])]
    if not len(curves):
        return None
    rows = curves.merge(part.names, on="run")
    if part.positive:
        ways = {way: way for way in dict.fromkeys(rows["way"])}
        figure = figures.decision_figure(rows.assign(line=rows["way"]), ways, part.positive)
        return figure, f"Net benefit of acting on {part.positive}, by threshold."
    best = best_of_ways(numbers, part)
    rows = rows[rows["run"].isin(best["run"])]
    lines = {row["panel"] + ", " + row["way"]: row["way"] for row in best.to_dict("records")}
    rows = rows.assign(line=rows["panel"] + ", " + rows["way"], panel=rows["label"])
    words = (
        f"Net benefit by threshold, a panel a class, of the best of each way: {'; '.join(lines)}."
    )
    return figures.decision_figure(rows, lines), words


def best_of_ways(numbers: ReportNumbers, part: DatasetNumbers) -> pd.DataFrame:
    """Give the rows of `part.names` that are of the best method of each way to train."""
    frame = numbers.by_method
    scores = frame[frame["metric"] == numbers.primary].set_index("run")["estimate"]
    best = part.names.assign(score=part.names["run"].map(scores)).sort_values("score")
    return best.drop_duplicates("way", keep="last")


def draw_reliability(part: DatasetNumbers) -> tuple[Figure, str] | None:
    """Draw how often answers of some confidence are right."""
    if not len(part.reliability):
        return None
    rows = part.reliability.merge(part.names, on="run")
    rows = rows.assign(panel=rows["short"])
    inside = rows["frequency"].between(rows["bar_low"], rows["bar_high"])
    rows["name"] = rows["title"] + np.where(rows["when"] == AFTER, " scaled", "")
    shares = inside.groupby(rows["name"], sort=False).agg(["sum", "size"])
    words = [f"{name} {row['sum']} of {row['size']}" for name, row in shares.iterrows()]
    figure = figures.reliability_figure(rows, part.positive)
    return figure, f"Bins within their bars: {'; '.join(words)}."
