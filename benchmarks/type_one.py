"""How often each test of `frostline compare` says "different" where nothing is.

    python benchmarks/type_one.py run FOLDER [--chunks 20] [--part 0/2]
    python benchmarks/type_one.py summary FOLDER docs/type-one.csv

The situations are those of `coverage_atlas.py`. Runs of equal skill share three quarters of the
variance of an image's noise, as real runs agree. A chunk is 100 trials of a cell, its own file;
what is there is not done again. Chance is shared to save time: one set of drawn swaps (999), and of
bootstrap draws, serves the trials of a chunk.

- swap: predictions of whole units are swapped between two runs (all arrangements if at most 14
  units differ), by accuracy, macro F1 or log loss;
- max-T: any of the three pairs of three runs is told apart, by accuracy;
- mcnemar by image: exact; where units have several images Frostline refuses it;
- interval: the paired 95% interval of the difference leaves out 0;
- equivalence: a run that is worse by the margin, 5 points, is found equivalent;
- seeds: two methods of three seeds each, which differ in skill from seed to seed, are told apart.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import bdtr, stdtr, stdtrit
from situations import (
    Cell,
    Images,
    grid,
    losses,
    make_images,
    make_noise,
    margins,
    metrics_of_margins,
    push_of,
)

from frostline.report.statistics.comparisons.decisions import few_differ_p
from frostline.report.statistics.comparisons.swaps import MOST_ENUMERATED, TIE
from frostline.report.statistics.intervals.bounds import TAIL
from frostline.report.statistics.intervals.flags import MANY_UNITS
from frostline.report.statistics.resampling.units import draw_units

TRIALS, SWAPS, REPLICATES = 100, 999, 1_000
BLOCK = 5
SHARED = 0.75
MARGIN = 0.05
SEEDS = 3
# How much the push differs between seeds: accuracy by two to four points.
SEED_SPREAD = 0.15
PAIRS = ((0, 1), (0, 2), (1, 2))


def run_chunk(cell: Cell, number: int) -> pd.DataFrame:
    """A row a trial, a column a test: 1 where it rejects, else 0."""
    rng = cell.generator(1_000 + number)
    push = push_of(cell.classes, cell.accuracy, cell.grouped)
    signs = rng.integers(0, 2, size=(cell.units, SWAPS)).astype(np.float32) * 2 - 1
    everyone = np.zeros(cell.units, dtype=np.int64)
    drawn = draw_units(everyone, REPLICATES, rng, stratified=False).astype(np.float32)
    parts = []
    for start in range(0, TRIALS, BLOCK):
        size = min(BLOCK, TRIALS - start)
        images = make_images(cell, (size, cell.units), rng)
        runs = [another(cell, images, rng) for _ in range(3)]
        logits = [run.logits(push) for run in runs]
        units = [margins(run, one) for run, one in zip(runs, logits, strict=True)]
        loss = [losses(run, one, push)[:, :1] for run, one in zip(runs[:2], logits, strict=False)]
        row = swap_tests(units, loss, signs)
        row["mcnemar by image"] = mcnemar(images, logits)
        row |= intervals(units, loss, drawn if cell.units >= MANY_UNITS else None)
        row |= equivalence(cell, units[0], runs[1])
        row["seeds: accuracy"] = seeds(cell, images, push, rng)
        parts.append(pd.DataFrame(row))
    return pd.concat(parts)


def another(cell: Cell, images: Images, rng: np.random.Generator) -> Images:
    """What another model makes of the images: noise that is three quarters the images' own."""
    own = make_noise(cell, images.truth.shape, rng)
    return images.with_noise(
        np.float32(SHARED**0.5) * images.noise + np.float32((1 - SHARED) ** 0.5) * own
    )


