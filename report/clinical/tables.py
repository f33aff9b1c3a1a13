"""Net benefit and calibration as tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pandas as pd

from frostline.cache.tables.words import minus
from frostline.report.clinical.calibration import METRICS, TEMPERATURE
from frostline.report.notes import Note, missing
from frostline.report.statistics.intervals.intervals import NO_INTERVAL
from frostline.report.statistics.metrics import find_metric
from frostline.report.statistics.names import NONE, describe, seeds_word, trained_word
from frostline.report.tables.formats import render_results
from frostline.report.tables.numbers import score_cell, sizes_words
from frostline.report.tables.positive import shared
from frostline.report.tables.table import IN_JSON, Cell, Column, Row, Table

MEANS = Note(
    "Difference: to the better of acting on all and on none, which is 0; with an interval above 0, "
    "acting on the model is better than both. Avoided: needless actions spared of 100 images, net "
    "of those missed, against acting on all."
)
ACTED_ON = Note("Acting on images that are called positive.")
OF_POSITIVE = Note("Slope, intercept and error are of the positive class.")
OF_CONFIDENCE = Note("Slope, intercept and error are of the most probable class.")
SCALED = {"before": "no", "after": "yes"}


def benefit_table(frame: pd.DataFrame, elsewhere: str = IN_JSON) -> Table:
    """Lay out what `net_benefit` returned: a row a method, class and threshold."""
    one_class = frame["positive"].nunique() == 1
    acted = (replace(ACTED_ON, classes=(str(frame["positive"].iloc[0]),)),) if one_class else ()
    columns = (
        Column("Model"),
        *[Column("Acting on")] * (not one_class),
        Column("Threshold", True),
        Column("Net benefit", True),
        Column("Acting on all", True),
        Column("Difference", True),
        Column("Avoided of 100", True),
    )
    rows = []
    for row, model in _named(frame):
        cells = (
            model,
            *[Cell(str(row["positive"]))] * (not one_class),
            Cell(f"{row['threshold']:g}", value=float(row["threshold"])),
            _cell(row, "net_benefit", "", 3),
            _cell(row, "act_on_all", "act_on_all_", 3),
            _cell(row, "difference", "difference_", 3, "+"),
            _cell(row, "avoided", "avoided_", 1),
        )
        rows.append(Row(cells, str(row["dataset"]), str(row["run"])))
    again = " and seeds" if (frame["n_seeds"] > 1).any() else ""
    how = "95% intervals over {unit}s" + again + "."
    notes = (*acted, _sizes(frame, how), MEANS, *_noted(frame))
    caption = "Net benefit at thresholds fixed beforehand"
    return Table(columns, tuple(rows), notes, caption, elsewhere)


def calibration_table(frame: pd.DataFrame, elsewhere: str = IN_JSON) -> Table:
    """Lay out what `calibration` returned: of each run a row before and one after scaling."""
    scores = frame[frame["metric"] != TEMPERATURE]
    models = {str(row["run"]): model for row, model in _named(frame)}
    columns = (
        Column("Model"),
        Column("Scaled"),
        Column("Temperature", True),
        *(Column(find_metric(name).title, True, name) for name in METRICS),
    )
    rows = []
    for (_, run), part in frame.groupby(["dataset", "run"], sort=False):
        model = models[str(run)]
        found = {(row["when"], row["metric"]): row for row in part.to_dict("records")}
        for when, word in SCALED.items():
            own = [found.get((when, name)) for name in METRICS]
            scaled = _cell(found["after", TEMPERATURE], "estimate", "", 2)
            cells = (
                model,
                Cell(word),
                scaled if when == "after" else Cell(NONE, value=1.0),
                *map(_score, own),
            )
            first = part.iloc[0]
            rows.append(Row(cells, str(first["dataset"]), str(first["run"])))
    notes = (_sizes(scores, "95% intervals: jackknife-t over {unit}s."), *_noted(frame))
    # Headings have no room for the positive class, which all of them share.
    positive = shared(scores, METRICS[0])["positive"]
    said = (replace(OF_POSITIVE, classes=(positive,)),) if positive else ()
    if scores["positive"].eq("").all():
        said = (OF_CONFIDENCE,)
    caption = "Calibration before and after scaling"
    return Table(columns, tuple(rows), (*said, *notes), caption, elsewhere)


def render_benefit(frame: pd.DataFrame, format: str = "table") -> str:
    """Write what `net_benefit` returned in one of `FORMATS`."""
    return render_results(frame, format, lambda: benefit_table(frame))


def render_calibration(frame: pd.DataFrame, format: str = "table") -> str:
    """Write what `calibration` returned in one of `FORMATS`."""
    return render_results(frame, format, lambda: calibration_table(frame))


def _named(frame: pd.DataFrame) -> Iterator[tuple[dict[Any, Any], Cell]]:
    """Give each row with the cell that names its model."""
    for _, part in frame.groupby("dataset", sort=False):
        labels = describe(part)
        for row in part.to_dict("records"):
            model, details = labels[str(row["run"])]
            seeds = int(row.get("n_seeds", 1))
            again = seeds_word(seeds, row["split"]) if seeds > 1 else ""
            trained = trained_word(str(row["unfreeze"]))
            yield row, Cell(model, ", ".join(filter(None, (trained, details, again))))


def _cell(row: dict[Any, Any], name: str, ends: str, decimals: int, sign: str = "") -> Cell:
    """Write a number with its interval, or the reason why it has none."""
    if pd.isna(row[name]):
        return Cell(NONE, missing(row["notes"]), value=float("nan"))

    def text(value: float, plus: str = sign) -> str:
        return minus(f"{value + 0.0:{plus}.{decimals}f}")

    value, low, high = (float(row[key]) for key in (name, f"{ends}low", f"{ends}high"))
    if pd.isna(low):
        return Cell(text(value), missing(row["notes"]), value=value)
    return Cell(text(value), "", text(low), text(high), value=value)


def _score(row: dict[Any, Any] | None) -> Cell:
    """Write a score; why the error of calibration has no interval is said once, in the notes."""
    if row is None:
        return Cell(NONE, value=float("nan"))
    cell = score_cell(row)
    return replace(cell, detail="") if row["metric"] in NO_INTERVAL else cell


def _sizes(frame: pd.DataFrame, how: str) -> Note:
    """Count the units and images of every data set."""
    sizes = dict.fromkeys(
        f"{sizes_words(row)} ({row['split']})" for row in frame.to_dict("records")
    )
    units = " and ".join(dict.fromkeys(frame["unit"]))
    return Note(f"Scored: {'; '.join(sizes)}. {how.format(unit=units)}")


def _noted(frame: pd.DataFrame) -> Iterator[Note]:
    for notes in frame["notes"]:
        yield from notes
