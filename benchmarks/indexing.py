"""How indexing grows with the number of files, beyond reading their bytes.

    python benchmarks/indexing.py [--files 100000] [--quick]

Makes that many small PNG files and a tenth of them; for both: seconds to read the bytes and digest
them in a plain loop, seconds to index, what is left as our own (to be under a minute for 100,000
files), memory, and seconds to index again, when no image may be opened. The last line is our own
time a file at the full number over that at a tenth: 1 is linear.
"""

from __future__ import annotations

import argparse
import hashlib
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from PIL import Image

from frostline.cache import Workspace
from frostline.extract.index import index_dataset

opened = 0


def _count(event: str, arguments: tuple[Any, ...]) -> None:
    global opened
    if event == "open" and str(arguments[0]).endswith(".png"):
        opened += 1


def make_files(root: Path, count: int) -> None:
    """Small grey images, all different, in two classes and folders of a thousand."""
    for number in range(count):
        folder = root / "ab"[number % 2] / f"{number // 2000:04d}"
        folder.mkdir(parents=True, exist_ok=True)
        image = Image.new("L", (8, 8), number % 251)
        image.putpixel((0, 0), number // 251 % 256)
        image.putpixel((1, 0), number // 64256)
        image.save(folder / f"p{number // 4:06d}-{number % 4}.png")


def read_bytes(root: Path) -> float:
    """Seconds to read and digest every file."""
    start = time.perf_counter()
    for path in root.rglob("*.png"):
        hashlib.blake2b(path.read_bytes(), digest_size=16).digest()
    return time.perf_counter() - start


def measure(count: int) -> float:
    """Print the numbers of so many files; give our own seconds a file."""
    with tempfile.TemporaryDirectory() as folder:
        root, workspace = Path(folder) / "root", Workspace(Path(folder) / "workspace")
        make_files(root, count)
        bytes_alone = read_bytes(root)
        times, counts = [], []
        for _ in range(2):
            before, start = opened, time.perf_counter()
            manifest = index_dataset(workspace, "bench", roots=[root], group_pattern=r"^p\d+")
            times.append(time.perf_counter() - start)
            counts.append(opened - before)
        assert len(manifest) == count
        own = times[0] - bytes_alone
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{count} files: reading bytes {bytes_alone:.1f} s, indexing {times[0]:.1f} s")
        print(
            f"  our own {own:.1f} s, {own / count * 1e6:.0f} us a file; peak memory {peak:.0f} MB"
        )
        print(f"  again {times[1]:.1f} s, {counts[1]} images opened (first {counts[0]})")
        return own / count


def main() -> None:
    """Measure a tenth of the files, then all."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--quick", action="store_true", help="1,000 files: does it run?")
    arguments = parser.parse_args()
    sys.addaudithook(_count)
    files = 1000 if arguments.quick else arguments.files
    tenth, whole = measure(files // 10), measure(files)
    print(f"our own time a file, all to a tenth: {whole / tenth:.2f}")


if __name__ == "__main__":
    main()
