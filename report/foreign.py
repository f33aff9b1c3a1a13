"""Anyone's table of labels and predictions, put into the columns of the predictions format.

What a label is, and how a split is spelled, is decided as for `index`
(`frostline.cache.tables.labels`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from frostline.cache.errors import InputError
from frostline.cache.tables.labels import check_labels, spelling_warnings, split_name
from frostline.report.check import Source, printed_decimals, some, tidy_table
from frostline.report.mapping import map_columns
from frostline.report.notes import Note

LABEL_NAMES = ("label", "true_label", "target")
IMAGE_NAMES = ("image_id", "image_name")
SEEN = 5e-4  # what a sum of probabilities is off by when a reader should know


def take_table(
    table: pd.DataFrame,
    run: str,
    source: Source,
    notes: list[Note],
    columns: Mapping[str, str] | None = None,
    labelled: bool = True,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Put someone else's table into our columns, with the class list it implies.

    Parameters
    ----------
    table : DataFrame
        With one of `LABEL_NAMES`, and `prediction` or `prob_<class>`.
    run : str
        What to call the run.
    source : Source
        Names the table and its rows for sentences.
    notes : list of Note
        What a reader of results should know is added.
    columns : mapping of str to str, optional
        Our names of columns and theirs (`frostline.report.mapping`).
    labelled : bool
        Whether it must have labels.

    Raises
    ------
    InputError
        If a column is missing, or the labels are none.
    """
    table = _with_text_names(table, source)
    stars: list[str] = []
    if columns is not None:
        table, stars = map_columns(table, columns, source, notes)
    table = _drop_overall(_renamed(table, source, labelled), notes)
    answers = "prediction" in table
    table = tidy_table(table, source)
    for name in ("label", "prediction"):
        table[name] = table[name].str.strip()
    _whole_numbers(table)
    table = _with_other_of_two(table)
    if not answers:
        table = _with_predictions(table, source)
        notes.append(Note("Predictions are the classes of the greatest probabilities."))
    check_labels(table["label"], lambda row: f"{source.row(row)}, column label")
    check_labels(table["prediction"], lambda row: f"{source.row(row)}, column prediction")
    _name_splits(table)
    notes += [*_never_met(table), *_spellings(table)]
    names = [str(name) for name in table.columns]
    classes = [name.removeprefix("prob_") for name in names if name.startswith("prob_")]
    classes = classes or stars
    if not classes:
        found = set(table["label"].dropna()) | set(table["prediction"].dropna())
        classes = sorted(found)
    meta: dict[str, Any] = {"run": run, "classes": classes}
    train = table.loc[(table["split"] == "train").fillna(False), "label"].value_counts()
    if len(train):
        meta["class_counts"] = {name: int(train.get(name, 0)) for name in classes}
    return table, meta


def rounding_note(table: pd.DataFrame, classes: Sequence[str]) -> list[Note]:
    """Say of probabilities that are printed with few decimals that their sums are not 1."""
    columns = [f"prob_{name}" for name in classes]
    if not set(columns) <= set(table.columns):
        return []
    values = table[columns].to_numpy(dtype=np.float64)
    decimals, sums = printed_decimals(values), values.sum(axis=1)
    if decimals is None or np.abs(sums - 1).max() <= SEEN:
        return []
    places = f"{decimals} decimal{'s' * (decimals > 1)}"
    ends = " to ".join(dict.fromkeys(f"{one:.3g}" for one in (sums.min(), sums.max())))
    text = f"Probabilities have {places} and sum to {ends} instead of 1"
    return [Note(f"{text}; metrics of probabilities are as rough.")]


