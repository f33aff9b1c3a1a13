"""How often each interval covers: a simulation over a grid of situations, made to be resumed.

    python benchmarks/coverage_atlas.py run FOLDER [--chunks 20] [--part 0/2]
    python benchmarks/coverage_atlas.py summary FOLDER docs/coverage.csv.gz docs/coverage.png

The situations are those of `situations.py`; every trial is a test set, scored by the functions that
`frostline evaluate` itself calls. A chunk is 100 trials of a cell, its own file; 20 chunks are
2,000 trials a cell.

`auto` is asked for every metric in every trial; the other methods, which show why it chooses as it
does, for the metrics of `COMPARED` in the first chunks of the cells of `shows_methods`. In cells
whose `spread` is not 0, three runs differ in their seed, and `over_seeds` is asked. Bootstraps have
500 replicates.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from situations import (
    COUNTED,
    MEANS,
    Rows,
    SizedCell,
    make_rows,
    push_of,
    run_chunks,
    spread_of,
    true_ranking,
    true_values,
)
from type_one import another, as_run

from frostline.report.statistics.intervals.intervals import compute_intervals
from frostline.report.statistics.metrics import find_metric
from frostline.report.statistics.sample import Sample
from frostline.report.statistics.seeds import over_seeds

TRIALS, REPLICATES = 100, 500
SEEDS = 3
# How much the push differs between seeds.
SPREADS = (0.15, 0.3)
METRICS = (*COUNTED, *MEANS, "roc_auc", "average_precision")
OF_SEEDS = ("accuracy", "balanced_accuracy", "f1_macro", "log_loss", "roc_auc")
COMPARED = ("accuracy", "balanced_accuracy", "precision_weighted", "f1_weighted", "log_loss")
METHODS, PAPER = ("percentile", "bca", "jackknife-t"), "replicate-mean"
# Chunks in which other methods are asked, and the paper's kind, which draws 5,000 times by image.
COMPARED_CHUNKS, PAPER_CHUNKS = 3, 1
# Of more units leaving out each, or resampling rows, takes too long for some metrics.
MOST_OF_PRECISION, MOST_OF_RANKS = 75, 300
# Points and weights of a standard normal: how the push differs between seeds.
LIFTS = np.polynomial.hermite_e.hermegauss(7)
GOAL = (0.92, 0.97)
# Figures of fewer intervals, or of less than half of the trials, say little.
FEWEST_TRIALS = 50
Row = dict[str, float]


@dataclass(frozen=True)
class AtlasCell(SizedCell):
    """A situation, how far its rarest class is pushed away, and how much seeds differ."""

    away: float = 0.0
    spread: float = 0.0

    @property
    def metrics(self) -> tuple[str, ...]:
        """What is asked."""
        if self.spread:
            return OF_SEEDS
        if self.units > MOST_OF_RANKS:
            return METRICS[:-2]
        few = self.sizes == "one" or self.units <= MOST_OF_PRECISION
        return METRICS if self.classes == 2 and few else METRICS[:-1]

    @property
    def shows_methods(self) -> bool:
        """Whether `auto` is set beside the methods that it chooses from."""
        return not (self.spread or self.away) and self.sizes in ("one", "1 to 12")


def grid() -> list[AtlasCell]:
    """All cells."""
    return [
        AtlasCell(units, classes, rarest, accuracy, sizes != "one", sizes, away, spread)
        for units, (classes, rarest), accuracy, sizes, away, spread in _levels()
    ]


def _levels() -> Iterator[tuple[int, tuple[int, float], float, str, float, float]]:
    """Levels of units, classes with the rarest's share, accuracy, sizes, away and spread."""
    cross, alike, uneven = itertools.product, ("one", "1 to 12"), ("negative binomial", "Pareto")
    two, fifth, three, seven = (2, 0.5), (2, 0.2), (3, 1 / 3), (7, 1 / 7)
    right, none, units, ends = (0.7, 0.9, 0.97), (0.0,), (75, 150, 300), (75, 300)
    yield from cross((9,), (two,), right, alike[:1], none, none)
    yield from cross((30, *units), (two,), right, alike, none, none)
    yield from cross(ends, (seven,), right[:2], alike, none, none)
    # A class that is rare.
    yield from cross(units, (fifth,), (0.9,), alike, none, none)
    yield from cross((300,), ((2, 0.05), (3, 0.05)), (0.9,), alike, none, none)
    # Where `auto` may take the percentile interval.
    yield from cross((600,), (two,), right, alike, none, none)
    yield from cross((600,), (fifth,), (0.9,), alike, none, none)
    # Units of very unequal sizes.
    yield from cross(units, (two,), right, uneven, none, none)
    yield from cross(units, (fifth, seven), (0.9,), uneven, none, none)
    # A class that is called less often than it occurs.
    yield from cross(units, (two,), right[:2], alike[:1], (2.0,), none)
    yield from cross(units, (fifth, three), (0.9,), (alike[0], uneven[0]), (2.0,), none)
    # Runs that differ in their seed.
    yield from cross(ends, (two,), right, (alike[0], uneven[0]), none, SPREADS[1:])
    yield from cross(ends, (two,), (0.9,), uneven[:1], none, SPREADS[:1])
    yield from cross(ends, (three,), (0.9,), uneven[:1], none, SPREADS[1:])


