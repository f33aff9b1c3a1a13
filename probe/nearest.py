"""The nearest rows to some others by cosine, exact, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from frostline.probe.heads.knn import largest, unit_rows

BLOCK_BYTES = 32 << 20  # of rows, and of their similarities to the queries

Rows = NDArray[np.intp]
Read = Callable[[Rows], NDArray[np.floating]]
Allowed = Callable[[Rows], NDArray[np.bool_]]


def nearest_rows(
    queries: NDArray[np.floating], size: int, read: Read, allowed: Allowed, count: int
) -> tuple[Rows, NDArray[np.float64]]:
    """Find the `count` nearest of `size` rows to each query.

    Parameters
    ----------
    queries : float [q, p]
    size : int
        Rows are numbered from 0.
    read : function
        Gives the values [r, p] of rows, int [r]: a block of `BLOCK_BYTES` at a time.
    allowed : function
        Gives for rows, int [r], whether each may stand next to each query: bool [q, r].
    count : int

    Returns
    -------
    rows : int [q, count]
        Nearest first; -1 where fewer are allowed. Of equally near ones any.
    distances : float64 [q, count]
        1 minus the cosine, from 0 to 2; NaN where fewer are allowed.
    """
    units = unit_rows(np.asarray(queries, dtype=np.float32))
    found = np.full((len(units), count), -1, dtype=np.intp)
    closeness = np.full((len(units), count), -np.inf, dtype=np.float32)
    step = max(1, BLOCK_BYTES // (4 * max(units.shape[1], len(units), 1)))
    for start in range(0, size if len(units) else 0, step):
        rows = np.arange(start, min(start + step, size))
        similar = units @ unit_rows(read(rows).astype(np.float32, copy=False)).T
        similar[~allowed(rows)] = -np.inf
        both = np.concatenate([closeness, similar], axis=1)
        names = np.concatenate([found, np.broadcast_to(rows, similar.shape)], axis=1)
        best = largest(both, count)
        closeness = np.take_along_axis(both, best, axis=1)
        found = np.take_along_axis(names, best, axis=1)
    missing = np.isneginf(closeness)
    distances = np.where(missing, np.nan, np.clip(1 - closeness.astype(np.float64), 0, 2))
    return np.where(missing, -1, found), distances
