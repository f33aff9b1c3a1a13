"""Operating points as a table: one row a run, a column a number, both intervals in a cell."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pandas as pd

from frostline.report.clinical.thresholds import FIXED, Rule, parse_rule
from frostline.report.notes import Note, missing
from frostline.report.statistics.names import NONE, OUT_OF_FOLD, Record, describe, trained_word
from frostline.report.tables.formats import render_results
from frostline.report.tables.numbers import percent, sizes_words
from frostline.report.tables.table import IN_JSON, Cell, Column, Row, Table

CAPTION = "Operating points, shares in percent, with 95% intervals"
HEADINGS = {
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "ppv": "PPV",
    "npv": "NPV",
    "lr_positive": "LR+",
    "lr_negative": "LR\N{MINUS SIGN}",
    "ppv_at_prevalence": "PPV at {}%",
    "npv_at_prevalence": "NPV at {}%",
}
BY_RULE = {
    "youden": "the highest of those with the most sensitivity + specificity",
    "sensitivity": "the highest with a sensitivity of at least {}%",
    "specificity": "the one with the most sensitivity, of those with a specificity of at least {}%",
    "cost": "the one that costs least if a missed positive costs {} false calls",
}


def operating_table(frame: pd.DataFrame, elsewhere: str = IN_JSON) -> Table:
    """Lay out what `operating_points` returned; `elsewhere` is that of `Table`."""
    metrics = list(dict.fromkeys(frame["metric"]))
    stated = frame.loc[frame["metric"] == "ppv_at_prevalence", "prevalence"]
    at = f"{100 * stated.iloc[0]:g}" if len(stated) else ""
    columns = [Column("Model"), Column("Threshold", True)]
    columns += [Column(HEADINGS[name].format(at), True) for name in metrics]
    rows = []
    for dataset in frame["dataset"].unique():
        part = frame[frame["dataset"] == dataset]
        labels = describe(part)
        for run, own in part.groupby("run", sort=False):
            first = own.iloc[0].to_dict()
            model, details = labels[str(run)]
            words = ", ".join(filter(None, (trained_word(str(first["unfreeze"])), details)))
            by_metric = {row["metric"]: row for row in own.to_dict("records")}
            cells = [Cell(model, words), _threshold(first)]
            cells += [_cell(by_metric[name]) for name in metrics]
            rows.append(Row(tuple(cells), str(dataset), str(run)))
    return Table(tuple(columns), tuple(rows), tuple(_notes(frame)), CAPTION, elsewhere)


def render_operating(frame: pd.DataFrame, format: str = "table") -> str:
    """Write what `operating_points` returned in one of `FORMATS`."""
    return render_results(frame, format, lambda: operating_table(frame))


def threshold_word(value: float) -> str:
    """Write a threshold in three digits, or that nothing is called."""
    if math.isnan(value):
        return NONE
    return "above all" if math.isinf(value) else f"{value:.3g}"


def _threshold(row: Record) -> Cell:
    ends = (float(row["threshold"]), float(row["highest_threshold"]))
    words = dict.fromkeys(map(threshold_word, ends))
    return Cell(f" {NONE} ".join(words), value=ends[0])


def _cell(row: Record) -> Cell:
    value = float(row["estimate"])
    ratio = str(row["metric"]).startswith("lr_")

    def word(number: float) -> str:
        if not ratio:
            return percent(number)
        if math.isinf(number):
            return "infinite"
        if math.isnan(number):
            return NONE
        return (
            f"{number:#.2g}"
            if number < 0.1
            else f"{number:.2f}"
            if number < 100
            else f"{number:.0f}"
        )

    if pd.isna(row["low"]):
        return Cell(word(value), missing(row["notes"]), value=value)
    second = ""
    if not pd.isna(row["low_repeated"]):
        second = f"({word(row['low_repeated'])}, {word(row['high_repeated'])})"
    bounds = word(float(row["low"])), word(float(row["high"]))
    return Cell(word(value), "", *bounds, value=value, second=second)


def _notes(frame: pd.DataFrame) -> Iterator[Note]:
    """Say what is positive, how thresholds were chosen and what each interval holds."""
    first = frame.iloc[0].to_dict()
    rule = parse_rule(str(first["rule"]))
    positive = dict.fromkeys(frame["positive"])
    one = next(iter(positive)) if len(positive) == 1 else ""
    for dataset, name in frame[["dataset", "positive"]].drop_duplicates().itertuples(index=False):
        if not one:
            yield Note(f"Positive: {name}.", dataset=str(dataset))
    called = f"Positive: {one}; called" if one else "Called positive"
    yield Note(f"{called} where the probability is at least the threshold, {_chosen(rule, frame)}.")
    if rule.kind == FIXED:
        yield Note("Intervals hold the threshold.")
    else:
        drawn = f"{int(first['replicates']):,} replicates, seed {int(first['seed'])}"
        yield Note(
            f"[ ] holds the threshold; ( ) repeats its choice on {first['unit']}s drawn again "
            f"({drawn}), and is of models with a threshold chosen so."
        )
    sizes = dict.fromkeys(
        f"{sizes_words(row)}, {int(row['n_positive']):,} positive ({percent(row['share'])}%)"
        for row in _sizes(frame)
    )
    yield Note(f"Scored: {'; '.join(sizes)}. PPV and NPV are at that share of positives.")
    for notes in frame["notes"]:
        yield from notes


def _sizes(frame: pd.DataFrame) -> Iterator[Record]:
    rows = frame[frame["metric"] == "ppv"].drop_duplicates(["dataset", "n_images", "n_positive"])
    for row in rows.to_dict("records"):
        yield {**row, "share": row["prevalence"]}


def _chosen(rule: Rule, frame: pd.DataFrame) -> str:
    """Say how thresholds were chosen, and on what."""
    if rule.kind == FIXED:
        return "fixed beforehand"
    value = f"{rule.value:g}" if rule.kind == "cost" else f"{100 * rule.value:g}"
    on = "validation"
    if (frame["split"] == OUT_OF_FOLD).any():
        on = "the out-of-fold predictions of the other folds"
    return f"{BY_RULE[rule.kind].format(value)} on {on}"
