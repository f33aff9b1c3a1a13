"""What `frostline compare` finds where the truth is known: false alarms, coverage, contradictions.

    python benchmarks/type_one.py run FOLDER [--chunks 80] [--first 0] [--part 0/2]
    python benchmarks/type_one.py summary FOLDER docs/type-one.csv [--more docs/type-one.csv]

Every trial makes a test set, aligns its runs and compares them by the package's own functions
(`align`, `compare_family`), with 999 flips instead of 10,000. Runs share three quarters of the
variance of an image's noise, as real runs agree. A chunk is 25 trials of a cell, its own file; what
is there is not done again, and chunk 0 of every cell comes before chunk 1 of any. 80 chunks are
2,000 trials a cell. A run on another machine begins behind the chunks that are published
(`--first`), and its summary adds those (`--more`). Classes have even shares; images of a unit are
of one class.

- different: two runs of equal skill have p < 0.05;
- different, three runs: some pair of three runs of equal skill has an adjusted p < 0.05;
- covered: the interval of a pair holds the true difference, of runs that are 5 or 10 points of
  accuracy apart; covered together: the simultaneous intervals of three such runs hold all three;
- equivalent: a run that is worse by the margin, 5 points, is found equivalent; of three runs, each
  5 points worse than the one before, some pair is;
- contradiction: 0 lies outside of an interval whose p is not below 0.05, or inside of one whose is;
  or equivalence is found and its interval is not within the margin, or the other way round. Of all
  comparisons above;
- mcnemar by image: mid-p; where units have several images Frostline does not show it.
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
from situations import (
    SIZES,
    Rows,
    SizedCell,
    log_probabilities,
    make_rows,
    push_of,
    row_noise,
    run_chunks,
    true_ranking,
    true_values,
)

from frostline.report.predictions import Predictions
from frostline.report.statistics.comparisons.aligned import Aligned, align
from frostline.report.statistics.comparisons.decisions import ALPHA, IDENTICAL, mcnemar_p
from frostline.report.statistics.comparisons.differences import (
    Difference,
    Options,
    Pair,
    compare_family,
)
from frostline.report.statistics.intervals.flags import flag
from frostline.report.statistics.sample import Sample, Scored

TRIALS, FLIPS = 25, 999
UNITS = (9, 30, 75, 300)
CLASSES = (2, 7)
ACCURACY = (0.7, 0.9, 0.97)
METRICS = ("accuracy", "balanced_accuracy", "f1_macro", "log_loss", "roc_auc")
SHARED = 0.75
MARGIN = 0.05
CONTRADICTION = "contradiction"
NAN = float("nan")
NO_ROWS = pd.DataFrame()
# A figure of fewer trials (most were flagged, or had no interval) is not in the summary.
FEWEST_TRIALS = 50
PAIRS = [(slice(a, a + 1), slice(b, b + 1)) for a, b in ((0, 1), (0, 2), (1, 2))]
# What each kind of figure should be, with its limits.
GOALS = {
    "different": (0.0, 0.06),
    "equivalent": (0.0, 0.06),
    "not flagged": (0.92, 0.97),
    CONTRADICTION: (0.0, 0.0),
}


@dataclass
class Trial:
    """What was asked of one test set, and answered.

    Attributes
    ----------
    seed : int
        Of the flips.
    answers : dict of float
        By question: 1 yes, 0 no, NaN where there was nothing to ask.
    """

    seed: int
    answers: dict[str, float]

    def compare(
        self,
        aligned: Aligned,
        pairs: Sequence[Pair],
        metric: str = "accuracy",
        margin: float | None = None,
    ) -> list[Difference]:
        """Compare as the package does, and look for contradictions."""
        options = Options(metric, margin=margin, replicates=FLIPS, seed=self.seed)
        family = compare_family(aligned, pairs, options)
        if any(contradicts(one) for one in family):
            self.answers[CONTRADICTION] = 1.0
        return family


def grid() -> list[SizedCell]:
    """All cells: two and seven classes take turns along every side of the grid."""
    cells = []
    for places in itertools.product(*(range(len(side)) for side in (UNITS, ACCURACY, SIZES))):
        units, accuracy, sizes = UNITS[places[0]], ACCURACY[places[1]], list(SIZES)[places[2]]
        classes = CLASSES[sum(places) % 2]
        cells.append(SizedCell(units, classes, 1 / classes, accuracy, sizes != "one", sizes))
    return cells


def run_chunk(cell: SizedCell, number: int) -> pd.DataFrame:
    """A row a trial, a column a question: 1 yes, 0 no, NaN where there was nothing to ask."""
    rng = cell.generator(number)
    return pd.DataFrame([run_trial(cell, rng) for _ in range(TRIALS)])


def run_trial(cell: SizedCell, rng: np.random.Generator) -> dict[str, float]:
    """Compare the runs of one test set in every way."""
    rows = make_rows(cell, rng)
    trial = Trial(int(rng.integers(2**32)), {CONTRADICTION: 0.0})
    metrics = [name for name in METRICS if name != "roc_auc" or cell.classes == 2]
    # Three runs of equal skill, and two that are worse than the first by 5 and by 10 points.
    equal = [another(cell, rows, rng) for _ in range(3)]
    worse = [another(cell, rows, rng) for _ in range(2)]
    levels = [cell.accuracy - n * MARGIN for n in range(3)]
    alike = align([as_run(cell, one, levels[0]) for one in equal])
    equal_skill(trial, alike, metrics)
    apart = align([as_run(cell, *one) for one in zip((equal[0], *worse), levels, strict=True)])
    truths = [true_scores(cell, level) for level in levels]
    true_differences(trial, apart, {name: truths[0][name] - truths[2][name] for name in metrics})
    return trial.answers


def another(cell: SizedCell, rows: Rows, rng: np.random.Generator) -> Rows:
    """What another model makes of the images: noise that is three quarters the images' own."""
    own = row_noise(cell, rows.unit, rng)
    return replace(rows, noise=SHARED**0.5 * rows.noise + (1 - SHARED) ** 0.5 * own)