def _renamed(table: pd.DataFrame, source: Source, labelled: bool) -> pd.DataFrame:
    label, image = _pick(table, LABEL_NAMES), _pick(table, IMAGE_NAMES)
    missing = ["label (or true_label)"] if label is None and labelled else []
    has_answer = "prediction" in table or bool(_probabilities(table))
    missing += [] if has_answer else ["prediction"]
    if missing:
        has = ", ".join(map(str, table.columns)) or "none"
        remedy = "rename or add one, or map it by --columns"
        if label is None:
            remedy += "; `frostline predictions import` takes labels from a data set"
        raise InputError(
            f"{source.name}: no column {' and no column '.join(missing)}; it has {has}: {remedy}."
        )
    found = {label: "label", image: "image_id"}
    ours = {name: new for name, new in found.items() if name is not None}
    dropped = [name for name in (*LABEL_NAMES, *IMAGE_NAMES) if name not in ours]
    return table.drop(columns=dropped, errors="ignore").rename(columns=ours)


def _with_text_names(table: pd.DataFrame, source: Source) -> pd.DataFrame:
    table = table.rename(columns=str)
    twice = table.columns[table.columns.duplicated()]
    if len(twice):
        raise source.error(f"two columns are named {twice[0]!r}", "rename or remove one")
    return table


def _probabilities(table: pd.DataFrame) -> list[str]:
    return [str(name) for name in table if str(name).startswith("prob_")]


def _with_other_of_two(table: pd.DataFrame) -> pd.DataFrame:
    """Add the probability of the other of two classes, where a table has that of one alone."""
    names = _probabilities(table)
    found = {*table["label"].dropna(), *table["prediction"].dropna()}
    others = found - {name.removeprefix("prob_") for name in names}
    if len(names) != 1 or len(others) != 1:
        return table
    other = (1 - table[names[0]]).rename(f"prob_{others.pop()}")
    # The one that a table has is the positive one, and so the last.
    table.insert(list(table).index(names[0]), other.name, other)
    return table


def _with_predictions(table: pd.DataFrame, source: Source) -> pd.DataFrame:
    """Take the class of the greatest probability, of equals the first."""
    names = _probabilities(table)
    missing = table[names].isna().any(axis=1)
    if missing.any():
        raise source.error("a probability is missing or NaN", "fill it", missing)
    best = [name.removeprefix("prob_") for name in table[names].idxmax(axis=1).astype(str)]
    return table.assign(prediction=pd.Series(best, index=table.index, dtype="string"))


def _pick(table: pd.DataFrame, names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in table), None)


def _drop_overall(table: pd.DataFrame, notes: list[Note]) -> pd.DataFrame:
    """Leave out the last row of the paper's own CSVs: totals under the name "Overall"."""
    first = table["image_id"] if "image_id" in table else table.iloc[:, 0]
    if len(table) and str(first.iloc[-1]).strip().lower() == "overall":
        notes.append(Note('The last row, "Overall", is no image and was left out.'))
        return table.iloc[:-1]
    return table


def _whole_numbers(table: pd.DataFrame) -> None:
    """Write labels 0.0, 1.0, 2.0 as 0, 1, 2, where a program wrote one of the columns so."""
    values = pd.concat([table["label"], table["prediction"]]).dropna()
    if len(values) and values.str.fullmatch(r"-?\d+(\.0+)?").all():
        for name in ("label", "prediction"):
            table[name] = table[name].str.replace(r"\.0+$", "", regex=True)


def _name_splits(table: pd.DataFrame) -> None:
    """Write train, val and test as Frostline does; other names (folds, hospitals) stay."""
    known = {text: split_name(text) or text for text in table["split"].dropna().unique()}
    table["split"] = table["split"].map(known).astype("string")


def _never_met(table: pd.DataFrame) -> Iterator[Note]:
    """Say that labels and predictions have no name in common: they may be codes and words."""
    labels, answers = (sorted(table[name].dropna().unique()) for name in ("label", "prediction"))
    if labels and answers and not set(labels) & set(answers):
        both = f"No label ({some(labels)}) is ever predicted ({some(answers)})"
        yield Note(f"{both}: write both alike if they mean the same.", first=True)


def _spellings(table: pd.DataFrame) -> Iterator[Note]:
    """Say which labels, groups and images are probably the same, written in several ways."""
    labels = pd.concat([table["label"], table["prediction"]])
    for values, what in (
        (labels, "labels"),
        (table["group_id"], "groups"),
        (table["image_id"], "images"),
    ):
        for sentence in spelling_warnings(values, what):
            yield Note(sentence, first=True)
