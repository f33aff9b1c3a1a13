"""Read delimited text of anyone: its encoding and separator are found out, or it is refused."""

from __future__ import annotations

import codecs
import csv
import io
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd

from frostline.cache.errors import InputError

SUFFIXES = (".csv", ".tsv", ".tab", ".txt")
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
# That of UTF-32 begins like that of UTF-16, so it is looked for first.
MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
ROWS_TO_TELL_BY = 100
LONGEST_ROW = 2**26


@dataclass(frozen=True)
class _Layout:
    """What the first rows show: names of the columns, and where the other rows begin."""

    separator: str
    names: list[str]
    header_lines: int
    has_rows: bool
    ends_in_separator: bool


def read_delimited(path: Path, text_columns: Collection[str] | None = None) -> pd.DataFrame:
    """Read CSV, or text whose columns are separated by semicolons or tabs.

    The text is UTF-8, or UTF-16 or UTF-32 with its mark. A separator at the end of every row is no
    column; rows with more or fewer fields than the header are refused, never filled or shifted.
    Columns without a name are called `Unnamed: 0` by their place.

    Parameters
    ----------
    path : Path
        `.tsv` and `.tab` are separated by tabs; otherwise the header tells.
    text_columns : collection of str, optional
        Names of columns to read as text, others being numbers where all of their cells are; by
        default all are text.

    Returns
    -------
    DataFrame
        Text, None where a cell is empty ("NA" and "None" are text).

    Raises
    ------
    InputError
        In one sentence, with the row and the remedy.
    """
    text, data = _decoded(path)
    layout = _find_layout(path, text)
    table = _parsed(path, data, layout, text_columns)
    if data.count(b'"') % 2 and len(table) and "\n" in str(table.iloc[-1, -1]):
        raise InputError(f"{path}: a quotation mark opens a cell and none closes it; close it.")
    return table


def _decoded(path: Path) -> tuple[str, bytes]:
    """Give the text and its bytes in UTF-8, without a mark."""
    data = path.read_bytes()
    mark = next((mark for mark in MARKS if data.startswith(mark)), b"")
    data, encoding = data.removeprefix(mark), MARKS.get(mark, "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: {_undecodable(data, encoding, error.start)}.") from None
    if "\0" in text:
        raise InputError(
            f"{path}: it holds zero bytes, so it is no text, or UTF-16 without its mark; save it "
            "as UTF-8."
        )
    if not text.strip():
        raise InputError(f"{path}: the file is empty; it needs a header and rows.")
    return text, data if encoding == "utf-8" else text.encode()


def _undecodable(data: bytes, encoding: str, place: int) -> str:
    if encoding != "utf-8":
        return f"its mark says {encoding.upper()}, and its bytes do not; save it as UTF-8"
    line = data.count(b"\n", 0, place) + 1
    return (
        f"not UTF-8 text (line {line} has the byte {data[place]:#04x}, as older programs of "
        'Windows or Mac write "é" or "ü"); save it as UTF-8 ("CSV UTF-8" in Excel, or '
        f"`iconv -f cp1252 -t utf-8`)"
    )


def _find_layout(path: Path, text: str) -> _Layout:
    lines = (line for line in io.StringIO(text, newline=None) if line.strip())
    first_line = next(lines)
    found = [one for one in SEPARATORS if one in first_line]
    if path.suffix.lower() in (".tsv", ".tab"):
        found = ["\t"]
    if len(found) > 1:
        found = [one for one in found if _separates(text, one)]
        if len(found) != 1:
            both = " and ".join(SEPARATORS[one] for one in SEPARATORS if one in first_line)
            raise InputError(
                f"{path}: its header has {both}, and which of them separate columns is not "
                "clear; write the file with one kind, and quote cells that hold it."
            )
    separator = found[0] if found else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    rows = _filled(reader, path)
    names, header_lines = next(rows)
    first = next((row for row, _ in rows), None)
    ends = first is not None and len(first) == len(names) + 1 and not first[-1]
    return _Layout(separator, _column_names(path, names), header_lines, first is not None, ends)


def _filled(reader: Any, path: Path) -> Iterator[tuple[list[str], int]]:
    """Give the rows that are not empty, each with the number of the line where it ends."""
    try:
        yield from ((row, reader.line_num) for row in reader if row)
    except csv.Error as error:
        raise InputError(
            f"{path}, line {reader.line_num}: a cell is too long ({error}); close its quotes or "
            "shorten it."
        ) from None


def _separates(text: str, separator: str) -> bool:
    """Whether the first rows have as many fields as the header, by this separator."""
    try:
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        header, *others = islice((row for row in rows if row), ROWS_TO_TELL_BY)
    except csv.Error:
        return False
    return len(header) > 1 and all(
        len(row) == len(header) or (len(row) == len(header) + 1 and not row[-1]) for row in others
    )


def _column_names(path: Path, names: list[str]) -> list[str]:
    names = [name.strip() or f"Unnamed: {place}" for place, name in enumerate(names)]
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise InputError(f"{path}: two columns are named {twice[0]!r}; rename or remove one.")
    return names


def _parsed(
    path: Path, data: bytes, layout: _Layout, text_columns: Collection[str] | None
) -> pd.DataFrame:
    import pyarrow as pa
    import pyarrow.csv as arrow

    wrong: list[Any] = []
    names = [*layout.names, *[""] * layout.ends_in_separator]
    kinds = {
        name: pa.string() for name in names if text_columns is None or name in (*text_columns, "")
    }
    if not layout.has_rows:
        return pd.DataFrame({name: pd.Series(dtype=object) for name in layout.names})

    def note(row: Any) -> str:
        wrong.append(row)
        return "error"

    try:
        table = arrow.read_csv(
            pa.py_buffer(data),
            # In one thread rows are counted, which the sentence needs.
            arrow.ReadOptions(
                column_names=names,
                skip_rows=layout.header_lines,
                use_threads=False,
                block_size=min(len(data) + 1, LONGEST_ROW),
            ),
            arrow.ParseOptions(
                delimiter=layout.separator, newlines_in_values=True, invalid_row_handler=note
            ),
            arrow.ConvertOptions(
                column_types=kinds,
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=True,
            ),
        )
    except pa.ArrowInvalid as error:
        raise _unparsed(path, layout, wrong, error) from None
    return _without_last(path, table, layout).to_pandas()


def _unparsed(path: Path, layout: _Layout, wrong: list[Any], error: Exception) -> InputError:
    if not wrong:
        why = str(error).splitlines()[0].rstrip(".")
        return InputError(f"{path}: not a readable table ({why}); write it again as CSV.")
    row = wrong[0]
    expected = row.expected_columns - layout.ends_in_separator
    kind = SEPARATORS[layout.separator].removesuffix("s")
    return InputError(
        f"{path}, row {row.number - layout.header_lines + 1} (the header is row 1): it has "
        f"{row.actual_columns} field{'s' * (row.actual_columns != 1)} and the header {expected}; "
        f"correct that row, and quote cells that hold a {kind}."
    )


def _without_last(path: Path, table: Any, layout: _Layout) -> Any:
    """Leave out the column behind a separator at the end of rows, which must be empty."""
    if not layout.ends_in_separator:
        return table
    last = table.column(table.num_columns - 1)
    if last.null_count < len(last):
        row = int(last.is_valid().to_numpy().argmax()) + 2
        raise InputError(
            f"{path}, row {row} (the header is row 1): it has a cell behind the last column of the "
            "header, so which cell belongs to which column is not clear; name every column."
        )
    return table.remove_column(table.num_columns - 1)
