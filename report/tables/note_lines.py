"""The notes of a table as sentences: those that its reader needs, equal ones once."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from frostline.cache.tables.words import counted
from frostline.report.notes import Note
from frostline.report.statistics.metrics import PER_CLASS, find_metric
from frostline.report.statistics.names import ALIKE, ALONE, MAJORITY_HEAD
from frostline.report.tables.table import Table

LINES = ("Underlined", "bold")
MOST_LINES = 5
MOST_NAMES = 3  # of rows, behind a note; of more their number


def split_notes(
    table: Table, marks: tuple[str, str] = LINES, most: int = MOST_LINES
) -> tuple[list[str], list[str]]:
    """Split the sentences under a table into those with room, at most `most`, and those without.

    `marks` are the words of a format for scores marked as alike and as alone.
    """
    lines = note_sentences(table, marks)
    return lines[:most], lines[most:]


def left_out(table: Table, rest: Sequence[str]) -> list[str]:
    """Say how many sentences had no room, and where they are; give nothing if all had."""
    if not rest:
        return []
    where = table.elsewhere
    if len(rest) == 1:
        where = re.sub(r"\bare\b", "is", where)
    return [f"{counted(len(rest), 'note', 'more')} {where}."]


def note_sentences(table: Table, marks: tuple[str, str]) -> list[str]:
    """Write the notes on what the table shows as sentences; equal ones become one."""
    kin: dict[tuple[str, bool], list[Note]] = {}
    for note in sorted(table.notes, key=lambda note: not note.first):
        if _is_about(note, table):
            kin.setdefault((note.text, bool(note.classes)), []).append(note)
    sentences = [_sentence(notes, table) for notes in kin.values()]
    return [*_marks(table, marks), *sentences]


def _is_about(note: Note, table: Table) -> bool:
    """Say whether the table shows what a note is about."""
    runs = {row.run for row in table.rows}
    return (
        (not note.metrics or bool(set(note.metrics) & set(table.metrics)))
        and (not note.runs or bool(set(note.runs) & runs))
        and (not note.dataset or note.dataset in table.datasets)
    )


def _sentence(notes: Sequence[Note], table: Table) -> str:
    """Write the text that notes share, then what they are about in brackets, unless that is all."""
    text = notes[0].text
    about = list(filter(None, (_metrics(notes, table), _places(notes, table), _runs(notes, table))))
    return f"{text.removesuffix('.')} ({'; '.join(about)})." if about else text


def _metrics(notes: Sequence[Note], table: Table) -> str:
    if not all(note.metrics for note in notes):
        return ""
    names = [name for name in table.metrics if any(name in note.metrics for note in notes)]
    classes = {one for note in notes for one in note.classes}
    titles = list(dict.fromkeys(_metric_title(name, classes) for name in names))
    # The text may name the metric itself.
    if len(names) == len(table.metrics) or titles[0].split()[0] in notes[0].text:
        return ""
    return ", ".join(titles)


def _metric_title(name: str, classes: Collection[str]) -> str:
    """Give a metric's title; of one for a class that is named anyway, without the class."""
    kind, _, rest = name.partition("[")
    return PER_CLASS[kind][1] if rest[:-1] in classes else find_metric(name).title


def _places(notes: Sequence[Note], table: Table) -> str:
    """Name data sets with their classes, or data sets alone where not all are meant."""
    found: dict[str, dict[str, None]] = {}
    for note in notes:
        found.setdefault(note.dataset, {}).update(dict.fromkeys(note.classes))
    if not any(found.values()):
        whole = "" in found or len(found) == len(table.datasets)
        return "" if whole else ", ".join(found)
    # Data sets of the same classes share their names.
    alike: dict[tuple[str, ...], list[str]] = {}
    for dataset, classes in found.items():
        alike.setdefault(tuple(classes), []).append(dataset)
    parts = []
    for names, datasets in alike.items():
        known = len(datasets) == len(table.datasets) or datasets == [""]
        where = "" if known else f"{', '.join(datasets)}: "
        parts.append(where + ", ".join(map(_quoted, names)))
    return "; ".join(parts)


def _runs(notes: Sequence[Note], table: Table) -> str:
    if not all(note.runs for note in notes):
        return ""
    meant = {run for note in notes for run in note.runs}
    # A note may be on some of the data sets, and mean all of their runs.
    datasets = {note.dataset for note in notes} - {""}
    models = [
        row
        for row in table.rows
        if row.cells[0].text != MAJORITY_HEAD and (not datasets or row.dataset in datasets)
    ]
    chosen = dict.fromkeys(row.name for row in models if row.run in meant)
    everything = dict.fromkeys(row.name for row in models)
    if len(chosen) in (0, len(everything)):
        return ""
    if len(chosen) > MOST_NAMES:
        return f"{len(chosen)} of {len(everything)} rows"
    return ", ".join(chosen)


def _quoted(name: str) -> str:
    """Write a class as it was typed, in quotes where it could be taken for several."""
    return f'"{name}"' if any(sign in name for sign in ",;:()") else name


def _marks(table: Table, words: tuple[str, str]) -> list[str]:
    """Say what the marks of a table mean in a format that shows them by these words."""
    marked = [
        (column.metric, cell.mark)
        for row in table.rows
        for column, cell in zip(table.columns, row.cells, strict=True)
        if cell.mark and column.metric
    ]
    if not marked:
        return []
    title = find_metric(marked[0][0]).words
    kinds = {mark for _, mark in marked}
    said = []
    tested = "at 5%, adjusted for all pairs of the data set"
    if ALIKE in kinds:
        said.append(f"{words[0]}: not separated from the best in {title} {tested}")
    if ALONE in kinds:
        said.append(f"{words[1]}: separated from all others in {title} {tested}")
    return [f"{'; '.join(said)}."]
