"""One row a data set: its best method, and from how many others that is separated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from frostline.cache.tables.words import counted
from frostline.report.page.numbers import DatasetNumbers, ReportNumbers
from frostline.report.statistics.metrics import find_metric
from frostline.report.statistics.names import ALONE, MAJORITY_HEAD, NONE
from frostline.report.tables.failed import Failed
from frostline.report.tables.numbers import is_share, score_cell, sizes_words
from frostline.report.tables.positive import metric_title, shared
from frostline.report.tables.table import Cell, Column, Row, Table

CAPTION = "The best method of each data set"


def overview_table(numbers: ReportNumbers, failed: Sequence[Failed] = (), link: str = "") -> Table:
    """Lay out the best method of each data set.

    Parameters
    ----------
    failed : sequence of Failed
        Methods without scores: a data set says how many of its own it lacks.
    link : str
        The place in the page of its figures.
    """
    about = shared(numbers.by_method, numbers.primary)
    title = metric_title(about) + " (%)" * (is_share(numbers.primary) and not about["positive"])
    headings = ("Data set", "Best method", "Separated from others")
    data, best, others = (Column(name) for name in headings)
    majority = Column(MAJORITY_HEAD.capitalize(), True)
    rows = [Row(tuple(_cells(numbers, part, failed, link))) for part in numbers.datasets]
    known = {part.name for part in numbers.datasets}
    for one in failed:
        if one.dataset not in known:
            known.add(one.dataset)
            nothing = Cell(NONE, value=float("nan"))
            rows.append(Row((Cell(one.dataset), Cell(one.word), nothing, Cell(NONE), nothing)))
    return Table((data, best, Column(title, True), others, majority), tuple(rows), (), CAPTION)


def overview_sentence(numbers: ReportNumbers) -> str:
    """Say on how many data sets comparisons decide which method is best."""
    several = [part for part in numbers.datasets if len(part.methods) > 1]
    alone = sum(bool((part.marks["mark"] == ALONE).any()) for part in several)
    if not several:
        return ""
    metric = find_metric(numbers.primary).words
    if not alone:
        return f"On none of {len(several)} data sets one method is ahead of all others in {metric}."
    return f"On {alone} of {len(several)} data sets one method is ahead of all others in {metric}."


def _cells(
    numbers: ReportNumbers, part: DatasetNumbers, failed: Sequence[Failed], link: str
) -> Iterator[Cell]:
    frame = numbers.by_method
    rows = frame[(frame["dataset"] == part.name) & (frame["metric"] == numbers.primary)]
    majority = rows[rows["head"] == MAJORITY_HEAD].to_dict("records")
    models = rows[rows["head"] != MAJORITY_HEAD]
    higher = find_metric(numbers.primary).higher
    best = models.sort_values("estimate", ascending=not higher, kind="stable").iloc[0].to_dict()
    titles = dict(zip(part.names["run"], part.names["title"], strict=True))
    sizes = sizes_words({**best, "dataset": ""})
    missing = sum(one.alone and one.dataset == part.name for one in failed)
    sizes += f"; {counted(missing, 'method')} missing" if missing else ""
    yield Cell(part.name or NONE, sizes, link=link)
    yield Cell(titles[best["run"]])
    yield replace(score_cell(best), detail="")
    yield Cell(_separated(part, best))
    yield score_cell(majority[0]) if majority else Cell(NONE, value=float("nan"))


def _separated(part: DatasetNumbers, best: dict[Any, Any]) -> str:
    """Say from how many others paired comparisons separate the best."""
    if len(part.methods) == 1:
        return NONE
    if part.marks["why"].any():
        return "not compared"
    others = int(part.marks["rivals"].iloc[0])
    apart = others - int((part.marks["run"] != best["run"]).sum())
    return f"{'all' if apart == others else apart or 'none'} of {others}"
