"""Nearest-neighbour heads, many at a time: one search of a part's rows serves every k."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from frostline.probe.heads.knn import KNNProbe, unit_rows, vote
from frostline.probe.heads.train_one_by_one import fit_each
from frostline.probe.heads.training import (
    Candidate,
    Index,
    Part,
    Pool,
    Scores,
    Trainer,
    score_part,
)


def _score(
    pool: Pool, parts: Sequence[Part], candidates: Sequence[Candidate], shared: Candidate, seed: int
) -> Scores:
    unit = unit_rows(pool.X)
    tables = []
    for part in parts:
        votes = pool.weight(part.train, shared["class_weight"])[part.train]

        def answer(rows: Index, train: Index = part.train, votes: Any = votes) -> Any:
            found = np.empty((len(candidates), len(rows), len(pool.classes)))
            for temperature in {candidate["temperature"] for candidate in candidates}:
                mine = [i for i, one in enumerate(candidates) if one["temperature"] == temperature]
                found[mine] = vote(
                    unit[rows],
                    unit[train],
                    pool.codes[train],
                    votes,
                    classes=len(pool.classes),
                    ks=[candidates[i]["n_neighbors"] for i in mine],
                    temperature=temperature,
                )
            return found

        tables.append(score_part(pool, part, answer))
    return tables


KNN = Trainer(_score, fit_each(KNNProbe))
