"""Apply a trained run to new images: the same pixels, the same network, the same format."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from frostline.apply.load import Applied
from frostline.apply.new_images import NewImages, Slices
from frostline.cache import InputError
from frostline.cache.versions import versions

Progress = Callable[[int, int], None]
KEPT = (
    "run", "dataset", "backbone", "weights", "protocol", "unfreeze", "feature", "head",
    "hyperparameters", "seed", "train_fraction", "classes", "class_counts", "store_key",
    "manifest_digest", "candidates",
)  # fmt: skip
AGGREGATES = ("none", "mean")


@dataclass(frozen=True)
class Predicted:
    """Predictions of new images.

    Attributes
    ----------
    table : DataFrame
        The predictions format: `label` and `split` are null; `group_id` is the file, where there
        are slices.
    meta : dict
        What was kept with the run, and what it was applied to.
    skipped : list of str
        A sentence for each file that could not be read.
    ignored : int
        Files in folders that are no images.
    """

    table: pd.DataFrame
    meta: dict[str, Any]
    skipped: list[str]
    ignored: int


def predict_images(
    applied: Applied,
    paths: Sequence[Path],
    *,
    slices: Slices | None = None,
    aggregate: str = "none",
    on_error: str = "stop",
    progress: Progress | None = None,
) -> Predicted:
    """Predict files, all images in folders, slices of volumes and frames of DICOM files.

    Parameters
    ----------
    slices : Slices, optional
        Which slices of volumes; all if not given.
    aggregate : str
        "none", or "mean": one row a file, by the mean of its slices' probabilities.
    on_error : str
        "stop" at a file that cannot be read, or "skip" it and go on.

    Raises
    ------
    InputError
        If a file cannot be read, there is none, or nothing is left.
    """
    if aggregate not in AGGREGATES:
        raise InputError(f"--aggregate is {' or '.join(AGGREGATES)}, not {aggregate!r}.")
    images = NewImages(on_error)
    for path in paths:
        images.add(path, slices or Slices(), applied.geometry)
    rows: list[tuple[str, str | None, str]] = []
    found: list[np.ndarray] = []
    for about, pixels in _batches(images, applied):
        rows += about
        found.append(applied.probabilities(_padded(pixels, applied.batch))[: len(pixels)])
        if progress is not None:
            progress(len(rows), len(images))
    if not rows:
        raise InputError(f"None of the {len(images.skipped)} files could be read.")
    table = _table(rows, np.concatenate(found), applied.classes, aggregate)
    meta = {
        **{name: applied.about.get(name) for name in KEPT},
        "applied_to": [str(path) for path in paths],
        "aggregate": aggregate,
        "versions": versions(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    return Predicted(table, meta, images.skipped, images.ignored)


def _batches(
    images: NewImages, applied: Applied
) -> Iterator[tuple[list[tuple[str, str | None, str]], np.ndarray]]:
    """Image id, group and file of some images, and their pixels uint8 [n, …]."""
    rows: list[tuple[str, str | None, str]] = []
    pixels: list[np.ndarray] = []
    for file, decoded in images.pixels(applied.geometry, applied.channels):
        path = str(file.path)
        for name, frame, image in zip(file.names(), file.frames, decoded, strict=True):
            rows.append((name, None if frame is None else path, path))
            pixels.append(image)
            if len(rows) == applied.batch:
                yield rows, np.stack(pixels)
                rows, pixels = [], []
    if rows:
        yield rows, np.stack(pixels)


def _padded(pixels: np.ndarray, size: int) -> np.ndarray:
    """All batches are of one size, so that no image's numbers depend on its neighbours."""
    return np.concatenate([pixels, np.repeat(pixels[-1:], size - len(pixels), axis=0)])


def _table(
    rows: Sequence[tuple[str, str | None, str]],
    probabilities: np.ndarray,
    classes: Sequence[str],
    aggregate: str,
) -> pd.DataFrame:
    names = [f"prob_{name}" for name in classes]
    about = pd.DataFrame(rows, columns=["image_id", "group_id", "file"])
    if about["group_id"].notna().any():  # groups are for every row or for none
        about["group_id"] = about["file"]
    table = pd.concat([about, pd.DataFrame(probabilities, columns=names)], axis=1)
    if aggregate == "mean":
        files = table.groupby("file", sort=False)
        table = files[names].mean().reset_index()
        table = table.assign(image_id=table["file"], group_id=None, images=files.size().to_numpy())
    best = table[names].to_numpy().argmax(axis=1)
    counts = ["images"] if aggregate == "mean" else []
    table = table.assign(split=None, label=None, prediction=np.asarray(classes, object)[best])
    columns = ["image_id", "group_id", "split", "label", "prediction"]
    return table[[*columns, *names, *counts]]


def counts_of(table: pd.DataFrame) -> Mapping[str, int]:
    """How many images each predicted class has, the most frequent first."""
    counts = table["prediction"].value_counts()
    return {str(name): int(count) for name, count in counts.items()}
