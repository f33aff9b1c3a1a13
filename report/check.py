"""What predictions must be like; each violation is one sentence with file, row and remedy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from frostline.cache.errors import InputError

# Wide enough for probabilities printed with two or three decimals.
SUM_TOLERANCE = 0.01


@dataclass(frozen=True)
class Source:
    """Where a table came from, for messages."""

    name: str
    header_lines: int = 0

    def error(self, what: str, remedy: str, rows: pd.Series | None = None) -> InputError:
        """Make the sentence; `rows` marks the rows at fault, and the first of them is named."""
        if rows is None:
            return InputError(f"{self.name}: {what}; {remedy}.")
        at = np.flatnonzero(rows.to_numpy(dtype=bool))
        line = f" (line {at[0] + 1 + self.header_lines})" if self.header_lines else ""
        more = f", and {len(at) - 1} more" if len(at) > 1 else ""
        return InputError(f"{self.name}, row {at[0] + 1}{line}{more}: {what}; {remedy}.")


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
                f"{name} {value!r} is not in the class list ({_some(classes)})",
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
    if (rows := (values < 0).any(axis=1)).any():
        raise source.error(
            "a probability is negative", "give probabilities, not scores", pd.Series(rows)
        )
    sums = values.sum(axis=1)
    rows = ~(np.abs(sums - 1) <= SUM_TOLERANCE)
    if rows.any():
        raise source.error(
            f"the probabilities sum to {sums[rows][0]:.4g}, not 1",
            "give probabilities, not scores",
            pd.Series(rows),
        )


def _odd(names: Sequence[str], expected: Sequence[str]) -> str:
    return next(name for name in names if name not in expected)


def _some(names: Sequence[str], limit: int = 10) -> str:
    text = ", ".join(names[:limit])
    return text if len(names) <= limit else f"{text}, … {len(names)} in all"
