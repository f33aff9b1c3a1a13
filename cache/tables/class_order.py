"""The order of classes: declared, or plain from numbers in their names, or unknown.

Ordinal metrics go by it, and the last of two classes is the positive one. The alphabet says
neither (high < low < medium), so that an order from it counts as unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from frostline.cache.errors import InputError

_NUMBERED = re.compile(r"(.*?)(\d+(?:\.\d+)?)", re.DOTALL)
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?")
# First words of names such as "no finding", "Non-AMD" and "NORMAL": what is not looked for.
_NEGATIVE = re.compile(
    r"(no|non|not|none|normal|healthy|control|controls|benign|negative|absent|false|without)\b"
)


def class_names(given: str | Sequence[str] | None) -> list[str] | None:
    """List the names that `--classes` was given: one value holds several names, with commas.

    Of several values each is a name as it is, so that a name may have commas.

    >>> class_names(["low, medium,high"]), class_names(["mass, large", "cyst"]), class_names([])
    (['low', 'medium', 'high'], ['mass, large', 'cyst'], None)
    """
    values = [given] if isinstance(given, str) else list(given or [])
    if len(values) == 1:
        values = [name.strip() for name in values[0].split(",")]
    return values or None


def check_declared(declared: Sequence[str], labels: Iterable[str], whose: str) -> None:
    """Refuse a declared order that names a class twice, or that lacks one of the labels.

    A declared class that no image has is no fault.

    Parameters
    ----------
    whose : str
        What has the labels, to begin a sentence: "Data set 'chest'".

    Raises
    ------
    InputError
        Naming the class, and saying what to do.
    """
    names = ", ".join(declared)
    if "" in declared:
        raise InputError(f"--classes has a name without letters ({names}): take it out.")
    twice = [name for place, name in enumerate(declared) if name in declared[:place]]
    if twice:
        raise InputError(f"--classes names {twice[0]!r} twice ({names}): name each class once.")
    if len(declared) < 2:
        raise InputError(
            f"--classes names one class ({names}): name all of them, from the lowest to the "
            "highest, such as low,medium,high."
        )
    lacking = sorted(set(labels) - set(declared))
    if lacking:
        raise InputError(
            f"{whose} has the class {lacking[0]!r}, which --classes does not name ({names}): name "
            "every class, from the lowest to the highest."
        )


def ordered(names: Sequence[str], declared: Sequence[str] | None) -> tuple[list[str], bool]:
    """Order classes as declared, else by their numbers, else leave them; and say if declared.

    A declared order that lacks one of them is for other labels, and counts as none.

    >>> ordered(["high", "low"], ["low", "medium", "high"])
    (['low', 'high'], True)
    >>> ordered(["G1", "G10", "G2"], None)
    (['G1', 'G2', 'G10'], False)
    """
    if declared and set(names) <= set(declared):
        return [name for name in declared if name in names], True
    return plain_order(names) or list(names), False


def plain_order(names: Iterable[str]) -> list[str] | None:
    """Order names that are all numbers, or one stem with different numbers; else give None.

    >>> plain_order(["grade 3", "grade 1"]), plain_order(["10", "9"]), plain_order(["low", "high"])
    (['grade 1', 'grade 3'], ['9', '10'], None)
    """
    number: dict[str, float] = {}
    stems = set()
    for name in names:
        text = name.strip()
        if _NUMBER.fullmatch(text):
            stem, value = "", text
        elif found := _NUMBERED.fullmatch(text):
            stem, value = found[1].casefold(), found[2]
        else:
            return None
        stems.add(stem)
        number[name] = float(value)
    if len(stems) != 1 or len(set(number.values())) < len(number):
        return None
    return sorted(number, key=lambda name: number[name])


def check_order(names: Sequence[str], declared: bool, metric: str, whose: str) -> None:
    """Refuse an ordinal metric where neither a person nor numbers in the names say the order.

    Two classes have one order and its reverse, which such metrics do not tell apart.

    Parameters
    ----------
    names : sequence of str
        The classes in their order.
    declared : bool
        Whether a person said it.
    whose : str
        What has them, for the sentence.
    """
    if not declared and len(names) > 2 and plain_order(names) != list(names):
        raise InputError(
            f"{metric} goes by the order of the classes, and nothing says which that of {whose} is "
            f"({', '.join(names)}): declare it from the lowest to the highest by --classes, or for "
            "good by `frostline index NAME … --classes …`; nothing is trained again."
        )


def order_for_head(
    labels: Iterable[str], declared: Sequence[str] | None, head: str, whose: str
) -> list[str]:
    """Order the classes for a head that is trained by their order, or refuse to.

    Parameters
    ----------
    labels : iterable of str
        The classes that occur.
    whose : str
        What has them, for the sentence: "data set 'brains'".

    Raises
    ------
    InputError
        If there are more than two, and neither a person nor numbers in the names say the order.
    """
    names, said = ordered(sorted(set(labels)), declared)
    if not said and len(names) > 2 and plain_order(names) != names:
        raise InputError(
            f"Head {head} goes by the order of the classes, and nothing says which that of {whose} "
            f"is ({', '.join(names)}): declare it from the lowest to the highest by `frostline "
            "index NAME … --classes …`, or by `classes` of the data set in a study."
        )
    return names


def is_positive_plain(names: Sequence[str]) -> bool:
    """Say whether the last of two classes is the positive one by their names alone.

    >>> is_positive_plain(["NORMAL", "PNEUMONIA"]), is_positive_plain(["AMD", "Non-AMD"])
    (True, False)
    """
    if plain_order(names) == list(names):
        return True
    words = (name.casefold().replace("_", " ").strip() for name in names)
    first, last = (_NEGATIVE.match(text) is not None for text in words)
    return first and not last
