"""Notes: what a reader of a result should know beyond its numbers, as data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


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
    """

    text: str
    metrics: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    dataset: str = ""


Notes = tuple[Note, ...]


def texts(notes: Iterable[Note]) -> list[str]:
    """The texts of notes, each once, for formats that carry no structure."""
    return list(dict.fromkeys(note.text for note in notes))
