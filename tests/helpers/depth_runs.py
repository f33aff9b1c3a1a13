"""Made-up curves of depth: runs whose skill at each depth is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from frostline.report import Predictions
from frostline.report.depth.curve import Place, Point

BLOCKS = ("stem", *(f"blocks.{number}" for number in range(7)))
COSTS = (0.05, 0.1, 0.2, 0.32, 0.5, 0.68, 0.9, 1.0)
PLACES = [Place(i, name, 7 - i, COSTS[i]) for i, name in enumerate(BLOCKS)]
READ = (0.5, 0.8, 1.1, 1.7, 1.75, 1.7, 1.5, 1.2)


def depth_run(
    skill: float, seed: int = 0, *, shift: float = 0.0, patients: int = 200, **meta: object
) -> Predictions:
    """A run on val and test; `shift` is how much skill test images take away."""
    fixed, rng = np.random.default_rng(7), np.random.default_rng([seed, round(1000 * skill)])
    count = 2 * patients
    patient = np.arange(count) // 2
    split = np.where(patient < patients // 2, "val", "test")
    truth = fixed.integers(0, 2, count)
    shared = fixed.normal(size=(count, 2))
    scores = 0.8 * shared + 0.6 * rng.normal(size=(count, 2))
    scores[np.arange(count), truth] += skill - shift * (split == "test")
    probs = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    names = ("well", "sick")
    table = pd.DataFrame(
        {
            "image_id": [f"image-{i:04d}.png" for i in range(count)],
            "group_id": [f"patient-{i}" for i in patient],
            "split": split,
            "label": [names[i] for i in truth],
            "prediction": [names[i] for i in probs.argmax(axis=1)],
            **{f"prob_{name}": probs[:, i] for i, name in enumerate(names)},
        }
    )
    about = {
        "dataset": "chest",
        "backbone": "effnet-lite0",
        "weights": "pretrained",
        "protocol": "standard",
        "unfreeze": "none",
        "feature": "pooled",
        "head": "logistic",
        "seed": seed,
        "classes": list(names),
        "class_counts": {"well": 90, "sick": 110},
        "seconds": 2.0,
    }
    about = {**about, **meta}
    about["run"] = "-".join(str(about[k]) for k in ("backbone", "unfreeze", "feature", "seed"))
    return Predictions(table, about)


def reading(
    skills: Sequence[float] = READ,
    *,
    backbone: str = "effnet-lite0",
    shift: float = 0.0,
    patients: int = 200,
) -> list[Point]:
    """A head at each place."""
    how = {"backbone": backbone, "shift": shift, "patients": patients}
    return [
        Point(
            "read",
            place,
            [depth_run(skill, feature=f"layer:{place.block}", embedding_seconds=4.0, **how)],
        )
        for place, skill in zip(PLACES, skills, strict=True)
    ]


def training(
    skills: dict[str, float], *, seeds: int = 2, backbone: str = "effnet-lite0", patients: int = 200
) -> list[Point]:
    """What lies behind a place trained, by how many blocks that are."""
    points = []
    for unfreeze, skill in skills.items():
        place = None if unfreeze == "all" else PLACES[-1 - int(unfreeze)]
        runs = [
            depth_run(
                skill,
                seed,
                unfreeze=unfreeze,
                head="linear",
                seconds=300.0,
                backbone=backbone,
                patients=patients,
            )
            for seed in range(seeds)
        ]
        points.append(Point("train", place, runs))
    return points
