"""How often each interval covers: a simulation over a grid of situations, made to be resumed.

    python benchmarks/coverage.py run FOLDER [--chunks 20] [--part 0/2]
    python benchmarks/coverage.py summary FOLDER docs/coverage.csv [docs/coverage.svg]

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

from frostline.report.intervals import (
    _bca_bounds,
    jackknife_bounds,
    percentile_bounds,
)
from frostline.report.metrics import compute_metrics, find_metric

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


def main() -> None:
    """Parse and go."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["run"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--chunks", type=int, default=20)
    parser.add_argument("--part", default="0/1", help="this process's share of the cells")
    options = parser.parse_args()
    first, _, of = options.part.partition("/")
    run(options.folder, options.chunks, (int(first), int(of)))


if __name__ == "__main__":
    main()
