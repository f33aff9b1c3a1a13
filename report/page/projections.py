"""Embeddings projected to two dimensions."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata

import numpy as np
import numpy.typing as npt
import pandas as pd

from frostline.report.statistics.metrics import Array

MAP_COLUMNS = ("backbone", "way", "x", "y", "label", "group")
FEWEST = 20  # images: fewer have no neighbourhoods
PCA, UMAP = "PCA", "UMAP"


@dataclass(frozen=True)
class Embedded:
    """Embeddings of some images of a data set.

    Attributes
    ----------
    values : float [n, D]
    labels, groups : sequence of str [n]
    """

    values: npt.NDArray[np.floating]
    labels: Sequence[str]
    groups: Sequence[str]

    def digest(self) -> str:
        """Compute the digest of all of it."""
        digest = hashlib.blake2b(np.ascontiguousarray(self.values).tobytes(), digest_size=16)
        digest.update("\0".join([*self.labels, *self.groups]).encode())
        return digest.hexdigest()


def project(backbone: str, embedded: Embedded, *, seed: int = 0) -> pd.DataFrame:
    """Project embeddings by PCA, and by UMAP (McInnes, Healy and Melville 2018) if it is installed.

    Returns
    -------
    DataFrame
        Columns `MAP_COLUMNS`, a row an image and way.
    """
    values = np.asarray(embedded.values, dtype=np.float64)
    projected = {PCA: principal_components(values)} | _umap(values, seed)
    rows = [
        pd.DataFrame(
            {
                "backbone": backbone,
                "way": way,
                "x": xy[:, 0],
                "y": xy[:, 1],
                "label": list(embedded.labels),
                "group": list(embedded.groups),
            }
        )
        for way, xy in projected.items()
    ]
    return pd.concat(rows, ignore_index=True)


def principal_components(values: Array) -> Array:
    """Project values [n, D] onto their first two principal components, [n, 2]."""
    from sklearn.decomposition import PCA as Reducer

    if not (values != values[0]).any():
        return np.zeros((len(values), 2))
    # Exact, and as fast as can be: of more columns than rows the singular values.
    solver = "covariance_eigh" if values.shape[1] <= values.shape[0] else "full"
    return np.asarray(Reducer(2, svd_solver=solver).fit_transform(values))


def umap_version() -> str:
    """Give the version of umap-learn; empty if it is not installed."""
    try:
        return metadata.version("umap-learn")
    except metadata.PackageNotFoundError:
        return ""


def _umap(values: Array, seed: int) -> dict[str, Array]:
    if len(values) < FEWEST or not umap_version():
        return {}
    import warnings

    from umap import UMAP as Reducer

    with warnings.catch_warnings():
        # It says that a seed costs parallelism, which is meant.
        warnings.simplefilter("ignore")
        return {UMAP: np.asarray(Reducer(random_state=seed, n_jobs=1).fit_transform(values))}
