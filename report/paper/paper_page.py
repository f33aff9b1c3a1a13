"""What the paper's intervals are, and what honest ones would be: makes `docs/paper.md`.

    python -m frostline.report.paper.paper_page > docs/paper.md

Two of its data sets have two classes. Of a two-class row the test set's counts, accuracy, weighted
precision and weighted F1 leave one confusion matrix, which is found here by trying them all.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import pandas as pd

from frostline.report.paper.published import DATASETS, SOURCE, PaperDataset, published
from frostline.report.statistics.comparisons.differences import mcnemar_p
from frostline.report.statistics.intervals.intervals import Interval, compute_intervals
from frostline.report.statistics.metrics import compute_metrics
from frostline.report.statistics.sample import Sample

PRINTED = ("accuracy", "precision_weighted", "f1_weighted")
CANDIDATES = 12
REPLICATES = 20_000


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
    """The confusion matrices of all two-class rows, in the order of Table IV."""
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
    drawn = np.random.default_rng(0).multinomial(n, confusion.ravel() / n, size=REPLICATES)
    values = compute_metrics(drawn.reshape(-1, 2, 2), PRINTED)
    return np.array([values[name].mean() for name in PRINTED])


def as_sample(confusion: npt.NDArray[np.integer], classes: tuple[str, ...]) -> Sample:
    """Images as units with this confusion matrix."""
    truth, prediction = np.divmod(
        np.repeat(np.arange(confusion.size), confusion.ravel()), len(confusion)
    )
    return Sample(truth, prediction, None, classes, "image", "", "test", (), n_images=len(truth))


def accuracy_interval(right: int, n: int) -> Interval:
    """The interval of accuracy that Frostline gives for so many right of n independent units."""
    confusion = np.array([[right, n - right], [0, 0]])
    return compute_intervals(as_sample(confusion, ("yes", "no")), ["accuracy"])["accuracy"]


def overlap_p(
    right: npt.NDArray[np.integer], other: npt.NDArray[np.integer], sizes: npt.NDArray[np.integer]
) -> tuple[float, float]:
    """McNemar's p at the most and at the least that errors of two models can coincide.

    Of which images were right nothing is printed; in each class of `sizes` images the two models
    share as many right ones as possible, or as few.
    """
    gain = right - other
    fewest = np.maximum(-gain, 0)
    most = np.minimum(other, sizes - right)
    p = [mcnemar_p(int((gain + lost).sum()), int(lost.sum())) for lost in (fewest, most)]
    return p[0], p[1]


def separations() -> pd.DataFrame:
    """Frozen against trained, every backbone and data set: what the published numbers can carry.

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
            "cannot be told: depends on patients"
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


def paper_markdown() -> str:
    """The whole page."""
    return "\n".join([*_opening(), *_widths(), *_matrices(), *_separations()]) + "\n"


def _opening() -> list[str]:
    example = accuracy_interval(523, 624)
    return [
        "# What the paper's numbers can carry",
        "",
        f"Source of the numbers: {SOURCE}, Tables I to IV, kept as data in",
        "`report/published.py`.",
        "This page is made by `python -m frostline.report.paper.paper_page`;",
        "a test makes it again and compares. Percent and points throughout; p-values are not "
        "adjusted for their number.",
        "",
        "## The printed intervals are of a mean of replicates",
        "",
        "The paper prints the mean of 5,000 bootstrap replicates and a 95% interval of *that*",
        "mean. Its half-width is 1.96 sd / sqrt(5000): it would shrink to nothing with more",
        "replicates of the same images. An interval of the metric is seventy times as wide: chest",
        "X-ray, DINOv2-s frozen, is printed as 83.82 [83.77, 83.86]; 523 right of 624 images give",
        f"[{100 * example.low:.1f}, {100 * example.high:.1f}] ({example.method}, images taken as",
        "independent). `frostline evaluate --ci replicate-mean` gives the printed kind, labelled.",
    ]