def swap_tests(
    units: list[np.ndarray], loss: list[np.ndarray], signs: np.ndarray
) -> dict[str, np.ndarray]:
    """Swap tests of the first two runs, and max-T of all pairs of three: [T] each."""
    differ = [(units[a] != units[b]).any((1, 2)) for a, b in PAIRS]
    hits = [run[:, 2].sum(1) for run in units]
    apart = np.stack([hits[a] - hits[b] for a, b in PAIRS], 1)
    gap = loss[0] - loss[1]
    return {
        "swap: accuracy": over_arrangements(_sums, apart[:, :1], differ[0], signs),
        "swap: f1_macro": over_arrangements(
            _f1,
            np.concatenate([units[0][:, 1:], units[1][:, 1:]], 1).reshape(
                len(gap), -1, gap.shape[-1]
            ),
            differ[0],
            signs,
            units[0][:, 0],
        ),
        "swap: log_loss": over_arrangements(_sums, gap, gap[:, 0] != 0, signs),
        "max-T: accuracy, three runs": over_arrangements(
            _largest, apart, np.any(differ, axis=0), signs
        ),
    }


def over_arrangements(statistic, features, differ, signs, true=None) -> np.ndarray:
    """Whether p < 0.05 in each trial, as `swap_units` and `swap_p_values` find it.

    Parameters
    ----------
    statistic : callable
        Sizes of the difference, the observed one and swapped ones: [T], [T, B].
    features : float [T, F, G]
        What a unit adds.
    differ : bool [T, G]
        Units that differ at all; with few of them all arrangements are visited.
    """
    count = differ.sum(1)
    observed, sizes = statistic(features, signs, true)
    rejected = ((sizes >= observed[:, None] - TIE).sum(1) + 1) / (sizes.shape[1] + 1) < 0.05
    for n in range(MOST_ENUMERATED + 1):
        trials = np.flatnonzero(count == n)
        if not len(trials):
            continue
        if n == 0:
            rejected[trials] = False
            continue
        # An arrangement and its mirror image are equally far from 0: half of them is enough.
        bits = (np.arange(2 ** (n - 1))[:, None] >> np.arange(n)) & 1
        every = np.ones((features.shape[-1], len(bits)), dtype=np.float32)
        for trial in trials:
            own = every.copy()
            own[differ[trial]] = 1 - 2 * bits.T
            some = None if true is None else true[[trial]]
            one, all_sizes = statistic(features[[trial]], own, some)
            rejected[trial] = (all_sizes >= one[:, None] - TIE).mean() < 0.05
    return rejected


def _sums(features: np.ndarray, signs: np.ndarray, true: None) -> tuple[np.ndarray, np.ndarray]:
    """Size of the sum of one difference."""
    sizes = np.abs(features[:, 0] @ signs)
    return np.abs(features[:, 0].sum(-1)) - 1e-5 * sizes.max(1), sizes


def _largest(features: np.ndarray, signs: np.ndarray, true: None) -> tuple[np.ndarray, np.ndarray]:
    """Largest of several differences, each in units of its own spread over swaps."""
    sizes = np.abs(features @ signs)
    spread = np.sqrt((sizes**2).mean(-1, keepdims=True))
    scale = np.where(spread > 0, spread, 1)
    return (np.abs(features.sum(-1)) / scale[..., 0]).max(1) - 1e-5, (sizes / scale).max(1)