def run_chunk(cell: AtlasCell, number: int) -> pd.DataFrame:
    """A row a trial, two columns a method and metric: what came of it, and whether it is flagged.

    1: covered, 0: missed, -1: no interval. With the numbers of effective units that flags count.
    """
    rng = cell.generator(number)
    if cell.spread:
        return pd.DataFrame([seeds_trial(cell, rng) for _ in range(TRIALS)])
    methods: tuple[str, ...] = ()
    if cell.shows_methods and number < COMPARED_CHUNKS:
        methods = (*METHODS, PAPER) if number < PAPER_CHUNKS else METHODS
    return pd.DataFrame([run_trial(cell, rng, methods) for _ in range(TRIALS)])


def run_trial(cell: AtlasCell, rng: np.random.Generator, methods: Sequence[str] = ()) -> Row:
    """Ask `auto` for the intervals of one test set, and some methods that it chooses from."""
    _, sample = as_run(cell, with_away(cell, make_rows(cell, rng)), cell.accuracy)
    seed, row = int(rng.integers(2**32)), counts(sample)
    options = {"replicates": REPLICATES, "seed": seed}
    given = compute_intervals(sample, cell.metrics, **options)
    for name, one in given.items():
        row |= outcome(cell, name, "auto", one.low, one.high, flagged=bool(one.notes))
    for method in methods:
        if method == PAPER:
            found = compute_intervals(sample, COMPARED[:1], ci=PAPER, seed=seed)
        else:
            known = {name: given[name] for name in COMPARED if given[name].method == method}
            names = [name for name in COMPARED if name not in known]
            found = known | compute_intervals(sample, names, ci=method, **options)
        for name, one in found.items():
            flagged = method != PAPER and bool(one.notes)
            row |= outcome(cell, name, method, one.low, one.high, flagged=flagged)
    return row


def with_away(cell: AtlasCell, rows: Rows) -> Rows:
    """Push the logit of the rarest class down."""
    if not cell.away:
        return rows
    pushed = rows.noise.copy()
    pushed[:, 0] -= cell.away * spread_of(cell.grouped)
    return replace(rows, noise=pushed)


def seeds_trial(cell: AtlasCell, rng: np.random.Generator) -> Row:
    """Ask for the intervals of a method's mean over seeds."""
    rows, runs = make_rows(cell, rng), []
    for seed in range(SEEDS):
        lift = cell.spread * rng.standard_normal()
        run, sample = as_run(cell, another(cell, rows, rng), cell.accuracy, lift)
        meta = {"run": f"seed{seed}", "backbone": "made", "seed": seed}
        runs.append((replace(run, meta=meta), sample))
    row = counts(runs[0][1])
    table = over_seeds(runs, metrics=cell.metrics, replicates=REPLICATES)
    for _, one in table.iterrows():
        flagged = bool(one["notes"])
        row |= outcome(cell, one["metric"], "over seeds", one["low"], one["high"], flagged=flagged)
    return row


