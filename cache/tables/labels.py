"""Refuse labels that name no class, and find those that are written in several ways."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

import pandas as pd

from frostline.cache.errors import InputError

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
# `Effusion|Mass`, `mass,nodule`, `['mass', 'nodule']`, `0 1 0`: lists, as programs write them.
_LIST = re.compile(r".*\|.*|.*\S[,;]\S.*|\[.*\]|\d+( \d+)+")
MOST_NUMBERS = 30  # different whole numbers that may be classes
MOST_DECIMALS = 10  # different numbers with decimals that may be
FEWEST_NAMES = 20  # so many labels, each of one image, are names of images
FEW_NUMBERS = 10  # so many numbers are classes even where each has hardly an image
IMAGES_OF_A_NUMBER = 3
NAMED = 3  # in a sentence


def split_name(text: str) -> str | None:
    """Recognise train, val or test in their usual spellings, whatever the case; else None.

    >>> split_name(" Test"), split_name("VALID"), split_name("fold 1")
    ('test', 'val', None)
    """
    return SPLIT_NAMES.get(text.strip().lower())


def check_labels(labels: Iterable[object], where: Callable[[int], str]) -> None:
    """Refuse labels that are none: several in a cell, measurements such as an age, or names.

    Parameters
    ----------
    labels
        Texts or numbers; what is missing is skipped.
    where
        Names the row of a position (from 0) for the sentence: `labels.csv, row 3`.

    Raises
    ------
    InputError
        Naming row and label, and saying what to do.
    """
    counted = _counted(labels)
    position = dict(zip(counted.index, map(int, counted["first"]), strict=True))
    _check_single(position, where)
    labelled = int(counted["count"].sum())
    _check_not_numbers(position, labelled, where)
    if len(position) == labelled >= FEWEST_NAMES:
        label, first = next(iter(position.items()))
        raise InputError(
            f"{where(first)}: each of the {labelled:,} images has a label of its own ({label!r} "
            "here), which names the image and no class: give the column of classes."
        )


def spelling_warnings(values: Iterable[object], what: str) -> list[str]:
    """Say which values are probably one, written in several ways.

    Parameters
    ----------
    values
        Texts or numbers: labels, groups, ids. What is missing is skipped.
    what : str
        The word for them in the plural: `labels`, `groups`, `images`.

    Returns
    -------
    list of str
        A sentence for each kind of difference: blanks or case; zeros in front or behind (`001`
        and `1`, `2` and `2.0`).

    >>> spelling_warnings(["Mass", "mass ", "cyst"], "labels")
    ["The labels 'Mass' and 'mass ' differ in blanks or case only, and count as different."]
    """
    texts = list(_counted(values).index)
    kinds = (("blanks or case", _folded), ("zeros in front or behind", _unpadded))
    found = [(how, _together(texts, key)) for how, key in kinds]
    return [
        f"The {what} {_list_of(sets[0], ' and ')} differ in {how} only, and count as different"
        + (f"; so do {len(sets) - 1:,} more." if len(sets) > 1 else ".")
        for how, sets in found
        if sets
    ]


def _counted(values: Iterable[object]) -> pd.DataFrame:
    """Give each text that occurs its first position and count (`first`, `count`), in order."""
    texts = pd.Series(list(values), dtype=object).dropna().map(str)
    table = pd.DataFrame({"text": texts, "first": texts.index, "count": 1})
    return table.groupby("text", sort=False).agg({"first": "first", "count": "size"})


def _check_single(position: dict[str, int], where: Callable[[int], str]) -> None:
    for label, first in position.items():
        if _LIST.fullmatch(label) or _joins_others(label, position):
            raise InputError(
                f"{where(first)}: the label {label!r} is several labels, and Frostline is for one "
                "label an image: write one in each cell (one column a finding, with yes and no, "
                "makes one data set a finding), or, if it is one class, name it without '|', "
                "',' or ';'."
            )


def _joins_others(label: str, position: dict[str, int]) -> bool:
    """Whether a label such as `mass, nodule` has a piece that is a label elsewhere, alone."""
    pieces = [piece.strip() for piece in re.split("[,;]", label)]
    return len(pieces) > 1 and any(piece in position for piece in pieces)


def _check_not_numbers(
    position: dict[str, int], labelled: int, where: Callable[[int], str]
) -> None:
    numbers = [_number(label) for label in position]
    different = {number for number in numbers if number is not None}
    if not position or None in numbers:
        return
    decimals = any(number % 1 for number in different)
    rare = labelled < IMAGES_OF_A_NUMBER * len(different)
    most = MOST_DECIMALS if decimals else FEW_NUMBERS if rare else MOST_NUMBERS
    if len(different) > most:
        label, first = next(iter(position.items()))
        raise InputError(
            f"{where(first)}: the label {label!r} is one of {len(different):,} different numbers, "
            "a measurement such as an age and no class, and Frostline is for classes: make a "
            "column of classes (such as 'under 60' and '60 and over'), or, if the numbers are "
            "names of classes, write them with a letter in front."
        )


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if abs(number) < float("inf") else None


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()


def _unpadded(text: str) -> str:
    """Write a number as few digits as it has: 001 and 1.0 are 1; other texts stay as they are."""
    number = re.fullmatch(r"0*(\d+?)(?:\.(\d*?)0*)?", text.strip())
    return f"{number[1]}.{number[2] or ''}".rstrip(".") if number else text


def _together(texts: Sequence[str], key: Callable[[str], str]) -> list[list[str]]:
    """Give the sets of texts that are the same to a key, most often written first."""
    sets: dict[str, list[str]] = {}
    for text in texts:
        sets.setdefault(key(text), []).append(text)
    return [same for same in sets.values() if len(same) > 1]


def _list_of(names: Sequence[str], joint: str) -> str:
    shown = list(map(repr, names[:NAMED]))
    more = [f"{len(names) - NAMED:,} more"] if len(names) > NAMED else []
    *head, last = [*shown, *more]
    return ", ".join(head) + joint + last
