"""How often subgroups that are equally good differ by a test: its level, and what it finds.

    python benchmarks/subgroups.py docs/subgroups.csv [--trials 500] [--jobs 2]

Every trial makes a test set whose subgroups have one true score, and tests it by the package's own
functions, and by three others:

- plain: a Wald test of the estimates as they are, by chi-square;
- flips: signs of what units contribute under the hypothesis, flipped 499 times (the statistic is
  the sum over subgroups of squared sums over sums of squares);
- permuted: subgroups exchanged among patients 499 times (the statistic is the sum of squared
  differences from the whole, each over its share of images): of metrics that are means alone.

Rejected is the share of all trials with p < 0.05; a trial without a test rejects nothing. Images
are drawn as in a probit model with an effect of the patient. In `unequal` the first subgroup has
one image a patient, the others five that agree; in `within` every image has a subgroup of its own,
so that patients are in several. In the last cells the first subgroup is truly worse.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import chdtrc, ndtr, ndtri

from frostline.report.clinical.subgroups.interaction import Part, find_interaction, make_part
from frostline.report.clinical.subgroups.scores import part_of
from frostline.report.statistics.sample import Sample

DRAWN = 499
CLASSES = ("healthy", "sick")
SIZES = ((20, 60), (60, 200), (30, 30, 30), (10, 30, 90), (15, 20, 30, 80))
METRICS = (
    *(("accuracy", 0.8), ("accuracy", 0.95), ("recall[sick]", 0.85)),
    *(("roc_auc", 0.8), ("roc_auc", 0.95)),
)
KINDS = ("one image", "1 to 5 images", "unequal", "within")


@dataclass(frozen=True)
class Cell:
    """A situation: patients of each subgroup, their images, metric and its true value."""

    sizes: tuple[int, ...]
    kind: str
    metric: str
    value: float
    worse: float = 0.0


def cells() -> Iterator[Cell]:
    """Give the situations without a difference, then those with one."""
    for kind, sizes, (metric, value) in itertools.product(KINDS, SIZES, METRICS):
        yield Cell(sizes, kind, metric, value)
    for sizes, (metric, value) in itertools.product(SIZES[:2], METRICS[:1] + METRICS[3:4]):
        yield Cell(sizes, "one image", metric, value, 0.2)


def make_rows(cell: Cell, rng: np.random.Generator) -> tuple[Sample, npt.NDArray[np.int64]]:
    """Draw a test set, and the subgroup of each image."""
    own = np.repeat(np.arange(len(cell.sizes)), cell.sizes)
    units = len(own)
    few = np.ones(units, dtype=np.int64)
    images = {
        "one image": few,
        "1 to 5 images": rng.integers(1, 6, units),
        "unequal": np.where(own == 0, 1, 5),
        "within": rng.integers(1, 6, units),
    }[cell.kind]
    member = np.repeat(np.arange(units), images)
    n = len(member)
    agree = {"one image": 0.0, "unequal": 0.5}.get(cell.kind, 0.3)
    noise = agree**0.5 * rng.normal(size=units)[member] + (1 - agree) ** 0.5 * rng.normal(size=n)
    group = own[member]
    if cell.kind == "within":
        group = rng.choice(len(cell.sizes), n, p=np.array(cell.sizes) / units)
    value = np.where(group == 0, cell.value - cell.worse, cell.value)
    truth = (rng.random(units) < 0.4)[member].astype(np.int64)
    if cell.metric == "roc_auc":
        score = noise + 2**0.5 * ndtri(value) * truth
        chance = ndtr(score - 2**-0.5 * ndtri(cell.value))
        called = (chance > 0.5).astype(np.int64)
    else:
        called = np.where(noise < ndtri(value), truth, 1 - truth)
        chance = np.where(called == 1, 0.9, 0.1)
    probs = np.column_stack([1 - chance, chance])
    groups = None if images.max() == 1 else member
    unit = "image" if groups is None else "group"
    sample = Sample(truth, called, groups, CLASSES, unit, "", "test", (), probs, n, declared=True)
    return sample, group


def trial(cell: Cell, rng: np.random.Generator) -> dict[str, float]:
    """Give the p of every test; 1 where there is none."""
    sample, group = make_rows(cell, rng)
    member = np.arange(len(group)) if sample.groups is None else sample.groups
    units = int(member.max()) + 1
    parts, chosen = [], np.zeros(len(group), dtype=bool)
    for number in range(len(cell.sizes)):
        rows = group == number
        one, why = part_of(sample, rows, cell.metric)
        made = None if why else make_part(one, cell.metric, member[rows], units)
        if made is not None:
            parts.append(made)
            chosen |= rows
    none = {"tested": 0.0, "F": 1.0, "plain": 1.0, "flips": 1.0, "permuted": np.nan}
    if len(parts) < 2:
        return none
    whole = make_part(part_of(sample, chosen, cell.metric)[0], cell.metric, member[chosen], units)
    if whole is None:
        return none
    found = find_interaction(parts, whole, (0.0, 1.0))
    p = {"tested": float(not found.reason), "F": 1.0 if found.reason else found.p}
    if found.reason:
        return none | p
    p |= {"plain": _plain(parts), "flips": _flips(parts, whole, rng)}
    return {**p, "permuted": _permuted(cell, sample, group, member, rng)}


def _plain(parts: list[Part]) -> float:
    values = np.array([part.estimate for part in parts])
    shares = np.stack([part.shares for part in parts], axis=1)
    contrasts = np.eye(len(parts))[1:] - np.eye(len(parts))[0]
    inner = contrasts @ shares.T @ shares @ contrasts.T
    apart = contrasts @ values
    statistic = float(apart @ np.linalg.pinv(inner) @ apart)
    return float(chdtrc(len(apart), statistic))


def _flips(parts: list[Part], whole: Part, rng: np.random.Generator) -> float:
    apart = np.array([part.estimate for part in parts]) - whole.estimate
    rows = [part.shares + part.weights * d for part, d in zip(parts, apart, strict=True)]
    residuals = np.stack(rows, axis=1)
    squares = (residuals**2).sum(0)
    signs = rng.choice([-1.0, 1.0], size=(DRAWN, len(residuals)))
    drawn = ((signs @ residuals) ** 2 / squares).sum(1)
    return float(
        (1 + (drawn >= (residuals.sum(0) ** 2 / squares).sum() - 1e-9).sum()) / (DRAWN + 1)
    )


def _permuted(
    cell: Cell,
    sample: Sample,
    group: npt.NDArray[np.int64],
    member: npt.NDArray[np.int64],
    rng: np.random.Generator,
) -> float:
    if cell.metric == "roc_auc" or cell.kind == "within":
        return float("nan")
    rows = sample.truth == 1 if cell.metric.startswith("recall") else np.ones(len(group), bool)
    units = int(member.max()) + 1
    right = np.bincount(member[rows], (sample.truth == sample.prediction)[rows], units)
    images = np.bincount(member[rows], minlength=units)
    of = np.zeros(units, dtype=np.int64)
    of[member] = group
    centre = right.sum() / images.sum()

    def statistic(labels: npt.NDArray[np.int64]) -> float:
        count = np.bincount(labels, images, len(cell.sizes))
        apart = np.bincount(labels, right, len(cell.sizes)) - count * centre
        return float((apart**2 / np.maximum(count, 1)).sum())

    seen = statistic(of) - 1e-9
    return (1 + sum(statistic(rng.permutation(of)) >= seen for _ in range(DRAWN))) / (DRAWN + 1)


def run_cell(given: tuple[int, Cell, int]) -> dict[str, object]:
    """Run the trials of a cell."""
    number, cell, trials = given
    rng = np.random.default_rng([19, number])
    p = pd.DataFrame([trial(cell, rng) for _ in range(trials)])
    rejected = {name: (p[name] < 0.05).mean() for name in ("F", "plain", "flips", "permuted")}
    if p["permuted"].isna().all():
        rejected["permuted"] = float("nan")
    about = {"groups": ", ".join(map(str, cell.sizes)), "images": cell.kind}
    about |= {"metric": cell.metric, "true": cell.value, "worse": cell.worse}
    return {**about, "trials": trials, "tested": p["tested"].mean(), **rejected}


def main() -> None:
    """Run all cells and write a row for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    todo = [(number, cell, given.trials) for number, cell in enumerate(cells())]
    with ProcessPoolExecutor(given.jobs) as pool:
        table = pd.DataFrame(list(pool.map(run_cell, todo)))
    table.round(4).to_csv(given.out, index=False, lineterminator="\n")
    print(table.to_string())


if __name__ == "__main__":
    main()
