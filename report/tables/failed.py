"""Runs without predictions, failed or not run yet, in the tables where scores would stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from frostline.cache.tables.words import counted
from frostline.report.notes import Note
from frostline.report.statistics.names import MAJORITY_HEAD, freeze_word, trained_word, weights_word
from frostline.report.tables.table import Cell, Row, Table

NOT_RUN = "not run yet"


@dataclass(frozen=True)
class Failed:
    """The seeds of a method that failed alike, or that are otherwise without predictions.

    Attributes
    ----------
    dataset, backbone, unfreeze, weights : str
        As runs say them of themselves.
    details : str
        What distinguishes the method: the name of its protocol.
    seeds : tuple of int
        Those that failed.
    alone : bool
        Whether no other row shows the method: no seed succeeded, and this is the first of its
        sentences.
    sentence : str
        Why.
    word : str
        What stands in place of a score, such as "not run yet".
    """

    dataset: str
    backbone: str
    unfreeze: str
    weights: str
    details: str
    seeds: tuple[int, ...]
    alone: bool
    sentence: str
    word: str = "failed"

    def note(self) -> Note:
        """Say what failed and why."""
        seeds = f"seed{'s' if len(self.seeds) > 1 else ''} {', '.join(map(str, self.seeds))}"
        return Note(
            f"{self.word.capitalize()}: {self.dataset}, {self.backbone}, {self.details}, {seeds}. "
            f"{self.sentence}"
        )

    def row(self, scores: int, freeze: bool) -> Row:
        """Make a row without scores."""
        details = [weights_word(self.weights, self.unfreeze), self.details]
        ways = [Cell(freeze_word(self.unfreeze))] if freeze else []
        if not freeze:
            details.insert(0, trained_word(self.unfreeze))
        name = Cell(self.backbone, ", ".join(filter(None, details)))
        cells = [Cell(self.word, value=float("nan"))] * scores
        return Row((name, *ways, *cells), self.dataset)


def unfinished_sentence(failed: Sequence[Failed]) -> str:
    """Say that runs are not done, which what is said of the others may hang on; "" if all are."""
    runs = sum(len(one.seeds) for one in failed if one.word == NOT_RUN)
    if not runs:
        return ""
    return (
        f"Unfinished: {counted(runs, 'run')} of this study {'is' if runs == 1 else 'are'} not done "
        "yet, and what is said here may change."
    )


def with_failed(table: Table, failed: Sequence[Failed], *, freeze: bool) -> Table:
    """Add a row for every method that failed, above the majority class, and notes.

    `freeze` is that of `score_table`.
    """
    parts = {dataset: list(rows) for dataset, rows in table.parts()}
    for one in failed:
        if one.alone:
            rows = parts.setdefault(one.dataset, [])
            end = len(rows) - bool(rows and rows[-1].cells[0].text == MAJORITY_HEAD)
            rows.insert(end, one.row(sum(bool(column.metric) for column in table.columns), freeze))
    return replace(
        table,
        rows=tuple(row for rows in parts.values() for row in rows),
        notes=(*(one.note() for one in failed), *table.notes),
    )