def counts(sample: Sample) -> Row:
    """Count effective units: all, in error, of the class with fewest, and called the fewest."""
    return {
        "effective": sample.effective_units,
        "wrong": sample.wrong_units,
        "of_class": float(sample.class_units.min()),
        "called": float(sample.called_units.min()),
    }


def outcome(
    cell: AtlasCell, name: str, method: str, low: float, high: float, *, flagged: bool
) -> Row:
    """Say what came of one interval."""
    held = low - 1e-9 <= true_scores(cell)[name] <= high + 1e-9
    key = f"{name}|{method}"
    return {key: -1 if np.isnan(low) else int(held), f"{key}|flagged": int(flagged)}


@cache
def true_scores(cell: AtlasCell) -> Row:
    """The metrics of an endless sample; over seeds, their mean over all that the push may be."""
    push, out = push_of(cell.classes, cell.accuracy, cell.grouped), dict.fromkeys(METRICS, 0.0)
    lifts = zip(*LIFTS, strict=True) if cell.spread else [(0.0, 1.0)]
    weights = LIFTS[1].sum() if cell.spread else 1.0
    for lift, weight in lifts:
        given = push + cell.spread * lift, cell.away
        for name, value in (true_values(cell, *given) | true_ranking(cell, *given)).items():
            out[name] += value * weight / weights
    return out


def summarise(folder: Path) -> pd.DataFrame:
    """A row a cell, metric and method: how often an interval was given, flagged, and covered."""
    rows = []
    for index, cell in enumerate(grid()):
        files = sorted(folder.glob(f"{index:04d}-*.parquet"))
        if files:
            table = pd.concat([pd.read_parquet(file) for file in files])
            keys = [key for key in table if f"{key}|flagged" in table]
            rows += [_summary(cell, key, table) for key in keys]
    return pd.DataFrame(rows)


def _summary(cell: AtlasCell, key: str, table: pd.DataFrame) -> dict[str, float | str]:
    # Other methods than `auto` were asked in the first chunks only.
    asked = table[table[key].notna()]
    values, (name, _, method) = asked[key].to_numpy(), key.partition("|")
    given = values >= 0
    clean = given & (asked[f"{key}|flagged"].to_numpy() == 0)
    about = {name: value for name, value in cell.about.items() if name != "grouped"}
    return about | {
        "metric": name,
        "method": method,
        "trials": len(values),
        "given": given.mean(),
        "covered": _share(values[given]),
        "unflagged": clean.mean(),
        "covered_unflagged": _share(values[clean]),
    }


