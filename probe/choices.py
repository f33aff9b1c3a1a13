"""Closed lists: what a user may name, as types that commands show as choices."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, TypedDict


class HeadName(StrEnum):
    """Heads that Frostline knows by name (`frostline.probe.heads.registry`)."""

    logistic = "logistic"
    ordinal = "ordinal"
    adam = "adam"
    knn = "knn"
    centroid = "centroid"
    majority = "majority"
    attention = "attention"


SelectionMetric = Literal[
    "log_loss", "accuracy", "balanced_accuracy", "f1_weighted", "f1_macro", "matthews_corrcoef"
]
"""Metrics, by scikit-learn's names, that may select a head on validation images."""

Protocol = Literal["paper", "standard"]
"""Named recipes (`frostline.protocols`), which predictions say they belong to."""

Level = Literal["image", "patient"]
"""What a head answers for: an image, or a patient (a group) by all of its images together."""

Pool = Literal["mean", "max"]
"""How the embeddings of a patient's images become one."""


MOST_VIEWS = 256
"""Augmented views of an image that heads train on, at most."""


class Rows(TypedDict, total=False):
    """Settings of a probe that make other rows than images of what it trains on."""

    level: Level
    pool: Pool | None
    views: int
    views_key: str | None


Pooling = Literal["mean", "max", "attention"]
"""What makes one answer of a patient's images: a `Pool` before the head, or the head itself."""

OnMissing = Literal["error", "skip"]
"""What to do about images that a store lacks."""
