"""A cell of a sweep: one head's whole grid on one training set, from scores to predictions.

What a cell has found lies in ``sweeps/cells/<id>.parquet`` under the workspace: the validation
scores of every candidate that was ever tried on it. A later sweep with a wider grid computes the
new candidates alone. Test images are scored for the selected candidate, into a predictions file.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from frostline.cache import InputError, Workspace, atomic_write, run_id, spec_key
from frostline.cache.workspace import file_safe
from frostline.probe.heads.families import FAMILIES, Candidate, pairs
from frostline.probe.heads.scoring import METRICS, best_first

FORMAT = "frostline-sweep-cell"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class Cell:
    """One head on one training set.

    Attributes
    ----------
    dataset, backbone, feature, store_key, manifest_digest : str
        What it trains on.
    head : str
    candidates : tuple of mapping
        The most regularised first.
    same : mapping
        Hyper-parameters that all candidates share.
    seed : int
    size : int, optional
        Training groups; all if None.
    draw : int
    cv : (int, int), optional
        Folds, and the number of the repeat.
    metric : str
        Decides.
    label, split, on_missing : str
    test_dataset, test_digest : str, optional
        Data set on which the selected head is scored, too.
    """

    dataset: str
    backbone: str
    feature: str
    store_key: str
    manifest_digest: str
    head: str
    candidates: tuple[Candidate, ...]
    same: Candidate
    seed: int
    size: int | None
    draw: int
    cv: tuple[int, int] | None
    metric: str
    label: str
    split: str
    on_missing: str
    test_dataset: str | None = None
    test_digest: str | None = None

    def identity(self) -> dict[str, Any]:
        """What changes a candidate's scores, the candidate aside."""
        return {
            "dataset": self.dataset,
            "backbone": self.backbone,
            "store_key": self.store_key,
            "manifest_digest": self.manifest_digest,
            "head": self.head,
            "same": dict(self.same),
            "seed": self.seed,
            "size": self.size,
            "draw": self.draw,
            "cv": self.cv,
            "label": self.label,
            "split": self.split,
            "on_missing": self.on_missing,
        }

    def path(self, workspace: Workspace) -> Path:
        """Where its scores lie."""
        return workspace.root / "sweeps" / "cells" / f"{spec_key(self.identity())}.parquet"

    def run(self) -> str:
        """Run id of what it selects."""
        return run_id(self._slug(self.dataset), self._config())

    def test_run(self) -> str:
        """Run id of the same head on the other data set."""
        slug = self._slug(f"{self.test_dataset}-from-{self.dataset}")
        return run_id(slug, {**self._config(), "test": [self.test_dataset, self.test_digest]})

    def runs(self) -> list[str]:
        """Every run whose predictions it writes."""
        return [self.run()] + ([self.test_run()] if self.test_dataset else [])

    def heads(self) -> int:
        """How many are fitted for its scores."""
        return len(self.candidates) * (len(pairs(self.cv[0])) if self.cv else 1)

    def _config(self) -> dict[str, Any]:
        grid = [dict(candidate) for candidate in self.candidates]
        return {**self.identity(), "candidates": grid, "metric": self.metric}

    def _slug(self, first: str) -> str:
        words = [first, file_safe(self.backbone), self.head, "sweep"]
        words += [] if self.size is None else [f"n{self.size}", f"d{self.draw}"]
        words += [f"cv{self.cv[0]}"] if self.cv else []
        return "-".join([*words, f"s{self.seed}"])


@dataclass(frozen=True)
class Choice:
    """What validation selects.

    Attributes
    ----------
    candidate : mapping
    epoch : int
        0 for heads without epochs.
    score : float
        Mean of the cell's metric over the held-out sets.
    """

    candidate: Candidate
    epoch: int
    score: float


def select_folds(cell: Cell, scores: pd.DataFrame) -> list[Choice]:
    """What each fold of a cross-validation selects without having seen the fold.

    Part p of the scores is a pair of folds that neither trained; for fold a counts what trained
    without a and b, scored on b.
    """
    assert cell.cv is not None
    found = []
    for left_out in range(cell.cv[0]):
        inner = [
            (scores["part"] == part) & (scores["fold"] == (1 if pair[0] == left_out else 0))
            for part, pair in enumerate(pairs(cell.cv[0]))
            if left_out in pair
        ]
        found.append(select(cell, scores[np.logical_or.reduce(inner)]))
    return found


