"""What predictions must be like; each violation is one sentence with file, row and remedy."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from frostline.cache.errors import InputError

# Of sums of probabilities computed with few bits; what is printed with few decimals has its own.
SUM_TOLERANCE = 0.01
MOST_DECIMALS = 4
TEXT_COLUMNS = ("image_id", "group_id", "split", "label", "prediction")

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Source:
    """Where a table came from, for messages."""

    name: str
    header_lines: int = 0
    of_scores: str = "give probabilities, not scores"  # the way out where numbers are scores

    def error(self, what: str, remedy: str, rows: pd.Series | None = None) -> InputError:
        """Make the sentence; `rows` marks the rows at fault, and the first of them is named."""
        if rows is None:
            return InputError(f"{self.name}: {what}; {remedy}.")
        at = np.flatnonzero(rows.to_numpy(dtype=bool))
        more = f", and {len(at) - 1} more" if len(at) > 1 else ""
        return InputError(f"{self.row(int(at[0]))}{more}: {what}; {remedy}.")

    def row(self, position: int) -> str:
        """Name a row, counted from 0, for a sentence."""
        line = f" (line {position + 1 + self.header_lines})" if self.header_lines else ""
        return f"{self.name}, row {position + 1}{line}"


def check_meta(meta: Mapping[str, Any], source: Source) -> None:
    """Refuse metadata without a run name or a usable class list."""
    if not meta.get("run"):
        raise source.error("the metadata names no run", "set run in the metadata")
    classes = meta.get("classes")
    if not isinstance(classes, list | tuple) or not classes:
        raise source.error("the metadata has no class list", "set classes in the metadata")
    if not all(isinstance(name, str) for name in classes) or len(set(classes)) != len(classes):
        raise source.error("the class list is not of distinct texts", "correct classes")
    counts = meta.get("class_counts") or {}
    strange = [name for name in counts if name not in classes]
    if strange:
        raise source.error(
            f"class_counts has {strange[0]!r}, which is not in the class list", "correct one"
        )


def tidy_table(table: pd.DataFrame, source: Source) -> pd.DataFrame:
    """Make text columns text (missing ones null) and probabilities numbers, in canonical order."""
    text = {
        name: table[name].astype("string")
        if name in table
        else pd.Series(pd.NA, index=table.index, dtype="string")
        for name in TEXT_COLUMNS
    }
    probs = {}
    for name in table.columns:
        if name.startswith("prob_"):
            probs[name] = numbers(table[name], name, source)
    rest = {name: table[name] for name in table.columns if name not in text and name not in probs}
    return pd.DataFrame({**text, **probs, **rest}).reset_index(drop=True)


def numbers(column: pd.Series, name: str, source: Source) -> pd.Series:
    """Read a column of numbers; `name` is what its file calls it.

    Raises
    ------
    InputError
        If a cell is none, as where decimals are written with a comma.
    """
    found = pd.to_numeric(column, errors="coerce")
    wrong = found.isna() & column.notna()
    if wrong.any():
        cell = str(column[wrong].iloc[0])
        comma = re.fullmatch(r"-?[0-9]*,[0-9]+", cell.strip())
        point = f"write it with a decimal point, {cell.strip().replace(',', '.')}"
        remedy = point if comma else "write a number"
        raise source.error(f"{name} is {cell!r}, not a number", remedy, wrong)
    return found


def check_table(
    table: pd.DataFrame, classes: Sequence[str], source: Source, *, needs_ids: bool
) -> None:
    """Refuse a table that contradicts itself or its class list."""
    if not len(table):
        raise source.error("there are no rows", "give a file with one row an image")
    _check_ids(table, source, needs_ids)
    empty = table["prediction"].isna()
    if empty.any():
        raise source.error("the prediction is empty", "fill it or remove the row", empty)
    for name in ("prediction", "label"):
        column = table[name]
        strange = column.notna() & ~column.isin(list(classes))
        if strange.any():
            value = column[strange].iloc[0]
            raise source.error(
                f"{name} {value!r} is not in the class list ({some(classes)})",
                f"correct the {name} or the class list",
                strange,
            )
    _check_probabilities(table, classes, source)


def _check_ids(table: pd.DataFrame, source: Source, needs_ids: bool) -> None:
    ids = table["image_id"]
    if needs_ids or ids.notna().any():
        empty = ids.isna()
        if empty.any():
            raise source.error("image_id is empty", "give every row its image_id", empty)
        twice = ids.duplicated()
        if twice.any():
            value = ids[twice].iloc[0]
            raise source.error(f"image_id {value!r} occurs twice", "keep one row an image", twice)
    groups = table["group_id"]
    empty = groups.isna()
    if empty.any() and not empty.all():
        raise source.error(
            "group_id is empty while other rows have one", "fill it in every row or in none", empty
        )


def _check_probabilities(table: pd.DataFrame, classes: Sequence[str], source: Source) -> None:
    names = [name for name in table.columns if name.startswith("prob_")]
    if not names:
        return
    expected = [f"prob_{name}" for name in classes]
    if set(names) != set(expected):
        lacking = [name for name in expected if name not in names]
        what = f"no column {lacking[0]!r}" if lacking else f"column {_odd(names, expected)!r} is of"
        what += "" if lacking else " no class in the class list"
        raise source.error(what, "give one probability column for every class")
    values = table[expected].to_numpy(dtype=np.float64)
    if (rows := np.isnan(values).any(axis=1)).any():
        raise source.error("a probability is missing or NaN", "fill it", pd.Series(rows))
    if (rows := np.isinf(values).any(axis=1)).any():
        raise source.error("a probability is infinite", source.of_scores, pd.Series(rows))
    if (rows := (values < 0).any(axis=1)).any():
        raise source.error("a probability is negative", source.of_scores, pd.Series(rows))
    sums = values.sum(axis=1)
    rows = ~(np.abs(sums - 1) <= sum_tolerance(values))
    if rows.any():
        percent = abs(sums[rows][0] - 100) <= 1
        raise source.error(
            f"the probabilities sum to {sums[rows][0]:.4g}, not 1",
            "divide percentages by 100" if percent else source.of_scores,
            pd.Series(rows),
        )


def sum_tolerance(values: Array) -> float:
    """Say how far the sums of probabilities [n, K] may be from 1, each being rounded by itself.

    Numbers with d decimals are each off by half a unit of the last of them at most.
    """
    decimals = printed_decimals(values)
    rounding = 0.0 if decimals is None else 0.5 * 10.0**-decimals * values.shape[1]
    return max(SUM_TOLERANCE, rounding) + 1e-9


def printed_decimals(values: Array) -> int | None:
    """Say with how many decimals all of these were printed: 1 to `MOST_DECIMALS`, None for more.

    Whole numbers alone were not rounded.
    """
    if (values % 1 == 0).all():
        return None
    places = range(1, MOST_DECIMALS + 1)
    return next(
        (d for d in places if np.allclose(values, values.round(d), rtol=0, atol=1e-9)), None
    )


def _odd(names: Sequence[str], expected: Sequence[str]) -> str:
    return next(name for name in names if name not in expected)


def some(names: Sequence[str], limit: int = 10) -> str:
    """List names for a sentence, of many the first."""
    text = ", ".join(names[:limit])
    return text if len(names) <= limit else f"{text}, … {len(names)} in all"
