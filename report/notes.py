"""Notes: what a reader of a result should know beyond its numbers, as data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, order=True)
class Note:
    """One thing to know about a result, with what it is about.

    Attributes
    ----------
    text : str
        One plain sentence, with a capital and a full stop. Names of classes, metrics, runs and
        data sets that differ between otherwise equal notes are not in it, but below.
    metrics : tuple of str
        Metrics that it is about; a table without them does not show it. Empty: all.
    classes : tuple of str
        Classes that it is about; shown behind the text. Equal notes are merged over them.
    runs : tuple of str
        Runs that it is about, likewise. Empty: all.
    dataset : str
        The data set that it is about; "" for all.
    first : bool
        Whether it is shown before all others, because without it the numbers mean something else.
    """

    text: str
    metrics: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    dataset: str = ""
    first: bool = False


Notes = tuple[Note, ...]


def in_words(frame: pd.DataFrame) -> pd.DataFrame:
    """Give a table whose column `notes` is text, for CSV, which carries no structure."""
    return frame.assign(notes=[" ".join(texts(notes)) for notes in frame["notes"]])


def notes_to_json(notes: Iterable[Note]) -> list[dict[str, Any]]:
    """Give notes as JSON can say them, a mapping of their fields each."""
    return [asdict(note) for note in notes]


def notes_from_json(given: Iterable[dict[str, Any]]) -> Notes:
    """Make notes again from what `notes_to_json` gave."""
    lists = ("metrics", "classes", "runs")
    return tuple(Note(**{**one, **{name: tuple(one[name]) for name in lists}}) for one in given)


def no_interval(notes: Iterable[Note]) -> str:
    """Say in brackets that there is no interval, and why if a note does."""
    return f"({missing(notes) or 'no interval'})"


def missing(notes: Iterable[Note]) -> str:
    """Say in a few words why there is no value, or no interval; "" where no note does.

    What a note has in brackets is left to the note.
    """
    for start in ("No value: ", "No interval: "):
        for text in texts(notes):
            if text.startswith(start):
                why = text.removeprefix(start).partition(" (")[0].rstrip(".")
                return f"{start[0].lower()}{start[1:]}{why}"
    return ""


def texts(notes: Iterable[Note]) -> list[str]:
    """The texts of notes, each once, for formats that carry no structure."""
    return list(dict.fromkeys(note.text for note in notes))
