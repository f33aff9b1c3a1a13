"""Opening a store of ten million rows and finding rows in it, against reading its keys alone.

    python benchmarks/opening.py [--quick]

Rows of four bytes in 20 parts. Prints seconds for opening with the header of every part checked,
for the index that the first `locate` makes, and for locating a million keys; the memory that this
took over that of the keys; and the ratio of opening and indexing to a bare read of the keys. Then
the same of a store in 22,000 small parts: opened at first, and again, when its headers are kept.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np

from frostline.cache import EMBEDDINGS, Store, part_files, spec_key
from frostline.cache.stores.part import new_part_name, write_part

SPEC = {"benchmark": "opening"}
PARTS = 20
MANY = 22_000


def make(folder: Path, count: int) -> Path:
    """A store of tiny rows."""
    rng = np.random.default_rng(0)
    store = folder / spec_key(SPEC)
    for _ in range(PARTS):
        keys = rng.integers(0, 256, (count // PARTS, 16), dtype=np.uint8)
        write_part(store, EMBEDDINGS, SPEC, {}, keys, np.zeros((len(keys), 1), np.float32))
    return store


def make_many(folder: Path, parts: int) -> Path:
    """A store of so many parts of 64 rows each, copies of one."""
    store = folder / "many" / spec_key(SPEC)
    keys = np.random.default_rng(0).integers(0, 256, (64, 16), dtype=np.uint8)
    first = write_part(store, EMBEDDINGS, SPEC, {}, keys, np.zeros((64, 8), np.float32))
    for _ in range(parts - 1):
        shutil.copyfile(first, new_part_name(store))
    return store


def bare_read(folder: Path) -> int:
    """Read the keys with h5py and nothing else."""
    count = 0
    for path in part_files(folder):
        with h5py.File(path) as file:
            count += len(file["content_key"][()])
    return count


def peak() -> int:
    """Most memory that this process ever held, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure_many(folder: Path) -> None:
    """Measure and print the opening of many parts."""
    seconds = {}
    steps = {"bare": bare_read, "first": Store.open, "again": Store.open}
    for name, step in steps.items():
        start = time.perf_counter()
        step(folder)
        seconds[name] = time.perf_counter() - start
    first, again = (seconds[name] / seconds["bare"] for name in ("first", "again"))
    print(
        f"{len(part_files(folder)):,} parts: {seconds['first']:.1f} s at first, "
        f"{seconds['again']:.1f} s again; ratio {first:.2f} and {again:.2f} of a bare read of the "
        f"keys ({seconds['bare']:.1f} s)"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="A tenth of the rows.")
    options = parser.parse_args()
    count = 1_000_000 if options.quick else 10_000_000
    with tempfile.TemporaryDirectory() as temporary:
        folder = make(Path(temporary), count)
        start = time.perf_counter()
        bare_read(folder)
        bare = time.perf_counter() - start
        before = peak()
        start = time.perf_counter()
        store = Store.open(folder)
        opened = time.perf_counter() - start
        wanted = store.keys[np.random.default_rng(1).integers(0, count, count // 10)]
        start = time.perf_counter()
        store.locate(wanted[:1])
        indexed = time.perf_counter() - start
        start = time.perf_counter()
        store.locate(wanted)
        located = time.perf_counter() - start
    memory = (peak() - before) / (16 * count)
    print(f"{count:,} rows: open {opened:.2f} s, index {indexed:.2f} s")
    print(
        f"locate {count // 10:,} keys {located:.2f} s; memory {memory:.1f} times that of the keys"
    )
    print(f"ratio {(opened + indexed) / bare:.1f} of a bare read of the keys ({bare:.2f} s)")
    with tempfile.TemporaryDirectory() as temporary:
        measure_many(make_many(Path(temporary), MANY // 10 if options.quick else MANY))


if __name__ == "__main__":
    main()