def as_run(cell: SizedCell, rows: Rows, accuracy: float, lift: float = 0.0) -> Scored:
    """The run as `compare` has it after reading; `lift` is added to the push of an accuracy."""
    push = push_of(cell.classes, accuracy, cell.grouped) + lift
    logits = rows.logits(push)
    sample = Sample(
        truth=rows.truth,
        prediction=logits.argmax(1),
        groups=rows.unit if cell.grouped else None,
        classes=tuple(str(c) for c in range(cell.classes)),
        unit="group" if cell.grouped else "image",
        test_set="",
        split="test",
        notes=(),
        probs=np.exp(log_probabilities(logits, push)),
        n_images=len(rows.truth),
        ids=np.arange(len(rows.truth)).astype(object),
    )
    return Predictions(NO_ROWS, {"run": ""}), sample


def equal_skill(trial: Trial, alike: Aligned, metrics: Sequence[str]) -> None:
    """Ask of two runs by every metric, and of three by accuracy, whether they differ."""
    for metric in metrics:
        family = trial.compare(alike, PAIRS if metric == "accuracy" else PAIRS[:1], metric)
        # Of identical runs nothing is tested; else p is undefined because the metric is.
        undefined = np.isnan(family[0].p) and family[0].verdict != IDENTICAL
        trial.answers[f"different: {metric}"] = NAN if undefined else float(family[0].p < ALPHA)
        if len(family) > 1:
            trial.answers[f"different, three runs: {metric}"] = any_marked(family)
    right = [one.prediction == one.truth for one in alike.samples[:2]]
    p = mcnemar_p(int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum()))
    trial.answers["mcnemar by image: accuracy"] = float(p < ALPHA)


