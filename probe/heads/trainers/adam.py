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
from frostline.probe.heads.training import Candidate, Fit, Index, Part, Pool, Scores, Trainer
from frostline.probe.solver.stacked_adam import Batches, HeadRecipe, train_heads


def _score(
    pool: Pool, parts: Sequence[Part], candidates: Sequence[Candidate], shared: Candidate, seed: int
) -> Scores:
    return [_train(pool, part, candidates, shared, seed)[0] for part in parts]


def _train(
    pool: Pool, part: Part, candidates: Sequence[Candidate], shared: Candidate, seed: int
) -> tuple[pd.DataFrame, list[Any]]:
    watched = _Watched(pool, part, len(candidates))
    layers = train_heads(
        _batches(pool, part.train, shared),
        len(pool.classes),
        [HeadRecipe(**candidate) for candidate in candidates],
        epochs=shared["epochs"],
        seed=seed,
        watch=watched.watch,
        validation=torch.from_numpy(pool.X[watched.rows]),
    )
    heads = [
        _head(pool, Fit(part.train, candidate, int(epoch)), shared, seed, own)
        for candidate, epoch, own in zip(candidates, watched.best_epoch, layers, strict=True)
    ]
    return pd.concat(watched.tables, ignore_index=True), heads


class _Watched:
    """Scores of every head after every epoch, on the held-out sets of a part; its best epoch."""

    def __init__(self, pool: Pool, part: Part, heads: int) -> None:
        self.pool, self.part = pool, part
        self.rows = np.concatenate(part.held_out)
        self.ends = np.cumsum([len(one) for one in part.held_out])[:-1]
        self.tables: list[pd.DataFrame] = []
        self.best, self.best_epoch = np.full(heads, -np.inf), np.zeros(heads, np.intp)

    def watch(self, epoch: int, logits: torch.Tensor) -> NDArray[np.bool_]:
        """Note the scores of an epoch; keep the heads whose mean accuracy was never as high."""
        probabilities = softmax(logits.numpy(), axis=-1)
        shares = np.split(probabilities, self.ends, axis=1)
        accuracy = np.zeros(len(logits))
        for fold, (rows, own) in enumerate(zip(self.part.held_out, shares, strict=True)):
            places = {"candidate": np.arange(len(own)), "fold": fold, "epoch": epoch}
            scores = self.pool.score(own, rows)
            self.tables.append(pd.DataFrame({**places, **scores}))
            accuracy += scores["accuracy"] / len(shares)
        better: NDArray[np.bool_] = accuracy > self.best
        self.best[better], self.best_epoch[better] = accuracy[better], epoch
        return better


def _fit(pool: Pool, fits: Sequence[Fit], shared: Candidate, seed: int) -> list[Any]:
    found = []
    for fit in fits:
        layers = train_heads(
            _batches(pool, fit.rows, shared),
            len(pool.classes),
            [HeadRecipe(**fit.candidate)],
            epochs=fit.epoch,
            seed=seed,
        )[0]
        found.append(_head(pool, fit, shared, seed, layers))
    return found


def _head(
    pool: Pool, fit: Fit, shared: Candidate, seed: int, layers: list[NDArray[np.float32]]
) -> AdamProbe:
    head = AdamProbe(**fit.candidate, **shared, random_state=seed)
    head.classes_, head.n_features_in_ = np.array(pool.classes), pool.X.shape[1]
    head.best_epoch_ = fit.epoch
    head.coefs_, head.intercepts_ = layers[::2], layers[1::2]
    return head


def _batches(pool: Pool, rows: Index, shared: Candidate) -> Batches:
    weight = pool.weight(rows, shared["class_weight"])[rows].astype(np.float32)
    return Batches(
        torch.from_numpy(pool.X[rows]),
        torch.from_numpy(pool.codes[rows].astype(np.int64)),
        torch.from_numpy(weight),
        shared["batch_size"],
    )


ADAM = Trainer(_score, _fit, _train)
