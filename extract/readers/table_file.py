"""Tables of the user: CSV, TSV, XLSX and Parquet, with errors that name file, row and column."""

from __future__ import annotations

import re
from pathlib import Path
from zipfile import BadZipFile

import pandas as pd

from frostline.cache import InputError
from frostline.cache.errors import READ_ERRORS
from frostline.cache.manifest import COLUMNS
from frostline.cache.stamped import read_any_frame
from frostline.cache.tables.delimited import read_delimited
from frostline.cache.tables.limits import VALUE_BYTES, check_unpacked, check_zip
from frostline.cache.workspace import as_path
from frostline.extract.images.opened import local_copy

# What readers of zip and XML raise over a file that is no workbook.
OF_WORKBOOKS = (BadZipFile, SyntaxError, AttributeError)


class TableFile:
    """A table of text, as written in its file; an empty cell is missing.

    Rows are counted as a spreadsheet shows them: the header is row 1.
    """

    def __init__(self, path: Path, table: pd.DataFrame) -> None:
        self.path = path
        self.table = table

    def __len__(self) -> int:
        return len(self.table)

    @classmethod
    def read(cls, name: str | Path, roots: list[Path]) -> TableFile:
        """Read a table, looked for where the name says and then under the first root.

        Raises
        ------
        InputError
            If there is no such file, or it is not a table, or an empty one.
        """
        places = [as_path(name), roots[0] / name]
        path = next((place for place in places if place.is_file()), None)
        if path is None:
            raise InputError(f"There is no table {name}, neither here nor under {roots[0]}.")
        try:
            with local_copy(path) as file:
                table = _parse(file)
        except ImportError as error:
            raise InputError(
                f"Cannot read the table {path}: XLSX needs openpyxl; run "
                "`pip install 'frostline[xlsx]'`."
            ) from error
        except InputError:
            raise
        except (*READ_ERRORS, *OF_WORKBOOKS) as error:
            raise InputError(
                f"The table {path} cannot be read as {path.suffix}: save it again."
            ) from error
        if table.empty:
            raise InputError(f"The table {path} has no rows: write one an image.")
        return cls(path, table)

    def where(self, position: int) -> str:
        """Name a row, for an error."""
        return f"{self.path}, row {position + 2}"

    def optional(self, column: str, purpose: str) -> list[str | None]:
        """Give a column, with None where a cell is empty.

        Raises
        ------
        InputError
            If there is no such column; the message says which there are.
        """
        if column not in self.table:
            raise InputError(
                f"{self.path} has no column {column!r} for the {purpose}; "
                f"it has {', '.join(map(repr, self.table.columns))}."
            )
        return [None if pd.isna(value) else value for value in self.table[column]]

    def column(self, column: str, purpose: str) -> list[str]:
        """Give a column in which no cell may be empty."""
        filled = []
        for position, value in enumerate(self.optional(column, purpose)):
            if value is None:
                raise InputError(
                    f"{self.where(position)}: there is no {purpose} in column {column!r}; write "
                    "one."
                )
            filled.append(value)
        return filled

    def filled(self, pattern: str, purpose: str, **more: list[str]) -> list[str]:
        """Fill `{column}` in a pattern from every row; `more` are columns under other names.

        Raises
        ------
        InputError
            If the pattern names no column, or one that is not there.
        """
        pieces = re.split(r"\{([^{}]*)\}", pattern)  # text, name, text, name, text
        if len(pieces) == 1:
            raise InputError(
                f"The pattern {pattern!r} for the {purpose} names no column of {self.path}: "
                "write one in braces, such as '{name}.png'."
            )
        columns = [
            (more.get(piece) or self.column(piece, purpose)) if number % 2 else [piece] * len(self)
            for number, piece in enumerate(pieces)
        ]
        return ["".join(row) for row in zip(*columns, strict=True)]

    def extra_columns(self, used: dict[str, str | None]) -> pd.DataFrame:
        """Give all columns to keep next to the manifest's own.

        Parameters
        ----------
        used
            Manifest column to the column of this table that fills it. A column with the same
            name as the one it fills is not kept twice; any other whose name is taken by the
            manifest is kept as `table_NAME`.
        """
        same = {column for name, column in used.items() if name == column}
        kept = self.table.drop(columns=list(same))
        names = {name: f"table_{name}" for name in kept if name in COLUMNS}
        return kept.rename(columns=names).apply(_numbers_where_exact)


def _parse(path: Path) -> pd.DataFrame:
    if path.suffix.lower() == ".parquet":
        table = read_any_frame(path, remedy="save it again")[0]
        table.columns = table.columns.map(str)
        return table.apply(_as_text)
    if path.suffix.lower() == ".xlsx":
        return _parse_workbook(path)
    return read_delimited(path)


def _parse_workbook(path: Path) -> pd.DataFrame:
    check_zip(path)
    _check_extent(path)
    # Only an empty cell is missing: "NA" and "None" may be labels.
    table = pd.read_excel(path, engine="openpyxl", dtype=str, keep_default_na=False, na_values=[""])
    table.columns = table.columns.map(str)
    return table


def _check_extent(path: Path) -> None:
    """Refuse a sheet whose far cells would make it an enormous table of empty ones."""
    import openpyxl

    book = openpyxl.load_workbook(path, read_only=True)
    sheet = book.worksheets[0]
    sheet.reset_dimensions()  # what it says of itself may be anything
    rows = width = 0
    for number, row in enumerate(sheet.iter_rows(values_only=True), start=1):
        if any(cell is not None for cell in row):
            rows, width = number, max(width, len(row))
    book.close()
    check_unpacked(path, VALUE_BYTES * rows * width)


def _as_text(column: pd.Series) -> pd.Series:
    if pd.api.types.is_float_dtype(column) and (column.dropna() % 1 == 0).all():
        column = column.astype("Int64")  # whole numbers with gaps were read as floats
    return column.astype(object).map(str, na_action="ignore")


def _numbers_where_exact(column: pd.Series) -> pd.Series:
    """Turn text into numbers if each is written as Python would write it ('01' is not)."""
    numbers = pd.to_numeric(column, errors="coerce")
    there = column.notna()
    for candidate in (numbers.convert_dtypes(), numbers):  # whole numbers first
        if there.any() and (candidate[there].astype(str) == column[there].astype(str)).all():
            return candidate
    return column
