"""Which axial slices of a volume are taken, where no mask says so."""

from __future__ import annotations

import re

from frostline.cache import InputError

RULES = "all, middle:N or every:N"


def check_rule(rule: object) -> None:
    """Refuse what is no rule of `pick_slices`.

    Raises
    ------
    InputError
        Naming the rules that there are.
    """
    if not isinstance(rule, str) or not re.fullmatch("all|(middle|every):0*[1-9][0-9]*", rule):
        raise InputError(
            f"The option slices must be {RULES} with N from 1, such as middle:20 or every:3, "
            f"not {rule!r}."
        )


def pick_slices(rule: str, count: int) -> range:
    """Give the slices that a rule takes of a volume of `count` slices.

    `all` of them; `middle:N`, the N in the middle, or all where there are no more than N (of an
    odd number left over, one slice more is left out at the top); `every:N`, slice 0 and each Nth
    after it.

    Raises
    ------
    InputError
        If there is no such rule.
    """
    check_rule(rule)
    kind, _, text = rule.partition(":")
    if kind == "middle":
        first = max(0, (count - int(text)) // 2)
        return range(first, min(count, first + int(text)))
    return range(0, count, int(text or 1))
