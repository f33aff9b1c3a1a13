"""Images with their embeddings, labels and splits, checked: what a head is trained on."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from frostline.cache import InputError, Manifest, Store
from frostline.cache.tables.words import counted
from frostline.probe.choices import OnMissing


@dataclass(frozen=True)
class Embedded:
    """Images of a data set that have a split, and their embeddings.

    Attributes
    ----------
    images : DataFrame
        `image_id`, `group_id`, `split`, `label` (nullable) and the manifest's other columns.
    X : float32 [n, p]
        One row an image. (Of patients whose head takes all their images: `Bags`, one a patient.)
    classes : list of str
        Labels of training images (of all, where none is for training), sorted.
    members : DataFrame, optional
        Where rows are patients (`frostline.probe.patients`): their images, patient after patient.
    """

    images: pd.DataFrame
    X: Any
    classes: list[str]
    members: pd.DataFrame | None = None

    def rows(self, *splits: str) -> NDArray[np.intp]:
        """Find the labelled rows of these splits: int [m]."""
        chosen = self.images["split"].isin(splits) & self.images["label"].notna()
        return np.flatnonzero(chosen.to_numpy(dtype=bool))

    def labels(self, rows: NDArray[np.intp]) -> NDArray[np.object_]:
        """Give the labels of rows, as text."""
        return self.images["label"].to_numpy(dtype=object)[rows]

    def class_counts(self) -> dict[str, int]:
        """Count the training images of every class."""
        counts = pd.Series(self.labels(self.rows("train"))).value_counts()
        return {name: int(counts.get(name, 0)) for name in self.classes}


def name_of(manifest: Manifest) -> str:
    """Give the name of a data set."""
    return str(manifest.meta.get("dataset"))


def split_images(manifest: Manifest, label: str, split: str) -> pd.DataFrame:
    """Find the images that have a split, checked.

    Parameters
    ----------
    label, split : str
        Columns of the manifest.

    Raises
    ------
    InputError
        In one sentence, if no head could be trained and chosen on these honestly.
    """
    images = manifest.images(label, split)
    # A splits column may leave images out; they are not part of this.
    images = images[images["split"].notna()].reset_index(drop=True)
    check_labels(images, name_of(manifest), label, split)
    # Splits that the data brought are theirs: we warn. Those that we made must not leak.
    ours = split == "split" and "val" in manifest.meta.get("made_splits", [])
    _check_groups(images, name_of(manifest), ours=ours)
    return images


def pooled_images(manifest: Manifest, label: str, *, least_classes: int = 2) -> pd.DataFrame:
    """Take all images with a label, whatever their split, which becomes `test`."""
    images = manifest.images(label, "split")
    images = images[images["label"].notna()].reset_index(drop=True).assign(split="test")
    if images["label"].nunique() < least_classes:
        found = ", ".join(map(repr, images["label"].unique())) or "none"
        raise InputError(
            f"At least {least_classes} classes are needed, and column {label!r} of data set "
            f"{name_of(manifest)!r} has {found}: name another column by --label."
        )
    return images


def with_embeddings(
    images: pd.DataFrame, store: Store, name: str, *, on_missing: OnMissing = "error"
) -> Embedded:
    """Read the embeddings of images; of those that the store lacks as `on_missing` says."""
    if 0 in store.shape:
        raise InputError(
            f"The embeddings in store {store.key[:12]} have no numbers: delete {store.folder}, and "
            "extract or import them again."
        )
    if on_missing == "error":
        check_embedded(images, store, name)
    found = store.locate(manifest_keys(images))
    missing = int((found < 0).sum())
    if missing:
        warnings.warn(f"{missing} of {len(images)} images have no embedding.", stacklevel=2)
        images = images[found >= 0].reset_index(drop=True)
        if (images["split"] == "train").any():
            check_labels(images, name, "label", "split")
    X = store.read(found[found >= 0]).reshape(len(images), -1)
    check_finite(X, images, store)
    fitted = images["split"] == "train"
    known = images.loc[fitted if fitted.any() else slice(None), "label"].dropna()
    return Embedded(images, X.astype(np.float32, copy=False), sorted(known.unique()))


def check_embedded(images: pd.DataFrame, store: Store, name: str) -> None:
    """Refuse images that a store lacks, without reading an embedding."""
    missing = int((store.locate(manifest_keys(images)) < 0).sum())
    if missing:
        raise InputError(
            f"{missing} of {len(images)} images of data set {name!r} have no embedding in store "
            f"{store.key[:12]}: run the same `frostline extract` again, or give --on-error skip if "
            "they cannot be read."
        )


def manifest_keys(images: pd.DataFrame) -> NDArray[np.uint8]:
    """Give the content keys of the rows, uint8 [n, 16]."""
    return np.frombuffer(b"".join(images["content_key"]), np.uint8).reshape(-1, 16)


def check_labels(images: pd.DataFrame, name: str, label: str, split: str) -> None:
    labelled = images[images["label"].notna()]
    parts = {part: labelled.loc[labelled["split"] == part, "label"] for part in ("train", "val")}
    where = f"Data set {name!r} has no {{}} image with a label (columns {label!r} and {split!r})"
    if parts["train"].empty:
        raise InputError(f"{where.format('training')}: label some, or name other columns.")
    if parts["val"].empty:
        raise InputError(
            f"{where.format('validation')}: index it again with a validation part, or name other "
            "columns."
        )
    classes = sorted(labelled["label"].unique())
    if len(classes) == 1:
        raise InputError(
            f"Every label of data set {name!r} is {classes[0]!r} (column {label!r}): a head needs "
            "at least two classes."
        )
    if len(parts["train"]) < len(classes):
        raise InputError(
            f"Data set {name!r} has {len(parts['train'])} training images for {len(classes)} "
            f"classes: a head needs at least one of each; is {label!r} the column of labels?"
        )
    known = set(parts["train"])
    for one in classes:
        if one not in known:
            counts = labelled.loc[labelled["label"] == one, "split"].value_counts()
            there = " and ".join(f"{count} in {part}" for part, count in sorted(counts.items()))
            raise InputError(
                f"Class {one!r} of data set {name!r} has no training image, but {there}: move one "
                "of its groups to train, or take its labels out."
            )


def _check_groups(images: pd.DataFrame, name: str, *, ours: bool) -> None:
    groups = images.loc[images["split"].isin(["train", "val"])].groupby("group_id")["split"]
    both = groups.nunique()
    both = both[both > 1]
    if both.empty:
        return
    count = counted(len(both), "group")
    text = f"{count} of data set {name!r} in both train and validation (such as {both.index[0]!r})"
    if ours:
        raise InputError(
            f"There is {text}: selection would look at training patients; index again with "
            "--resplit."
        )
    warnings.warn(f"The data set's own splits put {text}.", stacklevel=3)


def check_finite(X: NDArray[np.floating], images: pd.DataFrame, store: Store) -> None:
    """Refuse embeddings [n, p] of images that hold NaN or infinity."""
    # A sum is finite unless a value is not, or the values are past what a float32 can add up.
    with np.errstate(invalid="ignore", over="ignore"):
        total = X.sum()
    bad = ~np.isfinite(X).all(axis=1) if not np.isfinite(total) else np.zeros(len(X), bool)
    if bad.any():
        first = images["image_id"].iloc[int(bad.argmax())]
        raise InputError(
            f"The embeddings of {int(bad.sum())} images in store {store.key[:12]} hold NaN or "
            f"infinity, first that of {first!r}: extract them again with --precision float32."
        )
