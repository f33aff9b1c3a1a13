"""Apply a trained run to new images: the same pixels, the same network, the same format."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from frostline.apply.load import LoadedRun
from frostline.apply.new_images import NewImages, Slices
from frostline.cache import InputError
from frostline.cache.versions import versions
from frostline.protocols import missing_images
from frostline.report.predictions import META_KEYS, in_class_order, predictions_table

Progress = Callable[[int, int], None]


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
    loaded: LoadedRun,
    paths: Sequence[Path],
    *,
    slices: Slices | None = None,
    aggregate: Literal["none", "mean"] = "none",
    on_error: Literal["stop", "skip"] = "stop",
    temperature: float | None = None,
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
    temperature : float, optional
        By which the probabilities of each row are scaled; see `run_temperature`.

    Raises
    ------
    InputError
        If a file cannot be read, there is none, or nothing is left.
    """
    missing_images(on_error)
    if aggregate not in ("none", "mean"):
        raise InputError(f"There is no --aggregate {aggregate!r}: choose none or mean.")
    slices, images = slices or Slices(), NewImages(on_error)
    for path in paths:
        images.add(path, slices, loaded.geometry)
    if slices != Slices() and not images.volumes:
        raise InputError(
            "--slices and --mask are for volumes, and no NIfTI file is given: leave them out."
        )
    rows: list[tuple[str, str | None, str]] = []
    found: list[np.ndarray] = []
    for about, pixels in _batches(images, loaded):
        rows += about
        found.append(loaded.probabilities(padded(pixels, loaded.batch))[: len(pixels)])
        if progress is not None:
            progress(len(rows), len(images))
    if not rows:
        raise InputError(f"None of the {len(images.skipped)} files could be read.")
    meta = {
        **{name: loaded.about.get(name) for name in META_KEYS},
        "seconds": None,
        "applied_to": [str(path) for path in paths],
        "aggregate": aggregate,
        "versions": versions(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    if temperature is not None:
        meta["temperature"] = temperature
    table = _table(rows, np.concatenate(found), loaded.classes, aggregate, temperature)
    ordered = in_class_order(table, meta, loaded.about.get("class_order"))
    return Predicted(*ordered, images.skipped, images.ignored)


def _batches(
    images: NewImages, loaded: LoadedRun
) -> Iterator[tuple[list[tuple[str, str | None, str]], np.ndarray]]:
    """Yield image id, group and file of some images, and their pixels uint8 [n, …]."""
    rows: list[tuple[str, str | None, str]] = []
    pixels: list[np.ndarray] = []
    for file, decoded in images.pixels(loaded.geometry, loaded.channels):
        path = str(file.path)
        for name, frame, image in zip(file.names(), file.frames, decoded, strict=True):
            rows.append((name, None if frame is None else path, path))
            pixels.append(image)
            if len(rows) == loaded.batch:
                yield rows, np.stack(pixels)
                rows, pixels = [], []
    if rows:
        yield rows, np.stack(pixels)


def padded(pixels: np.ndarray, size: int) -> np.ndarray:
    """Fill a batch up, so that no image's numbers depend on its neighbours."""
    return np.concatenate([pixels, np.repeat(pixels[-1:], size - len(pixels), axis=0)])


def _table(
    rows: Sequence[tuple[str, str | None, str]],
    probabilities: np.ndarray,
    classes: Sequence[str],
    aggregate: str,
    temperature: float | None,
) -> pd.DataFrame:
    images = pd.DataFrame(rows, columns=["image_id", "group_id", "file"])
    images[["split", "label"]] = None
    if aggregate == "mean":
        files = pd.DataFrame(probabilities).groupby(images["file"], sort=False)
        images = images.drop_duplicates("file").assign(
            image_id=lambda one: one["file"], group_id=None
        )
        mean = _scaled(files.mean().to_numpy(), temperature)
        table = predictions_table(images, classes, mean)
        return table.assign(images=files.size().to_numpy())
    if images["group_id"].notna().any():  # groups are for every row or for none
        images["group_id"] = images["file"]
    return predictions_table(images, classes, _scaled(probabilities, temperature))


def _scaled(probabilities: np.ndarray, temperature: float | None) -> np.ndarray:
    from frostline.report.clinical.temperature import scale

    return probabilities if temperature is None else scale(probabilities, temperature)
