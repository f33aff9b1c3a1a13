"""Bootstrap of metrics against the usual way: resample rows, call scikit-learn. Prints ratios.

    python benchmarks/bootstrap.py [--ham10000 HAM10000_metadata.csv]

The usual way is timed on a few replicates and scaled up (it is a loop: each costs the same).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd
from sklearn import metrics as sk

from frostline.report.statistics.intervals.estimates import Draws, replicate
from frostline.report.statistics.intervals.intervals import compute_intervals
from frostline.report.statistics.sample import Sample

FOUR = ["accuracy", "precision_weighted", "recall_weighted", "f1_weighted"]


def make_sample(n: int, classes: int, groups: np.ndarray | None = None) -> Sample:
    """Answers that are right about seven times in ten, with probabilities that differ."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, classes, n)
    logits = rng.normal(size=(n, classes))
    logits[np.arange(n), truth] += 1.6
    probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    names = tuple(f"class {i}" for i in range(classes))
    return Sample(truth, probs.argmax(1), groups, names, "image", "", "test", (), probs, n)


def four_by_sklearn(sample: Sample, rows: np.ndarray) -> list[float]:
    """The four metrics of the paper, of resampled rows."""
    truth, called = sample.truth[rows], sample.prediction[rows]
    out = [sk.accuracy_score(truth, called)]
    for function in (sk.precision_score, sk.recall_score, sk.f1_score):
        out.append(function(truth, called, average="weighted", zero_division=0))
    return out


def auc_by_sklearn(sample: Sample, rows: np.ndarray) -> float:
    """ROC AUC of resampled rows, two classes."""
    return float(sk.roc_auc_score(sample.truth[rows], sample.probs[rows, 1]))


def usual_way(sample: Sample, function: Callable, replicates: int, few: int) -> float:
    """Seconds for `replicates`, from `few` of them."""
    rng = np.random.default_rng(0)
    start = time.perf_counter()
    for _ in range(few):
        function(sample, rng.integers(0, len(sample.truth), len(sample.truth)))
    return (time.perf_counter() - start) * replicates / few


def ours(make: Callable[[], Sample], names: list[str], replicates: int) -> float:
    """Seconds, from rows to replicates, the best of three."""
    best = float("inf")
    for _ in range(3):
        sample = make()
        start = time.perf_counter()
        replicate(sample, names, Draws(replicates))
        best = min(best, time.perf_counter() - start)
    return best


def main() -> None:
    """Print every ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ham10000", help="HAM10000_metadata.csv, for its lesions")
    options = parser.parse_args()
    make = lambda: make_sample(1_512, 7)  # noqa: E731
    fast, slow = ours(make, FOUR, 5_000), usual_way(make(), four_by_sklearn, 5_000, 200)
    print(
        f"5,000 replicates of four metrics, 1,512 images, 7 classes: {slow:.1f} s the usual way, "
        f"{1000 * fast:.1f} ms here, ratio {slow / fast:,.0f}"
    )
    for n, few in ((1_512, 300), (10_015, 100)):
        make = lambda n=n: make_sample(n, 2)  # noqa: E731
        fast, slow = ours(make, ["roc_auc"], 10_000), usual_way(make(), auc_by_sklearn, 10_000, few)
        print(
            f"10,000 replicates of ROC AUC, {n:,} images: {slow:.1f} s the usual way, "
            f"{fast:.2f} s here, ratio {slow / fast:,.0f}"
        )
    if options.ham10000:
        table = pd.read_csv(options.ham10000)
        groups = pd.factorize(table["lesion_id"])[0].astype(np.int64)
        names = sorted(table["dx"].unique())
        truth = table["dx"].map(names.index).to_numpy()
        rng = np.random.default_rng(0)
        called = np.where(rng.random(len(truth)) < 0.8, truth, rng.integers(0, 7, len(truth)))
        about = (tuple(names), "group", "", "test", ())
        make = partial(Sample, truth, called, groups, *about, n_images=len(truth))
        fast = ours(make, FOUR, 10_000)
        kinds = len(make().kinds.counts)
        print(
            f"10,000 replicates by lesion, {len(truth):,} images of {groups.max() + 1:,} lesions "
            f"({kinds} kinds): {fast:.2f} s, grouping included"
        )
        start = time.perf_counter()
        compute_intervals(make(), FOUR)
        print(f"intervals of the four by `auto`: {time.perf_counter() - start:.2f} s")


if __name__ == "__main__":
    main()
