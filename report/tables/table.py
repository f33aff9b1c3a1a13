"""The one model of a table: texts in columns and rows, with notes, before any format."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from frostline.report.notes import Notes

# Where notes are that a terminal has no room for.
IN_JSON = "are shown by --format json, and are in the table in Python"


@dataclass(frozen=True)
class Column:
    """A column.

    Attributes
    ----------
    heading : str
        Its name, as a reader sees it.
    numbers : bool
        Whether it holds numbers, which are aligned at the right, or words.
    metric : str
        The metric that it shows; "" if it shows none.
    """

    heading: str
    numbers: bool = False
    metric: str = ""


@dataclass(frozen=True)
class Cell:
    """What stands in one place.

    Attributes
    ----------
    text : str
        A word, or a number as text.
    detail : str
        More words, in smaller letters below the text or in brackets behind it.
    low, high : str
        Bounds of the interval of a score; "" if there is none.
    mark : str
        `ALONE` for a best score that is separated from all others, `ALIKE` for the best and those
        that are not separated from it, else "".
    value : float or None
        What the column is sorted by; None for the text.
    link : str
        Where in a page more is said; other formats leave it out.
    second : str
        A second interval of the same number, in brackets of its own.
    """

    text: str
    detail: str = ""
    low: str = ""
    high: str = ""
    mark: str = ""
    value: float | None = None
    link: str = ""
    second: str = ""

    @property
    def interval(self) -> str:
        """The interval in brackets, or an empty text."""
        return f"[{self.low}, {self.high}]" if self.low else ""

    @property
    def intervals(self) -> list[str]:
        """The interval and the second one, as far as there are any."""
        return [text for text in (self.interval, self.second) if text]

    @property
    def label(self) -> str:
        """Text and detail in one line."""
        return f"{self.text} ({self.detail})" if self.detail else self.text


@dataclass(frozen=True)
class Row:
    """A row.

    Attributes
    ----------
    cells : tuple of Cell
        One for each column.
    dataset : str
        The data set that it belongs to; "" for none.
    run : str
        The run that it shows, by which notes know it.
    metric : str
        The metric that it shows, where that is no matter of columns.
    title : str
        What notes call it; by default its first cell.
    """

    cells: tuple[Cell, ...]
    dataset: str = ""
    run: str = ""
    metric: str = ""
    title: str = ""

    @property
    def name(self) -> str:
        """What notes call it."""
        return self.title or self.cells[0].label


@dataclass(frozen=True)
class Table:
    """A whole table; a writer of each format is in `frostline.report.tables.writers`.

    Attributes
    ----------
    columns : tuple of Column
        Without that of the data sets, which writers add where rows have one.
    rows : tuple of Row
        As many cells in each as there are columns; those of a data set follow one another.
    notes : tuple of Note
        The most important first. Notes on what the table does not show may be among them: they are
        not written.
    caption : str
        What the table shows.
    elsewhere : str
        Where the notes are that are too many, such as "are on the page".
    """

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: Notes = ()
    caption: str = ""
    elsewhere: str = "are left out"

    @property
    def datasets(self) -> tuple[str, ...]:
        """The data sets, in order; one without a name where there are no rows."""
        return tuple(dict.fromkeys(row.dataset for row in self.rows)) or ("",)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that columns or rows show, in order."""
        names = [column.metric for column in self.columns] + [row.metric for row in self.rows]
        return tuple(dict.fromkeys(filter(None, names)))

    def parts(self) -> Iterator[tuple[str, list[Row]]]:
        """Give the rows of each data set."""
        for dataset in self.datasets:
            yield dataset, [row for row in self.rows if row.dataset == dataset]


def words(*texts: object) -> tuple[Cell, ...]:
    """Make cells that hold a text alone."""
    return tuple(Cell(str(text)) for text in texts)


def columns(headings: Iterable[str], left: int = 1) -> tuple[Column, ...]:
    """Make columns: the first `left` hold words, the others numbers."""
    return tuple(Column(name, numbers=place >= left) for place, name in enumerate(headings))
