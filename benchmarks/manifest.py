"""The table of a million images, and a shard's part of ten million: time and memory.

    python benchmarks/manifest.py [--quick]

Ids as long as real ones, two images a patient. Prints bytes an image on disk and in memory, seconds
of a core for writing, reading and digesting a million, and the ratio of reading it to reading its
Parquet file with pandas alone. Then, of ten million, what extraction does before its first image
in a shard of a hundred, and in another process what pandas takes to read the same seven columns:
seconds, and the most memory over that of the imports.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from frostline.cache import Manifest, read_manifest, write_manifest
from frostline.cache.manifest import FORMAT, FORMAT_VERSION, IMAGE_COLUMNS
from frostline.cache.stamped import read_parquet, write_parquet
from frostline.study.records import manifest_digests

SHARD = (3, 100)
TIMES = 10
MEASURE = """
import json, re, sys, time
from pathlib import Path
import pandas, pyarrow.parquet
from frostline.cache import read_manifest
from frostline.cache.manifest import IMAGE_COLUMNS
from frostline.extract.pixels import distinct_images, manifest_channels
def peak():
    # Not ru_maxrss, which a process has from its parent.
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", status)[1]) * 1024
path, shard = Path(sys.argv[1]), json.loads(sys.argv[2])
before, start = peak(), time.perf_counter()
if shard:
    manifest = read_manifest(path, IMAGE_COLUMNS, shard)
    manifest_channels(manifest)
    rows = len(distinct_images(manifest, shard))
else:
    rows = len(pandas.read_parquet(path, columns=list(IMAGE_COLUMNS)))
print(json.dumps([rows, time.perf_counter() - start, peak() - before]))
"""


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


def repeat(path: Path, times: int) -> Path:
    """Write a manifest of so many times the rows, in as many roots, each with keys of its own."""
    table, meta = read_parquet(path, FORMAT, FORMAT_VERSION)
    table = table.replace_schema_metadata(None)  # its stamp is written anew
    rng, text, copies = np.random.default_rng(1), pa.large_string(), []
    for number in range(times):
        data = pa.py_buffer(rng.bytes(16 * len(table)))
        keys = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(table), [None, data])
        ids = pc.binary_join_element_wise(
            pa.scalar(str(number), text), table["image_id"].cast(text), pa.scalar(":", text)
        )
        roots = pa.array(np.full(len(table), number, np.int16))
        changed = {"image_id": ids, "root": roots, "file_key": keys, "content_key": keys}
        copy = table
        for name, column in changed.items():
            place = table.schema.get_field_index(name)
            copy = copy.set_column(place, table.schema.field(name), column)
        copies.append(copy)
    large = path.with_name("large.parquet")
    meta["roots"] = [f"/data/{number}" for number in range(times)]
    write_parquet(large, pa.concat_tables(copies), FORMAT, FORMAT_VERSION, meta)
    return large


def measured(path: Path, shard: tuple[int, int] | None) -> tuple[int, float, int]:
    """Give rows, seconds and bytes that a process takes for a shard, or pandas for all."""
    command = [sys.executable, "-c", MEASURE, str(path), json.dumps(shard)]
    rows, seconds, memory = json.loads(subprocess.check_output(command, text=True))
    return rows, seconds, memory


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
            "read for extraction": lambda: read_manifest(path, IMAGE_COLUMNS),
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
        large = repeat(path, TIMES)
        rows, taken, most = measured(large, SHARD)
        every, plain, all_memory = measured(large, None)
    print(
        f"shard {SHARD[0]}/{SHARD[1]} of {every:,}: {rows:,} images in {taken:.1f} s, "
        f"{most / 1e6:.0f} MB; pandas alone, all of them: {plain:.1f} s, {all_memory / 1e6:.0f} MB"
    )
    print(f"ratio {most / all_memory:.2f} of the memory, {taken / plain:.2f} of the time")


if __name__ == "__main__":
    main()
