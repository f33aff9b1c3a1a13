"""Columns of other people's tables by the names of the predictions format (docs/format.md).

A mapping has our names as keys and theirs as values: `{"prediction": "predicted_lesion", "prob":
"*"}`. A star stands for the name of a class, in one column for each.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from frostline.cache.errors import InputError
from frostline.cache.tables.columns import check_names
from frostline.report.check import Source, numbers, some
from frostline.report.notes import Note

PLAIN = ("image_id", "group_id", "split")
# These may be one column, or with a star one for each class.
BY_CLASS = ("label", "prediction")
PROB, PROB_OF = "prob", "prob_"
TARGETS = (*PLAIN, *BY_CLASS, PROB, "prob_CLASS")
STAR = "*"
UNNAMED = "Unnamed: "  # what a column without a name is called, such as pandas' index


def check_columns(columns: Mapping[str, str]) -> None:
    """Refuse a mapping that can be of no table.

    Raises
    ------
    InputError
        If it names what is no column of the format, a column twice, or stars that say nothing.
    """
    check_names(columns)
    for name, theirs in columns.items():
        if name not in TARGETS[:-1] and not (name.startswith(PROB_OF) and name != PROB_OF):
            raise InputError(
                f"--columns names {name!r}, which is no column of predictions: choose from "
                f"{', '.join(TARGETS)} (CLASS is the name of a class)."
            )
        stars = theirs.count(STAR)
        if (name == PROB and stars != 1) or (name in BY_CLASS and stars > 1):
            raise InputError(
                f"--columns {name}={theirs} must have one star, for the name of the class, such as "
                f"{name}=p_*: correct it."
            )


def map_columns(
    table: pd.DataFrame, columns: Mapping[str, str], source: Source, notes: list[Note]
) -> tuple[pd.DataFrame, list[str]]:
    """Name the columns of someone's table as the predictions format does.

    Parameters
    ----------
    table : DataFrame
        Its columns have texts for names, each its own.
    columns : mapping of str to str
        Our names and theirs; see docs/format.md.
    source : Source
        Names the table and its rows for sentences.
    notes : list of Note
        What a star took is added.

    Returns
    -------
    DataFrame
        What the mapping names, then their other columns; those that have a name of what the mapping
        names are left out.
    list of str
        The classes that the stars of predictions name, else those of labels; none without stars.

    Raises
    ------
    InputError
        If a column is not there, a star matches none, or what it matches cannot be read.
    """
    check_columns(columns)
    names = [str(name) for name in table]
    patterns = {name: columns[name] for name in (*BY_CLASS, PROB) if STAR in columns.get(name, "")}
    plain = {name: theirs for name, theirs in columns.items() if name not in patterns}
    for name, theirs in plain.items():
        if theirs not in names:
            raise _lacking(f"{theirs!r}, which --columns names for {name}", names, source)
    found = _matched(table, patterns, plain, source, notes)
    made: dict[str, pd.Series] = {}
    for name, theirs in plain.items():
        is_number = name.startswith(PROB_OF)
        made[name] = numbers(table[theirs], theirs, source) if is_number else table[theirs]
    for name, matches in found.items():
        made |= _by_class(table, name, matches, source, made)
    used = {*plain.values(), *(theirs for matches in found.values() for theirs in matches)}
    has_probs = any(name.startswith(PROB_OF) for name in made)
    others = [
        name
        for name in names
        if name not in used and name not in made and not (has_probs and name.startswith(PROB_OF))
    ]
    stars = found.get("prediction") or found.get("label") or {}
    return pd.DataFrame({**made, **{name: table[name] for name in others}}), [*stars.values()]


def _lacking(what: str, names: Sequence[str], source: Source) -> InputError:
    return source.error(f"no column {what}", f"it has {some(names) or 'none'}: correct --columns")


def _matched(
    table: pd.DataFrame,
    patterns: Mapping[str, str],
    plain: Mapping[str, str],
    source: Source,
    notes: list[Note],
) -> dict[str, dict[str, str]]:
    """Give for each pattern the columns that it matches, each with the name of its class.

    A star alone takes what other patterns leave.
    """
    free = [str(name) for name in table if name not in plain.values()]
    found: dict[str, dict[str, str]] = {}
    for name, pattern in patterns.items():
        if pattern != STAR:
            before, _, after = map(re.escape, pattern.partition(STAR))
            fits = re.compile(f"{before}(.+){after}")
            found[name] = {one: at[1] for one in free if (at := fits.fullmatch(one))}
            if not found[name]:
                names = list(map(str, table))
                raise _lacking(f"like {pattern}, which --columns names for {name}", names, source)
    times = Counter(one for matches in found.values() for one in matches)
    for one in times:
        if times[one] > 1:
            both = " and ".join(name for name, matches in found.items() if one in matches)
            raise source.error(
                f"column {one!r} is like the patterns of {both} in --columns", "make them differ"
            )
    alone = next((name for name, pattern in patterns.items() if pattern == STAR), None)
    if alone is not None:
        left = [one for one in free if one not in times]
        known = _classes(table, plain, left, found)
        found[alone] = _named_like_classes(table, left, known)
        if not found[alone]:
            raise _no_match(alone, left, known, source)
        notes.append(_note(alone, found[alone], table, left))
    return found


def _classes(
    table: pd.DataFrame,
    plain: Mapping[str, str],
    left: Sequence[str],
    found: Mapping[str, Mapping[str, str]],
) -> set[str]:
    """List the classes that a table names elsewhere; none where it has no label or prediction."""
    columns = [plain.get(name, name) for name in BY_CLASS]
    columns = [one for one in columns if one in left or one in plain.values()]
    texts = {str(value).strip() for one in columns for value in table[one].dropna().unique()}
    texts |= {text.removesuffix(".0") for text in texts}
    return texts.union(*(matches.values() for matches in found.values()))


def _named_like_classes(
    table: pd.DataFrame, names: Sequence[str], known: set[str]
) -> dict[str, str]:
    if known:
        return {one: one for one in names if one in known}
    return {one: one for one in names if not one.startswith(UNNAMED) and _is_numeric(table[one])}


def _is_numeric(column: pd.Series) -> bool:
    """Whether all cells are numbers, be it with a decimal comma, which is refused later."""
    if pd.api.types.is_numeric_dtype(column):
        return not pd.api.types.is_bool_dtype(column)
    texts = column.dropna().astype(str).str.replace(",", ".", regex=False)
    return bool(len(texts)) and bool(pd.to_numeric(texts, errors="coerce").notna().all())


def _no_match(name: str, names: Sequence[str], known: set[str], source: Source) -> InputError:
    others = some(names) or "none"
    like = f"is named like a label or prediction ({some(sorted(known))})"
    return source.error(
        f"{name}=* of --columns matches no column, because of the others ({others}) none "
        f"{like if known else 'holds numbers alone'}",
        f"write both alike, or name the columns of the classes by a pattern, {name}=p_*",
    )


def _note(name: str, matches: Mapping[str, str], table: pd.DataFrame, left: Sequence[str]) -> Note:
    what = {PROB: "Probabilities", "label": "Labels", "prediction": "Predictions"}[name]
    others = [one for one in left if one not in matches and _is_numeric(table[one])]
    out = f"; other columns of numbers were left out: {some(others)}" if others else ""
    return Note(f"{what} are by the columns {some(list(matches))}{out}.")


def _by_class(
    table: pd.DataFrame,
    name: str,
    matches: Mapping[str, str],
    source: Source,
    made: Mapping[str, pd.Series],
) -> dict[str, pd.Series]:
    """Give the columns of the format that a pattern's columns make."""
    cells = table[list(matches)]
    if name == "label":
        cells = cells.replace({"True": 1, "False": 0})  # as CSV has what is one-hot in pandas
    columns = {
        its_class: numbers(cells[theirs], theirs, source) for theirs, its_class in matches.items()
    }
    if name == PROB:
        for its_class in columns:
            if PROB_OF + its_class in made:
                what = f"--columns names two columns for the probability of {its_class!r}"
                raise source.error(what, "name one of them")
        return {PROB_OF + its_class: column for its_class, column in columns.items()}
    values = pd.DataFrame(columns, dtype=np.float64)
    made_by = _greatest if name == "prediction" else _marked
    return {name: made_by(values, some(list(matches)), source)}


def _greatest(values: pd.DataFrame, names: str, source: Source) -> pd.Series:
    """Name the class of the greatest number of each row, of equals the first."""
    missing = values.isna().any(axis=1)
    if missing.any():
        raise source.error(f"a number of {names} is missing", "fill it", missing)
    return values.idxmax(axis=1)


def _marked(values: pd.DataFrame, names: str, source: Source) -> pd.Series:
    """Name the class whose number is 1 in each row; where all cells are empty, none."""
    unlabelled = values.isna().all(axis=1)
    wrong = ~unlabelled & ~(values.isin([0, 1]).all(axis=1) & (values.sum(axis=1) == 1))
    if wrong.any():
        what = f"of {names}, which name the label, not one is 1 and the others 0"
        raise source.error(what, "mark one class an image", wrong)
    return values.fillna(0).idxmax(axis=1).mask(unlabelled)
