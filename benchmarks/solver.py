"""45 strengths x 5 group folds: the stacked solver against a loop over scikit-learn.

    python benchmarks/solver.py [--quick] [--classes 2]

Prints how many times as fast, both in float32 and at the same gradient tolerance, on features with
the spectrum of real embeddings. `--quick` takes every ninth strength of one fold for scikit-learn
and multiplies. `--embeddings FILE.npz` takes the training part of what `frostline cache export`
wrote.

Memory is the growth of the process's peak, over the embeddings. Single fits are compared at C =
1e-4, 1e-2, 1, 10 and 100 (median of three, in turn); `LogisticProbe` is timed with its default grid
and a validation split; and the solver on twice the images: 2 is linear. The limit of the sweep is
its products with the embeddings, heads x columns x steps x 4 n p operations, at the speed that this
machine has for one wide product: the last line says which part of that speed was reached.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
from exported import read_exported
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import PredefinedSplit

from frostline.probe import LogisticProbe
from frostline.probe.solver.solve import solve_logistic

STRENGTHS = np.logspace(-6, 2, 45)
FOLDS = 5


def made_up(n: int, p: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Standardised features with a power-law spectrum, and labels that overlap a little."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(n, p)) * np.arange(1, p + 1) ** -0.6
    y = (hidden @ rng.normal(size=(p, classes)) + rng.normal(size=(n, classes))).argmax(axis=1)
    X = hidden @ np.linalg.qr(rng.normal(size=(p, p)))[0]
    return ((X - X.mean(axis=0)) / X.std(axis=0)).astype(np.float32), y


def single(X: np.ndarray, y: np.ndarray, strength: float) -> float:
    """Time of one fit over that of scikit-learn's."""
    ours, theirs = [], []
    for _ in range(3):  # in turn, so that a busy machine is busy for both
        start = time.perf_counter()
        solve_logistic(X, y, C=strength, n_classes=int(y.max()) + 1)
        ours.append(time.perf_counter() - start)
        start = time.perf_counter()
        LogisticRegression(C=strength, max_iter=10_000).fit(X, y)
        theirs.append(time.perf_counter() - start)
    return float(np.median(ours) / np.median(theirs))


def doubled(X: np.ndarray, y: np.ndarray) -> float:
    """Time of the grid on all images over that on half of them."""
    times = []
    for rows in (slice(None, None, 2), slice(None)):
        start = time.perf_counter()
        solve_logistic(X[rows].copy(), y[rows], C=STRENGTHS, n_classes=int(y.max()) + 1)
        times.append(time.perf_counter() - start)
    return times[1] / times[0]


def product_speed(X: np.ndarray) -> float:
    """Operations a second of a product of X with 256 columns."""
    columns = np.ones((X.shape[1], 256), np.float32)
    best = np.inf
    for _ in range(5):
        start = time.perf_counter()
        X @ columns
        best = min(best, time.perf_counter() - start)
    return 2 * X.size * 256 / best


def memory(what: str) -> int:
    """Bytes of this process on Linux: VmRSS is what it has, VmHWM the most since `forget_peak`."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition(f"{what}:")[2].split()[0]) * 1024


def forget_peak() -> None:
    """Let VmHWM begin anew."""
    Path("/proc/self/clear_refs").write_text("5")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--classes", type=int, default=2)
    parser.add_argument("--embeddings")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.embeddings:
        X, y = read_exported(options.embeddings).train()
        X = (X - X.mean(axis=0)) / np.maximum(X.std(axis=0), 1e-6)
    else:
        X, y = made_up(3882, 1280, options.classes)
    fold = np.random.default_rng(0).integers(0, FOLDS, len(X))
    weights = (fold != np.arange(FOLDS)[:, None]).astype(np.float64)
    C, row = np.tile(STRENGTHS, FOLDS), np.repeat(np.arange(FOLDS), len(STRENGTHS))
    forget_peak()
    before, start = memory("VmRSS"), time.perf_counter()
    heads = solve_logistic(
        X, y, C=C, n_classes=int(y.max()) + 1, sample_weight=weights, weight_row=row
    )
    ours, grown = time.perf_counter() - start, memory("VmHWM") - before
    every, folds = (9, 1) if options.quick else (1, FOLDS)
    tried = STRENGTHS[every // 2 :: every]
    start = time.perf_counter()
    for number in range(folds):
        train = fold != number
        for strength in tried:
            LogisticRegression(C=strength, max_iter=10_000).fit(X[train], y[train])
    theirs = (time.perf_counter() - start) * len(C) / (len(tried) * folds)
    print(f"{len(C)} heads on {X.shape[0]} x {X.shape[1]}, {y.max() + 1} classes")
    print(f"stacked {ours:.2f} s ({heads.converged.sum()} converged), scikit-learn {theirs:.1f} s")
    print(f"ratio {theirs / ours:.1f}; memory grew by {grown / X.nbytes:.1f} of the embeddings")
    for strength in (1e-4, 1e-2, 1.0, 10.0, 100.0):
        print(
            f"a single fit at C={strength:g}: {single(X, y, strength):.2f} of scikit-learn's time"
        )
    start = time.perf_counter()
    LogisticProbe(cv=PredefinedSplit(np.where(fold == 0, 0, -1))).fit(X, y)
    print(f"LogisticProbe, its default grid: {time.perf_counter() - start:.1f} s")
    print(f"twice the images: {doubled(X, y):.2f} of the time")
    columns = 1 if y.max() == 1 else int(y.max()) + 1
    limit = 4 * X.size * columns * float(heads.n_iter.sum()) / product_speed(X)
    print(f"limit by products {limit:.2f} s, reached {limit / ours:.2f} of it")


if __name__ == "__main__":
    main()
