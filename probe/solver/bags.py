"""Bags: the embeddings of several images each, for heads that answer for all of them together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]


@dataclass(frozen=True)
class Bags:
    """Embeddings in bags, such as all images of a patient.

    Attributes
    ----------
    values : float [n, p]
        Embeddings of all images, bag after bag.
    counts : int [bags]
        Images of each bag, at least one.
    """

    values: Array
    counts: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.counts)

    def __getitem__(self, rows: NDArray[Any]) -> Bags:
        """Take some bags, in the order of `rows`: int [m], or a mask of all bags."""
        chosen = np.arange(len(self))[rows]
        starts, counts = self.starts[chosen], self.counts[chosen]
        shift = np.repeat(starts - (np.cumsum(counts) - counts), counts)
        return Bags(self.values[np.arange(counts.sum()) + shift], counts)

    @property
    def starts(self) -> NDArray[np.intp]:
        """The row of each bag's first image: int [bags]."""
        return np.asarray(np.cumsum(self.counts) - self.counts, np.intp)

    def mean(self) -> Array:
        """Average the embeddings of each bag: [bags, p], of the type of `values`."""
        sums = np.add.reduceat(self.values.astype(np.float64), self.starts, axis=0)
        found: Array = (sums / self.counts[:, None]).astype(self.values.dtype)
        return found

    def max(self) -> Array:
        """Take the greatest value of each feature in each bag: [bags, p]."""
        found: Array = np.maximum.reduceat(self.values, self.starts, axis=0)
        return found


POOLS: dict[str, Callable[[Bags], Array]] = {"mean": Bags.mean, "max": Bags.max}
"""How the embeddings of a bag become one, by name."""


def as_bags(X: Bags | Array) -> Bags:
    """Give bags; rows of an array are bags of one image each."""
    return X if isinstance(X, Bags) else Bags(X, np.ones(len(X), np.intp))
