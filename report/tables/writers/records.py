"""What programs read: results in full precision, every column of them."""

from __future__ import annotations

import csv
import io
import json
import math

import pandas as pd

from frostline.report.notes import in_words, notes_to_json
from frostline.report.tables.escape import spreadsheet

SCORE_COLUMNS = ("run", "metric", "estimate", "low", "high")


def scores_to_csv(frame: pd.DataFrame) -> str:
    """Write `run,metric,estimate,low,high`, as fractions; bounds are empty if there are none."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(SCORE_COLUMNS)
    for row in frame[list(SCORE_COLUMNS)].itertuples(index=False):
        numbers = ["" if pd.isna(value) else repr(float(value)) for value in row[2:]]
        writer.writerow([*map(spreadsheet, row[:2]), *numbers])
    return out.getvalue()


def frame_to_csv(frame: pd.DataFrame) -> str:
    """Write every column; of notes, the texts one after the other."""
    frame = in_words(frame) if "notes" in frame else frame
    words = [name for name in frame if not pd.api.types.is_numeric_dtype(frame[name])]
    frame = frame.assign(**{str(name): frame[name].map(spreadsheet) for name in words})
    return frame.rename(columns=spreadsheet).to_csv(index=False, lineterminator="\n")


def frame_to_json(frame: pd.DataFrame) -> str:
    """Write a list of objects with every column; notes are objects.

    Missing values are null, and infinite ones too, which JSON does not know.
    """
    records = [
        {name: _json_value(value) for name, value in row.items()}
        for row in frame.astype(object).to_dict("records")
    ]
    return json.dumps(records, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _json_value(value: object) -> object:
    if isinstance(value, tuple):
        return notes_to_json(value)
    if isinstance(value, dict | list | str | bool):
        return value
    if value is None or pd.isna(value):  # type: ignore[call-overload]
        return None
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and math.isinf(value) else value
