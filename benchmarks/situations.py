"""Made test sets with known truth, for `coverage_atlas.py`, `type_one.py` and `over_seeds.py`.

A cell is a situation: number of units, classes, share of the rarest class, accuracy, and how many
images units have, by a law of `SIZES`; images of a unit are alike where it has several. Images get
logits: a push towards the true class, a patient's own offset where grouped, and noise; the push is
set so that accuracy is as asked. Probabilities are the softmax of push times logits: right without
patients and with even classes, too sure of themselves otherwise, as real ones are. `away` pushes
the logit of the rarest class down, in standard deviations of the noise, so that it is called less
often than it occurs. The true value of a metric is that of an endless sample.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, astuple, dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
from scipy.special import ndtr

from frostline.report.statistics.metrics import compute_metrics

MOST_IMAGES = 12
COUNTED = (
    "accuracy",
    "balanced_accuracy",
    "precision_weighted",
    "precision_macro",
    "f1_weighted",
    "f1_macro",
    "cohen_kappa",
    "matthews_corrcoef",
    "recall[0]",
    "precision[0]",
    "specificity[0]",
)
MEANS = ("log_loss", "brier_score_loss")
SMALLEST = float(np.log(np.finfo(np.float64).eps))
# Images of a class from which the ROC AUC of an endless sample is taken, in parts.
PARTS, MANY = 10, 100_000
# Images of each of n units. Of the last, whose mean is endless, 200 is the most.
SIZES: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "one": lambda rng, n: np.ones(n, dtype=np.int64),
    "1 to 12": lambda rng, n: rng.integers(1, MOST_IMAGES + 1, n),
    "negative binomial": lambda rng, n: 1 + rng.negative_binomial(0.5, 0.5 / 5.5, n),
    "Pareto": lambda rng, n: np.minimum(1 + rng.pareto(1.2, n), 200).astype(np.int64),
}


@dataclass(frozen=True)
class SizedCell:
    """One situation, whose units have numbers of images by a law of `SIZES`."""

    units: int
    classes: int
    rarest: float
    accuracy: float
    grouped: bool
    sizes: str

    @property
    def shares(self) -> np.ndarray:
        """Shares of the classes, the rarest first, the others equal."""
        rest = (1 - self.rarest) / (self.classes - 1)
        return np.array([self.rarest] + [rest] * (self.classes - 1))

    @property
    def about(self) -> dict[str, float | str]:
        """The fields by name, for tables."""
        return asdict(self)

    @property
    def number(self) -> int:
        """A number of its own."""
        return zlib.crc32(repr(astuple(self)).encode())

    def generator(self, number: int) -> np.random.Generator:
        """Random numbers of a chunk, whatever else was run."""
        return np.random.default_rng([self.number, number])


Cell = TypeVar("Cell", bound=SizedCell)


def run_chunks(
    folder: Path,
    chunks: Iterable[int],
    part: tuple[int, int],
    cells: Sequence[Cell],
    run_chunk: Callable[[Cell, int], pd.DataFrame],
) -> None:
    """Do every chunk that has no file yet, of this process's share of the cells.

    A file is written whole, and chunk 0 of every cell comes before chunk 1 of any, so that a run
    that is stopped has covered the grid evenly.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for number in chunks:
        for index, cell in enumerate(cells):
            path = folder / f"{index:04d}-{number:03d}.parquet"
            if index % part[1] != part[0] or path.exists():
                continue
            temporary = path.with_suffix(f".{os.getpid()}.tmp")
            run_chunk(cell, number).astype(np.float32).to_parquet(temporary)
            temporary.replace(path)


@dataclass(frozen=True)
class Rows:
    """Images of one test set, a row each: class [n], unit [n], what a model sees float64 [n, K].

    `noise` is the logits without the push.
    """

    truth: np.ndarray
    unit: np.ndarray
    noise: np.ndarray

    def logits(self, push: float) -> np.ndarray:
        """Logits: [n, K]."""
        return np.asarray(self.noise + push * np.eye(self.noise.shape[1])[self.truth])


def make_rows(cell: SizedCell, rng: np.random.Generator) -> Rows:
    """Make the images of one test set."""
    unit = np.repeat(np.arange(cell.units), SIZES[cell.sizes](rng, cell.units))
    truth = rng.choice(cell.classes, size=cell.units, p=cell.shares)[unit]
    return Rows(truth, unit, row_noise(cell, unit, rng))