def _f1(features: np.ndarray, signs: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Size of the difference of macro F1, of called and right of both runs [T, 4 K, G]."""
    a, b = np.split(features, 2, axis=1)
    shape = (len(features), 2, true.shape[1], -1)
    middle = (a + b).sum(-1, keepdims=True)
    found = []
    for part in (np.ones((signs.shape[0], 1), dtype=np.float32), signs):
        half = (a - b) @ part
        of_class = true.sum(-1)[:, None, :, None]
        sums = [
            np.concatenate(
                [
                    np.broadcast_to(of_class, (*of_class.shape[:3], half.shape[-1])),
                    (one / 2).reshape(shape),
                ],
                1,
            )
            for one in (middle + half, middle - half)
        ]
        values = [metrics_of_margins(one, ["f1_macro"])["f1_macro"] for one in sums]
        found.append(np.abs(values[0] - values[1]))
    return found[0][:, 0] - 1e-6, found[1]


def mcnemar(images: Images, logits: list[np.ndarray]) -> np.ndarray:
    """McNemar's exact test by image: [T]."""
    right = [(one.argmax(-1) == images.truth[..., None]) & images.there for one in logits[:2]]
    only = [(right[i] & ~right[1 - i]).sum((1, 2)) for i in (0, 1)]
    total = only[0] + only[1]
    p = 2 * bdtr(np.minimum(*only).astype(float), total, 0.5)
    return np.where(total > 0, p, 1) < 0.05


def intervals(
    units: list[np.ndarray], loss: list[np.ndarray], drawn: np.ndarray | None
) -> dict[str, np.ndarray]:
    """Whether the paired interval leaves out 0: jackknife-t, of many units percentile too."""
    names = ("accuracy", "f1_macro")
    found = {}
    for name in (*names, "log_loss"):
        at = _value(units, loss, name, np.ones((units[0].shape[-1], 1)))
        error = np.sqrt(_jackknife(_left(units, loss, name)))
        reach = stdtrit(units[0].shape[-1] - 1, 1 - TAIL) * error
        found[f"interval, jackknife-t: {name}"] = np.abs(at[:, 0]) > reach + TIE
        if drawn is not None:
            low, high = np.quantile(_value(units, loss, name, drawn), [TAIL, 1 - TAIL], axis=1)
            found[f"interval, percentile: {name}"] = (low > 0) | (high < 0)
    return found


def _value(
    units: list[np.ndarray], loss: list[np.ndarray], name: str, weights: np.ndarray
) -> np.ndarray:
    """The difference of the first two runs, units weighted: [T, B]."""
    total = units[0][:, 0].sum(1) @ weights
    if name == "log_loss":
        return ((loss[0] - loss[1])[:, 0] @ weights) / total
    one, other = (metrics_of_margins(run @ weights, [name])[name] for run in units[:2])
    return one - other


def _left(units: list[np.ndarray], loss: list[np.ndarray], name: str) -> np.ndarray:
    """The difference with one unit left out: [T, G]."""
    if name == "log_loss":
        gap, size = (loss[0] - loss[1])[:, 0].astype(float), units[0][:, 0].sum(1)
        return (gap.sum(1, keepdims=True) - gap) / (size.sum(1, keepdims=True) - size)
    sums = [run.sum(-1, keepdims=True, dtype=float) - run for run in units[:2]]
    one, other = (metrics_of_margins(run, [name])[name] for run in sums)
    return one - other


def _jackknife(left: np.ndarray) -> np.ndarray:
    units = left.shape[-1]
    return (units - 1) / units * ((left - left.mean(-1, keepdims=True)) ** 2).sum(-1)


def equivalence(cell: Cell, first: np.ndarray, other: Images) -> dict[str, np.ndarray]:
    """Whether two one-sided tests call a run equivalent that is worse by the margin.

    By Student's t alone, and with the bound that `compare` adds where few units differ.
    """
    push = push_of(cell.classes, cell.accuracy - MARGIN, cell.grouped)
    units = [first, margins(other, other.logits(push))]
    at = _value(units, [], "accuracy", np.ones((cell.units, 1)))[:, 0]
    error = np.sqrt(_jackknife(_left(units, [], "accuracy")))
    with np.errstate(divide="ignore"):
        p = 1 - stdtr(cell.units - 1, (MARGIN - np.abs(at)) / error)
    differing = (units[0] != units[1]).any((1, 2)).sum(-1)
    bound = [few_differ_p(int(n), cell.units, MARGIN) for n in differing]
    return {
        "equivalence: accuracy, by t alone": p < 0.05,
        "equivalence: accuracy": np.maximum(p, bound) < 0.05,
    }


def seeds(cell: Cell, images: Images, push: float, rng: np.random.Generator) -> np.ndarray:
    """Whether two methods of several seeds are told apart, as `compare_methods` does."""
    hits = []
    for _ in range(2 * SEEDS):
        run = another(cell, images, rng)
        eye = np.eye(cell.classes, dtype=np.float32)[images.truth]
        lift = push + SEED_SPREAD * rng.standard_normal((len(eye), 1, 1, 1), dtype=np.float32)
        called = (run.noise + lift * eye[:, :, None]).argmax(-1)
        hits.append(((called == images.truth[..., None]) & images.there).sum(-1))
    size, right = images.there.sum(-1), np.stack(hits).astype(float)
    values = right.sum(-1) / size.sum(-1)
    gap = right[:SEEDS].mean(0) - right[SEEDS:].mean(0)
    left = (gap.sum(1, keepdims=True) - gap) / (size.sum(1, keepdims=True) - size)
    variances = [
        _jackknife(left),
        *(values[part].var(0, ddof=1) / SEEDS for part in (slice(SEEDS), slice(SEEDS, None))),
    ]
    total = sum(variances)
    df = [cell.units - 1, SEEDS - 1, SEEDS - 1]
    with np.errstate(all="ignore"):
        free = total**2 / sum(v**2 / n for v, n in zip(variances, df, strict=True))
        p = 2 * stdtr(free, -np.abs(values[:SEEDS].mean(0) - values[SEEDS:].mean(0)) / total**0.5)
    return np.where(total > 0, p, 1) < 0.05


def run(folder: Path, chunks: int, part: tuple[int, int]) -> None:
    """Do every chunk that has no file yet, of this process's share of the cells."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(chunks):
        for index, cell in enumerate(grid()):
            path = folder / f"{index:04d}-{number:03d}.parquet"
            if index % part[1] != part[0] or path.exists():
                continue
            temporary = path.with_suffix(f".{os.getpid()}.tmp")
            run_chunk(cell, number).astype(np.int8).to_parquet(temporary)
            temporary.replace(path)


def summarise(folder: Path) -> pd.DataFrame:
    """A row a cell and test: trials, and the share in which it rejected."""
    rows = []
    for index, cell in enumerate(grid()):
        files = sorted(folder.glob(f"{index:04d}-*.parquet"))
        if files:
            table = pd.concat([pd.read_parquet(file) for file in files])
            # A test that was added later was tried in later chunks.
            rows += [
                cell.about | {"test": name, "trials": one.count(), "rejected": one.mean()}
                for name, one in table.items()
            ]
    return pd.DataFrame(rows)


def as_markdown(table: pd.DataFrame) -> str:
    """The table of `docs/statistics.md`: mean and largest share by test and number of units."""
    sizes = sorted(table["units"].unique())
    lines = [
        "| test | " + " | ".join(f"{n} units" for n in sizes) + " |",
        "| --- |" + " ---: |" * len(sizes),
    ]
    for name in table["test"].unique():
        part = table[table["test"] == name]
        kinds = [(name, part)]
        if name.startswith("mcnemar"):
            kinds = [
                (f"{name}, {word}", part[part["grouped"] == grouped])
                for grouped, word in ((False, "one image a unit"), (True, "several (refused)"))
            ]
        for title, one in kinds:
            shares = [100 * one[one["units"] == n]["rejected"] for n in sizes]
            cells = [f"{s.mean():.1f} ({s.max():.1f})" if len(s) else "–" for s in shares]
            lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


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
        run(options.paths[0], options.chunks, (int(first), int(of)))
    else:
        table = summarise(options.paths[0])
        table.to_csv(options.paths[1], index=False, float_format="%.4g", lineterminator="\n")
        print(as_markdown(table), end="")


if __name__ == "__main__":
    main()
