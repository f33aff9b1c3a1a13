"""How often each interval covers: a simulation over a grid of situations, made to be resumed.

    python benchmarks/coverage.py run FOLDER [--chunks 20] [--part 0/2]
    python benchmarks/coverage.py summary FOLDER docs/coverage.csv.gz docs/coverage.png
    python benchmarks/coverage.py tests docs/type-one.csv [--trials 1000]

A cell is a situation: number of units, classes, share of the rarest class, accuracy, and whether
units are patients with several images that are alike. A chunk is 100 trials of a cell, its own
file, written whole; chunk 0 of every cell comes before chunk 1 of any, so that a run that is
stopped has covered the grid evenly. 20 chunks are 2,000 trials a cell.

Images get logits: a push towards the true class, a patient's own offset where grouped, and noise;
the push is set so that accuracy is as asked. The true value of a metric is that of a very large
sample. Every trial is scored by the functions that `frostline evaluate` uses. One thing is shared
to save time: the bootstrap's draws serve the trials of a chunk, so that a cell of c chunks has
seen c independent sets of draws.
"""

from __future__ import annotations

import argparse
import itertools
import os
import zlib
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from frostline.report.comparison import mcnemar_p
from frostline.report.flags import (
    BY_CLASS,
    FEWEST_FLAWLESS,
    FEWEST_IN_AVERAGES,
    FEWEST_OF_A_CLASS,
    FEWEST_UNITS,
    FEWEST_WRONG,
)
from frostline.report.intervals import (
    MANY_UNITS,
    MANY_WRONG,
    TAIL,
    _bca_bounds,
    jackknife_bounds,
    percentile_bounds,
)
from frostline.report.metrics import compute_metrics, find_metric
from frostline.report.multiplicity import max_t
from frostline.report.paired import make_paired, swap_p_values, swap_units

TRIALS, REPLICATES = 100, 1_000
UNITS = (9, 30, 75, 150, 600)
RAREST = {2: (0.01, 0.05, 0.2, 0.5), 3: (0.01, 0.05, 0.2, 1 / 3), 7: (0.01, 0.05, 1 / 7)}
ACCURACY = (0.5, 0.7, 0.9, 0.99)
MOST_IMAGES = 12
METRICS = (
    "accuracy", "balanced_accuracy", "precision_weighted", "f1_weighted", "f1_macro",
    "precision_macro", "cohen_kappa", "matthews_corrcoef", "recall[0]", "specificity[0]",
)  # fmt: skip
PAPER = ("accuracy", "precision_weighted")
METHODS = ("percentile", "bca", "jackknife-t", "replicate-mean")


@dataclass(frozen=True)
class Cell:
    """One situation."""

    units: int
    classes: int
    rarest: float
    accuracy: float
    grouped: bool

    @property
    def shares(self) -> np.ndarray:
        """Shares of the classes, the rarest first, the others equal."""
        rest = (1 - self.rarest) / (self.classes - 1)
        return np.array([self.rarest] + [rest] * (self.classes - 1))


def grid() -> list[Cell]:
    """All cells."""
    return [
        Cell(units, classes, rarest, accuracy, grouped)
        for units, classes, accuracy, grouped in itertools.product(
            UNITS, RAREST, ACCURACY, (False, True)
        )
        for rarest in RAREST[classes]
        if accuracy >= 1 / classes
    ]


