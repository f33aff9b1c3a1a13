"""The table of a million images: bytes on disk, memory, CPU seconds to write, read and digest it.

    python benchmarks/manifest.py [--quick]

Ids as long as real ones, two images a patient. Prints bytes an image on disk and in memory, seconds
of a core for each, and the ratio of reading it to reading its Parquet file with pandas alone.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from frostline.cache import Manifest, read_manifest, write_manifest
from frostline.study.records import manifest_digests


def make(count: int) -> Manifest:
    """A manifest of made-up images."""
    rng = np.random.default_rng(0)
    names = [
        f"patient{number // 2:07d}/study{number % 7}/image{number:08d}.png"
        for number in range(count)
    ]
    keys = [key.tobytes() for key in rng.integers(0, 256, (count, 16), dtype=np.uint8)]
    labels = np.array(["benign", "malignant"], object)[rng.integers(0, 2, count)]
    splits = np.array(["train", "val", "test"], object)[rng.choice(3, count, p=[0.56, 0.14, 0.3])]
    table = pd.DataFrame(
        {
            "image_id": names,
            "path": names,
            "root": np.zeros(count, np.int16),
            "frame": pd.array([pd.NA] * count, dtype="Int64"),
            "label": labels,
            "group_id": [name.partition("/")[0] for name in names],
            "split": splits,
            "file_key": keys,
            "content_key": keys,
            "file_size": rng.integers(10_000, 1_000_000, count),
            "file_mtime_ns": rng.integers(0, 2**60, count),
            "width": pd.array([224] * count, dtype="Int32"),
            "height": pd.array([224] * count, dtype="Int32"),
            "mode": "L",
            "format": "PNG",
        }
    )
    return Manifest(table, {"dataset": "made-up", "kind": "folder", "roots": ["/data"]})


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="A tenth of the rows.")
    count = 100_000 if parser.parse_args().quick else 1_000_000
    manifest = make(count)
    seconds = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "made-up.parquet"
        steps = {
            "write": lambda: write_manifest(path, manifest),
            "bare": lambda: pd.read_parquet(path),
            "read": lambda: read_manifest(path),
            "digest": lambda: manifest.digest(),
            "digests of columns": lambda: manifest_digests(manifest),
        }
        for name, step in steps.items():
            start = time.process_time()
            step()
            seconds[name] = time.process_time() - start
        disk = path.stat().st_size / count
        memory = read_manifest(path).table.memory_usage(deep=True).sum() / count
    print(f"{count:,} images: {disk:.0f} bytes an image on disk, {memory:.0f} in memory")
    print(", ".join(f"{name} {value:.2f} s" for name, value in seconds.items()))
    print(f"ratio {seconds['read'] / seconds['bare']:.2f} of pandas alone")


if __name__ == "__main__":
    main()
