"""Heads trained by Adam, many at a time: all recipes of a part share each pass over its rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.special import softmax

from frostline.probe.heads.adam import AdamProbe
from frostline.probe.heads.scoring import score_heads
from frostline.probe.heads.training import Candidate, Fit, Index, Part, Pool, Scores, Trainer
from frostline.probe.solver.stacked_adam import Batches, HeadRecipe, train_heads


def _score(
    pool: Pool, parts: Sequence[Part], candidates: Sequence[Candidate], shared: Candidate, seed: int
) -> Scores:
    recipes = [HeadRecipe(**candidate) for candidate in candidates]
    tables = []
    for part in parts:
        watched = _Watched(pool, part)
        train_heads(
            _batches(pool, part.train, shared),
            len(pool.classes),
            recipes,
            epochs=shared["epochs"],
            seed=seed,
            watch=watched.watch,
            validation=torch.from_numpy(pool.X[watched.rows]),
        )
        tables.append(pd.concat(watched.tables, ignore_index=True))
    return tables


class _Watched:
    """Scores of every head after every epoch, on the held-out sets of a part."""

    def __init__(self, pool: Pool, part: Part) -> None:
        self.pool, self.part = pool, part
        self.rows = np.concatenate(part.held_out)
        self.ends = np.cumsum([len(one) for one in part.held_out])[:-1]
        self.tables: list[pd.DataFrame] = []

    def watch(self, epoch: int, logits: torch.Tensor) -> NDArray[np.bool_]:
        """Note the scores of an epoch; no head is kept, for the best epoch is not known yet."""
        probabilities = softmax(logits.numpy(), axis=-1)
        shares = np.split(probabilities, self.ends, axis=1)
        for fold, (rows, own) in enumerate(zip(self.part.held_out, shares, strict=True)):
            places = {"candidate": np.arange(len(own)), "fold": fold, "epoch": epoch}
            scores = score_heads(own, self.pool.codes[rows])
            self.tables.append(pd.DataFrame({**places, **scores}))
        return np.zeros(len(logits), bool)


def _fit(pool: Pool, fits: Sequence[Fit], shared: Candidate, seed: int) -> list[Any]:
    found = []
    for fit in fits:
        head = AdamProbe(**fit.candidate, **shared, random_state=seed)
        layers = train_heads(
            _batches(pool, fit.rows, shared),
            len(pool.classes),
            [HeadRecipe(**fit.candidate)],
            epochs=fit.epoch,
            seed=seed,
        )[0]
        head.classes_, head.n_features_in_ = np.array(pool.classes), pool.X.shape[1]
        head.best_epoch_ = fit.epoch
        head.coefs_, head.intercepts_ = layers[::2], layers[1::2]
        found.append(head)
    return found


def _batches(pool: Pool, rows: Index, shared: Candidate) -> Batches:
    weight = pool.weight(rows, shared["class_weight"])[rows].astype(np.float32)
    return Batches(
        torch.from_numpy(pool.X[rows]),
        torch.from_numpy(pool.codes[rows].astype(np.int64)),
        torch.from_numpy(weight),
        shared["batch_size"],
    )


ADAM = Trainer(_score, _fit)
