"""All pairs of nine methods by ROC AUC against the usual way. Prints seconds and the ratio.

    python benchmarks/comparing.py

The usual way is to permute: swap the two methods' probabilities in groups at random and call
scikit-learn. It is timed on a few permutations of one pair and scaled up to those that `compare`
draws of every pair (it is a loop: each costs the same), without intervals.
"""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from frostline.report import Predictions, compare

METHODS, IMAGES, GROUPS = 9, 1_512, 1_200
REPLICATES, FEW = 10_000, 20


def make_runs(classes: int) -> list[Predictions]:
    """Make methods of close skill on the same images, the most of them alone in their group."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, classes, IMAGES)
    groups = np.r_[np.arange(GROUPS), rng.integers(0, GROUPS, IMAGES - GROUPS)]
    names = [f"class {i}" for i in range(classes)]
    shared = rng.normal(size=(IMAGES, classes))
    runs = []
    for number in range(METHODS):
        logits = shared + rng.normal(size=(IMAGES, classes))
        logits[np.arange(IMAGES), truth] += 1.6 + 0.05 * number
        probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        table = pd.DataFrame(
            {
                "image_id": [f"image-{i}" for i in range(IMAGES)],
                "group_id": [f"patient-{i}" for i in groups],
                "split": "test",
                "label": [names[i] for i in truth],
                "prediction": [names[i] for i in probs.argmax(1)],
                **{f"prob_{name}": probs[:, i] for i, name in enumerate(names)},
            }
        )
        meta = {"run": f"run-{number}", "dataset": "made", "classes": names}
        runs.append(Predictions(table, meta))
    return runs


def usual_way(one: Predictions, other: Predictions, pairs: int) -> float:
    """Estimate the seconds of a permutation test of every pair, from a few permutations of one."""
    names = [f"prob_{name}" for name in one.classes]
    truth = pd.Categorical(one.table["label"], categories=one.classes).codes
    probs = [run.table[names].to_numpy() for run in (one, other)]
    _, member = np.unique(one.table["group_id"], return_inverse=True)
    rng = np.random.default_rng(0)

    def area(values: np.ndarray) -> float:
        if len(names) == 2:
            return float(roc_auc_score(truth, values[:, 1]))
        return float(roc_auc_score(truth, values, multi_class="ovr"))

    start = time.perf_counter()
    for _ in range(FEW):
        swapped = rng.integers(0, 2, member.max() + 1)[member, None] == 1
        area(np.where(swapped, *probs))
        area(np.where(swapped, *probs[::-1]))
    return (time.perf_counter() - start) * REPLICATES / FEW * pairs


def main() -> None:
    """Print every ratio."""
    for classes in (2, 7):
        runs = make_runs(classes)
        start = time.perf_counter()
        found = compare(runs, metric="roc_auc", replicates=REPLICATES)
        ours = time.perf_counter() - start
        pairs = len(found)
        slow = usual_way(*runs[:2], pairs)
        print(
            f"{pairs} pairs by ROC AUC, {IMAGES:,} images, {GROUPS:,} groups, {classes} classes: "
            f"{ours:.1f} s here, {slow:,.0f} s by permuting with scikit-learn "
            f"({slow / pairs:.0f} s a pair), ratio {slow / ours:,.0f}"
        )


if __name__ == "__main__":
    main()
