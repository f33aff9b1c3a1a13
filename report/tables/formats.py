"""Formats by name: of a table as it is shown, and of the results behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pandas as pd

from frostline.cache.errors import InputError
from frostline.report.tables.table import Table
from frostline.report.tables.writers.csv import to_csv
from frostline.report.tables.writers.html import table_html
from frostline.report.tables.writers.latex import to_latex
from frostline.report.tables.writers.markdown import to_markdown
from frostline.report.tables.writers.records import frame_to_csv, frame_to_json
from frostline.report.tables.writers.terminal import to_terminal

FORMATS = ("table", "csv", "json", "markdown", "latex")
# Of files: format by suffix.
WRITERS: dict[str, Callable[[Table], str]] = {
    "md": to_markdown,
    "tex": to_latex,
    "html": table_html,
    "csv": to_csv,
}
SHOWN: dict[str, Callable[[Table], str]] = {
    "table": to_terminal,
    "markdown": to_markdown,
    "latex": to_latex,
    "html": table_html,
}


def check_format(format: str, formats: Mapping[str, object] | tuple[str, ...] = FORMATS) -> None:
    """Refuse a format that there is not.

    Raises
    ------
    InputError
        Saying which there are.
    """
    if format not in formats:
        raise InputError(f"There is no format {format!r}; choose from {', '.join(formats)}.")


def render_results(
    frame: pd.DataFrame,
    format: str,
    table: Callable[[], Table],
    csv: Callable[[pd.DataFrame], str] = frame_to_csv,
) -> str:
    """Write results in one of `FORMATS`.

    Parameters
    ----------
    frame : DataFrame
        The results, which `csv` and `json` hold in full precision.
    table : callable
        Makes the table that the other formats show.
    csv : callable
        Writes the frame as CSV.
    """
    check_format(format)
    if format == "csv":
        return csv(frame)
    if format == "json":
        return frame_to_json(frame)
    return SHOWN[format](table())