def true_differences(trial: Trial, apart: Aligned, gaps: dict[str, float]) -> None:
    """Ask of runs that are 5 and 10 points apart what intervals hold, and what is equivalent."""
    for metric, gap in gaps.items():
        if metric != "accuracy":
            (one,) = trial.compare(apart, PAIRS[1:2], metric)
            ask_covered(trial, f"{metric}, 10 points", one, gap, flagged(apart, PAIRS[1], metric))
    family = trial.compare(apart, PAIRS, margin=MARGIN)
    doubted = [flagged(apart, pair, "accuracy") for pair in PAIRS]
    for place, points in ((1, 10), (0, 5)):
        what = f"accuracy, {points} points"
        ask_covered(trial, what, family[place], points / 100, doubted[place])
    gaps_of_three = (MARGIN, 2 * MARGIN, MARGIN)
    each = [holds(one.low, one.high, gap) for one, gap in zip(family, gaps_of_three, strict=True)]
    # NaN, of a pair without an interval, is carried on.
    note_covered(trial, "accuracy, three runs together", float(np.prod(each)), any(doubted))
    alone = trial.compare(apart, PAIRS[:1], margin=MARGIN)
    for what, some in (("", alone), (", three runs", family)):
        p = [1.0 if one.equivalence_p is None else one.equivalence_p for one in some]
        trial.answers[f"equivalent{what}: accuracy"] = float(min(p) < ALPHA)


def ask_covered(trial: Trial, what: str, one: Difference, gap: float, doubted: bool) -> None:
    """Ask whether a pair's own interval holds the true difference."""
    note_covered(trial, what, holds(one.pair_low, one.pair_high, gap), doubted)


def note_covered(trial: Trial, what: str, held: float, doubted: bool) -> None:
    """Note whether an interval holds the truth, and the same of those that are not flagged."""
    trial.answers[f"covered: {what}"] = held
    trial.answers[f"covered, not flagged: {what}"] = NAN if doubted else held


def holds(low: float, high: float, truth: float) -> float:
    """Whether an interval holds the true value; NaN where there is none."""
    return NAN if np.isnan(low) else float(low - 1e-9 <= truth <= high + 1e-9)


def flagged(aligned: Aligned, pair: Pair, metric: str) -> bool:
    """Whether there is anything to distrust of either run's score."""
    return any(flag(metric, aligned.samples[part.start]) for part in pair)


def any_marked(family: Sequence[Difference]) -> float:
    """Whether an adjusted p of the family is below 0.05."""
    return float(any(one.p_adjusted < ALPHA for one in family))


def contradicts(one: Difference) -> bool:
    """Whether p and interval, the pair's or the family's, or those of equivalence disagree."""
    shown = [(one.p, one.pair_low, one.pair_high), (one.p_adjusted, one.low, one.high)]
    apart = any((p < ALPHA) != (low > 0 or high < 0) for p, low, high in shown)
    low, high, p = one.equivalence_low, one.equivalence_high, one.equivalence_p
    if low is None or high is None or p is None:
        return apart
    return apart or (p < ALPHA) != (low > -MARGIN and high < MARGIN)


@cache
def true_scores(cell: SizedCell, accuracy: float) -> dict[str, float]:
    """The metrics of an endless sample at this accuracy."""
    cell = replace(cell, accuracy=accuracy)
    return true_values(cell) | (true_ranking(cell) if cell.classes == 2 else {})


def summarise(folder: Path) -> pd.DataFrame:
    """A row a cell and question: trials in which it was asked, and the share of yes."""
    return shares_of(folder, grid(), ("units", "classes", "accuracy", "sizes"))


