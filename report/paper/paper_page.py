"""What the paper's intervals are, and what honest ones would be: makes `docs/paper.md`.

python -m frostline.report.paper.paper_page > docs/paper.md
"""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd

from frostline.cache.tables.words import minus
from frostline.report.paper.published import DATASETS, SOURCE, published
from frostline.report.paper.recovery import (
    accuracy_interval,
    as_sample,
    recover_all,
    separations,
)
from frostline.report.statistics.intervals.intervals import compute_intervals
from frostline.report.statistics.names import NONE
from frostline.report.tables.numbers import p_word, percent
from frostline.report.tables.table import Cell, Column, Row, Table, columns, words
from frostline.report.tables.writers.markdown import to_markdown

MATRIX_HEADINGS = (
    "Data set",
    "Model",
    "Freeze",
    "Right in each class",
    "Misfit",
    "Next",
    "Accuracy",
    "Balanced accuracy",
)
PAGE = """# What the paper's numbers can carry

Source of the numbers: {source}, Tables I to IV, kept as data in
`report/paper/published.py`.
This page is made by `python -m frostline.report.paper.paper_page`;
a test makes it again and compares. Percent and points throughout; p-values are not
adjusted for their number.

## The printed intervals are of a mean of replicates

The paper prints the mean of 5,000 bootstrap replicates and a 95% interval of *that*
mean. Its half-width is 1.96 sd / sqrt(5000): it would shrink to nothing with more
replicates of the same images. An interval of the metric is seventy times as wide: chest
X-ray, DINOv2-s frozen, is printed as 83.82 [83.77, 83.86]; 523 right of 624 images give
{example} ({method}, images taken as independent).
`frostline evaluate --ci replicate-mean` gives the printed kind, labelled.

## How wide honest intervals would be

Mean half-width of accuracy over the rows of a data set, in points: as printed; if images
(slices) were independent; and, for MRI, if all slices of a patient were alike, so that
patients are what was sampled. For MRI the truth lies between the last two if all patients
have as many slices; where a few patients have most of them it can be wider than both.

{widths}
## Confusion matrices behind the two-class rows

Counts of test images by class, accuracy, weighted precision and weighted F1 leave one
matrix. *Misfit* is the largest gap, in points, between the mean of its replicates and
the three printed values; *next* is that of the second-best matrix. Intervals are
Frostline's `auto` with images as units: wider still if patients have several images.
Accuracy no higher than the majority class's shows nothing; balanced accuracy reveals it.

{matrices}
## Which differences they still separate

Frozen minus trained, for each backbone. Which images were right is not printed, so a
paired test is only bounded: p if the two models' errors coincide as much as they can
(best) and as little (worst), McNemar's test with images as units; for MRI also the best
case if slices of a patient are alike, with patients as units.

{separations}
{counts}
"""


def paper_markdown() -> str:
    """Write the whole page."""
    one, table = accuracy_interval(523, 624), separations()
    return PAGE.format(
        source=SOURCE,
        example=f"[{percent(one.low)}, {percent(one.high)}]",
        method=one.method,
        widths=to_markdown(_widths()),
        matrices=to_markdown(_matrices()),
        separations=to_markdown(_separations(table)),
        counts=_counts(table),
    )


def _widths() -> Table:
    names = ("Data set", "Test images", "Test patients", "Printed", "Images independent")
    accuracy = published()
    accuracy = accuracy[accuracy["metric"] == "accuracy"]
    rows = []
    for name, about in DATASETS.items():
        part = accuracy[accuracy["dataset"] == name]
        people = about.patients[1] if about.patients else None
        rows.append(
            words(
                name,
                f"{about.n_test:,}",
                people or "not given",
                f"{50 * (part['high'] - part['low']).mean():.2f}",
                f"{_mean_half(part['estimate'], about.n_test):.1f}",
                f"{_mean_half(part['estimate'], people):.1f}" if people else NONE,
            )
        )
    return Table(columns((*names, "Slices alike")), tuple(map(Row, rows)))


def _mean_half(shares: pd.Series, n: int) -> float:
    halves = []
    for share in shares:
        one = accuracy_interval(round(share * n), n)
        halves.append(50 * (one.high - one.low))
    return float(np.mean(halves))


def _matrices() -> Table:
    rows = []
    for one in recover_all():
        classes = tuple(DATASETS[one.dataset].test)
        sizes = one.confusion.sum(1)
        right = (f"{one.confusion[i, i]} of {sizes[i]} {name}" for i, name in enumerate(classes))
        sample = as_sample(one.confusion, classes)
        scores = compute_intervals(sample, ["accuracy", "balanced_accuracy"])
        rows.append(
            (
                *words(one.dataset, one.model, one.freeze, ", ".join(right)),
                *words(f"{one.misfit:.2f}", f"{one.next_misfit:.2f}"),
                *(
                    Cell(percent(s.estimate), low=percent(s.low), high=percent(s.high))
                    for s in scores.values()
                ),
            )
        )
    for name, about in DATASETS.items():
        if len(about.test) == 2:
            label = max(about.test, key=lambda c: about.train[c])
            share = percent(about.test[label] / about.n_test)
            rows.append(words(name, f"always {label}", NONE, NONE, NONE, NONE, share, "50.0"))
    return Table(columns(MATRIX_HEADINGS, left=4), tuple(map(Row, rows)))


def _separations(table: pd.DataFrame) -> Table:
    headings = ("Data set", "Model", "Difference", "p best", "p worst", "p patients, best")
    rows = [
        words(
            row["dataset"],
            row["model"],
            minus(f"{row['difference']:+.2f}"),
            *(_p(row[name]) for name in ("p_best", "p_worst", "p_patients")),
            row["reading"],
        )
        for row in table.to_dict("records")
    ]
    kinds = (*columns(headings, left=2), Column("Reading"))
    return Table(kinds, tuple(map(Row, rows)))


def _counts(table: pd.DataFrame) -> str:
    counts = table["reading"].value_counts()
    found = "; ".join(f"{n} {reading}" for reading, n in counts.items())
    return f"Of {len(table)} differences: {found}."


def _p(value: float) -> str:
    return NONE if np.isnan(value) else p_word(value)


if __name__ == "__main__":
    sys.stdout.write(paper_markdown())
