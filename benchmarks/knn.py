"""k-NN for ten values of k from one search, against the time of one k.

    python benchmarks/knn.py [--quick] [--embeddings FILE.npz]

Prints the time of ten over the time of one; 1 is the goal. FILE.npz, of `frostline cache export`,
has real embeddings, of which the training part is taken; without it they are made up. `--quick`
takes 2,000 rows.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from exported import read_exported

from frostline.probe.heads.knn import KNNProbe

KS = [1, 2, 5, 10, 20, 30, 50, 70, 100, 200]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--embeddings")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    if options.embeddings:
        X = read_exported(options.embeddings).train()[0]
    else:
        X = rng.normal(size=(10_000, 1280)).astype(np.float32)
    X = X[rng.permutation(len(X))[: 2000 if options.quick else None]]
    y = rng.integers(0, 7, len(X))
    half = len(X) // 2
    probe = KNNProbe(max(KS)).fit(X[:half], y[:half])
    times: dict[int, list[float]] = {1: [], len(KS): []}
    for _ in range(5):  # in turn, so that a busy machine is busy for both
        for count, seen in times.items():
            start = time.perf_counter()
            probe.predict_proba_many(X[half:], KS[-count:])
            seen.append(time.perf_counter() - start)
    one, ten = (float(np.median(seen)) for seen in times.values())
    print(f"{half} training rows x {X.shape[1]}: one k {one:.3f} s, ten {ten:.3f} s")
    print(f"ratio {ten / one:.2f}")


if __name__ == "__main__":
    main()
