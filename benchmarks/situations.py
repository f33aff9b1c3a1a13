"""Made test sets with known truth, for `coverage_atlas.py` and `type_one.py`.

A cell is a situation: number of units, classes, share of the rarest class, accuracy, and whether
units are patients with several images that are alike; a sized cell also says how many images they
have, by a law of `SIZES`. Images get logits: a push towards the true class, a patient's own offset
where grouped, and noise; the push is set so that accuracy is as asked. Probabilities are the
softmax of push times logits: right without patients and with even classes, too sure of themselves
otherwise, as real ones are. The true value of a metric is that of an endless sample.

`coverage_atlas.py` makes all trials of a chunk together, and its metrics are computed from three
numbers a unit and class (images of it, called it, rightly called it), of which every metric here is
a function. A test holds them equal to `frostline.report.compute_metrics`.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable, Iterable
from dataclasses import asdict, astuple, dataclass
from functools import cache

import numpy as np
from scipy.special import ndtr

UNITS = (9, 30, 75, 150, 600)
RAREST = {2: (0.01, 0.05, 0.2, 0.5), 3: (0.01, 0.05, 0.2, 1 / 3), 7: (0.01, 0.05, 1 / 7)}
ACCURACY = (0.5, 0.7, 0.9, 0.99)
MOST_IMAGES = 12
COUNTED = (
    "accuracy",
    "balanced_accuracy",
    "precision_weighted",
    "f1_weighted",
    "f1_macro",
    "precision_macro",
    "cohen_kappa",
    "matthews_corrcoef",
    "recall[0]",
    "specificity[0]",
)
MEANS = ("log_loss", "brier_score_loss")
SMALLEST = float(np.log(np.finfo(np.float64).eps))
# Images of each of n units. Of the last, whose mean is endless, 200 is the most.
SIZES: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "one": lambda rng, n: np.ones(n, dtype=np.int64),
    "1 to 12": lambda rng, n: rng.integers(1, MOST_IMAGES + 1, n),
    "negative binomial": lambda rng, n: 1 + rng.negative_binomial(0.5, 0.5 / 5.5, n),
    "Pareto": lambda rng, n: np.minimum(1 + rng.pareto(1.2, n), 200).astype(np.int64),
}


@dataclass(frozen=True)
class Cell:
    """One situation."""

    units: int
    classes: int
    rarest: float
    accuracy: float
    grouped: bool

    @property
    def shares(self) -> np.ndarray:
        """Shares of the classes, the rarest first, the others equal."""
        rest = (1 - self.rarest) / (self.classes - 1)
        return np.array([self.rarest] + [rest] * (self.classes - 1))

    @property
    def about(self) -> dict[str, float]:
        """The fields by name, for tables."""
        return asdict(self)

    def generator(self, number: int) -> np.random.Generator:
        """Random numbers of a chunk, whatever else was run."""
        return np.random.default_rng([zlib.crc32(repr(astuple(self)).encode()), number])


@dataclass(frozen=True)
class SizedCell(Cell):
    """A situation whose units have numbers of images by a law of `SIZES`."""

    sizes: str


def grid() -> list[Cell]:
    """All cells of the atlas."""
    return [
        Cell(units, classes, rarest, accuracy, grouped)
        for units, classes, accuracy, grouped in itertools.product(
            UNITS, RAREST, ACCURACY, (False, True)
        )
        for rarest in RAREST[classes]
        if accuracy >= 1 / classes
    ]


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


def row_noise(cell: Cell, unit: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Logits without the push, of rows of these units: [n, K]."""
    noise = rng.standard_normal((len(unit), cell.classes))
    if cell.grouped:
        noise += rng.standard_normal((cell.units, cell.classes))[unit]
    return noise


@dataclass(frozen=True)
class Images:
    """Images of units: the class of each, what a model makes of them, and which there are.

    Attributes
    ----------
    truth : int [..., G]
    noise : float32 [..., G, m, K]
        Logits without the push.
    there : bool [..., G, m]
    """

    truth: np.ndarray
    noise: np.ndarray
    there: np.ndarray

    def logits(self, push: float) -> np.ndarray:
        """Logits: float32 [..., G, m, K]."""
        eye = push * np.eye(self.noise.shape[-1], dtype=np.float32)
        return self.noise + eye[self.truth][..., None, :]

    def with_noise(self, noise: np.ndarray) -> Images:
        """What another model makes of the same images."""
        return Images(self.truth, noise, self.there)


