"""Find what must stay together: groups, joined where their images are equal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd


def units(groups: Sequence[str], keys: Sequence[object]) -> list[str]:
    """Name the unit of every row: groups that share a key, directly or through others, are one.

    Parameters
    ----------
    groups : sequence of n
        Patients, lesions.
    keys : sequence of n
        What equal images have in common; a missing one (None) joins nothing.

    Returns
    -------
    list of n str
        The first name, sorted, of the groups of the unit.

    >>> units(["a", "b", "b", "c", "d"], [b"1", b"1", b"3", b"3", None])
    ['a', 'a', 'a', 'a', 'd']
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    names, of_row = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    codes, different = pd.factorize(pd.Series(list(keys), dtype=object))
    there = codes >= 0
    count = len(names) + len(different)
    ends = of_row[there], codes[there] + len(names)
    graph = coo_array((np.ones(there.sum(), bool), ends), shape=(count, count))
    component = connected_components(graph, directed=False)[1][: len(names)]
    _, first, unit = np.unique(component, return_index=True, return_inverse=True)
    return names[first][unit][of_row].tolist()  # names are sorted


def equality(images: pd.DataFrame) -> pd.Series:
    """Give what equal images of a manifest's table have in common, and None where nothing is.

    That is the pixel key, which images of equal bytes share, too; blank images and those that were
    not compared, for nothing is like them, have none. Manifests of release 0.1 have contents only.
    """
    if "pixel_key" in images and images["pixel_key"].notna().any():
        return images["pixel_key"]
    if "content_key" in images:
        return images["content_key"]
    return pd.Series(None, index=images.index, dtype=object)


def units_of(images: pd.DataFrame) -> list[str]:
    """Name the unit of every row of a manifest's table."""
    return units(list(images["group_id"]), list(equality(images)))
