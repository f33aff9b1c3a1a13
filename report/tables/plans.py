"""How many groups would decide a difference: as a sentence, and as a table of what to plan for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pandas as pd

from frostline.report.notes import Note
from frostline.report.statistics.comparisons.decisions import IDENTICAL
from frostline.report.statistics.comparisons.planning import FEWEST_DF, POWER
from frostline.report.statistics.names import NONE, OUT_OF_FOLD, Record, again_word
from frostline.report.statistics.sample import WHICH_IS_POSITIVE
from frostline.report.tables.formats import render_results
from frostline.report.tables.numbers import number, percent, points_word
from frostline.report.tables.positive import metric_words, positive_notes, shared
from frostline.report.tables.table import Cell, Column, Row, Table, columns, words
from frostline.report.tables.writers.terminal import to_terminal

NO_NUMBER = "none"
NEEDED = "groups_needed_"
# Of four seeds or fewer: by simulation three find two thirds of what is planned, not four fifths.
ROUGH_DF = 4
STAYS = "that of seeds does not shrink"
SHRINKS = "that of repeats is taken to shrink as it does"
TOO_VARIED = "the seeds alone vary too much: train with more of them"
PLANNED = (
    "From the variance between the {units} at hand, as large as it is here for {units} to come; "
    "{others}. The observed difference may be far from the true one: plan "
    "for one that matters."
)


def needed_word(needed: float) -> str:
    """Write a number of groups, above 100 rounded up to two digits; "none" where none is enough."""
    if math.isnan(needed):
        return NONE
    if math.isinf(needed):
        return NO_NUMBER
    step = 10 ** max(len(str(int(needed))) - 2, 0)
    return f"{math.ceil(needed / step) * step if needed > 100 else int(needed):,}"


def units_word(row: Record) -> str:
    """Name the units that a plan counts: those of the test set, or all of a cross-validation."""
    return f"{row['unit']}s" if row.get("split") == OUT_OF_FOLD else f"test {row['unit']}s"


def needed_sentence(row: Record) -> str:
    """Say how many groups would decide an undecided difference; nothing of others."""
    needed = float(row["groups_needed"])
    if row["verdict"] != "undecided":
        return ""
    unit, units, power = row["unit"], units_word(row), percent(POWER, 0)
    if row["seed_df"] < FEWEST_DF:
        again = again_word(row["split"])
        return f"Two {again}s are too few to decide: take more {again}s before more {unit}s."
    if math.isnan(needed):
        return ""
    if row["difference"] == 0:
        return f"No number of {unit}s decides a difference of 0."
    varied = row["seed_df"] > 0 and row["split"] != OUT_OF_FOLD
    if math.isinf(needed):
        if varied:
            return (
                f"By these seeds no number of {units} would decide a difference of this size: "
                "train with more of them."
            )
        return f"No number of {units} would decide a difference of this size: it is too small."
    return (
        f"About {needed_word(needed)} {units} would decide a difference of this size (power "
        f"{power}%); here are {int(row['n_units']):,}."
        + " So few seeds make that a rough number."
        * (varied and row["seed_df"] < ROUGH_DF)
    )


def plan_table(plan: pd.DataFrame) -> Table:
    """Lay out what `plan_groups` returned: a row a pair, a column a difference."""
    first = plan.iloc[0].to_dict()
    metric, powers = str(first["metric"]), list(dict.fromkeys(plan["power"]))
    rows: dict[tuple[Any, ...], list[Record]] = {}
    for row in plan.to_dict("records"):
        rows.setdefault((row["dataset"], row["a"], row["b"]), []).append(row)
    wanted = [row["difference"] for row in next(iter(rows.values()))][len(powers) :: len(powers)]
    headings = (
        Column("A"),
        Column("B"),
        Column("Observed difference", True),
        Column("Here", True),
        Column("Needed for the observed", True),
        *(Column(f"for {points_word(one, metric)}", True) for one in wanted),
    )
    written = tuple(_plan_row(own, metric, len(powers)) for own in rows.values())
    units = units_word(first)
    title = metric_words(shared(plan, metric))
    caption = f"{units[0].upper()}{units[1:]} that would decide a difference in {title}"
    return Table(headings, written, tuple(_plan_notes(plan, powers)), caption)


def render_plan(plan: pd.DataFrame, format: str = "table") -> str:
    """Write what `plan_groups` returned in one of `FORMATS`."""
    if format == "table":
        return to_terminal(narrowed(plan_table(plan), 2))
    return render_results(plan, format, lambda: plan_table(plan))


def assumed_table(plan: pd.DataFrame) -> Table:
    """Lay out what `plan_assumed` returned: a row a difference."""
    needed = [str(name) for name in plan if str(name).startswith(NEEDED)]
    headings = ["Difference", *(f"Power {float(n.removeprefix(NEEDED)):.0%}" for n in needed)]
    here = "n_units" in plan
    headings += [f"Power with {int(plan['n_units'].iloc[0]):,}"] if here else []
    rows = [
        Row(
            words(
                points_word(row["difference"], "accuracy"),
                *(needed_word(row[name]) for name in needed),
                *([f"{percent(row['power'], 0)}%"] if here else []),
            )
        )
        for row in plan.to_dict("records")
    ]
    share = percent(float(plan["discordance"].iloc[0]))
    notes = (
        Note(
            f"Assumed: {share}% of the patients are right by one method alone, one answer counts "
            "of each, and two trained models are compared at 5%."
        ),
    )
    caption = "Test patients that would decide a difference in accuracy, from assumptions alone"
    return Table(columns(headings), tuple(rows), notes, caption)


def render_assumed(plan: pd.DataFrame, format: str = "table") -> str:
    """Write what `plan_assumed` returned in one of `FORMATS`."""
    return render_results(plan, format, lambda: assumed_table(plan))


def narrowed(table: Table, first: int) -> Table:
    """Put both methods of a pair into one column, and go on with column `first`: for a terminal."""
    rows = (
        replace(row, cells=(Cell(row.cells[0].text, row.cells[1].text), *row.cells[first:]))
        for row in table.rows
    )
    both = (Column("A, then B"), *table.columns[first:])
    return replace(table, columns=both, rows=tuple(rows))


def _plan_row(own: list[Record], metric: str, powers: int) -> Row:
    first = own[0]
    cells = [
        *words(first["label_a"], first["label_b"]),
        Cell(
            number(first["observed"], metric, sign="+"),
            IDENTICAL if first["verdict"] == IDENTICAL else "",
            value=float(first["observed"]),
        ),
        Cell(f"{first['n_units']:,.0f}", value=float(first["n_units"])),
    ]
    for start in range(0, len(own), powers):
        part = [float(row["groups_needed"]) for row in own[start : start + powers]]
        text = " / ".join(dict.fromkeys(map(needed_word, part)))
        cells.append(Cell(text, value=part[0]))
    return Row(tuple(cells), str(first["dataset"]))


def _plan_notes(plan: pd.DataFrame, powers: list[float]) -> Iterator[Note]:
    yield Note(f"Planned by {metric_words(shared(plan, str(plan['metric'].iloc[0])))}.")
    unit = str(plan["unit"].iloc[0])
    units = units_word(plan.iloc[0].to_dict())
    said = " / ".join(f"{percent(power, 0)}%" for power in powers)
    yield Note(
        f"{units[0].upper()}{units[1:]} needed so that a true difference of that size is found "
        f"with a power of {said}, at 5% over the pairs of a data set."
    )
    folds = plan["split"].iloc[0] == OUT_OF_FOLD
    yield Note(PLANNED.format(units=f"{unit}s", others=SHRINKS if folds else STAYS))
    unplanned = plan["groups_needed"].isna() & (plan["verdict"] != IDENTICAL)
    if unplanned.any():
        yield Note(
            f"{NONE}: nothing to plan from, because the difference does not vary between the "
            f"{unit}s here, two {again_word(plan['split'].iloc[0])}s are too few, or there was no "
            "test."
        )
    yield from positive_notes(plan)
    if any(note.text == WHICH_IS_POSITIVE.text for notes in plan["notes"] for note in notes):
        yield replace(WHICH_IS_POSITIVE, metrics=())
    if plan["groups_needed"].map(math.isinf).any():
        yield Note(
            f"{NO_NUMBER}: no number of {unit}s is enough, because the difference is 0, or "
            f"{TOO_VARIED}."
        )
