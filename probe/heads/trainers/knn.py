"""Nearest-neighbour heads, many at a time: one search of a part's rows serves every k."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from frostline.probe.heads.knn import KNNProbe, unit_rows, vote
from frostline.probe.heads.trainers.one_by_one import fit_each
from frostline.probe.heads.training import Answer, Candidate, Part, Pool, Trainer, score_by


def _answers(
    pool: Pool, parts: Sequence[Part], candidates: Sequence[Candidate], shared: Candidate, seed: int
) -> Iterator[Answer]:
    unit = unit_rows(pool.X)
    for part in parts:
        votes = pool.weight(part.train, shared["class_weight"])[part.train]

        def answer(
            rows: NDArray[np.intp],
            train: NDArray[np.intp] = part.train,
            votes: NDArray[np.float64] = votes,
        ) -> NDArray[np.float64]:
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

        yield answer


KNN = Trainer(score_by(_answers), fit_each(KNNProbe))
