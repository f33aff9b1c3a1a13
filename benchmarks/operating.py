"""How often intervals at a threshold that validation chose hold the truth.

    python benchmarks/operating.py run FOLDER [--chunks 20] [--part 0/2]
    python benchmarks/operating.py summary FOLDER docs/operating.csv

A trial draws validation and test, of as many units each, by `situations.py`, and asks the functions
that `frostline evaluate --threshold` itself calls. A chunk is 100 trials of a cell, its own file;
20 chunks are 2,000 trials a cell. In cells with folds a trial draws one set, whose threshold is
chosen on four fifths at a time.

The positive class is the rarest. Truth is the normal distribution that scores are drawn from:

- held: the sensitivity and specificity of this very threshold;
- repeated: their mean over the thresholds that are chosen in all trials of the cell.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit, logit, ndtr
from situations import SizedCell, make_rows, push_of, run_chunks, spread_of

from frostline.report.clinical.choice import Choice, rows_of
from frostline.report.clinical.operating import Asked, compute_points
from frostline.report.clinical.thresholds import parse_rule
from frostline.report.statistics.sample import Sample

TRIALS, REPLICATES, FOLDS = 100, 500, 5
RULES = ("youden", "sensitivity=0.95", "specificity=0.9")
METRICS = ("sensitivity", "specificity")
ACCURACY, GOAL = 0.85, (0.92, 0.97)
# A figure of fewer intervals without a flag says little.
FEWEST_TRIALS = 100


@dataclass(frozen=True)
class PointCell(SizedCell):
    """A situation, and whether thresholds are chosen by folds."""

    folds: bool = False


def grid() -> list[PointCell]:
    """All cells."""
    return [
        PointCell(units, 2, share, ACCURACY, sizes != "one", sizes, folds)
        for units, share, sizes, folds in _levels()
    ]


def _levels() -> Iterator[tuple[int, float, str, bool]]:
    for sizes in ("one", "1 to 12"):
        for units, shares in ((30, (0.5, 0.2)), (75, (0.5, 0.2)), (200, (0.5, 0.2, 0.1))):
            for share in shares:
                yield units, share, sizes, False
    for units in (75, 200):
        yield units, 0.5, "one", True


def run_chunk(cell: PointCell, number: int) -> pd.DataFrame:
    """A row a trial and rule."""
    rng = cell.generator(number)
    return pd.DataFrame([row for _ in range(TRIALS) for row in run_trial(cell, rng)])


def run_trial(cell: PointCell, rng: np.random.Generator) -> Iterator[dict[str, float]]:
    """Ask for the operating points of one model by every rule."""
    sample, fold = made_sample(cell, rng)
    scored = rows_of(sample, fold)
    choosing, seed = (
        scored if cell.folds else rows_of(made_sample(cell, rng)[0]),
        rng.integers(2**32),
    )
    for place, rule in enumerate(RULES):
        asked = Asked(parse_rule(rule), replicates=REPLICATES, seed=int(seed))
        choice = Choice(asked.rule, None, choosing, scored)
        held, repeated, notes = compute_points(choice, sample, asked)
        row = {"rule": place}
        truth = np.mean([true_values(cell, at) for at in choice.thresholds], axis=0)
        for name, true in zip(METRICS, truth, strict=True):
            one, (low, high) = held[name], repeated[name]
            row |= {f"{name}|true": true, f"{name}|low": one.low, f"{name}|high": one.high}
            row |= {f"{name}|low_repeated": low, f"{name}|high_repeated": high}
            row |= {f"{name}|flagged": len(one.notes) > 0}
            row |= {f"{name}|flagged_repeated": len(one.notes) + len(notes) > 0}
        yield row


def made_sample(cell: PointCell, rng: np.random.Generator) -> tuple[Sample, np.ndarray | None]:
    """Make the rows of a model, the positive class last, and their folds."""
    rows, push = make_rows(cell, rng), push_of(2, cell.accuracy, cell.grouped)
    logits = rows.logits(push)
    wanted = expit((logits[:, 0] - logits[:, 1]) * max(push, 0.1))
    sample = Sample(
        truth=1 - rows.truth,
        prediction=np.zeros(len(wanted), dtype=np.int64),
        groups=rows.unit if cell.grouped else None,
        classes=("other", "wanted"),
        unit="group" if cell.grouped else "image",
        test_set="",
        split="test",
        notes=(),
        probs=np.column_stack([1 - wanted, wanted]),
        n_images=len(wanted),
    )
    # Units are made by chance, so that any folds are.
    return sample, rows.unit % FOLDS if cell.folds else None


def true_values(cell: PointCell, threshold: float) -> tuple[float, float]:
    """Sensitivity and specificity of a threshold, in an endless sample."""
    push, spread = push_of(2, cell.accuracy, cell.grouped), np.sqrt(2) * spread_of(cell.grouped)
    at = logit(threshold) / max(push, 0.1)
    return float(ndtr((push - at) / spread)), float(ndtr((push + at) / spread))


def summarise(folder: Path) -> pd.DataFrame:
    """A row a cell, rule, metric and kind of interval: how often given, unflagged, covered."""
    rows = []
    for index, cell in enumerate(grid()):
        files = sorted(folder.glob(f"{index:04d}-*.parquet"))
        for place, rule in enumerate(RULES):
            if not files:
                continue
            table = pd.concat([pd.read_parquet(file) for file in files])
            part = table[table["rule"] == place]
            about = {name: value for name, value in cell.about.items() if name != "grouped"}
            for metric in METRICS:
                for kind in ("held", "repeated"):
                    about |= {"rule": rule, "metric": metric, "interval": kind}
                    rows.append(about | _summary(part, metric, kind))
    return pd.DataFrame(rows)


def _summary(part: pd.DataFrame, metric: str, kind: str) -> dict[str, float]:
    suffix = "_repeated" if kind == "repeated" else ""
    low, high = (part[f"{metric}|{end}{suffix}"] for end in ("low", "high"))
    truth = part[f"{metric}|true"]
    if kind == "repeated":
        truth = pd.Series(truth.mean(), index=truth.index)
    given = (low.notna() & truth.notna()).to_numpy()
    held = ((low - 1e-6 <= truth) & (truth <= high + 1e-6)).to_numpy()
    clean = given & (part[f"{metric}|flagged{suffix}"] == 0).to_numpy()
    return {
        "trials": len(part),
        "given": given.mean(),
        "covered": held[given].mean() if given.any() else np.nan,
        "unflagged": clean.mean(),
        "covered_unflagged": held[clean].mean() if clean.sum() >= FEWEST_TRIALS else np.nan,
        "width": float((high - low)[given].mean()),
    }


def missed(table: pd.DataFrame) -> pd.Series:
    """Mark figures that miss the goal by more than two standard errors of their trials."""
    share, trials = table["covered_unflagged"], table["trials"] * table["unflagged"]
    low, high = ((at, 2 * np.sqrt(at * (1 - at) / trials)) for at in GOAL)
    return (share < low[0] - low[1]) | (share > high[0] + high[1])


def as_markdown(table: pd.DataFrame) -> str:
    """The table of `docs/clinical.md`: lowest and highest coverage over the rules."""
    lines = [
        "| units | positive | images a unit | sensitivity: held | repeated | specificity: held "
        "| repeated |",
        "| ---: | ---: | --- | ---: | ---: | ---: | ---: |",
    ]
    for keys, part in table.groupby(["folds", "sizes", "units", "rarest"], sort=False):
        folds, sizes, units, share = keys
        cells = [
            _cell(part[(part["metric"] == metric) & (part["interval"] == kind)])
            for metric in METRICS
            for kind in ("held", "repeated")
        ]
        how = f"{sizes}, by folds" if folds else sizes
        lines.append(f"| {units} | {share:.0%} | {how} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(part: pd.DataFrame) -> str:
    """Write the lowest and the highest of figures that at most half of trials are flagged in."""
    shown = 100 * judged(part)["covered_unflagged"]
    if not len(shown):
        return "flagged"
    return f"{shown.min():.1f}–{shown.max():.1f}" if len(shown) > 1 else f"{shown.iloc[0]:.1f}"


def judged(table: pd.DataFrame) -> pd.DataFrame:
    """The figures that the goal is set for: where most trials have an interval without a flag."""
    return table[table["unflagged"] >= 0.5]


def main() -> None:
    """Parse and go."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["run", "summary"])
    parser.add_argument("paths", type=Path, nargs="+")
    parser.add_argument("--chunks", type=int, default=20)
    parser.add_argument("--part", default="0/1", help="this process's share of the cells")
    options = parser.parse_args()
    if options.what == "run":
        first, _, of = options.part.partition("/")
        chunks = range(options.chunks)
        run_chunks(options.paths[0], chunks, (int(first), int(of)), grid(), run_chunk)
        return
    table = summarise(options.paths[0])
    table.to_csv(options.paths[1], index=False, float_format="%.4g", lineterminator="\n")
    print(as_markdown(table))
    print(table[missed(table)].to_string(index=False))


if __name__ == "__main__":
    main()
