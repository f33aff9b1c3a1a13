"""An embedding store into one array, digests checked, against numpy.load of the same values.

    python benchmarks/reading.py [--quick] [--folder DIR]

100,000 x 1,024 float32 in parts of 64 MiB and in one compacted part, from a warm disk cache; every
reading opens the store anew, so that every digest is checked every time. Prints the rate of the
store over that of `numpy.load`; the best of several readings each, taken in turns.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from frostline.cache import EMBEDDINGS, Store, StoreWriter, spec_key
from frostline.cache.stores.compact import compact_store

SPEC = {"benchmark": "reading"}


def make(folder: Path, count: int, dim: int) -> tuple[Path, Path]:
    """The same values as a store and as a file of NumPy."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal((count, dim), dtype=np.float32)
    keys = rng.integers(0, 256, (count, 16), dtype=np.uint8)
    store = folder / spec_key(SPEC)
    with StoreWriter(store, EMBEDDINGS, SPEC, {}) as writer:
        for start in range(0, count, 256):
            writer.append(keys[start : start + 256], values[start : start + 256])
    np.save(folder / "values.npy", values)
    return store, folder / "values.npy"


def read_store(folder: Path) -> np.ndarray:
    """All rows in the order of the store, every block's digest checked."""
    store = Store.open(folder)
    return store.read(store.distinct_rows())


def best(functions: list[Callable[[], np.ndarray]], times: int) -> list[float]:
    """Shortest time of each function, called in turns."""
    found = [float("inf")] * len(functions)
    for _ in range(times):
        for number, function in enumerate(functions):
            start = time.perf_counter()
            result = function()
            found[number] = min(found[number], time.perf_counter() - start)
            del result
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="A quarter of the rows.")
    parser.add_argument("--folder", type=Path, help="Where to write 1 GB for a while.")
    options = parser.parse_args()
    count, dim = (25_000 if options.quick else 100_000), 1024
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        store, file = make(Path(temporary), count, dim)
        functions = [lambda: read_store(store), lambda: np.load(file)]
        ours, theirs = best(functions, 3 if options.quick else 7)
        compact_store(store)
        compacted, again = best(functions, 3 if options.quick else 7)
    size = count * dim * 4 / 1e9
    print(f"parts: store {size / ours:.2f} GB/s, numpy.load {size / theirs:.2f} GB/s")
    print(f"compacted: store {size / compacted:.2f} GB/s, numpy.load {size / again:.2f} GB/s")
    print(f"ratio {theirs / ours:.2f} in parts, {again / compacted:.2f} compacted")


if __name__ == "__main__":
    main()
