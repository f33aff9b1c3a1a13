"""Findings of an audit: sentences, and how bad they are."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class Finding:
    """One sentence, and how bad it is: `leak`, `warning` or `note`."""

    severity: str
    text: str


def many(count: int, one: str, several: str) -> str:
    """Put a number before one of two forms.

    >>> many(1, "image is", "images are"), many(2, "image is", "images are")
    ('1 image is', '2 images are')
    """
    return f"{count} {one if count == 1 else several}"


def examples(names: pd.Series) -> str:
    """Name the first three that differ."""
    shown = list(dict.fromkeys(names))[:3]
    return ", ".join(shown) + (", …" if names.nunique() > len(shown) else "")
