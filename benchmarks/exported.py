"""Real embeddings for the benchmarks of heads, from `frostline cache export` to FILE.npz."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


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
        rows = self.part == "train"
        return self.x[rows], self.y[rows]


def read_exported(path: str) -> Exported:
    """Read the arrays `X`, `label` and `split` of an exported file."""
    with np.load(path) as file:
        X, label, split = file["X"], file["label"], file["split"]
    known = label != ""
    codes = np.unique(label[known], return_inverse=True)[1]
    return Exported(X[known].astype(np.float32), codes, split[known])
