"""Embeddings joined with the table of images: what scikit-learn and pandas take."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from frostline.cache.errors import InputError
from frostline.cache.manifest import SPLITS, Manifest, as_keys, read_manifest
from frostline.cache.stores.store import Store, choose_store
from frostline.cache.workspace import Workspace


@dataclass(repr=False)
class EmbeddingStore:
    """The embeddings of a data set by one backbone, and the manifest that says what they are of.

    Attributes
    ----------
    store : Store
    manifest : Manifest

    Examples
    --------
    >>> store = EmbeddingStore.open(Workspace(Path("ws")), "chest", "dinov2-s")  # doctest: +SKIP
    >>> X, y, groups = store.arrays("train")  # doctest: +SKIP
    """

    store: Store
    manifest: Manifest

    @classmethod
    def open(
        cls, workspace: Workspace, dataset: str, backbone: str, key: str | None = None
    ) -> EmbeddingStore:
        """Open the only store of a data set and backbone, or the one whose key starts with `key`.

        Raises
        ------
        InputError
            If there is no such data set or store, or several and `key` chooses none.
        """
        manifest = read_manifest(workspace.manifest(dataset))
        return cls(choose_store(workspace.embeddings(dataset, backbone), key), manifest)

    def __repr__(self) -> str:
        return f"<EmbeddingStore: {self._summary()}>"

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(self._summary())}</p>"

    def _summary(self) -> str:
        """Say how many embeddings there are, of what, and by which backbone."""
        dataset = self.manifest.meta.get("dataset", "")
        backbone = self.store.spec.get("backbone", self.store.folder.parent.name)
        feature = self.store.spec.get("feature", "")
        shape = " × ".join(map(str, self.store.shape))
        return (
            f"{len(self.keys)} embeddings of {dataset} by {backbone}: {feature} [{shape}], "
            f"key {self.store.key[:12]}"
        )

    @cached_property
    def _rows(self) -> np.ndarray:
        return self.store.distinct_rows()

    @property
    def keys(self) -> np.ndarray:
        """Content keys, uint8 [n, 16], each once, in the order of `values`."""
        return self.store.keys[self._rows]

    @cached_property
    def values(self) -> np.ndarray:
        """Every embedding, [n, dim], digests checked; read once and kept."""
        return self.store.read(self._rows)

    def frame(
        self, manifest: Manifest | None = None, *, label: str = "label", split: str = "split"
    ) -> pd.DataFrame:
        """Make a table, one row an image with an embedding: `label`, `group_id`, `split`, e0, e1, …

        Parameters
        ----------
        manifest : Manifest, optional
            Another than the data set's own: a part of it, for one.
        label, split : str
            Columns of the manifest.

        Returns
        -------
        pandas.DataFrame
            Indexed by `image_id`.
        """
        images, X = self._joined(manifest or self.manifest, label, split)
        columns = [f"e{number}" for number in range(X.shape[1])]
        index = pd.Index(images["image_id"], name="image_id")
        about = images[["label", "group_id", "split"]].set_index(index)
        return pd.concat([about, pd.DataFrame(X, index, columns)], axis=1)

    def arrays(
        self, *splits: str, label: str = "label", split: str = "split"
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return embeddings, labels and groups of the labelled images of some splits, or of all.

        Returns
        -------
        X : numpy.ndarray [n, dim]
        y : numpy.ndarray of str [n]
        groups : numpy.ndarray of str [n]

        Raises
        ------
        InputError
            If one of them is no split, or no labelled image in them has an embedding.
        """
        if unknown := [name for name in splits if name not in SPLITS]:
            raise InputError(
                f"There is no split {unknown[0]!r}: a split is one of {', '.join(SPLITS)}."
            )
        images, X = self._joined(self.manifest, label, split, splits)
        if images.empty:
            raise InputError(
                f"Data set {self.manifest.meta.get('dataset')!r} has no image with a label and an "
                f"embedding in split {' or '.join(splits) or 'any'}: run `frostline extract`."
            )
        return X, images["label"].to_numpy(str), images["group_id"].to_numpy(str)

    def _joined(
        self, manifest: Manifest, label: str, split: str, splits: Sequence[str] | None = None
    ) -> tuple[pd.DataFrame, np.ndarray]:
        images = manifest.images(label, split)
        if splits is not None:
            images = images[images["label"].notna()]
            images = images[images["split"].isin(splits)] if splits else images
        rows = self.store.locate(as_keys(images["content_key"]))
        images = images[rows >= 0].reset_index(drop=True)
        X = self.store.read(rows[rows >= 0])
        return images, X.reshape(len(images), int(np.prod(self.store.shape)))
