"""Embeddings that no head can learn from, noticed while they are made."""

from __future__ import annotations

import warnings

import numpy as np


class Values:
    """What was seen of embeddings, a batch at a time.

    Parameters
    ----------
    name : str
        Of what made them, for the warning.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.seen = 0
        self.bad = 0
        self.equal = True
        self._first: np.ndarray | None = None

    def add(self, rows: np.ndarray) -> None:
        """Look at the embeddings of some more images, [n, dim]."""
        if not len(rows):
            return
        self._first = rows[0].copy() if self._first is None else self._first
        self.seen += len(rows)
        self.bad += int((~np.isfinite(rows).all(axis=1)).sum())
        self.equal = self.equal and bool((rows == self._first).all())

    def warn(self) -> None:
        """Warn of rows that are not finite, and where all rows are the same."""
        if self.bad:
            warnings.warn(
                f"{self.name}: {self.bad} of {self.seen} embeddings hold NaN or infinity, and no "
                "head can learn from them: look at the weights, and use --precision float32.",
                stacklevel=3,
            )
        if self.equal and self.seen > 1:
            warnings.warn(
                f"{self.name}: all {self.seen} embeddings are the same, so they tell no image from "
                "another: look at the weights, the feature and the images.",
                stacklevel=3,
            )