def shares_of(folder: Path, cells: Sequence[SizedCell], names: Sequence[str]) -> pd.DataFrame:
    """A row a cell, by these fields of it, and question: trials, and the share of yes."""
    rows = []
    for index, cell in enumerate(cells):
        files = sorted(folder.glob(f"{index:04d}-*.parquet"))
        if files:
            table = pd.concat([pd.read_parquet(file) for file in files])
            about = {name: cell.about[name] for name in names}
            rows += [
                about | {"question": name, "trials": int(one.count()), "share": one.mean()}
                for name, one in table.items()
            ]
    return pd.DataFrame(rows)


def together(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Add up the trials of summaries whose chunks were others."""
    every = pd.concat([table.assign(yes=table["share"] * table["trials"]) for table in tables])
    about = list(tables[0].columns[:-2])
    found = every.groupby(about, sort=False)[["trials", "yes"]].sum().reset_index()
    found["share"] = (found["yes"] / found["trials"]).where(found["trials"] > 0)
    return found[list(tables[0].columns)]


def missed(table: pd.DataFrame) -> pd.Series:
    """Mark figures that miss their goal by more than two standard errors of their trials."""
    limits = [next((GOALS[k] for k in GOALS if k in q), (0.0, 1.0)) for q in table["question"]]
    low, high = np.array(limits, dtype=float).reshape(-1, 2).T
    low_error, high_error = (np.sqrt(at * (1 - at) / table["trials"]) for at in (low, high))
    share = table["share"]
    return (share < low - 2 * low_error) | (share > high + 2 * high_error)


def as_markdown(table: pd.DataFrame) -> str:
    """The table of `docs/statistics.md`: mean and worst share by question and number of units."""
    sizes = sorted(table["units"].unique())
    lines = [
        "| question | " + " | ".join(f"{n} units" for n in sizes) + " | missed |",
        "| --- |" + " ---: |" * (len(sizes) + 1),
    ]
    for name in table["question"].unique():
        part = table[(table["question"] == name) & (table["trials"] >= FEWEST_TRIALS)]
        kinds = [(name, part)]
        if name.startswith("mcnemar"):
            one = part["sizes"] == "one"
            kinds = [(f"{name}, one image a unit", part[one]), (f"{name}, several", part[~one])]
        for title, rows in kinds:
            cells = [_cell(title, 100 * rows[rows["units"] == n]["share"]) for n in sizes]
            wrong = f"{int(missed(rows).sum())} of {len(rows)}" if _has_goal(name) else ""
            lines.append(f"| {title} | {' | '.join(cells)} | {wrong} |")
    return "\n".join(lines) + "\n"


def _cell(title: str, shares: pd.Series) -> str:
    if not len(shares):
        return "–"
    if title.startswith("covered"):
        return f"{shares.mean():.0f} ({shares.min():.0f}–{shares.max():.0f})"
    return f"{shares.mean():.1f} ({shares.max():.1f})"


def _has_goal(question: str) -> bool:
    return any(kind in question for kind in GOALS)


def main() -> None:
    """Parse and go."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["run", "summary"])
    parser.add_argument("paths", type=Path, nargs="+")
    parser.add_argument("--chunks", type=int, default=80, help="how many there should be in all")
    parser.add_argument("--first", type=int, default=0, help="the chunk to begin with")
    parser.add_argument("--more", type=Path, help="a summary of other chunks, to be added")
    parser.add_argument("--part", default="0/1", help="this process's share of the cells")
    options = parser.parse_args()
    if options.what == "run":
        first, _, of = options.part.partition("/")
        chunks = range(options.first, options.chunks)
        run_chunks(options.paths[0], chunks, (int(first), int(of)), grid(), run_chunk)
        return
    table = summarise(options.paths[0])
    if options.more:
        table = together([pd.read_csv(options.more), table])
    table.to_csv(options.paths[1], index=False, float_format="%.4g", lineterminator="\n")
    print(as_markdown(table))
    known = table[table["trials"] >= FEWEST_TRIALS]
    print(known[missed(known)].to_string(index=False))


if __name__ == "__main__":
    main()