def _share(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")


def judged(table: pd.DataFrame) -> pd.DataFrame:
    """The figures that the goal is set for: `auto` or seeds, where most trials are not flagged."""
    trials = table["trials"] * table["unflagged"]
    most = (table["unflagged"] >= 0.5) & (trials >= FEWEST_TRIALS)
    return table[table["method"].isin(["auto", "over seeds"]) & most]


def missed(table: pd.DataFrame) -> pd.Series:
    """Mark figures that miss the goal by more than two standard errors of their trials."""
    share, trials = table["covered_unflagged"], table["trials"] * table["unflagged"]
    low, high = ((at, 2 * np.sqrt(at * (1 - at) / trials)) for at in GOAL)
    return (share < low[0] - low[1]) | (share > high[0] + high[1])


def as_markdown(table: pd.DataFrame) -> str:
    """The table of `docs/statistics.md`: coverage, not flagged, by metric, units and situation."""
    kinds = {
        "single images": (table["sizes"] == "one") & (table["away"] == 0),
        "1 to 12": (table["sizes"] == "1 to 12") & (table["away"] == 0),
        "negative binomial": (table["sizes"] == "negative binomial") & (table["away"] == 0),
        "Pareto": table["sizes"] == "Pareto",
        "rarely called": table["away"] > 0,
    }
    kinds = {name: where & (table["spread"] == 0) for name, where in kinds.items()}
    kinds["over seeds"] = table["spread"] > 0
    lines = [
        "| metric | units | " + " | ".join(kinds) + " | missed |",
        "| --- | ---: |" + " ---: |" * (len(kinds) + 1),
    ]
    good = judged(table)
    units = sorted(good["units"].unique())
    for name, number in itertools.product(METRICS, units):
        part = good[(good["metric"] == name) & (good["units"] == number)]
        if len(part):
            cells = [_range(part[kinds[kind].loc[part.index]]) for kind in kinds]
            wrong = f"{int(missed(part).sum())} of {len(part)}"
            lines.append(f"| `{name}` | {number} | {' | '.join(cells)} | {wrong} |")
    return "\n".join(lines) + "\n"


def methods_markdown(table: pd.DataFrame) -> str:
    """The table of methods: mean and worst coverage where there was an interval."""
    lines = [
        "| metric | units | " + " | ".join(METHODS) + " |",
        "| --- | ---: |" + " ---: |" * len(METHODS),
    ]
    compared = table[table["method"].isin(METHODS) & (table["given"] >= 0.5)]
    for (name, units), part in compared.groupby(["metric", "units"]):
        cells = [_worst(part[part["method"] == method]) for method in METHODS]
        lines.append(f"| `{name}` | {units} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _range(part: pd.DataFrame) -> str:
    share = 100 * part["covered_unflagged"]
    if not len(share):
        return "–"
    if len(share) == 1:
        return f"{share.iloc[0]:.1f}"
    return f"{share.mean():.1f} ({share.min():.1f}–{share.max():.1f})"


def _worst(part: pd.DataFrame) -> str:
    share = 100 * part["covered"]
    return f"{share.mean():.0f} ({share.min():.0f})" if len(share) else "–"


def draw(table: pd.DataFrame, path: Path) -> None:
    """The picture: coverage of each method by number of units, a dot a cell."""
    from matplotlib.figure import Figure

    colours = dict(
        zip((*METHODS, "auto"), ("#D55E00", "#CC79A7", "#0072B2", "#009E73"), strict=True)
    )
    figure = Figure(figsize=(10, 7.2), layout="constrained")
    plain = (table["away"] == 0) & (table["spread"] == 0)
    shown = table[plain & table["sizes"].isin(["one", "1 to 12"])]
    units = sorted(shown["units"].unique())
    for axes, name in zip(figure.subplots(2, 2, sharey=True).flat, COMPARED[:4], strict=True):
        for place, (method, colour) in enumerate(colours.items()):
            part = shown[(shown["metric"] == name) & (shown["method"] == method)]
            column = "covered_unflagged" if method == "auto" else "covered"
            part = part[part["unflagged" if method == "auto" else "given"] >= 0.5]
            at = {number: i + (place - 1.5) * 0.2 for i, number in enumerate(units)}
            label = f"{method}, not flagged" if method == "auto" else method
            axes.plot(part["units"].map(at), 100 * part[column], ".", color=colour, alpha=0.35)
            middle = 100 * part.groupby("units")[column].mean()
            dash = {"markersize": 16, "markeredgewidth": 3, "label": label}
            axes.plot([at[number] for number in middle.index], middle, "_", color=colour, **dash)
        axes.axhspan(*(100 * end for end in GOAL), color="#7f7f7f", alpha=0.2, linewidth=0)
        axes.axhline(95, color="#7f7f7f", linewidth=0.8)
        ticks = {"xticks": range(len(units)), "xticklabels": units}
        axes.set(
            **ticks, xlim=(-0.5, len(units) - 0.5), ylim=(50, 101), title=find_metric(name).title
        )
    figure.supxlabel("Units (images or patients) in the test set")
    figure.supylabel("Trials in which the 95% interval held the true value (%)")
    figure.axes[0].legend(loc="lower right", fontsize=8)
    figure.savefig(path, dpi=110)


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
    folder, csv, picture = options.paths
    summarise(folder).to_csv(csv, index=False, float_format="%.4g", lineterminator="\n")
    # What is printed is what is published, rounded as it is.
    table = pd.read_csv(csv)
    draw(table, picture)
    print(as_markdown(table), methods_markdown(table), sep="\n")
    print(judged(table)[missed(judged(table))].to_string(index=False))


if __name__ == "__main__":
    main()
