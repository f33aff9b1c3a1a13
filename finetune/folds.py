"""The images of a cross-validation: its folds, and in each who trains, validates and is held out.

Folds are those of heads (`frostline sweep --cv`). What is not held out is split once more by the
rule of `frostline index` (`extract/splits.py`), so that each fold selects without having seen it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

from frostline.cache import InputError, Manifest
from frostline.cache.tables.units import equality
from frostline.extract.splits import assign_splits
from frostline.finetune.seeds import derived_seed
from frostline.probe.sweep.draws import group_folds

LEAST_FOLDS = 3  # as of heads, which leave out two at a time
VAL_SHARE = 0.2  # where the data set has no parts of its own to go by; that of `frostline index`


@dataclass(frozen=True)
class Fold:
    """One training of a cross-validation.

    Attributes
    ----------
    number : int
        From 0.
    seed : int
        Of its training.
    manifest : Manifest
        Its images alone, with the labels that are asked for in `label`; in `split`, "test" is what
        is held out.
    """

    number: int
    seed: int
    manifest: Manifest


def parse_folds(cv: str) -> tuple[int, int]:
    """Read `KxR` as the numbers of folds and of repeats.

    Raises
    ------
    InputError
        If it is something else, or of fewer than three folds.
    """
    found = re.fullmatch(r"(\d+)x(\d+)", cv)
    if not found or int(found[1]) < LEAST_FOLDS or int(found[2]) < 1:
        raise InputError(
            f"--cv is FOLDSxREPEATS with at least {LEAST_FOLDS} folds, such as 5x3, not {cv!r}."
        )
    return int(found[1]), int(found[2])


def make_folds(
    images: pd.DataFrame, manifest: Manifest, cv: tuple[int, int], seed: int
) -> list[Fold]:
    """Split images into the folds of one repeat.

    Parameters
    ----------
    images : DataFrame
        Labelled images (`frostline.probe.embedded.pooled_images`).
    manifest : Manifest
        That they are of; its splits say how large a share validates.
    cv : (int, int)
        Folds, and the number of the repeat.
    seed : int
        From which that of each training is derived. It moves no image.

    Raises
    ------
    InputError
        If a class lies in too few groups.
    """
    (count, repeat), name = cv, str(manifest.meta.get("dataset"))
    share, found = validation_share(manifest), []
    fold = group_folds(images, count, repeat, name)
    for number in range(count):
        held_out = fold == number
        split = np.full(len(images), "test", dtype=object)
        rest = images[~held_out]
        split[~held_out] = assign_splits(
            rest["group_id"].tolist(),
            rest["label"].tolist(),
            [None] * len(rest),
            equality(rest).tolist(),
            test_fraction=0.0,
            val_fraction=share,
            seed=derived_seed(repeat, "validation", number),
        )
        _check_classes(images["label"], split, name, count)
        own = Manifest(images.assign(split=split), manifest.meta)
        found.append(Fold(number, derived_seed(seed, "fold", repeat, number), own))
    return found


def validation_share(manifest: Manifest) -> float:
    """Give the share of validation among the groups that train and validate in its own splits."""
    parts = manifest.table.groupby("split")["group_id"].nunique()
    train, val = int(parts.get("train", 0)), int(parts.get("val", 0))
    return val / (train + val) if train and val else VAL_SHARE


def _check_classes(labels: pd.Series, split: np.ndarray, name: str, count: int) -> None:
    """Refuse a fold in which a class is not trained, or nothing validates."""
    absent = set(labels) - set(labels[split == "train"])
    if absent:
        raise InputError(
            f"Class {min(absent)!r} of data set {name!r} lies in so few groups that {count} folds "
            "and a validation part leave none to train on: use more folds, or merge classes."
        )
    if not (split == "val").any():
        raise InputError(
            f"Data set {name!r} has so few groups that {count} folds leave none to validate on: "
            "use more folds."
        )
