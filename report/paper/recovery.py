"""What the published numbers determine: confusion matrices, honest intervals, bounds of p.

Two of the paper's data sets have two classes. For a two-class row the counts of the test set,
accuracy, weighted precision and weighted F1 leave one confusion matrix, which is found here by
trying them all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import pandas as pd

from frostline.report.paper.published import DATASETS, PaperDataset, published
from frostline.report.statistics.comparisons.decisions import mcnemar_p
from frostline.report.statistics.intervals.interval import Interval
from frostline.report.statistics.intervals.intervals import compute_intervals
from frostline.report.statistics.metrics import compute_metrics
from frostline.report.statistics.sample import Sample

PRINTED = ("accuracy", "precision_weighted", "f1_weighted")
CANDIDATES = 12
RECOVERY_REPLICATES = 20_000


@dataclass(frozen=True)
class Recovered:
    """A two-class row's confusion matrix, and how well it fits what is printed.

    `misfit` is the largest gap, in points, between the mean of its bootstrap replicates (which is
    what the paper prints) and the three printed values; `next_misfit` that of the runner-up.
    """

    dataset: str
    model: str
    freeze: str
    confusion: npt.NDArray[np.int64]
    misfit: float
    next_misfit: float


@cache
def recover_all() -> list[Recovered]:
    """Recover the confusion matrices of all two-class rows, in the order of Table IV."""
    out = []
    for (dataset, model, freeze), row in _rows():
        if len(DATASETS[dataset].test) == 2:
            out.append(recover(DATASETS[dataset], model, freeze, row[list(PRINTED)].to_numpy()))
    return out


def recover(
    dataset: PaperDataset, model: str, freeze: str, printed: npt.NDArray[np.float64]
) -> Recovered:
    """Try every confusion matrix; keep the one whose replicate means are nearest to `printed`."""
    sizes = np.array(list(dataset.test.values()))
    first, second = np.meshgrid(np.arange(sizes[0] + 1), np.arange(sizes[1] + 1), indexing="ij")
    right = np.stack([first.ravel(), second.ravel()], axis=1)
    confusions = np.zeros((len(right), 2, 2))
    confusions[:, [0, 1], [0, 1]] = right
    confusions[:, [0, 1], [1, 0]] = sizes - right
    values = np.stack(list(compute_metrics(confusions, PRINTED).values()), axis=1)
    # Weighted precision of few positives is far from the mean of its replicates, F1 is near.
    off = np.abs(values - printed)
    near = np.unique(
        [
            np.argsort(off[:, columns].max(1), kind="stable")[: CANDIDATES // 2]
            for columns in ([0, 1, 2], [0, 2])
        ]
    )
    misfits = [np.abs(_replicate_means(confusions[i]) - printed).max() for i in near]
    order = np.argsort(misfits, kind="stable")
    best = confusions[near[order[0]]].astype(np.int64)
    return Recovered(
        dataset.name,
        model,
        freeze,
        best,
        float(100 * misfits[order[0]]),
        float(100 * misfits[order[1]]),
    )


def _replicate_means(confusion: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    n = int(confusion.sum())
    drawn = np.random.default_rng(0).multinomial(n, confusion.ravel() / n, size=RECOVERY_REPLICATES)
    values = compute_metrics(drawn.reshape(-1, 2, 2), PRINTED)
    return np.array([values[name].mean() for name in PRINTED])


def as_sample(confusion: npt.NDArray[np.integer], classes: tuple[str, ...]) -> Sample:
    """Make a sample with this confusion matrix, images as units."""
    truth, prediction = np.divmod(
        np.repeat(np.arange(confusion.size), confusion.ravel()), len(confusion)
    )
    return Sample(truth, prediction, None, classes, "image", "", "test", (), n_images=len(truth))


def accuracy_interval(right: int, n: int) -> Interval:
    """Compute Frostline's interval of accuracy for so many right of n independent units."""
    confusion = np.array([[right, n - right], [0, 0]])
    return compute_intervals(as_sample(confusion, ("yes", "no")), ["accuracy"])["accuracy"]


def overlap_p(
    right: npt.NDArray[np.integer], other: npt.NDArray[np.integer], sizes: npt.NDArray[np.integer]
) -> tuple[float, float]:
    """Bound McNemar's p: errors of two models coincide as much, or as little, as they can.

    Which images were right is not printed. In each class of `sizes` images the two models
    share as many right ones as possible, or as few.
    """
    gain = right - other
    fewest = np.maximum(-gain, 0)
    most = np.minimum(other, sizes - right)
    p = [mcnemar_p(int((gain + lost).sum()), int(lost.sum())) for lost in (fewest, most)]
    return p[0], p[1]


def separations() -> pd.DataFrame:
    """Say for each backbone and data set what the published numbers can carry.

    Columns `dataset`, `model`, `difference` (frozen minus trained, points), `p_best`, `p_worst`
    (images independent; errors coincide as much or as little as they can), `p_patients` (the best
    case if slices of a patient were all alike; NaN where patients are not given), `reading`.
    """
    table = dict(_rows())
    matrices = {(r.dataset, r.model, r.freeze): r.confusion for r in recover_all()}
    rows = []
    for dataset, model in dict.fromkeys((d, m) for d, m, _ in table):
        about = DATASETS[dataset]
        shares = [float(table[dataset, model, freeze]["accuracy"]) for freeze in "YN"]
        if (dataset, model, "Y") in matrices:
            one, other = (np.diag(matrices[dataset, model, freeze]) for freeze in "YN")
            sizes = np.array(list(about.test.values()))
        else:
            one, other = (np.array([round(share * about.n_test)]) for share in shares)
            sizes = np.array([about.n_test])
        best, worst = overlap_p(one, other, sizes)
        patients = float("nan")
        if about.patients:
            units = about.patients[1]
            counts = [np.array([round(share * units)]) for share in shares]
            patients = overlap_p(counts[0], counts[1], np.array([units]))[0]
        rows.append(
            (
                dataset,
                model,
                100 * (shares[0] - shares[1]),
                best,
                worst,
                patients,
                _reading(best, worst, patients),
            )
        )
    names = ["dataset", "model", "difference", "p_best", "p_worst", "p_patients", "reading"]
    return pd.DataFrame(rows, columns=names)


def _reading(best: float, worst: float, patients: float) -> str:
    if not np.isnan(patients):
        return (
            "undecidable: depends on patients"
            if patients < 0.05
            else ("not separated if slices of a patient are alike")
        )
    if worst < 0.05:
        return "separated"
    return "separated only if their errors coincide" if best < 0.05 else "not separated"


def _rows() -> Iterator[tuple[tuple[str, str, str], pd.Series]]:
    wide = published().pivot_table(
        index=["dataset", "model", "freeze"], columns="metric", values="estimate", sort=False
    )
    for key, (_, row) in zip(wide.index.to_list(), wide.iterrows(), strict=True):
        yield key, row
