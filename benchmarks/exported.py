"""Real embeddings for the benchmarks of heads, from `frostline cache export` to FILE.npz."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import PredefinedSplit


@dataclass(frozen=True)
class Exported:
    """Labelled embeddings of a data set, with the split it has.

    Attributes
    ----------
    x : float32 [n, dim]
    y : int [n]
        Class numbers.
    part : str [n]
        train, val or test.
    """

    x: np.ndarray
    y: np.ndarray
    part: np.ndarray

    def train(self) -> tuple[np.ndarray, np.ndarray]:
        """The rows of the training part."""
        return self.rows("train")

    def rows(self, *parts: str) -> tuple[np.ndarray, np.ndarray]:
        """Embeddings and class numbers of some parts, in their order in the file."""
        chosen = np.isin(self.part, parts)
        return self.x[chosen], self.y[chosen]

    def fold(self) -> PredefinedSplit:
        """Validation rows among those of train and val."""
        return PredefinedSplit(np.where(self.part[self.part != "test"] == "val", 0, -1))

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return int(self.y.max()) + 1

    def accuracy(self, predicted: np.ndarray) -> float:
        """Share of test rows whose class was predicted."""
        return float(np.mean(predicted == self.rows("test")[1]))


def read_exported(path: str) -> Exported:
    """Read the arrays `X`, `label` and `split` of an exported file."""
    with np.load(path) as file:
        X, label, split = file["X"], file["label"], file["split"]
    known = label != ""
    codes = np.unique(label[known], return_inverse=True)[1]
    return Exported(X[known].astype(np.float32), codes, split[known])
