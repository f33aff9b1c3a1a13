"""Comparisons as a table, and in sentences."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import inf

import pandas as pd

from frostline.report.notes import Note, no_interval
from frostline.report.statistics.comparisons.decisions import IDENTICAL, within_margin
from frostline.report.statistics.metrics import find_metric
from frostline.report.statistics.names import Record
from frostline.report.tables.formats import render_results
from frostline.report.tables.numbers import (
    difference_cell,
    is_share,
    margin_words,
    number,
    p_word,
    sizes_words,
)
from frostline.report.tables.plans import (
    NO_NUMBER,
    narrowed,
    needed_sentence,
    needed_word,
    units_word,
)
from frostline.report.tables.positive import metric_words, positive_notes, shared
from frostline.report.tables.table import IN_JSON, Cell, Column, Row, Table, words
from frostline.report.tables.writers.terminal import notes_to_terminal, to_terminal, wrapped

VERDICTS = {
    "better": "is better than",
    "worse": "is worse than",
    "equivalent": "is equivalent to",
    "undecided": "cannot be separated from",
}
DECIDED = ("better", "worse", "equivalent")


def comparison_table(frame: pd.DataFrame) -> Table:
    """Lay out what `compare` returned: one row for each pair, A minus B."""
    metric = str(frame["metric"].iloc[0])
    title = find_metric(metric).title
    mcnemar = bool(frame["mcnemar_p"].notna().any())
    undecided = frame["verdict"] == "undecided"
    planned = bool(frame.loc[undecided, "groups_needed"].notna().any())
    measured = metric_words(shared(frame, metric))
    columns = (
        Column("A"),
        Column("B"),
        Column(f"{title} of A", True, metric),
        Column(f"{title} of B", True, metric),
        Column("Difference", True),
        Column("p", True),
        Column("Adjusted p", True),
        *[Column("McNemar's p", True)] * mcnemar,
        *[Column(f"{str(frame['unit'].mode().iloc[0]).title()}s needed", True)] * planned,
        Column("Verdict on A"),
    )
    rows = tuple(
        Row(
            (
                *words(row["label_a"], row["label_b"]),
                *(_plain_score(row, name) for name in ("estimate_a", "estimate_b")),
                difference_cell(row),
                *(_p_cell(row[name]) for name in ("p", "p_adjusted")),
                *[_p_cell(row["mcnemar_p"])] * mcnemar,
                *[_needed_cell(row)] * planned,
                Cell(row["verdict"] + ", within the margin" * within_margin(row)),
            ),
            str(row["dataset"]),
            # Notes on two runs are on their pair.
            run=_pair(row),
            title=f"{row['label_a']} and {row['label_b']}",
        )
        for row in frame.to_dict("records")
    )
    caption = f"Paired comparisons of {measured}{', in percent and points' * is_share(metric)}"
    return Table(columns, rows, tuple(_notes(frame)), caption, IN_JSON)


def comparison_sentences(frame: pd.DataFrame) -> list[str]:
    """Say each verdict in words, with the difference in points, its interval and the p-value.

    What is undecided is followed by how many groups would decide it.
    """
    return [_sentence(row) for row in frame.to_dict("records")]


def render_comparison(frame: pd.DataFrame, format: str = "table") -> str:
    """Write what `compare` returned in one of `FORMATS`.

    On a terminal a table, and sentences of what is decided; of a single pair a sentence alone.
    """
    if format != "table":
        return render_results(frame, format, lambda: comparison_table(frame))
    table = comparison_table(frame)
    if len(frame) == 1:
        return wrapped([*comparison_sentences(frame), "", *notes_to_terminal(table)])
    decided = comparison_sentences(frame[frame["verdict"].isin(DECIDED)])
    said = wrapped([*decided, ""]) if decided else ""
    return said + to_terminal(narrowed(table, 4))


def _p_cell(p: float | None) -> Cell:
    value = float("nan") if p is None else float(p)
    return Cell(p_word(value), value=value)


def _needed_cell(row: Record) -> Cell:
    """Give the groups that would decide what is undecided."""
    needed = float(row["groups_needed"]) if row["verdict"] == "undecided" else float("nan")
    return Cell(needed_word(needed), value=needed)


def _sentence(row: Record) -> str:
    place = f"On {row['dataset']}, " if row["dataset"] else ""
    margin = f" within {margin_words(row)}" if row["verdict"] == "equivalent" else ""
    if within_margin(row):
        margin = f", but within the margin of {margin_words(row)}"
    if row["verdict"] == IDENTICAL:
        score = number(row["estimate_a"], row["metric"]) + "%" * is_share(row["metric"])
        pair = f"{place}{row['label_a']} and {row['label_b']}"
        return f"{pair} give {IDENTICAL}: {metric_words(row)} {score}."
    difference = difference_cell(row)
    points = " points" if is_share(row["metric"]) else ""
    interval = difference.interval or no_interval(row["notes"])
    interval += " (90% interval)" * (row["verdict"] == "equivalent")
    # It asks for a difference, and would stand beside the interval of equivalence.
    tested = row["verdict"] != "equivalent" and not pd.isna(row["p_adjusted"])
    p = f", p {p_word(row['p_adjusted'])}" if tested else ""
    if tested and row["family_size"] > 1:
        p += f" by {row['adjustment']} of {row['family_size']}"
    said = (
        f"{place}{row['label_a']} {VERDICTS[row['verdict']]} {row['label_b']}{margin}: "
        f"{metric_words(row)} {difference.text}{points} {interval}{p}."
    )
    return f"{said} {needed_sentence(row)}".rstrip()


def _plain_score(row: Record, name: str) -> Cell:
    return Cell(number(row[name], row["metric"]), value=float(row[name]))


def _pair(row: Record) -> str:
    return f"{row['a']} and {row['b']}"


def _notes(frame: pd.DataFrame) -> Iterator[Note]:
    """Say what was done, and what a reader should know."""
    first = frame.iloc[0].to_dict()
    sizes: dict[str, None] = {}
    for row in frame.to_dict("records"):
        sizes[sizes_words(row)] = None
    yield Note(f"{_measure(frame, str(first['metric']))}, A minus B: {'; '.join(sizes)}.")
    tested = frame[frame["p"].notna()]
    if len(tested):
        yield Note(
            f"p and intervals by {_unique(tested['test'])}; seed {first['seed']}. "
            f"{_adjusted(tested)}"
        )
    alike = (frame["verdict"] == "equivalent").any()
    if len(tested) and first["margin"] is not None and not pd.isna(first["margin"]):
        yield Note(
            f"Equivalent: within {margin_words(first)} by two one-sided tests"
            + ("; the interval of an equivalent pair is that of 90%." if alike else ".")
        )
    if any(map(within_margin, frame.to_dict("records"))):
        yield Note(
            "Within the margin: the difference is proven, and proven to be too small to matter."
        )
    yield from positive_notes(frame)
    for row in frame.to_dict("records"):
        yield from _of_pair(row)
    if frame["mcnemar_p"].notna().any():
        alone = f": {p_word(frame['mcnemar_p'].iloc[0])}" if len(frame) == 1 else ""
        yield Note(f"McNemar's p is the mid-p, each group being one image{alone}.")
    undecided = frame[frame["verdict"] == "undecided"]
    if len(frame) > 1 and undecided["groups_needed"].notna().any():
        unit = frame["unit"].mode().iloc[0]
        yield Note(
            f"{unit.title()}s needed: {units_word(first)} that would decide a difference of the "
            "observed size with a power of 80%; `--plan` says it for others."
            + f" {NO_NUMBER}: no number of them would."
            * bool(undecided["groups_needed"].eq(inf).any())
        )


def _of_pair(row: Record) -> Iterator[Note]:
    """Give the notes on a pair; what is about one of the two alone names it."""
    owners: dict[Note, set[str]] = {}
    for note in row["notes"]:
        owners.setdefault(replace(note, runs=()), set()).update(note.runs)
    for note, names in owners.items():
        text = note.text
        if len(names) == 1:
            label = row["label_a"] if row["a"] in names else row["label_b"]
            text = f"{label}: {text}"
        yield replace(note, text=text, runs=(_pair(row),), dataset=str(row["dataset"]))


def _measure(frame: pd.DataFrame, metric: str) -> str:
    measured = metric_words(shared(frame, metric))
    return f"Compared by {measured}{', in percent and points' if is_share(metric) else ''}"


def _adjusted(frame: pd.DataFrame) -> str:
    """Say how p is adjusted, and how small it could have become."""
    if frame["family_size"].max() == 1:
        text = "95% intervals; one comparison for each data set, so that p needs no adjustment."
    else:
        how = _unique(frame["adjustment"])
        text = f"Adjusted p and simultaneous 95% intervals by {how} over a data set's comparisons."
    # Where pairs differ in it, the note on a pair says what matters: that no test can decide.
    smallest = set(frame["smallest_p"].dropna().map(p_word))
    if len(smallest) == 1:
        text += f" Smallest p that could have been found: {smallest.pop()}."
    return text


def _unique(column: pd.Series) -> str:
    return ", ".join(map(str, column.unique()))
