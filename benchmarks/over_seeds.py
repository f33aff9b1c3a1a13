"""What `frostline compare` finds of methods with several seeds, where the truth is known.

    python benchmarks/over_seeds.py run FOLDER [--chunks 80] [--part 0/2]
    python benchmarks/over_seeds.py summary FOLDER docs/over-seeds.csv

Test sets and runs are those of `type_one.py`, by accuracy. The push towards the true class differs
from seed to seed: at a spread of 0.15 the standard deviation of accuracy is 0.5 to 4 points, at 0.3
it is 1 to 9. Seeds are each method's own, or what a seed does it does to all methods, as one that
chooses the folds or the images to train on. A chunk is 25 trials of a cell, its own file; what is
there is not done again. 80 chunks are 2,000 trials a cell.

- marked: some pair of two, three or six equally good methods has an adjusted p < 0.05;
- covered: the interval holds the true difference of methods that are 5 points apart;
- found: that difference has p < 0.05; "by one seed": the trained models of the first seeds differ
  significantly, which says nothing of the methods;
- contradiction: p and interval disagree, of any comparison above.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from situations import Rows, SizedCell, called_shares, make_rows, push_of, run_chunks
from type_one import (
    ALPHA,
    CONTRADICTION,
    FLIPS,
    MARGIN,
    NAN,
    another,
    any_marked,
    as_run,
    contradicts,
    holds,
    shares_of,
)

from frostline.report.statistics.comparisons.aligned import Aligned, align
from frostline.report.statistics.comparisons.differences import (
    Difference,
    Options,
    Pair,
    compare_family,
)
from frostline.report.statistics.sample import Scored

TRIALS = 25
UNITS, ACCURACY, SIZES = (30, 300), (0.7, 0.9), ("one",)
METHODS = 6
SEEDS = (2, 3, 5)
# How much the push differs between seeds, and whether it does so for all methods alike.
SPREADS = ((0.15, False), (0.3, False), (0.3, True))
GOALS = {"marked": (0.0, 0.06), "covered": (0.92, 1.0), CONTRADICTION: (0.0, 0.0)}
# Points and weights of a standard normal: how the push differs between seeds.
LIFTS = np.polynomial.hermite_e.hermegauss(7)
FIELDS = ("seeds", "spread", "shared", "units", "accuracy", "sizes")


@dataclass(frozen=True)
class SeedsCell(SizedCell):
    """A situation, how many seeds methods have, how much these differ, and whether for all."""

    seeds: int
    spread: float
    shared: bool

    def lift(self, rng: np.random.Generator, methods: int) -> np.ndarray:
        """What each seed of each method adds to the push: [methods, seeds]."""
        rows = 1 if self.shared else methods
        return np.repeat(self.spread * rng.standard_normal((rows, self.seeds)), methods // rows, 0)


def grid() -> list[SeedsCell]:
    """All cells, of two classes."""
    return [
        SeedsCell(units, 2, 0.5, accuracy, sizes != "one", sizes, seeds, spread, shared)
        for units, accuracy, sizes, seeds, (spread, shared) in itertools.product(
            UNITS, ACCURACY, SIZES, SEEDS, SPREADS
        )
    ]


def run_chunk(cell: SeedsCell, number: int) -> pd.DataFrame:
    """A row a trial, a column a question: 1 yes, 0 no, NaN where there is no interval."""
    rng = cell.generator(number)
    return pd.DataFrame([run_trial(cell, rng) for _ in range(TRIALS)])


def run_trial(cell: SeedsCell, rng: np.random.Generator) -> dict[str, float]:
    """Compare six equally good methods, and two that are 5 points apart."""
    rows = make_rows(cell, rng)
    seed = int(rng.integers(2**32))
    alike = made(cell, rows, [cell.accuracy] * METHODS, rng)
    apart = made(cell, rows, [cell.accuracy, cell.accuracy - MARGIN], rng)
    places = [slice(i * cell.seeds, (i + 1) * cell.seeds) for i in range(METHODS)]
    first, second = places[:2]
    options = Options(replicates=FLIPS, seed=seed)

    def compared(aligned: Aligned, pairs: Sequence[Pair]) -> list[Difference]:
        return compare_family(aligned, pairs, options)

    families = [
        compared(alike, list(itertools.combinations(places[:methods], 2))) for methods in (2, 3, 6)
    ]
    (gap,) = compared(apart, [(first, second)])
    (alone,) = compared(apart, [(slice(0, 1), slice(cell.seeds, cell.seeds + 1))])
    best, worse = (true_accuracy(cell, level) for level in (cell.accuracy, cell.accuracy - MARGIN))
    return {
        CONTRADICTION: float(any(map(contradicts, (*itertools.chain(*families), gap)))),
        "marked, two methods": any_marked(families[0]),
        "marked, three methods": any_marked(families[1]),
        "marked, six methods": any_marked(families[2]),
        "covered": holds(gap.low, gap.high, best - worse),
        "found": float(gap.p < ALPHA),
        "found by one seed": NAN if np.isnan(alone.p) else float(alone.p < ALPHA),
    }


def made(cell: SeedsCell, rows: Rows, levels: Sequence[float], rng: np.random.Generator) -> Aligned:
    """Make runs of methods with these accuracies, one after the other, seed by seed."""
    runs: list[Scored] = []
    for level, lifts in zip(levels, cell.lift(rng, len(levels)), strict=True):
        for seed, lift in enumerate(lifts):
            run, sample = as_run(cell, another(cell, rows, rng), level, lift)
            runs.append((replace(run, meta={"run": "", "seed": seed}), sample))
    return align(runs)


@cache
def true_accuracy(cell: SeedsCell, level: float) -> float:
    """The mean accuracy of an endless sample over all seeds of a method of this level."""
    push = push_of(cell.classes, level, cell.grouped)
    points, weights = LIFTS
    called = [
        called_shares(cell.classes, push + cell.spread * lift, cell.grouped) for lift in points
    ]
    right = np.diagonal(called, axis1=1, axis2=2) @ cell.shares
    return float(np.average(right, weights=weights))


def missed(table: pd.DataFrame) -> pd.Series:
    """Mark figures that miss their goal by more than two standard errors of their trials."""
    goals = [
        next((goal for kind, goal in GOALS.items() if question.startswith(kind)), (0.0, 1.0))
        for question in table["question"]
    ]
    low, high = np.array(goals, dtype=float).reshape(-1, 2).T
    errors = [2 * np.sqrt(at * (1 - at) / table["trials"]) for at in (low, high)]
    return (table["share"] < low - errors[0]) | (table["share"] > high + errors[1])


def as_markdown(table: pd.DataFrame) -> str:
    """The table of `docs/statistics.md`: mean and extreme shares over cells."""
    about = ["seeds", "spread", "shared"]
    kinds = table[about].drop_duplicates().sort_values(["shared", "spread", "seeds"])
    questions = list(table["question"].unique())
    lines = [
        "| seeds | spread | " + " | ".join(questions) + " | missed |",
        "| ---: | --- |" + " ---: |" * (len(questions) + 1),
    ]
    for kind in kinds.to_dict("records"):
        part = table[(table[about] == pd.Series(kind)).all(axis=1)]
        cells = [_cell(question, part[part["question"] == question]) for question in questions]
        whose = ", of all methods" if kind["shared"] else ""
        wrong = f"{int(missed(part).sum())} of {len(part)}"
        lines.append(
            f"| {kind['seeds']} | {kind['spread']}{whose} | {' | '.join(cells)} | {wrong} |"
        )
    return "\n".join(lines) + "\n"


def _cell(question: str, part: pd.DataFrame) -> str:
    share = 100 * part["share"]
    end = share.min() if question == "covered" else share.max()
    return f"{share.mean():.1f}" + ("" if question.startswith("found") else f" ({end:.1f})")


def main() -> None:
    """Parse and go."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["run", "summary"])
    parser.add_argument("paths", type=Path, nargs="+")
    parser.add_argument("--chunks", type=int, default=80)
    parser.add_argument("--part", default="0/1", help="this process's share of the cells")
    options = parser.parse_args()
    if options.what == "run":
        first, _, of = options.part.partition("/")
        part, chunks = (int(first), int(of)), range(options.chunks)
        run_chunks(options.paths[0], chunks, part, grid(), run_chunk)
        return
    table = shares_of(options.paths[0], grid(), FIELDS)
    table.to_csv(options.paths[1], index=False, float_format="%.4g", lineterminator="\n")
    print(as_markdown(table))
    print(table[missed(table)].to_string(index=False))


if __name__ == "__main__":
    main()