def make_images(cell: Cell, shape: tuple[int, ...], rng: np.random.Generator) -> Images:
    """Images of [..., G] units."""
    most = MOST_IMAGES if cell.grouped else 1
    truth = rng.choice(cell.classes, size=shape, p=cell.shares)
    there = np.arange(most) < rng.integers(1, most + 1, size=shape)[..., None]
    return Images(truth, make_noise(cell, shape, rng), there)


def make_noise(cell: Cell, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Logits without the push: float32 [..., G, m, K]."""
    most = MOST_IMAGES if cell.grouped else 1
    noise = rng.standard_normal((*shape, most, cell.classes), dtype=np.float32)
    if cell.grouped:
        noise += rng.standard_normal((*shape, 1, cell.classes), dtype=np.float32)
    return noise


def margins(images: Images, logits: np.ndarray) -> np.ndarray:
    """Of every unit: images of each class, called it, rightly called it; float32 [..., 3, K, G]."""
    k = logits.shape[-1]
    truth, there = images.truth, images.there
    called = np.where(there, logits.argmax(-1), -1)
    size, right = there.sum(-1), (called == truth[..., None]).sum(-1)
    out = np.empty((*truth.shape[:-1], 3, k, truth.shape[-1]), dtype=np.float32)
    for c in range(k):
        of_class = truth == c
        out[..., 0, c, :] = np.where(of_class, size, 0)
        out[..., 1, c, :] = (called == c).sum(-1)
        out[..., 2, c, :] = np.where(of_class, right, 0)
    return out


def confusions(images: Images, logits: np.ndarray) -> np.ndarray:
    """Confusion matrix of each trial: int64 [T, K, K]."""
    k, trials = logits.shape[-1], len(logits)
    cell = np.arange(trials)[:, None] * k * k + images.truth * k
    cells = (cell[..., None] + logits.argmax(-1))[images.there]
    return np.bincount(cells, minlength=trials * k * k).reshape(-1, k, k)


def losses(images: Images, logits: np.ndarray, push: float) -> np.ndarray:
    """Sums over each unit's images of log loss and Brier score: float32 [..., 2, G]."""
    logs = log_probabilities(logits, push)
    k = logits.shape[-1]
    true = np.take_along_axis(logs, images.truth[..., None, None], -1)[..., 0]
    probs = np.exp(logs)
    squares = (probs**2).sum(-1) - 2 * np.exp(true) + 1
    sums = (-np.maximum(true, SMALLEST), squares / 2 if k == 2 else squares)
    return np.stack([(one * images.there).sum(-1, dtype=np.float32) for one in sums], axis=-2)


def log_probabilities(logits: np.ndarray, push: float) -> np.ndarray:
    """Log softmax of push times logits."""
    scaled = max(push, 0.1) * logits
    scaled -= scaled.max(-1, keepdims=True)
    return scaled - np.log(np.exp(scaled).sum(-1, keepdims=True))


def metrics_of_margins(sums: np.ndarray, names: Iterable[str] = COUNTED) -> dict[str, np.ndarray]:
    """Metrics by scikit-learn's names, of summed margins [..., 3, K, R]: each [..., R]."""
    true, called, right = sums[..., 0, :, :], sums[..., 1, :, :], sums[..., 2, :, :]
    total, hits = true.sum(-2), right.sum(-2)
    out: dict[str, np.ndarray] = {}
    wanted = set(names)
    precision = _ratio(right, called) if wanted & {"precision_weighted", "precision_macro"} else 0
    f1 = _ratio(2 * right, true + called) if wanted & {"f1_weighted", "f1_macro"} else 0
    chance = (true * called).sum(-2) if wanted & {"cohen_kappa", "matthews_corrcoef"} else 0
    for name in names:
        if name == "accuracy":
            out[name] = hits / total
        elif name == "balanced_accuracy":
            out[name] = _ratio(right, true).sum(-2) / (true > 0).sum(-2, dtype=true.dtype)
        elif name == "precision_weighted":
            out[name] = (precision * true).sum(-2) / total
        elif name == "f1_weighted":
            out[name] = (f1 * true).sum(-2) / total
        elif name == "f1_macro":
            out[name] = f1.mean(-2)
        elif name == "precision_macro":
            out[name] = precision.mean(-2)
        elif name == "cohen_kappa":
            expected = total**2 - chance
            out[name] = 1 - _ratio((total - hits) * total, expected, empty=np.nan)
        elif name == "matthews_corrcoef":
            spread = (total**2 - (true**2).sum(-2)) * (total**2 - (called**2).sum(-2))
            out[name] = _ratio(hits * total - chance, np.sqrt(np.maximum(spread, 0)))
        elif name == "recall[0]":
            out[name] = _ratio(right[..., 0, :], true[..., 0, :])
        elif name == "specificity[0]":
            others = total - true[..., 0, :]
            wrongly = called[..., 0, :] - right[..., 0, :]
            out[name] = _ratio(others - wrongly, others)
    return out


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


def true_values(cell: Cell) -> dict[str, float]:
    """The metrics of an endless sample, those of the confusion matrix and `MEANS`.

    Every class is recognised equally often, and errors fall on the others evenly, so that the
    matrix is known. Losses are the same for every class, and taken from two million images.
    """
    shares, k, hit = cell.shares, cell.classes, cell.accuracy
    called = shares * hit + (1 - shares) * (1 - hit) / (k - 1)
    matrix = np.stack([shares, called, shares * hit])[..., None]
    values = {name: float(value[0]) for name, value in metrics_of_margins(matrix).items()}
    return values | _true_losses(k, hit, cell.grouped)


@cache
def _true_losses(classes: int, accuracy: float, grouped: bool) -> dict[str, float]:
    push, rng = push_of(classes, accuracy, grouped), np.random.default_rng(7)
    sums, times, size = np.zeros(2), 40, 50_000
    for _ in range(times):
        noise = rng.standard_normal((size, 1, classes), dtype=np.float32)
        one = Images(
            np.zeros(size, dtype=np.int64),
            noise * np.float32(spread_of(grouped)),
            np.ones((size, 1), dtype=bool),
        )
        sums += losses(one, one.logits(push), push).sum(-1, dtype=np.float64)
    return dict(zip(MEANS, (sums / times / size).tolist(), strict=True))


def true_ranking(cell: Cell) -> dict[str, float]:
    """ROC AUC and average precision of an endless sample with two classes; the last is positive.

    The difference of the two logits is normal about push and minus push. Average precision is the
    mean precision at the thresholds of positives.
    """
    push = push_of(2, cell.accuracy, cell.grouped)
    apart = push / spread_of(cell.grouped) * np.sqrt(2)
    point, weight = _normal_points()
    share = cell.shares[-1]
    above = share * ndtr(-point)
    false = (1 - share) * ndtr(-point - apart)
    return {
        "roc_auc": float(ndtr(apart / np.sqrt(2))),
        "average_precision": float(weight @ (above / (above + false))),
    }


def rows_of(images: Images, logits: np.ndarray, push: float) -> tuple[np.ndarray, ...]:
    """Truth [n], probabilities [n, K] and unit [n] of the images that there are, of one trial."""
    unit = np.broadcast_to(np.arange(images.there.shape[0])[:, None], images.there.shape)
    probs = np.exp(log_probabilities(logits, push).astype(np.float64))
    unit = unit[images.there]
    return images.truth[unit], probs[images.there], unit


def _normal_points() -> tuple[np.ndarray, np.ndarray]:
    """Points and weights of a standard normal, fine enough for six digits."""
    point = np.linspace(-9, 9, 20_001)
    weight = np.exp(-(point**2) / 2)
    return point, weight / weight.sum()


def _ratio(top: np.ndarray, bottom: np.ndarray, empty: float = 0.0) -> np.ndarray:
    out = np.full(np.broadcast(top, bottom).shape, empty, dtype=np.asarray(top).dtype)
    np.divide(top, bottom, out=out, where=bottom > 0)
    return out
