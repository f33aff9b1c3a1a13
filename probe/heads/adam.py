"""The paper's recipe for a head: Adam, and the best epoch on validation images."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax

from frostline.probe.heads.grids import AdamGrid
from frostline.probe.heads.preparation import Index, TrainingData, ValidatedProbe, seed_of
from frostline.probe.solver.stacked_adam import Batches, HeadRecipe, train_heads

Array = NDArray[np.floating]
PAPER = AdamGrid()


class AdamProbe(ValidatedProbe):
    """A linear head, or one with a hidden layer, trained by Adam on embeddings.

    The defaults are the `paper` protocol's (`frostline.probe.heads.grids.AdamGrid`). Embeddings are
    used as they are, in float32.

    Parameters
    ----------
    lr : float
        Learning rate (*paper*).
    weight_decay : float
        L2 added to the gradient, as in `torch.optim.Adam` (*code*: none).
    hidden : int or None
        Units of a hidden layer with ReLU; None is a linear head (*paper*). 256 is the head that
        the paper's code puts on DINOv2.
    epochs : int
        (*paper*.)
    batch_size : int
        (*paper*.)
    cv : int, splitter or iterable, optional
        Validation. With one fold (a `PredefinedSplit`) the head trains on its training rows, and
        the parameters after the epoch with the highest validation accuracy are kept, the earliest
        of equals (*ours*; *code* takes the accuracy averaged over batches). With several folds the
        epoch with the highest mean accuracy decides how long the head then trains on all rows.
        None trains on all rows to the last epoch.
    class_weight : dict, "balanced" or None
    random_state : int, RandomState or None
        Decides the start and the order of images. (*ours*: the code does not shuffle.)

    Attributes
    ----------
    coefs_ : list of float32 [inputs, outputs]
    intercepts_ : list of float32 [outputs]
    classes_ : [n_classes]
    best_epoch_ : int
        From 1.
    validation_accuracy_ : float64 [folds, epochs]
        If `cv` is given.
    """

    def __init__(
        self,
        lr: float = PAPER.lr[0],
        *,
        weight_decay: float = PAPER.weight_decay[0],
        hidden: int | None = PAPER.hidden[0],
        epochs: int = PAPER.epochs,
        batch_size: int = PAPER.batch_size,
        cv: Any = None,
        class_weight: Any = None,
        random_state: Any = None,
    ) -> None:
        self.lr = lr
        self.weight_decay = weight_decay
        self.hidden = hidden
        self.epochs = epochs
        self.batch_size = batch_size
        self.cv = cv
        self.class_weight = class_weight
        self.random_state = random_state

    def _learn(self, data: TrainingData, parts: list[tuple[Index, Index]]) -> None:
        seed = seed_of(self.random_state)
        recipe = HeadRecipe(self.lr, self.weight_decay, self.hidden)
        selections = [
            select_epochs(data, part, [recipe], self.epochs, self.batch_size, seed)
            for part in parts
        ]
        self.best_epoch_ = self.epochs
        if selections:
            self.validation_accuracy_ = np.concatenate([s.accuracy for s in selections])
            self.best_epoch_ = int(self.validation_accuracy_.mean(axis=0).argmax()) + 1
        if len(selections) == 1:
            layers = selections[0].layers[0]
        else:
            batches = _batches(data, np.arange(len(data.X)), self.batch_size)
            count = len(self.classes_)
            layers = train_heads(batches, count, [recipe], epochs=self.best_epoch_, seed=seed)[0]
        self.coefs_, self.intercepts_ = layers[::2], layers[1::2]

    def predict_proba(self, X: ArrayLike) -> Array:
        """Give probabilities [n, n_classes] in the order of `classes_`."""
        value = self._checked(X, np.float32)
        for layer, (W, b) in enumerate(zip(self.coefs_, self.intercepts_, strict=True)):
            value = (np.maximum(value, 0) if layer else value) @ W + b
        shares: Array = softmax(value.astype(np.float64), axis=1)
        return shares

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        # A thousand steps of 1e-4 are too few for features of unit scale and a handful of images.
        tags.classifier_tags.poor_score = True
        return tags


class Selection:
    """Validation accuracy of every head after every epoch, and each head at its best.

    Attributes
    ----------
    accuracy : float64 [heads, epochs]
    layers : list of list of arrays
        As `train_heads` gives them.
    """

    def __init__(self, heads: int, epochs: int, codes: Index, weight: NDArray[np.float64]) -> None:
        self.accuracy = np.zeros((heads, epochs))
        self.layers: list[list[NDArray[np.float32]]] = []
        self._codes, self._weight = torch.from_numpy(codes), weight
        self._best = np.full(heads, -np.inf)

    def watch(self, epoch: int, logits: torch.Tensor) -> NDArray[np.bool_]:
        """Note the accuracies of an epoch; say which heads are better than ever before."""
        right = (logits.argmax(dim=-1) == self._codes).numpy()
        now = np.average(right, axis=1, weights=self._weight)
        better: NDArray[np.bool_] = now > self._best
        self._best[better] = now[better]
        self.accuracy[:, epoch - 1] = now
        return better


def select_epochs(
    data: TrainingData,
    part: tuple[Index, Index],
    recipes: list[HeadRecipe],
    epochs: int,
    batch_size: int,
    seed: int,
) -> Selection:
    """Train heads on the first rows of `part`; keep each at its best epoch on the second."""
    train, held_out = part
    selection = Selection(len(recipes), epochs, data.codes[held_out], data.sample_weight[held_out])
    selection.layers = train_heads(
        _batches(data, train, batch_size),
        len(data.classes),
        recipes,
        epochs=epochs,
        seed=seed,
        watch=selection.watch,
        validation=torch.from_numpy(data.X[held_out].astype(np.float32)),
    )
    return selection


def _batches(data: TrainingData, rows: Index, size: int) -> Batches:
    X = torch.from_numpy(data.X[rows].astype(np.float32, copy=False))
    weight = torch.from_numpy(data.weight[rows].astype(np.float32))
    return Batches(X, torch.from_numpy(data.codes[rows].astype(np.int64)), weight, size)
