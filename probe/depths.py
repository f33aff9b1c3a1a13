"""The embeddings of all depths of a backbone, for heads at every one of them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from frostline.cache import Store, Workspace, read_manifest
from frostline.probe.choices import OnMissing
from frostline.probe.embedded import (
    Embedded,
    check_embedded,
    check_labels,
    manifest_keys,
    pooled_images,
    split_images,
    with_embeddings,
)


class DepthStore(NamedTuple):
    """One depth of a backbone, and the store of what is read there.

    Attributes
    ----------
    number : int
        0 behind the stem, i behind the i-th block.
    block : str
        Name of the block that it lies behind.
    behind : int
        Number of blocks behind it: what `--unfreeze` takes to train from here.
    cost : float
        Share of the forward pass up to here, 0 to 1.
    key : str
        Of the embedding store.
    """

    number: int
    block: str
    behind: int
    cost: float
    key: str


def read_depths(
    workspace: Workspace,
    dataset: str,
    backbone: str,
    depths: Sequence[DepthStore],
    *,
    label: str = "label",
    split: str = "split",
    pooled: bool = False,
    on_missing: OnMissing = "error",
) -> Iterator[tuple[DepthStore, Embedded]]:
    """Read the embeddings of a data set at every depth of a backbone, one after the other.

    All have the same images in the same order, so that one choice of rows (a split, a fold, a
    bootstrap sample) holds for every depth. One depth is read at a time: memory is that of what
    the caller keeps.

    Parameters
    ----------
    workspace : Workspace
    dataset, backbone : str
    depths : sequence of DepthStore
        As `frostline.stages.depth_stores` finds them; their order is kept.
    label, split : str
        Columns of the manifest.
    pooled : bool
        Whether all labelled images are taken, whatever their split, as for a cross-validation.
    on_missing : {"error", "skip"}
        What to do about images that some store lacks; skipped, they are absent at every depth.

    Yields
    ------
    (DepthStore, Embedded)
        `Embedded` has the images, X float32 [n, p] (p is another one at each depth) and classes.

    Raises
    ------
    InputError
        If a store is not there, lacks images, or no head could be trained on them.

    Examples
    --------
    >>> read = read_depths(workspace, "chest", "effnet-lite0", places)  # doctest: +SKIP
    >>> for place, found in read:  # doctest: +SKIP
    ...     rows = found.rows("train")
    ...     head = LogisticProbe().fit(found.X[rows], found.labels(rows))
    """
    manifest = read_manifest(workspace.manifest(dataset))
    images = pooled_images(manifest, label) if pooled else split_images(manifest, label, split)
    folder = workspace.embeddings(dataset, backbone)
    stores = [Store.open(folder / place.key) for place in depths]
    if on_missing == "error":
        for store in stores:
            check_embedded(images, store, dataset)
    else:
        images = _in_all(images, stores)
        if not pooled:
            check_labels(images, dataset, "label", "split")
    for place, store in zip(depths, stores, strict=True):
        yield place, with_embeddings(images, store, dataset)


def _in_all(images: pd.DataFrame, stores: Sequence[Store]) -> pd.DataFrame:
    """Leave out the images that some store lacks, and warn of them."""
    keys = manifest_keys(images)
    there = np.logical_and.reduce([store.locate(keys) >= 0 for store in stores])
    if not there.all():
        absent = int((~there).sum())
        warnings.warn(
            f"{absent} of {len(images)} images have no embedding at some depth.", stacklevel=3
        )
    return images[there].reset_index(drop=True)
