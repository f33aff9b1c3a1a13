"""`--columns NEW=THEIRS`: our names for the columns of other people's files (docs/format.md)."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence

from frostline.cache.errors import InputError

EXAMPLE = "prediction=predicted_lesion,prob=p_*"


def parse_columns(texts: Sequence[str] | None) -> dict[str, str] | None:
    """Read what `--columns NEW=THEIRS,NEW=THEIRS` says, given once or several times.

    A pair with a comma in a name is quoted as in CSV: `"label=diagnosis, final",prob=p_*`.

    Raises
    ------
    InputError
        If a pair is none, or one of our names is given twice.

    >>> parse_columns(["prediction=predicted_lesion,prob=p_*"])
    {'prediction': 'predicted_lesion', 'prob': 'p_*'}
    """
    if texts is None:
        return None
    found: dict[str, str] = {}
    for pair in (pair for text in texts for pair in next(csv.reader([text]), []) or [""]):
        name, _, theirs = (part.strip() for part in pair.partition("="))
        if not (name and theirs):
            raise InputError(
                f"--columns is NEW=THEIRS,NEW=THEIRS, such as {EXAMPLE}, and has {pair!r}: write "
                "both names."
            )
        if name in found:
            raise InputError(f"--columns gives {name} twice: give it once.")
        found[name] = theirs
    return found


def check_names(columns: Mapping[str, str]) -> None:
    """Refuse a mapping that is empty, or takes one of their columns twice.

    Raises
    ------
    InputError
        Saying so.
    """
    if not columns:
        raise InputError("--columns is empty: name at least one column, or leave it out.")
    for name, theirs in columns.items():
        if not (isinstance(name, str) and isinstance(theirs, str) and theirs):
            raise InputError(f"--columns maps names to names, not {name!r} to {theirs!r}.")
    twice = [theirs for theirs, times in Counter(columns.values()).items() if times > 1]
    if twice:
        names = " and ".join(name for name, theirs in columns.items() if theirs == twice[0])
        raise InputError(f"--columns takes {twice[0]} for {names}: take it for one of them.")