def row_noise(cell: SizedCell, unit: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Logits without the push, of rows of these units: [n, K]."""
    noise = rng.standard_normal((len(unit), cell.classes))
    if cell.grouped:
        noise += rng.standard_normal((cell.units, cell.classes))[unit]
    return noise


def log_probabilities(logits: np.ndarray, push: float) -> np.ndarray:
    """Log softmax of push times logits."""
    scaled = max(push, 0.1) * logits
    scaled -= scaled.max(-1, keepdims=True)
    return scaled - np.log(np.exp(scaled).sum(-1, keepdims=True))


@cache
def push_of(classes: int, accuracy: float, grouped: bool) -> float:
    """The push that gives an accuracy: the root of an integral over the true class's noise."""
    from scipy.optimize import brentq

    point, weight = _normal_points()

    def excess(lift: float) -> float:
        return float(weight @ ndtr(point + lift) ** (classes - 1)) - accuracy

    return spread_of(grouped) * brentq(excess, -2, 12)


def spread_of(grouped: bool) -> float:
    """Standard deviation of a logit's noise, a patient's offset included."""
    return float(np.sqrt(2)) if grouped else 1.0


def true_values(cell: SizedCell, push: float | None = None, away: float = 0.0) -> dict[str, float]:
    """The metrics of an endless sample, those of the confusion matrix and `MEANS`.

    `push` is that of the cell's accuracy unless given.
    """
    push = push_of(cell.classes, cell.accuracy, cell.grouped) if push is None else push
    called = called_shares(cell.classes, push, cell.grouped, away)
    matrix, names = cell.shares[:, None] * called, [str(c) for c in range(cell.classes)]
    values = {name: float(value) for name, value in compute_metrics(matrix, COUNTED, names).items()}
    rare, other = (
        true_losses(cell.classes, push, cell.grouped, away, label)
        for label in (0, 1 if away else 0)
    )
    means = cell.rarest * rare + (1 - cell.rarest) * other
    return values | dict(zip(MEANS, means.tolist(), strict=True))


@cache
def called_shares(classes: int, push: float, grouped: bool, away: float = 0.0) -> np.ndarray:
    """How often images of each class are called each: [K, K], rows truth.

    A class is called where its logit is the highest: an integral over that logit's noise.
    """
    point, weight = _normal_points()
    middle = push / spread_of(grouped) * np.eye(classes)
    middle[:, 0] -= away
    out = np.empty((classes, classes))
    for truth, called in np.ndindex(out.shape):
        lead = np.delete(middle[truth, called] - middle[truth], called)
        out[truth, called] = weight @ np.prod(ndtr(point[:, None] + lead), axis=1)
    return out


@cache
def true_losses(
    classes: int, push: float, grouped: bool, away: float = 0.0, label: int = 0
) -> np.ndarray:
    """Mean log loss and Brier score of images of a class, from two million: [2]."""
    rng, sums, times, size = np.random.default_rng(7), np.zeros(2), 40, 50_000
    for _ in range(times):
        logits = rng.standard_normal((size, classes), dtype=np.float32)
        logits *= np.float32(spread_of(grouped))
        logits[:, label] += push
        logits[:, 0] -= away * spread_of(grouped)
        logs = log_probabilities(logits, push)
        probs, true = np.exp(logs), logs[:, label]
        squares = (probs**2).sum(-1) - 2 * np.exp(true) + 1
        sums[0] -= np.maximum(true, SMALLEST).sum(dtype=np.float64)
        sums[1] += (squares / 2 if classes == 2 else squares).sum(dtype=np.float64)
    return sums / times / size


def true_ranking(cell: SizedCell, push: float | None = None, away: float = 0.0) -> dict[str, float]:
    """ROC AUC of an endless sample; with two classes average precision too, the last positive.

    With two the difference of the logits is normal about push and minus push, but for a constant,
    and average precision is the mean precision at the thresholds of positives.
    """
    push = push_of(cell.classes, cell.accuracy, cell.grouped) if push is None else push
    if cell.classes > 2:
        return {"roc_auc": _mean_auc(cell, push, away)}
    apart = push / spread_of(cell.grouped) * np.sqrt(2)
    point, weight = _normal_points()
    share = cell.shares[-1]
    above = share * ndtr(-point)
    false = (1 - share) * ndtr(-point - apart)
    return {
        "roc_auc": float(ndtr(apart / np.sqrt(2))),
        "average_precision": float(weight @ (above / (above + false))),
    }


def _mean_auc(cell: SizedCell, push: float, away: float) -> float:
    """The plain mean of one-versus-rest: the rest of a class are the others by their shares."""
    of_rare, against_rare, of_others = _pair_aucs(cell.classes, push, cell.grouped, away)
    against = cell.rarest / (1 - cell.shares[1])
    other = against * against_rare + (1 - against) * of_others
    return float((of_rare + (cell.classes - 1) * other) / cell.classes)


@cache
def _pair_aucs(classes: int, push: float, grouped: bool, away: float) -> np.ndarray:
    """The chance that a class's probability is higher for an image of it than of another class.

    Of the rarest against any other, of any other against the rarest, and of two others: [3].
    """
    rng, found = np.random.default_rng(7), np.zeros(3)
    for _ in range(PARTS):
        probs = []
        for label in range(3):
            logits = rng.standard_normal((MANY, classes)) * spread_of(grouped)
            logits[:, label] += push
            logits[:, 0] -= away * spread_of(grouped)
            probs.append(log_probabilities(logits, push))
        for place, (one, other) in enumerate(((0, 1), (1, 0), (1, 2))):
            below = np.sort(probs[other][:, one])
            found[place] += np.searchsorted(below, probs[one][:, one]).mean() / MANY / PARTS
    return found


def _normal_points() -> tuple[np.ndarray, np.ndarray]:
    """Points and weights of a standard normal, fine enough for six digits."""
    point = np.linspace(-9, 9, 20_001)
    weight = np.exp(-(point**2) / 2)
    return point, weight / weight.sum()
