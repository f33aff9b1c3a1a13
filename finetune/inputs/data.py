"""The images of a run: their labels as numbers, their splits, and their pixels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch

from frostline.cache import InputError, Manifest, Store
from frostline.cache.manifest import SPLITS, as_keys
from frostline.finetune.inputs.pixels import Part, StorePixels
from frostline.probe.choices import OnMissing
from frostline.probe.heads.scoring import scored_groups


@dataclass(frozen=True)
class Data:
    """Images with pixels, by split.

    Attributes
    ----------
    images : pandas.DataFrame
        `image_id`, `group_id`, `split`, `label`, in the manifest's order.
    classes : list of str
        All labels of training, sorted.
    parts : dict of str to Part
        "train" (labelled images alone), "val" and "test".
    pixel_spec : dict
        The spec of the pixel store.
    """

    images: pd.DataFrame
    classes: list[str]
    parts: dict[str, Part]
    pixel_spec: dict[str, Any]

    def class_counts(self) -> dict[str, int]:
        """Count the images of each class in training."""
        counts = np.bincount(self.parts["train"].labels.numpy(), minlength=len(self.classes))
        return {name: int(count) for name, count in zip(self.classes, counts, strict=True)}


def load_data(
    manifest: Manifest,
    store: Store,
    label: str = "label",
    split: str = "split",
    *,
    on_missing: OnMissing = "error",
    scored: pd.DataFrame | None = None,
) -> tuple[Data, int]:
    """Join manifest and pixel store.

    Parameters
    ----------
    scored : DataFrame, optional
        The images that are scored in the end, which decide whether groups are scored, if these are
        not those of validation.

    Returns
    -------
    (Data, int)
        The images, and how many were left out because they have no pixels.

    Raises
    ------
    InputError
        If images have no pixels (unless they are skipped), a split is empty, or training has one
        class.
    """
    images = manifest.images(label, split)
    images = images[images["split"].notna()]
    images = images[(images["split"] != "train") | images["label"].notna()]
    dataset = str(manifest.meta.get("dataset"))
    found, rows = with_pixels(images, store, dataset, on_missing=on_missing)
    classes = sorted(found["label"][found["split"] == "train"].unique())
    _check_splits(found, classes, dataset)
    parts = {name: _part(found, rows, name, classes, store) for name in SPLITS}
    val = found[found["split"] == "val"]
    if scored_groups(val if scored is None else scored) is not None:
        groups = torch.from_numpy(pd.factorize(val["group_id"])[0].astype(np.int64))
        parts["val"] = replace(parts["val"], groups=groups)
    columns = ["image_id", "group_id", "split", "label"]
    return Data(found[columns], classes, parts, store.spec), len(images) - len(found)


def with_pixels(
    images: pd.DataFrame, store: Store, dataset: str, *, on_missing: OnMissing = "error"
) -> tuple[pd.DataFrame, np.ndarray]:
    """Find the images that the store has, and their rows in it: int64.

    Raises
    ------
    InputError
        If it lacks some, unless they are skipped.
    """
    rows = store.locate(as_keys(images["content_key"]))
    if on_missing == "error":
        _check_pixels(images["image_id"][rows < 0], dataset)
    return images[rows >= 0].reset_index(drop=True), rows[rows >= 0]


def _part(
    images: pd.DataFrame, rows: np.ndarray, split: str, classes: list[str], store: Store
) -> Part:
    mine = (images["split"] == split).to_numpy(bool)
    chosen = images[mine]
    numbers = pd.Categorical(chosen["label"], categories=classes).codes
    return Part(
        StorePixels(store, rows[mine]),
        torch.from_numpy(numbers.astype(np.int64)),
        chosen["image_id"].tolist(),
    )


def _check_pixels(missing: pd.Series, dataset: str) -> None:
    if len(missing):
        raise InputError(
            f"{len(missing)} images of data set {dataset!r} have no pixels in the store (the first "
            f"is {missing.iat[0]!r}): run it again, with --on-error skip if they cannot be read."
        )


def _check_splits(images: pd.DataFrame, classes: list[str], dataset: str) -> None:
    for split in ("train", "val"):
        labelled = images["label"].notna() & (images["split"] == split)
        if not labelled.any():
            raise InputError(
                f"Data set {dataset!r} has no labelled images in split {split}: "
                "index it again with another --val-fraction or --test-fraction."
            )
    if len(classes) < 2:
        raise InputError(
            f"All training images of data set {dataset!r} have the label {classes[0]!r}: "
            "training needs two classes or more."
        )
    known = images["label"].isin(classes) & (images["split"] == "val")
    if not known.any():
        raise InputError(
            f"No validation image of data set {dataset!r} has a class that training has: "
            "index it again with another --seed."
        )