def _widths() -> list[str]:
    lines = [
        "",
        "## How wide honest intervals would be",
        "",
        "Mean half-width of accuracy over the rows of a data set, in points: as printed; if images",
        "(slices) were independent; and, for MRI, if all slices of a patient were alike, so that",
        "patients are what was sampled. The truth for MRI lies between the last two.",
        "",
        "| Data set | Test images | Test patients | Printed | Images independent | Slices alike |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    table = published()
    table = table[table["metric"] == "accuracy"]
    for name, about in DATASETS.items():
        part = table[table["dataset"] == name]
        printed = 50 * (part["high"] - part["low"]).mean()
        by_image = _mean_half(part["estimate"], about.n_test)
        people = about.patients[1] if about.patients else None
        by_patient = f"{_mean_half(part['estimate'], people):.1f}" if people else "–"
        lines.append(
            f"| {name} | {about.n_test:,} | {people or 'not given'} | {printed:.2f} | "
            f"{by_image:.1f} | {by_patient} |"
        )
    return lines


def _mean_half(shares: pd.Series, n: int) -> float:
    halves = []
    for share in shares:
        one = accuracy_interval(round(share * n), n)
        halves.append(50 * (one.high - one.low))
    return float(np.mean(halves))


def _matrices() -> list[str]:
    lines = [
        "",
        "## Confusion matrices behind the two-class rows",
        "",
        "Counts of test images by class, accuracy, weighted precision and weighted F1 leave one",
        "matrix. *Misfit* is the largest gap, in points, between the mean of its replicates and",
        "the three printed values; *next* is that of the second-best matrix. Intervals are",
        "Frostline's `auto` with images as units: wider still if patients have several images.",
        "Accuracy at or under the majority class's tells nothing; balanced accuracy shows it.",
        "",
        "| Data set | Model | Freeze | Right of each class | Misfit | Next | Accuracy | "
        "Balanced accuracy |",
        "| --- | --- | --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for one in recover_all():
        classes = tuple(DATASETS[one.dataset].test)
        sizes = one.confusion.sum(1)
        right = ", ".join(
            f"{one.confusion[i, i]} of {sizes[i]} {name}" for i, name in enumerate(classes)
        )
        sample = as_sample(one.confusion, classes)
        scores = compute_intervals(sample, ["accuracy", "balanced_accuracy"])
        cells = [
            f"{100 * s.estimate:.1f} [{100 * s.low:.1f}, {100 * s.high:.1f}]"
            for s in scores.values()
        ]
        lines.append(
            f"| {one.dataset} | {one.model} | {one.freeze} | {right} | {one.misfit:.2f} | "
            f"{one.next_misfit:.2f} | {cells[0]} | {cells[1]} |"
        )
    for name, about in DATASETS.items():
        if len(about.test) == 2:
            label = max(about.test, key=lambda c: about.train[c])
            share = 100 * about.test[label] / about.n_test
            lines.append(f"| {name} | always {label} | – | – | – | – | {share:.1f} | 50.0 |")
    return lines


def _separations() -> list[str]:
    table = separations()
    counts = table["reading"].value_counts()
    lines = [
        "",
        "## Which differences they still separate",
        "",
        "Frozen minus trained, for each backbone. Which images were right is not printed, so a",
        "paired test is only bounded: p if the two models' errors coincide as much as they can",
        "(best) and as little (worst), McNemar's test with images as units; for MRI also the best",
        "case if slices of a patient are alike, with patients as units.",
        "",
        "| Data set | Model | Difference | p best | p worst | p patients, best | Reading |",
        "| --- | --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for row in table.to_dict("records"):
        cells = [_p(row[name]) for name in ("p_best", "p_worst", "p_patients")]
        lines.append(
            f"| {row['dataset']} | {row['model']} | {row['difference']:+.2f} | "
            f"{' | '.join(cells)} | {row['reading']} |"
        )
    lines += [
        "",
        f"Of {len(table)} differences: "
        + "; ".join(f"{n} {reading}" for reading, n in counts.items())
        + ".",
    ]
    return lines


def _p(value: float) -> str:
    if np.isnan(value):
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


if __name__ == "__main__":
    sys.stdout.write(paper_markdown())