def make_images(
    cell: Cell, units: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truth [G], noise without the push [G, m, K], and which images there are [G, m]."""
    most = MOST_IMAGES if cell.grouped else 1
    truth = rng.choice(cell.classes, size=units, p=cell.shares)
    noise = rng.standard_normal((units, most, cell.classes), dtype=np.float32)
    if cell.grouped:
        noise += rng.standard_normal((units, 1, cell.classes), dtype=np.float32)
    there = np.arange(most) < rng.integers(1, most + 1, size=units)[:, None]
    return truth, noise, there


def matrices(cell: Cell, truth: np.ndarray, noise: np.ndarray, there: np.ndarray, push: float
             ) -> np.ndarray:  # fmt: skip
    """Confusion matrix of every unit: [G, K, K]."""
    k = cell.classes
    logits = noise + push * np.eye(k, dtype=np.float32)[truth][:, None]
    called = logits.argmax(-1)
    cells = (np.arange(len(truth))[:, None] * k + truth[:, None]) * k + called
    return np.bincount(cells[there], minlength=len(truth) * k * k).reshape(-1, k, k)


def calibrate(cell: Cell) -> tuple[float, dict[str, float]]:
    """The push that gives the accuracy, and the true values of the metrics at it."""
    rng = np.random.default_rng(7)
    images = make_images(cell, 60_000 if cell.grouped else 300_000, rng)
    low, high = -1.0, 12.0
    for _ in range(18):
        push = (low + high) / 2
        total = matrices(cell, *images, push).sum(0)
        reached = np.trace(total) / total.sum()
        low, high = (push, high) if reached < cell.accuracy else (low, push)
    names = [str(c) for c in range(cell.classes)]
    values = compute_metrics(total, METRICS, names)
    return push, {name: float(value) for name, value in values.items()}


def run_chunk(cell: Cell, number: int, push: float, truths: dict[str, float]) -> pd.DataFrame:
    """Score the trials of one chunk: a row a trial, what happened by metric and method.

    1: covered; 0: missed; -1: no interval. With the estimate and the true value beside them.
    """
    rng = np.random.default_rng([zlib.crc32(repr(astuple(cell)).encode()), number])
    names = [str(c) for c in range(cell.classes)]
    drawn = rng.multinomial(cell.units, np.full(cell.units, 1 / cell.units), size=REPLICATES)
    weights = drawn.astype(np.float32)
    rows = []
    for _ in range(TRIALS):
        units = matrices(cell, *make_images(cell, cell.units, rng), push)
        flat = units.reshape(cell.units, -1).astype(np.float32)
        total = units.sum(0)
        shape = (-1, cell.classes, cell.classes)
        centres = compute_metrics(total, METRICS, names)
        left = compute_metrics(total - units, METRICS, names)
        drawn_values = compute_metrics((weights @ flat).reshape(shape), METRICS, names)
        by_image = rng.multinomial(total.sum(), total.ravel() / total.sum(), size=REPLICATES)
        paper = compute_metrics(by_image.reshape(shape), PAPER, names)
        present = (units.sum(-1) > 0).sum(0)
        wrong = int((np.trace(units, axis1=1, axis2=2) < units.sum((1, 2))).sum())
        row: dict[str, float] = {
            "least": int(present[present > 0].min()), "rare": int(present[0]), "wrong": wrong,
            "absent": int((present == 0).sum()),
        }  # fmt: skip
        for name in METRICS:
            value = float(centres[name])
            bounds = score_metric(name, value, left[name], drawn_values[name], paper.get(name))
            for method, (low, high) in bounds.items():
                row[f"{name}|{method}"] = outcome(low, high, truths[name])
                row[f"{name}|{method}|width"] = high - low
            row |= {f"{name}|estimate": value, f"{name}|truth": truths[name]}
        rows.append(row)
    return pd.DataFrame(rows)


def score_metric(
    name: str, value: float, left: np.ndarray, values: np.ndarray, paper: np.ndarray | None
) -> dict[str, tuple[float, float]]:
    """Low and high of every method."""
    ones = np.ones(len(left), dtype=np.int64)
    nothing = float("nan"), float("nan")
    out = {"percentile": percentile_bounds(values)[:2]}
    refused = np.isnan(out["percentile"][0])
    out["bca"] = nothing if refused else _bca_bounds(values, value, left, ones, "")[:2]
    out["jackknife-t"] = jackknife_bounds(value, left, ones, find_metric(name).bounds)[:2]
    if paper is not None:
        half = 1.96 * np.std(paper, ddof=1) / np.sqrt(5_000)
        out["replicate-mean"] = (paper.mean() - half, paper.mean() + half)
    return out


def outcome(low: float, high: float, truth: float) -> int:
    """1: covered, 0: missed, -1: no interval."""
    return -1 if np.isnan(low) else int(low - 1e-9 <= truth <= high + 1e-9)


def run(folder: Path, chunks: int, part: tuple[int, int]) -> None:
    """Do every chunk that has no file yet, of this process's share of the cells."""
    folder.mkdir(parents=True, exist_ok=True)
    cells = grid()
    known: dict[Cell, tuple[float, dict[str, float]]] = {}
    for number in range(chunks):
        for index, cell in enumerate(cells):
            path = folder / f"{index:04d}-{number:03d}.parquet"
            if index % part[1] != part[0] or path.exists():
                continue
            if cell not in known:
                known[cell] = calibrate(cell)
            table = run_chunk(cell, number, *known[cell])
            temporary = path.with_suffix(f".{os.getpid()}.tmp")
            table.astype(np.float32).to_parquet(temporary)
            temporary.replace(path)


def summarise(folder: Path) -> pd.DataFrame:
    """A row a cell, metric and method: how often an interval was given, flagged, and covered."""
    rows = []
    for index, cell in enumerate(grid()):
        files = sorted(folder.glob(f"{index:04d}-*.parquet"))
        if not files:
            continue
        table = pd.concat([pd.read_parquet(file) for file in files])
        about = dict(zip(("units", "classes", "rarest", "accuracy", "grouped"), astuple(cell),
                         strict=True))  # fmt: skip
        for name in METRICS:
            flagged = flags(cell, name, table)
            outcomes = {m: table[f"{name}|{m}"].to_numpy() for m in METHODS
                        if f"{name}|{m}" in table}  # fmt: skip
            centre = table[f"{name}|estimate"].to_numpy()
            # At its bound the jackknife gives no interval.
            outcomes["jackknife-t"] = np.where(_at_edge(centre), -1, outcomes["jackknife-t"])
            outcomes["auto"] = auto_outcome(cell, name, table)
            for method, values in outcomes.items():
                given = values >= 0
                clean = given & ~flagged
                rows.append(about | {
                    "metric": name, "method": method, "trials": len(table),
                    "given": given.mean(), "covered": _share(values[given]),
                    "unflagged": clean.mean(), "covered_unflagged": _share(values[clean]),
                })  # fmt: skip
    return pd.DataFrame(rows)


def _share(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _at_edge(centre: np.ndarray) -> np.ndarray:
    return (centre < 1e-6) | (centre > 1 - 1e-6)


def auto_outcome(cell: Cell, name: str, table: pd.DataFrame) -> np.ndarray:
    """What `auto` did in each trial, from what its methods did: as `intervals.choose_method`."""
    centre, truth = table[f"{name}|estimate"].to_numpy(), table[f"{name}|truth"].iloc[0]
    metric = find_metric(name)
    many = (cell.units >= MANY_UNITS) & (table["wrong"] >= MANY_WRONG)
    out = np.where(many, table[f"{name}|percentile"], table[f"{name}|jackknife-t"])
    edge = _at_edge(centre)
    if not metric.share:
        return np.where(edge, -1, out)
    units = np.full(len(table), float(cell.units))
    if metric.macro:
        units = table["least"].to_numpy()
    elif "[" in name:
        units = table["rare"].to_numpy()
        units = cell.units - units if name.startswith("specificity") else units
    miss = TAIL ** (1 / np.maximum(units, 1))
    exact = np.where(centre > 0.5, truth >= miss, truth <= 1 - miss)
    return np.where(edge, np.where(units > 0, exact, -1), out)


def flags(cell: Cell, name: str, table: pd.DataFrame) -> np.ndarray:
    """Which trials `report.flags` marks; of flawless classes only the rarest is recorded."""
    least = np.where(table["absent"] > 0, 0, table["least"])
    out = (cell.units < FEWEST_UNITS) | (table["wrong"].to_numpy() < FEWEST_WRONG)
    macro, one = find_metric(name).macro, "[" in name
    if not (macro or one or name in BY_CLASS):
        return out
    if one:
        least = table["rare"].to_numpy()
    fewest = FEWEST_OF_A_CLASS if macro or one else FEWEST_IN_AVERAGES
    flawless = table["recall[0]|estimate"].to_numpy() > 1 - 1e-6
    unseen = (macro or one) & flawless & (table["rare"].to_numpy() < FEWEST_FLAWLESS)
    return out | (least < fewest) | unseen


def as_markdown(table: pd.DataFrame) -> str:
    """The table of `docs/statistics.md`: mean and worst coverage by metric and number of units."""
    lines = [
        "| metric | units | percentile | bca | jackknife-t | auto, not flagged | cells |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for (name, units), part in table.groupby(["metric", "units"], sort=False):
        cells = []
        for method in ("percentile", "bca", "jackknife-t"):
            one = part[(part["method"] == method) & (part["given"] >= 0.5)]["covered"]
            cells.append(f"{100 * one.mean():.0f} ({100 * one.min():.0f})")
        auto = part[(part["method"] == "auto") & (part["unflagged"] >= 0.5)]["covered_unflagged"]
        text = f"{100 * auto.mean():.0f} ({100 * auto.min():.0f}–{100 * auto.max():.0f})"
        cells.append(text if len(auto) else "all flagged")
        lines.append(f"| {name} | {units} | {' | '.join(cells)} | {len(auto)} |")
    return "\n".join(lines) + "\n"


def draw(table: pd.DataFrame, path: Path) -> None:
    """The picture: coverage of each method by number of units, a dot a cell."""
    from matplotlib.figure import Figure

    names = ("accuracy", "precision_weighted", "f1_weighted", "balanced_accuracy")
    methods = {"percentile": "#D55E00", "bca": "#CC79A7", "jackknife-t": "#0072B2",
               "auto": "#009E73"}  # fmt: skip
    figure = Figure(figsize=(10, 7.2), layout="constrained")
    for axes, name in zip(figure.subplots(2, 2, sharey=True).flat, names, strict=True):
        for place, (method, colour) in enumerate(methods.items()):
            part = table[(table["metric"] == name) & (table["method"] == method)]
            column = "covered_unflagged" if method == "auto" else "covered"
            part = part[part["unflagged" if method == "auto" else "given"] >= 0.5]
            x = part["units"].map({u: i for i, u in enumerate(UNITS)}) + (place - 1.5) * 0.2
            label = f"{method}, not flagged" if method == "auto" else method
            axes.plot(x, 100 * part[column], ".", color=colour, alpha=0.35, markersize=5)
            middle = part.groupby("units")[column].mean()
            axes.plot([UNITS.index(u) + (place - 1.5) * 0.2 for u in middle.index], 100 * middle,
                      "_", color=colour, markersize=16, markeredgewidth=3, label=label)  # fmt: skip
        axes.axhspan(92, 97, color="#7f7f7f", alpha=0.2, linewidth=0)
        axes.axhline(95, color="#7f7f7f", linewidth=0.8)
        axes.set(xticks=range(len(UNITS)), xticklabels=UNITS, ylim=(60, 101),
                 title=find_metric(name).title)  # fmt: skip
    figure.supxlabel("Units (images or patients) in the test set")
    figure.supylabel("Trials in which the 95% interval held the true value (%)")
    figure.axes[0].legend(loc="lower right", fontsize=8)
    figure.savefig(path, dpi=110)


def type_one(trials: int) -> pd.DataFrame:
    """How often two runs of equal skill are told apart at p < 0.05, by each test."""
    rows = []
    shapes = itertools.product((9, 30, 75, 150), (2, 7), (0.7, 0.9), (False, True))
    for units, classes, accuracy, grouped in shapes:
        cell = Cell(units, classes, 1 / classes, accuracy, grouped)
        push, _ = calibrate(cell)
        rng = np.random.default_rng(units)
        found = np.array([_one_test(cell, push, rng) for _ in range(trials)])
        about = dict(zip(("units", "classes", "rarest", "accuracy", "grouped"), astuple(cell),
                         strict=True))  # fmt: skip
        for column, name in enumerate(("swap: accuracy", "swap: f1_macro", "mcnemar by image",
                                       "max-T of three runs")):  # fmt: skip
            rows.append(about | {"test": name, "trials": trials,
                                 "rejected": (found[:, column] < 0.05).mean()})  # fmt: skip
    return pd.DataFrame(rows)


def _one_test(cell: Cell, push: float, rng: np.random.Generator) -> list[float]:
    truth, first, there = make_images(cell, cell.units, rng)
    # Runs agree about as much as real ones: three quarters of the noise is the image's.
    others = [make_images(cell, cell.units, rng)[1] for _ in range(3)]
    lift = push * np.eye(cell.classes, dtype=np.float32)[truth][:, None]
    called = [(0.75**0.5 * first + 0.25**0.5 * own + lift).argmax(-1)[there] for own in others]
    groups, _ = np.nonzero(there)
    of_image = truth[groups]
    paired = make_paired(of_image, called, tuple(map(str, range(cell.classes))), groups)
    pairs = [(0, 1), (0, 2), (1, 2)]
    swaps = swap_units(paired, "accuracy", pairs, 999, rng)
    macro = swap_units(paired, "f1_macro", pairs[:1], 999, rng)
    right = [answers == of_image for answers in called[:2]]
    return [
        swap_p_values(swaps)[0][0], swap_p_values(macro)[0][0],
        mcnemar_p(int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())),
        max_t(swaps).min(),
    ]  # fmt: skip


def main() -> None:
    """Parse and go."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["run", "summary", "tests"])
    parser.add_argument("paths", type=Path, nargs="+")
    parser.add_argument("--chunks", type=int, default=20)
    parser.add_argument("--part", default="0/1", help="this process's share of the cells")
    parser.add_argument("--trials", type=int, default=1_000)
    options = parser.parse_args()
    if options.what == "run":
        first, _, of = options.part.partition("/")
        run(options.paths[0], options.chunks, (int(first), int(of)))
    elif options.what == "summary":
        folder, csv, picture = options.paths
        table = summarise(folder)
        table.to_csv(csv, index=False, float_format="%.4g", lineterminator="\n")
        draw(table, picture)
        print(as_markdown(table), end="")
    else:
        table = type_one(options.trials)
        table.to_csv(options.paths[0], index=False, float_format="%.4g", lineterminator="\n")


if __name__ == "__main__":
    main()
