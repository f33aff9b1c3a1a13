"""Made-up runs of a known seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from frostline.report import DataAudit, Predictions


def make_run(
    classes: tuple[str, ...] = ("NORMAL", "PNEUMONIA"),
    *,
    n: int = 60,
    n_groups: int = 40,
    skill: float = 2.0,
    seed: int = 0,
    **meta: Any,
) -> Predictions:
    """A run whose test set depends on `classes`, `n` and `n_groups`, its answers on `seed`."""
    fixed, rng = np.random.default_rng(99), np.random.default_rng(seed)
    truth = fixed.integers(0, len(classes), n)
    scores = rng.normal(size=(n, len(classes)))
    scores[np.arange(n), truth] += skill
    probs = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    table = pd.DataFrame(
        {
            "image_id": [f"image-{i:03d}.png" for i in range(n)],
            "group_id": [f"patient-{i}" for i in fixed.integers(0, n_groups, n)],
            "split": "test",
            "label": [classes[i] for i in truth],
            "prediction": [classes[i] for i in probs.argmax(axis=1)],
            **{f"prob_{name}": probs[:, i] for i, name in enumerate(classes)},
        }
    )
    about = {
        "run": f"run-{seed}",
        "dataset": "chest",
        "backbone": "resnet50",
        "weights": "pretrained",
        "protocol": "paper",
        "unfreeze": "none",
        "head": "logistic",
        "seed": 0,
        "classes": list(classes),
        "class_counts": {name: 10 * (i + 1) for i, name in enumerate(classes)},
    }
    return Predictions(table, {**about, **meta})


@pytest.fixture(scope="session")
def run() -> Callable[..., Predictions]:
    """The maker of runs."""
    return make_run


@pytest.fixture(scope="session")
def data_audits() -> dict[str, DataAudit]:
    """An audit of a data set with a leak."""
    splits = pd.DataFrame({"dataset": ["chest"], "groups_train": [1200], "images_test": [5]})
    classes = pd.DataFrame({"label": ["sick", "well"], "images_train": [7, 3]})
    copies = pd.DataFrame({"image_id": ["folder/of/images/one.png"], "split": ["test"]})
    leak = ("leak", "30 images occur in more than one split, byte for byte.")
    return {"chest": DataAudit(splits, classes, [leak], {"Byte-identical images": copies})}
