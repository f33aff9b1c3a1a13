"""How indexing grows with the number of files, beyond reading their bytes.

    python benchmarks/indexing.py [--files 100000] [--jpeg] [--quick]

Makes that many small PNG files (or JPEG files of 512 x 512 pixels), all of one size, and a tenth of
them; for both: seconds to read the bytes and digest them in a plain loop, seconds to index, what is
left as our own (to be under a minute for 100,000 PNG files), how much of it finds equal pixels,
memory, and seconds to index again, when no image may be opened. The last line is our own
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
    if event == "open" and str(arguments[0]).endswith((".png", ".jpg")):
        opened += 1


def make_files(root: Path, count: int, jpeg: bool) -> None:
    """Grey images, all different, in two classes and folders of a thousand."""
    grain = Image.effect_noise((512, 512), 20)
    for number in range(count):
        folder = root / "ab"[number % 2] / f"{number // 2000:04d}"
        folder.mkdir(parents=True, exist_ok=True)
        image = Image.new("L", (8, 8), number % 251)
        image.putpixel((0, 0), number // 251 % 256)
        image.putpixel((1, 0), number // 64256)
        name = folder / f"p{number // 4:06d}-{number % 4}.png"
        if jpeg:
            Image.blend(image.resize(grain.size), grain, 0.5).save(name.with_suffix(".jpg"))
        else:
            image.save(name)


def read_bytes(root: Path) -> float:
    """Seconds to read and digest every file."""
    start = time.perf_counter()
    for path in root.rglob("*.*g"):
        hashlib.blake2b(path.read_bytes(), digest_size=16).digest()
    return time.perf_counter() - start


def measure(count: int, jpeg: bool) -> float:
    """Print the numbers of so many files; give our own seconds a file."""
    with tempfile.TemporaryDirectory() as folder:
        root, workspace = Path(folder) / "root", Workspace(Path(folder) / "workspace")
        make_files(root, count, jpeg)
        bytes_alone = read_bytes(root)
        times, counts, read = [], [], [0.0, 0.0]
        for _ in range(2):
            before, start = opened, time.perf_counter()

            def note(done: int, total: int) -> None:
                read[0], read[1] = (time.perf_counter(), read[0]) if done == total else read

            manifest = index_dataset(
                workspace, "bench", roots=[root], group_pattern=r"^p\d+", progress=note
            )
            times.append(time.perf_counter() - start)
            counts.append(opened - before)
        assert len(manifest) == count
        own = times[0] - bytes_alone
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{count} files: reading bytes {bytes_alone:.1f} s, indexing {times[0]:.1f} s")
        print(
            f"  our own {own:.1f} s, {own / count * 1e6:.0f} us a file; peak memory {peak:.0f} MB"
        )
        print(f"  of these {read[0] - read[1]:.1f} s to find equal pixels")
        print(f"  again {times[1]:.1f} s, {counts[1]} images opened (first {counts[0]})")
        return own / count


def main() -> None:
    """Measure a tenth of the files, then all."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--jpeg", action="store_true", help="Files as large as photographs.")
    parser.add_argument("--quick", action="store_true", help="1,000 files: does it run?")
    arguments = parser.parse_args()
    sys.addaudithook(_count)
    files = 1000 if arguments.quick else arguments.files
    tenth, whole = measure(files // 10, arguments.jpeg), measure(files, arguments.jpeg)
    print(f"our own time a file, all to a tenth: {whole / tenth:.2f}")


if __name__ == "__main__":
    main()
