"""Metrics in words, with the positive class where they are of one of two."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from frostline.report.notes import Note
from frostline.report.statistics.metrics import find_metric


def metric_title(row: Mapping[Any, Any]) -> str:
    """Give the heading of a row's metric: "Average precision (positive: AMD)"."""
    return find_metric(row["metric"]).title + _positive(row)


def metric_words(row: Mapping[Any, Any]) -> str:
    """Name a row's metric within a sentence: "average precision (positive: AMD)"."""
    return find_metric(row["metric"]).words + _positive(row)


def shared(frame: pd.DataFrame, metric: str) -> dict[str, str]:
    """Give a metric, and the positive class if all rows of a table have the same one."""
    found = set(frame.loc[frame["metric"] == metric, "positive"])
    return {"metric": metric, "positive": found.pop() if len(found) == 1 else ""}


def positive_notes(frame: pd.DataFrame) -> Iterator[Note]:
    """Say which class is positive on each data set, where one heading cannot say it of all."""
    for metric, rows in frame.groupby("metric", sort=False):
        if rows["positive"].nunique() > 1:
            known = rows[rows["positive"] != ""].drop_duplicates(["dataset", "positive"])
            for dataset, positive in zip(known["dataset"], known["positive"], strict=True):
                yield Note("The positive class.", (str(metric),), (positive,), (), str(dataset))


def _positive(row: Mapping[Any, Any]) -> str:
    return f" (positive: {row['positive']})" if row.get("positive") else ""
