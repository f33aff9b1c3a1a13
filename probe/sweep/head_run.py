"""One head with its whole grid on one training set: what it is trained on, and its run's id."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frostline.cache import Workspace, run_id, spec_key
from frostline.cache.tables.words import counted
from frostline.cache.versions import numbered
from frostline.cache.workspace import file_safe
from frostline.probe.choices import OnMissing, Pooling
from frostline.probe.heads.registry import HEADS, Head
from frostline.probe.heads.training import Candidate, pairs
from frostline.probe.own_estimator import OwnEstimator


@dataclass(frozen=True)
class Data:
    """Embeddings with labels and splits.

    Attributes
    ----------
    dataset, backbone, feature, store_key, manifest_digest : str
    label, split : str
        Columns of the manifest.
    on_missing : {"error", "skip"}
        What to do about images that the store lacks.
    pooling : {"mean", "max", "attention"}, optional
        What makes one row of all images of a patient; None where a row is an image.
    views : tuple of str
        Keys of the stores of views 1, 2, … of training images; none where heads train on images
        as they are.
    """

    dataset: str
    backbone: str
    feature: str
    store_key: str
    manifest_digest: str
    label: str = "label"
    split: str = "split"
    on_missing: OnMissing = "error"
    pooling: Pooling | None = None
    views: tuple[str, ...] = ()

    def level(self) -> dict[str, str]:
        """Say that rows are patients, and of what they are made; nothing where they are images."""
        return {} if self.pooling is None else {"level": "patient", "pool": self.pooling}


@dataclass(frozen=True)
class TrainingSet:
    """Which groups train.

    Attributes
    ----------
    size : int, optional
        Number of groups; all of the training part if None.
    draw : int
        Which random draw of that size.
    cv : (int, int), optional
        Folds, and the number of the repeat, instead of the data set's splits.
    """

    size: int | None = None
    draw: int = 0
    cv: tuple[int, int] | None = None


@dataclass(frozen=True)
class OtherData:
    """A data set that selected heads are scored on besides their own."""

    dataset: str
    manifest_digest: str


@dataclass(frozen=True)
class HeadRun:
    """One head on one training set, selected on validation images.

    Attributes
    ----------
    data : Data
    head : str
        Its name; the class of a user's own estimator.
    candidates : tuple of mapping
        What validation chooses from, the most regularised first.
    shared : mapping
        Hyper-parameters that are the same for all candidates.
    seed : int
    training : TrainingSet
    metric : str
        Decides.
    protocol : str
        The recipe that the run belongs to.
    test : OtherData, optional
    own : OwnEstimator, optional
        A user's own estimator.
    """

    data: Data
    head: str
    candidates: tuple[Candidate, ...]
    shared: Candidate
    seed: int = 0
    training: TrainingSet = TrainingSet()
    metric: str = "log_loss"
    protocol: str = "paper"
    test: OtherData | None = None
    own: OwnEstimator | None = None

    @property
    def kind(self) -> Head | OwnEstimator:
        """What scores and fits it."""
        return self.own or HEADS[self.head]

    def identity(self) -> dict[str, Any]:
        """Give what changes the scores of a candidate, the candidate aside."""
        what = {
            "dataset": self.data.dataset,
            "backbone": self.data.backbone,
            "store_key": self.data.store_key,
            "manifest_digest": self.data.manifest_digest,
            "head": self.head,
            "same": dict(self.shared),
            "seed": self.seed,
            "size": self.training.size,
            "draw": self.training.draw,
            "cv": self.training.cv,
            "label": self.data.label,
            "split": self.data.split,
            "on_missing": self.data.on_missing,
            **self.data.level(),
            **({"views": list(self.data.views)} if self.data.views else {}),
        }
        return numbered("probe", what)

    def head_words(self) -> str:
        """Name the head in tables: with the level and what pools images, and how many views."""
        level = " ".join(word for word in self.data.level().values() if word != self.head)
        views = f"{counted(len(self.data.views), 'view')}" if self.data.views else ""
        more = ", ".join(filter(None, [level, views]))
        return f"{self.head} ({more})" if more else self.head

    def scores_path(self, workspace: Workspace) -> Path:
        """Give the place of its validation scores."""
        return workspace.root / "sweeps" / "cells" / f"{spec_key(self.identity())}.parquet"

    def run(self) -> str:
        """Give the run id of what it selects."""
        return run_id(self._slug(self.data.dataset), self._config())

    def test_run(self) -> str:
        """Give the run id of the same head on the other data set."""
        assert self.test is not None
        slug = self._slug(f"{self.test.dataset}-from-{self.data.dataset}")
        test = [self.test.dataset, self.test.manifest_digest]
        return run_id(slug, {**self._config(), "test": test})

    def runs(self) -> list[str]:
        """List every run whose predictions it writes."""
        return [self.run()] + ([self.test_run()] if self.test else [])

    def is_predicted(self, workspace: Workspace) -> bool:
        """Say whether all of its predictions are there."""
        return all(map(workspace.has_predictions, self.runs()))

    def heads(self) -> int:
        """Count the heads that are fitted for its scores."""
        cv = self.training.cv
        return len(self.candidates) * (len(pairs(cv[0])) if cv else 1)

    def _config(self) -> dict[str, Any]:
        grid = [dict(candidate) for candidate in self.candidates]
        chosen = {"candidates": grid, "metric": self.metric, "protocol": self.protocol}
        return {**self.identity(), **chosen}

    def _slug(self, first: str) -> str:
        feature, set_ = file_safe(self.data.feature), self.training
        head = file_safe("-".join(dict.fromkeys([self.head, *self.data.level().values()])))
        words = [first, file_safe(self.data.backbone), feature, head]
        words += [f"views{len(self.data.views)}"] if self.data.views else []
        words += [self.protocol]
        words += [] if set_.size is None else [f"n{set_.size}", f"d{set_.draw}"]
        words += [f"cv{set_.cv[0]}"] if set_.cv else []
        return "-".join([*words, f"s{self.seed}"])
