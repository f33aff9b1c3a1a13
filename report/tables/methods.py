"""Means over seeds or folds, and ranks over data sets, as tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from frostline.cache.tables.words import counted
from frostline.report.notes import Note
from frostline.report.statistics.names import Record, again_word, differing_names
from frostline.report.tables.formats import render_results
from frostline.report.tables.numbers import number, percent, score_cell
from frostline.report.tables.positive import metric_title, metric_words
from frostline.report.tables.table import IN_JSON, Cell, Row, Table, columns

OVER_RUNS = (
    "Mean over {what}. The variance is that of patients, of {what}, and of their interaction, each "
    "once; Student's t on the logit scale (log for losses). Shares in percent."
)
OVER = {
    "seeds": OVER_RUNS.format(what="seeds"),
    "repeats": OVER_RUNS.format(what="repeats"),
    "folds": "Mean over all folds of all repeats. The variance is corrected for shared training "
    "data (Nadeau and Bengio 2003); Student's t on the logit scale. Shares in percent.",
}
RANKS_ARE_OF = (
    "Intervals and how often a method was best come from drawing patients and seeds again. They "
    "say nothing about other data sets."
)


def over_table(frame: pd.DataFrame, over: str) -> Table:
    """Lay out what `over_seeds` or `over_folds` returned, with both parts of the error.

    `over` is "seeds" or "folds".
    """
    records = frame.to_dict("records")
    names, shared = differing_names(records)
    what = over if over == "folds" else f"{again_word(frame['split'].iloc[0])}s"
    headings = ("Method", "Metric", "Mean", "s.e. patients", f"s.e. {what}", "df", what.title())
    rows = []
    for name, row in zip(names, records, strict=True):
        cells = (
            Cell(name),
            Cell(metric_title(row)),
            score_cell(row),
            Cell(number(row["group_error"], row["metric"], 2)),
            Cell(number(row["seed_error"], row["metric"], 2)),
            Cell("" if pd.isna(row["df"]) else f"{row['df']:.1f}"),
            Cell(str(row["n_seeds"])),
        )
        rows.append(Row(cells, run=_run(row), metric=row["metric"]))
    return Table(
        columns(headings, left=2),
        tuple(rows),
        tuple(_over_notes(records, shared, what)),
        f"Means over {what} with 95% intervals",
        IN_JSON,
    )


def rank_table(frame: pd.DataFrame, metric: str) -> Table:
    """Lay out what `rank_methods` returned."""
    parts = [str(method).split(", ") for method in frame["method"]]
    shared = [word for word in parts[0] if len(parts) > 1 and all(word in own for own in parts)]
    names = [", ".join(word for word in own if word not in shared) for own in parts]
    rows = [
        Row(
            (
                Cell(name or row["method"]),
                Cell(
                    f"{row['mean_rank']:.2f}",
                    "",
                    f"{row['low']:.2f}",
                    f"{row['high']:.2f}",
                    value=float(row["mean_rank"]),
                ),
                Cell(f"{percent(row['best_share'], 0)}%", value=float(row["best_share"])),
                Cell(str(row["seeds"])),
            )
        )
        for name, row in zip(names, frame.to_dict("records"), strict=True)
    ]
    first = frame.iloc[0]
    title = metric_words({"metric": metric, "positive": first["positive"]})
    datasets = counted(first["datasets"], "data set")
    cohorts = counted(first["cohorts"], "cohort")
    notes = [
        *([Note(f"All: {', '.join(shared)}.")] if shared else []),
        Note(
            f"Ranks by {title}, 1 is best, averaged over {datasets} of {cohorts}: data sets that "
            "share patients are one."
        ),
        Note(RANKS_ARE_OF),
        *first["notes"],
    ]
    headings = columns(("Method", "Mean rank", "Best in", "Seeds"))
    return Table(headings, tuple(rows), tuple(notes), "Mean ranks with 95% intervals")


def render_over(frame: pd.DataFrame, over: str, format: str = "table") -> str:
    """Write what `over_seeds` or `over_folds` returned in one of `FORMATS`."""
    return render_results(frame, format, lambda: over_table(frame, over))


def render_ranks(frame: pd.DataFrame, metric: str, format: str = "table") -> str:
    """Write what `rank_methods` returned in one of `FORMATS`."""
    return render_results(frame, format, lambda: rank_table(frame, metric))


def _over_notes(records: Sequence[Record], shared: str, what: str) -> Iterator[Note]:
    if shared:
        yield Note(f"All: {shared}.")
    yield Note(OVER[what])
    for row in records:
        for note in row["notes"]:
            # A row has the name of its first run alone.
            yield Note(note.text, note.metrics, note.classes, (_run(row),))


def _run(row: Record) -> str:
    return f"{row.get('dataset') or ''} {row['run']}".strip()
