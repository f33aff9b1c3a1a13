"""Augmented views of training images: further rows that heads train on (docs/views.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from frostline.cache import InputError, Store
from frostline.probe.choices import Pooling
from frostline.probe.embedded import Embedded, check_finite, manifest_keys
from frostline.probe.heads.training import Pool
from frostline.probe.patients import to_patients
from frostline.probe.solver.bags import Bags

TRAINING, EVERY = "train", "test"


def viewed_part(*, pooled: bool) -> str:
    """Name the split whose images have views: in a cross-validation all are of one, and all do."""
    return EVERY if pooled else TRAINING


def check_views(
    images: pd.DataFrame, plain: Store, stores: Sequence[Store], name: str, *, pooled: bool
) -> None:
    """Refuse views that some of the images lack which train; none is read.

    Parameters
    ----------
    images : DataFrame
        All images of data set `name` that have a split.
    plain : Store
        Of the images themselves; what that lacks is not asked for.
    stores : sequence of Store
        Of each view.
    pooled : bool
        Whether any image may train, as in a cross-validation.

    Raises
    ------
    InputError
        With the number of the view.
    """
    keys = manifest_keys(images[images["split"] == viewed_part(pooled=pooled)])
    keys = keys[plain.locate(keys) >= 0]
    for number, store in enumerate(stores, 1):
        missing = int((store.locate(keys) < 0).sum())
        if missing:
            of = " --views-of all, because every image trains in some fold" if pooled else ""
            raise InputError(
                f"{missing} of {len(keys)} images of data set {name!r} that train have no view "
                f"{number} in store {store.key[:12]}: run the same `frostline extract --views "
                f"{len(stores)}` again{of and f', with{of}'}."
            )


def add_views(
    pool: Pool,
    images: Embedded,
    rows: Embedded,
    stores: Sequence[Store],
    pooling: Pooling | None,
    part: str,
) -> Pool:
    """Add the views of the rows of a part to a pool, behind its own rows.

    Parameters
    ----------
    pool : Pool
        Of `rows`.
    images, rows : Embedded
        Images, and rows of the pool: the same, or patients.
    stores : sequence of Store
        Of each view.
    pooling : "mean", "max" or "attention", optional
        What made patients of images; a view of a patient is made of the same view of each image.
    part : str
        The split whose rows have views.
    """
    mine = np.flatnonzero((rows.images["split"] == part).to_numpy(dtype=bool))
    seen = [_view(images, store, pooling, part) for store in stores]
    first = len(pool.X) + len(mine) * np.arange(len(seen))
    views = np.full((len(pool.X), len(seen)), -1, np.intp)
    views[mine] = first + np.arange(len(mine))[:, None]
    groups = pool.groups
    if groups is not None:
        groups = np.concatenate([groups, np.full(len(mine) * len(seen), -1, np.intp)])
    return replace(
        pool,
        X=_joined([pool.X, *seen]),
        codes=np.concatenate([pool.codes, *[pool.codes[mine]] * len(seen)]),
        groups=groups,
        views=views,
    )


def _view(images: Embedded, store: Store, pooling: Pooling | None, part: str) -> Any:
    """Read one view of the images of a part, or of its patients."""
    mine = images.images[images.images["split"] == part].reset_index(drop=True)
    X = store.read(store.locate(manifest_keys(mine))).reshape(len(mine), -1)
    X = X.astype(np.float32, copy=False)
    check_finite(X, mine, store)
    return X if pooling is None else to_patients(Embedded(mine, X, images.classes), pooling).X


def _joined(parts: Sequence[Any]) -> Any:
    if not isinstance(parts[0], Bags):
        return np.concatenate(parts)
    values, counts = ([getattr(one, name) for one in parts] for name in ("values", "counts"))
    return Bags(np.concatenate(values), np.concatenate(counts))
