"""45 strengths x 5 group folds: the stacked solver against a loop over scikit-learn.

    python benchmarks/solver.py [--quick] [--classes 2]

Prints how many times as fast, both in float32 and at the same gradient tolerance, on features with
the spectrum of real embeddings. `--quick` takes every ninth strength of one fold for scikit-learn
and multiplies. `--embeddings FILE.npz` (arrays x and y) takes real ones.
"""

from __future__ import annotations

import argparse
import time
import warnings

import numpy as np
from sklearn.linear_model import LogisticRegression

from frostline.probe.solver import solve_logistic

STRENGTHS = np.logspace(-6, 2, 45)
FOLDS = 5


def made_up(n: int, p: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Standardised features with a power-law spectrum, and labels that overlap a little."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(n, p)) * np.arange(1, p + 1) ** -0.6
    y = (hidden @ rng.normal(size=(p, classes)) + rng.normal(size=(n, classes))).argmax(axis=1)
    X = hidden @ np.linalg.qr(rng.normal(size=(p, p)))[0]
    return ((X - X.mean(axis=0)) / X.std(axis=0)).astype(np.float32), y


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--classes", type=int, default=2)
    parser.add_argument("--embeddings")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.embeddings:
        file = np.load(options.embeddings)
        X, y = file["x"].astype(np.float32), np.unique(file["y"], return_inverse=True)[1]
        X = (X - X.mean(axis=0)) / np.maximum(X.std(axis=0), 1e-6)
    else:
        X, y = made_up(3882, 1280, options.classes)
    fold = np.random.default_rng(0).integers(0, FOLDS, len(X))
    weights = (fold != np.arange(FOLDS)[:, None]).astype(np.float64)
    C, row = np.tile(STRENGTHS, FOLDS), np.repeat(np.arange(FOLDS), len(STRENGTHS))
    start = time.perf_counter()
    heads = solve_logistic(
        X, y, C=C, n_classes=int(y.max()) + 1, sample_weight=weights, weight_row=row
    )
    ours = time.perf_counter() - start
    every, folds = (9, 1) if options.quick else (1, FOLDS)
    tried = STRENGTHS[every // 2 :: every]
    start = time.perf_counter()
    for number in range(folds):
        train = fold != number
        for strength in tried:
            LogisticRegression(C=strength, max_iter=10_000).fit(X[train], y[train])
    theirs = (time.perf_counter() - start) * len(C) / (len(tried) * folds)
    start = time.perf_counter()
    solve_logistic(X, y, C=1.0, n_classes=int(y.max()) + 1)
    one = time.perf_counter() - start
    start = time.perf_counter()
    LogisticRegression(C=1.0, max_iter=10_000).fit(X, y)
    their_one = time.perf_counter() - start
    print(f"{len(C)} heads on {X.shape[0]} x {X.shape[1]}, {y.max() + 1} classes")
    print(f"stacked {ours:.2f} s ({heads.converged.sum()} converged), scikit-learn {theirs:.1f} s")
    print(f"a single fit at C=1: {one:.2f} s, scikit-learn {their_one:.2f} s")
    print(f"ratio {theirs / ours:.1f}")


if __name__ == "__main__":
    main()
