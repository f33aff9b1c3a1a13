"""What validation selects from a head's grid, and whether the grid was wide enough."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from frostline.probe.heads.scoring import METRICS, best_first
from frostline.probe.heads.training import Candidate, pairs
from frostline.probe.sweep.head_run import HeadRun
from frostline.probe.sweep.validation_scores import text_of

# Nothing lies below no decay or one neighbour.
_LEAST = {"weight_decay": 0, "n_neighbors": 1}


@dataclass(frozen=True)
class Choice:
    """What validation selects.

    Attributes
    ----------
    candidate : mapping
    epoch : int
        0 for heads without epochs.
    score : float
        Mean of the run's metric over the held-out sets.
    """

    candidate: Candidate
    epoch: int
    score: float


def choices(run: HeadRun, scores: pd.DataFrame) -> list[Choice]:
    """Select for a run as a whole; in a cross-validation, for every fold."""
    return select_folds(run, scores) if run.training.cv else [select(run, scores)]


def select(run: HeadRun, scores: pd.DataFrame) -> Choice:
    """Select the candidate with the best mean score, of equals the most regularised.

    Within a candidate the epoch with the best mean accuracy counts, of equals the earliest, as the
    paper's recipe has it.
    """
    found = [_at_best_epoch(run, candidate, scores) for candidate in run.candidates]
    values = np.array([choice.score for choice in found], dtype=np.float64)
    return found[best_first(values, run.metric)]


def select_folds(run: HeadRun, scores: pd.DataFrame) -> list[Choice]:
    """Select for each fold of a cross-validation, without having seen the fold.

    Part p of the scores is a pair of folds that neither trained; for fold a counts what trained
    without a and b, scored on b.
    """
    assert run.training.cv is not None
    folds = run.training.cv[0]
    return [select(run, _without(scores, folds, left_out)) for left_out in range(folds)]


def inner_scores(run: HeadRun, scores: pd.DataFrame, metric: str) -> NDArray[np.float64]:
    """Score on every other fold what is selected for each: float64 [folds, folds - 1].

    Row a is what was selected for fold a, as it was trained without a and each b, scored on b: for
    choices between runs that, too, have not seen the fold.
    """
    assert run.training.cv is not None
    folds = run.training.cv[0]
    found = []
    for left_out, choice in enumerate(select_folds(run, scores)):
        inner = _without(scores, folds, left_out)
        mine = (inner["candidate"] == text_of(choice.candidate)) & (inner["epoch"] == choice.epoch)
        found.append(inner[mine].sort_values("part")[metric].to_numpy(np.float64))
    return np.stack(found)


def _without(scores: pd.DataFrame, folds: int, left_out: int) -> pd.DataFrame:
    """Scores on other folds of what trained without one."""
    inner = [
        (scores["part"] == part) & (scores["fold"] == (1 if pair[0] == left_out else 0))
        for part, pair in enumerate(pairs(folds))
        if left_out in pair
    ]
    return scores[np.logical_or.reduce(inner)]


def _at_best_epoch(run: HeadRun, candidate: Candidate, scores: pd.DataFrame) -> Choice:
    mine = scores[scores["candidate"] == text_of(candidate)]
    by_epoch = mine.groupby("epoch")[list(METRICS)].mean()
    place = int(by_epoch["accuracy"].to_numpy().argmax())
    epoch = int(by_epoch.index.to_numpy()[place])
    return Choice(candidate, epoch, float(by_epoch[run.metric].to_numpy()[place]))


def hyperparameters(run: HeadRun, choice: Choice) -> Mapping[str, Any]:
    """Give all hyper-parameters of what was selected."""
    epochs = {"best_epoch": choice.epoch} if choice.epoch else {}
    return {**run.shared, **choice.candidate, **epochs}


def at_edge(chosen: Sequence[tuple[HeadRun, Choice]]) -> list[str]:
    """Say for which hyper-parameters the best value mostly lies at the end of its grid."""

    def place(entry: tuple[HeadRun, Choice]) -> tuple[str, ...]:
        run = entry[0]
        return run.data.dataset, run.data.backbone, run.data.feature, run.head_words()

    found = []
    for key, entries in itertools.groupby(sorted(chosen, key=place), key=place):
        members = list(entries)
        for name in members[0][0].candidates[0]:
            for end, grid in _chosen_ends(name, members):
                found.append(
                    f"{' · '.join(key)}: the best {name}, {end:g}, lies at the edge of the grid "
                    f"from {grid[0]:g} to {grid[-1]:g}: a wider grid may find a better one."
                )
    return found


def _chosen_ends(
    name: str, members: Sequence[tuple[HeadRun, Choice]]
) -> Iterator[tuple[float, list[float]]]:
    """Ends of a hyper-parameter's grid that more than half of the runs chose, with the grid."""
    grid = sorted({c[name] for c in members[0][0].candidates if _is_number(c[name])})
    if len(grid) <= 2:
        return
    values = [choice.candidate[name] for _, choice in members]
    for end in (grid[0], grid[-1]):
        if end > _LEAST.get(name, -1) and 2 * values.count(end) > len(values):
            yield end, grid


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
