"""Find what must stay together: groups, joined where their images are equal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

KEYS = ("content_key", "pixel_key")


def units(groups: Sequence[str], *keys: Sequence[object]) -> list[str]:
    """Name the unit of every row: groups that share a key, directly or through others, are one.

    Parameters
    ----------
    groups : sequence of n
        Patients, lesions.
    keys : sequences of n
        What equal images have in common; a missing one (None) joins nothing.

    Returns
    -------
    list of n str
        The first name, sorted, of the groups of the unit.

    >>> units(["a", "b", "c", "d"], [b"1", b"2", b"1", None], [None, b"3", b"3", None])
    ['a', 'a', 'a', 'd']
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    names, of_row = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    edges, count = [], len(names)
    for key in keys:
        codes, different = pd.factorize(pd.Series(list(key), dtype=object))
        there = codes >= 0
        edges.append(np.stack([of_row[there], codes[there] + count]))
        count += len(different)
    ends = np.concatenate([np.zeros((2, 0), int), *edges], axis=1)
    graph = coo_array((np.ones(ends.shape[1], bool), tuple(ends)), shape=(count, count))
    component = connected_components(graph, directed=False)[1][: len(names)]
    _, first = np.unique(component, return_index=True)  # names are sorted
    return names[first][component][of_row].tolist()


def units_of(images: pd.DataFrame) -> list[str]:
    """Name the unit of every row of a manifest's table."""
    return units(list(images["group_id"]), *(list(images[key]) for key in KEYS if key in images))
