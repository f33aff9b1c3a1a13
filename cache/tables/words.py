"""Numbers in what people read: how many there are of a thing, and the sign."""

from __future__ import annotations

MINUS = "\N{MINUS SIGN}"


def minus(number: str) -> str:
    """Write a number with the minus sign of print; programs get the hyphen of their keyboards."""
    return number.replace("-", MINUS)


def counted(count: int, thing: str, of: str = "") -> str:
    """Say how many of a thing there are; `of` is a word before it.

    >>> counted(1, "seed"), counted(1200, "image"), counted(1, "class"), counted(2, "class", "rare")
    ('1 seed', '1,200 images', '1 class', '2 rare classes')
    """
    plural = "" if count == 1 else "es" if thing.endswith("s") else "s"
    return " ".join(filter(None, (f"{count:,}", of, f"{thing}{plural}")))
