"""Subgroups as a table, and their tests in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from frostline.report.notes import Note
from frostline.report.statistics.comparisons.decisions import ALPHA
from frostline.report.statistics.names import describe, trained_word
from frostline.report.tables.formats import render_results
from frostline.report.tables.numbers import p_word, score_cell
from frostline.report.tables.positive import metric_title, metric_words, shared
from frostline.report.tables.table import IN_JSON, Cell, Column, Row, Table

CAPTION = "Scores of subgroups in percent with 95% intervals"
WHOLE_TITLE = "All"
MOST_NAMES = 4  # of subgroups, behind a note


def subgroup_table(frame: pd.DataFrame, elsewhere: str = IN_JSON, *, tests: bool = True) -> Table:
    """Lay out what `subgroups` returned: a row for each subgroup of each run.

    With `tests` those of each run stand in one note, before all others.
    """
    metric = str(frame["metric"].iloc[0])
    several = frame["run"].nunique() > 1
    of = bool(frame["n_positive"].notna().any())
    columns = [Column("Model")] * several + [Column("Subgroup")]
    columns += [Column("Groups" if (frame["unit"] == "group").any() else "Units", True)]
    columns += [Column("Images", True), Column("Positive" if of else "Of each class", True)]
    columns += [Column(metric_title(shared(frame, metric)), True, metric)]
    rows, notes = [], list(_test_notes(frame)) if tests else []
    for dataset, part in frame.groupby("dataset", sort=False):
        labels = run_labels(part)
        for row in part.to_dict("records"):
            first = [Cell(labels[row["run"]])] * several + [Cell(row_title(row))]
            rows.append(Row((*first, *_cells(row, of)), str(dataset), row["run"]))
    notes += [*_other_notes(frame), _classes_note(frame, of)]
    return Table(tuple(columns), tuple(rows), tuple(notes), CAPTION, elsewhere)


def render_subgroups(frame: pd.DataFrame, format: str = "table") -> str:
    """Write what `subgroups` returned in one of `FORMATS`."""
    return render_results(frame, format, lambda: subgroup_table(frame))


def run_labels(part: pd.DataFrame) -> dict[str, str]:
    """Name the runs of one data set in one line each."""
    found = describe(part.drop_duplicates("run"))
    how = dict(zip(part["run"], part["unfreeze"], strict=True))
    out = {}
    for run, (model, details) in found.items():
        words = ", ".join(filter(None, (trained_word(str(how[run])), details)))
        out[run] = f"{model} ({words})" if words else model
    return out


def row_title(row: Mapping[Any, Any]) -> str:
    """Name a subgroup with its column: "age: 20 to below 60"."""
    return f"{row['column']}: {row['subgroup']}" if row["column"] else WHOLE_TITLE


def test_sentences(frame: pd.DataFrame) -> dict[str, list[str]]:
    """Say of each run and column whether the metric differs: sentences by run."""
    out: dict[str, list[str]] = {}
    for run, part in frame.groupby("run", sort=False):
        columns = part[part["column"] != ""].groupby("column", sort=False)
        tested = int(columns["p"].first().notna().sum())
        out[str(run)] = [_sentence(rows, tested) for _, rows in columns]
    return out


def _sentence(rows: pd.DataFrame, tested: int) -> str:
    row = rows.iloc[0].to_dict()
    words, column = metric_words(row), row["column"]
    if row["reason"]:
        return f"Not tested by {column}: {row['reason']}."
    p = p_word(row["p"])
    p = p if p.startswith("<") else f"= {p}"
    found = f"F({row['df']:.0f}, {row['df_error']:.0f}) = {row['statistic']:.2f}, p {p}"
    if tested > 1:
        adjusted = p_word(row["p_adjusted"])
        found += f", adjusted for {tested} columns {adjusted}"
    small = rows[~rows["tested"].astype(bool)]["subgroup"].tolist()
    left = f"; not in the test: {', '.join(small)}" if small else ""
    if row["p_adjusted"] < ALPHA:
        return f"{words[0].upper()}{words[1:]} differs by {column} ({found}{left})."
    return f"There is no evidence that {words} differs by {column} ({found}{left})."


def _test_notes(frame: pd.DataFrame) -> Iterator[Note]:
    datasets = dict(zip(frame["run"], frame["dataset"], strict=True))
    for run, sentences in test_sentences(frame).items():
        if sentences:
            about = {"runs": (run,), "dataset": str(datasets[run]), "first": True}
            yield Note(" ".join(sentences), **about)  # type: ignore[arg-type]


def _cells(row: Mapping[Any, Any], of: bool) -> list[Cell]:
    units, images = row["n_units"], row["n_images"]
    if of:
        positive = int(row["n_positive"])
        counts = Cell(f"{positive:,}", value=positive)
    else:
        numbers = [part.rpartition(" ")[2] for part in row["class_counts"].split(", ")]
        counts = Cell("/".join(numbers))
    sizes = [Cell(f"{units:,}", value=units), Cell(f"{images:,}", value=images)]
    return [*sizes, counts, score_cell(row)]


def _classes_note(frame: pd.DataFrame, of: bool) -> Note:
    """Say what the column of counts counts."""
    if of:
        names = dict.fromkeys(name for name in frame["counted"] if name)
        return Note(f"Positive: those of class {', '.join(names)}.")
    each = [part.rpartition(" ")[0] for part in frame["class_counts"].iloc[0].split(", ")]
    return Note(f"Of each class: {'/'.join(each)}.")


def _other_notes(frame: pd.DataFrame) -> Iterator[Note]:
    """Give the notes of subgroups, which they name, then those of the whole, and the methods."""
    whole = frame["column"] == ""
    about: dict[str, dict[str, None]] = {}
    for row in frame[~whole].to_dict("records"):
        for note in row["notes"]:
            about.setdefault(note.text, {})[row_title(row)] = None
    for text, titles in about.items():
        names = list(titles)
        more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
        yield Note(f"{text.removesuffix('.')} ({', '.join(names[:MOST_NAMES])}{more}).")
    yield from dict.fromkeys(note for notes in frame.loc[whole, "notes"] for note in notes)
    methods = sorted(set(frame["method"]) - {"none"})
    yield Note(
        f"95% intervals: {', '.join(methods) or 'none'}. Tests: docs/statistics.md, Subgroups."
    )
