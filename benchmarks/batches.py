"""Random batches from the pixel store, against the same batches from an array in memory.

    python benchmarks/batches.py [--quick] [--processes 2]

Images of 224 x 224 x 3 from a warm disk cache, batches of 32 in random order, in this process and
in worker processes that each open the store for themselves. Prints images/s of each, and as the
ratio the store's rate over the array's.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from pathlib import Path

import numpy as np

from frostline.cache import PIXELS, Store, StoreWriter, spec_key

SPEC = {"benchmark": "batches"}
BATCH = 32


def make(folder: Path, count: int) -> Path:
    """A store of noise."""
    rng = np.random.default_rng(0)
    store = folder / spec_key(SPEC)
    with StoreWriter(store, PIXELS, SPEC, {}) as writer:
        for _ in range(count // BATCH):
            keys = rng.integers(0, 256, (BATCH, 16), dtype=np.uint8)
            writer.append(keys, rng.integers(0, 256, (BATCH, 224, 224, 3), dtype=np.uint8))
    return store


def batches(count: int, seed: int) -> list[np.ndarray]:
    """Row numbers of one epoch."""
    return np.split(np.random.default_rng(seed).permutation(count), count // BATCH)


def epoch(folder: Path, seed: int) -> float:
    """Seconds for an epoch from the store, opening and checking of digests left out."""
    store = Store.open(folder)
    store.read(np.arange(len(store)))
    for rows in batches(len(store), seed):
        store.read(rows)
    start = time.perf_counter()
    for rows in batches(len(store), seed):
        store.read(rows)
    return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="A quarter of the images.")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    count = 1024 if options.quick else 4096
    with tempfile.TemporaryDirectory() as temporary:
        folder = make(Path(temporary), count)
        store = Store.open(folder)
        held = store.read(np.arange(count))
        start = time.perf_counter()
        for rows in batches(count, 1):
            _ = held[rows]
        memory = time.perf_counter() - start
        alone = min(epoch(folder, seed) for seed in range(3))
        with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
            together = max(pool.starmap(epoch, [(folder, n) for n in range(options.processes)]))
    print(f"array in memory {count / memory:.0f} images/s")
    print(f"store {count / alone:.0f} images/s")
    print(f"{options.processes} processes {options.processes * count / together:.0f} images/s")
    print(f"ratio {memory / alone:.2f}")


if __name__ == "__main__":
    main()
