"""How often `auto` covers where patients have very unequal numbers of images.

    python benchmarks/unequal_groups.py [--trials 1000] [--units 75 200]

Sizes are 1 + a negative binomial (dispersion 0.5, mean 5), and Pareto (shape 1.2) cut at 200.
Images are those of `situations.py`, alike within a patient. Prints a Markdown table: coverage of
the intervals that are not flagged, in percent, over all situations and in the worst that has 100 of
them, and the share of trials that are not. Trials without an interval are left out.
"""

from __future__ import annotations

import argparse
from collections import defaultdict

import numpy as np
from situations import Cell, log_probabilities, push_of, true_ranking, true_values

from frostline.report.statistics.intervals.intervals import compute_intervals
from frostline.report.statistics.sample import Sample

METRICS = (
    *("accuracy", "balanced_accuracy", "f1_macro", "precision_weighted", "cohen_kappa"),
    *("log_loss", "brier_score_loss", "roc_auc"),
)
SITUATIONS = ((2, 0.5, 0.7), (2, 0.5, 0.9), (2, 0.2, 0.9), (3, 1 / 3, 0.9))
MOST = 200


def draw_sizes(kind: str, units: int, rng: np.random.Generator) -> np.ndarray:
    """Images of each patient."""
    if kind == "negative binomial":
        return 1 + rng.negative_binomial(0.5, 0.5 / 5.5, units)
    return np.minimum(rng.pareto(1.2, units) + 1, MOST).astype(np.int64)


def draw_sample(cell: Cell, sizes: np.ndarray, rng: np.random.Generator) -> Sample:
    """A test set of patients of these sizes, as `situations.make_images` makes one."""
    k, push = cell.classes, push_of(cell.classes, cell.accuracy, True)
    truth = rng.choice(k, size=cell.units, p=cell.shares)
    unit = np.repeat(np.arange(cell.units), sizes)
    logits = rng.standard_normal((len(unit), k)) + rng.standard_normal((cell.units, k))[unit]
    logits[np.arange(len(unit)), truth[unit]] += push
    probs = np.exp(log_probabilities(logits, push))
    names = tuple(map(str, range(k)))
    called = logits.argmax(1)
    return Sample(truth[unit], called, unit, names, "group", "", "test", (), probs, len(unit))


def main() -> None:
    """Parse and go."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--units", type=int, nargs="+", default=[75, 200])
    options = parser.parse_args()
    print("| sizes | patients | metric | covered, not flagged | worst | not flagged |")
    print("| --- | ---: | --- | ---: | ---: | ---: |")
    for kind in ("negative binomial", "Pareto"):
        for units in options.units:
            rows = defaultdict(list)
            for situation in SITUATIONS:
                for name, (clean, held) in _try(kind, Cell(units, *situation, True), options):
                    rows[name].append((clean, held))
            for name, pairs in rows.items():
                # Of few trials a share says nothing.
                shares = [100 * held / clean for clean, held in pairs if clean >= 100]
                clean = sum(one for one, _ in pairs)
                if shares:
                    held = 100 * sum(one for _, one in pairs) / clean
                    share = 100 * clean / len(pairs) / options.trials
                    found = f"{held:.1f} | {min(shares):.1f} | {share:.0f}"
                else:
                    found = "all flagged | – | –"
                print(f"| {kind} | {units} | {name} | {found} |", flush=True)


def _try(kind: str, cell: Cell, options: argparse.Namespace) -> list[tuple[str, tuple[int, int]]]:
    """Count the intervals that are not flagged, and those of them that cover, by metric."""
    rng, truth = cell.generator(0), true_values(cell)
    names = [name for name in METRICS if name != "roc_auc" or cell.classes == 2]
    truth |= true_ranking(cell) if cell.classes == 2 else {}
    clean, held = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
    for _ in range(options.trials):
        sample = draw_sample(cell, draw_sizes(kind, cell.units, rng), rng)
        for name, one in compute_intervals(sample, names, replicates=1000).items():
            if not one.notes and not np.isnan(one.low):
                clean[name] += 1
                held[name] += one.low <= truth[name] <= one.high
    return [(name, (clean[name], held[name])) for name in names]


if __name__ == "__main__":
    main()