def read_scores(workspace: Workspace, cell: Cell) -> pd.DataFrame | None:
    """Scores of every candidate tried so far; None if none was."""
    path = cell.path(workspace)
    if not path.exists():
        return None
    try:
        table = pq.read_table(path)
        meta = json.loads((table.schema.metadata or {})[b"frostline"])
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path} is not a cell of a sweep ({error!r}): delete it.") from error
    if meta.get("format") != FORMAT or meta.get("format_version", 0) > FORMAT_VERSION:
        raise InputError(f"{path} was written by a newer Frostline: install that, or delete it.")
    return table.to_pandas()


def write_scores(workspace: Workspace, cell: Cell, scores: pd.DataFrame) -> None:
    """Write scores of candidates: columns `candidate` (JSON), `part`, `fold`, `epoch`, metrics."""
    meta = {"format": FORMAT, "format_version": FORMAT_VERSION, **cell.identity()}
    data = pa.Table.from_pandas(scores, preserve_index=False)
    data = data.replace_schema_metadata({b"frostline": json.dumps(meta).encode()})
    with atomic_write(cell.path(workspace)) as temporary:
        pq.write_table(data, temporary, compression="zstd")


def text_of(candidate: Candidate) -> str:
    """A candidate's name in tables: JSON."""
    return json.dumps(dict(candidate), sort_keys=True)


def missing(cell: Cell, scores: pd.DataFrame | None) -> list[Candidate]:
    """Candidates that have no scores yet."""
    known = set() if scores is None else set(scores["candidate"])
    return [candidate for candidate in cell.candidates if text_of(candidate) not in known]


def is_done(workspace: Workspace, cell: Cell) -> bool:
    """Whether nothing of it is left to compute."""
    if not all(workspace.predictions(run).exists() for run in cell.runs()):
        return False
    return not missing(cell, read_scores(workspace, cell))


def select(cell: Cell, scores: pd.DataFrame) -> Choice:
    """The candidate with the best mean score, of equals the most regularised.

    Within a candidate the epoch with the best mean accuracy counts, of equals the earliest, as the
    paper's recipe has it.
    """
    choices = [_at_best_epoch(cell, candidate, scores) for candidate in cell.candidates]
    values = np.array([choice.score for choice in choices], dtype=np.float64)
    return choices[best_first(values, cell.metric)]


def _at_best_epoch(cell: Cell, candidate: Candidate, scores: pd.DataFrame) -> Choice:
    mine = scores[scores["candidate"] == text_of(candidate)]
    by_epoch = mine.groupby("epoch")[list(METRICS)].mean()
    place = int(by_epoch["accuracy"].to_numpy().argmax())
    epoch = int(by_epoch.index.to_numpy()[place])
    return Choice(candidate, epoch, float(by_epoch[cell.metric].to_numpy()[place]))


def at_edge(cells: Sequence[tuple[Cell, Choice]]) -> list[str]:
    """A sentence for every hyper-parameter whose best value mostly lies at the end of its grid."""
    found = []

    def place(entry: tuple[Cell, Choice]) -> tuple[str, ...]:
        cell = entry[0]
        return cell.dataset, cell.backbone, cell.feature, cell.head

    for key, entries in itertools.groupby(sorted(cells, key=place), key=place):
        members = list(entries)
        for name in members[0][0].candidates[0]:
            grid = sorted({c[name] for c in members[0][0].candidates if _is_number(c[name])})
            chosen = [choice.candidate[name] for _, choice in members]
            # Nothing lies below no decay or one neighbour.
            ends = (
                {value for value in (grid[0], grid[-1]) if value > _LEAST.get(name, -1)}
                if (len(grid) > 2)
                else set()
            )
            for end in sorted(ends):
                if 2 * sum(value == end for value in chosen) > len(chosen):
                    found.append(
                        f"{' · '.join(key)}: the best {name}, {end:g}, lies at the edge of the "
                        f"grid from {grid[0]:g} to {grid[-1]:g}: a wider grid may find a better "
                        "one."
                    )
    return found


_LEAST = {"weight_decay": 0, "n_neighbors": 1}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def hyperparameters(cell: Cell, choice: Choice) -> Mapping[str, Any]:
    """All hyper-parameters of what was selected."""
    epochs = {"best_epoch": choice.epoch} if FAMILIES[cell.head].seeded else {}
    return {**cell.same, **choice.candidate, **epochs}
