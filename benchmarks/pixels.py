"""How fast the pixel store fills, against its own per-image function on every core.

    python benchmarks/pixels.py chest_xray/train ham10000/images [--images N] [--folder DIR]

For each folder of images: microseconds an image for decoding and for resizing and cropping; the
rate of both together in one process, and in as many processes as there are cores, with nothing
else to do (two cores that share memory do less than twice the work of one); the rate at which the
store fills; and its ratio to the latter, which is to be 0.9 or more: the median of several rounds,
measured in turn. Also how much less time resizing and cropping takes than Pillow's plain way, and
how memory grows with the number of images. `--folder` is where the store is written: in memory
(/dev/shm), the disk is no limit.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from frostline.cache import Manifest, Workspace
from frostline.extract.images.decode import IMAGE_SUFFIXES, decode, read_image
from frostline.extract.images.decoders import KEPT_BLOCKS
from frostline.extract.images.geometry import FILTERS, PAPER_GEOMETRY, Channels
from frostline.extract.images.opened import open_image
from frostline.extract.index import index_dataset
from frostline.extract.pixels import fill_pixels, pixel_source


def seconds_each(function: Callable[[object], object], items: Sequence, repeats: int) -> float:
    """Seconds a call, of the best round over all items."""
    best = np.inf
    for _ in range(repeats):
        start = time.perf_counter()
        for item in items:
            function(item)
        best = min(best, (time.perf_counter() - start) / len(items))
    return float(best)


def one(channels: Channels, file: Path) -> None:
    """The per-image function: decode, resize and crop."""
    decode(file, None, PAPER_GEOMETRY, channels)


def each(function: Callable[[Path], object], files: Sequence[Path]) -> None:
    """Call it for each."""
    for file in files:
        function(file)


def rate_together(function: Callable[[Path], object], files: Sequence[Path], cores: int) -> float:
    """Images a second when as many processes as cores call the function and do nothing else."""
    parts = [files[start : start + 50] for start in range(0, len(files), 50)]
    keep_memory = partial(Image.core.set_blocks_max, KEPT_BLOCKS)
    with ProcessPoolExecutor(cores, initializer=keep_memory) as pool:
        list(pool.map(partial(each, function), parts[:cores]))
        start = time.perf_counter()
        list(pool.map(partial(each, function), parts))
        return len(files) / (time.perf_counter() - start)


def digest(file: Path) -> bytes:
    """Read a file and digest it, as it is done before it is decoded."""
    with open_image(file) as opened:
        return opened.key()


def plain_way(image: Image.Image) -> np.ndarray:
    """Resize the whole image, then crop: what torchvision's transforms do."""
    width, height = PAPER_GEOMETRY.resized_size(*image.size)
    crop = PAPER_GEOMETRY.crop
    image = image.resize((width, height), FILTERS[PAPER_GEOMETRY.interpolation])
    left, top = round((width - crop) / 2), round((height - crop) / 2)
    return np.array(image.crop((left, top, left + crop, top + crop)))


def make_manifest(workspace: Workspace, files: Sequence[Path]) -> Manifest:
    """Index links to the files, in two classes, so that a random part of a folder is a data set."""
    root = workspace.root / "links"
    for number, file in enumerate(files):
        folder = root / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}-{file.name}").symlink_to(file.resolve())
    return index_dataset(workspace, "bench", roots=[root])


def cpu_seconds(who: int) -> float:
    """Seconds of a core that processes have taken."""
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


def fill_rate(files: Sequence[Path], place: Path | None) -> tuple[float, float, float, float]:
    """Images a second while a new store is filled, and MB by which memory grew.

    And the microseconds of a core an image that decoding processes took, and this one, the writer.
    """
    people = resource.RUSAGE_CHILDREN, resource.RUSAGE_SELF
    with tempfile.TemporaryDirectory(dir=place) as folder:
        workspace = Workspace(Path(folder))
        manifest = make_manifest(workspace, files)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        taken = [cpu_seconds(who) for who in people]
        start = time.perf_counter()
        store = fill_pixels(pixel_source(workspace, manifest, PAPER_GEOMETRY))
        rate = len(store) / (time.perf_counter() - start)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        cpu = [
            (cpu_seconds(who) - so_far) / len(files) * 1e6
            for who, so_far in zip(people, taken, strict=True)
        ]
        return rate, grown, *cpu


def measure(folder: Path, count: int, rounds: int, place: Path | None) -> None:
    """Print the numbers of one folder."""
    found = [path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES]
    files = random.Random(0).sample(sorted(found), min(count, len(found)))
    few = files[: max(20, len(files) // 10)]
    decoded = [read_image(file) for file in few]
    channels: Channels = "rgb" if any(image.mode == "RGB" for image in decoded) else "grey"
    reading = seconds_each(lambda file: read_image(file), few, rounds)
    digesting = seconds_each(digest, few, rounds)
    resizing = seconds_each(lambda image: PAPER_GEOMETRY.apply(image, channels), decoded, rounds)
    plainly = seconds_each(plain_way, decoded, rounds)
    cores = len(os.sched_getaffinity(0))
    alone = 1 / seconds_each(partial(one, channels), files, 1)
    together = [rate_together(partial(one, channels), files, cores)]
    rounds_filled = []
    for _ in range(rounds):
        rounds_filled.append(fill_rate(files, place))
        together.append(rate_together(partial(one, channels), files, cores))
    # Each against the mean of what was measured just before and after: rates drift.
    around = (np.array(together[1:]) + np.array(together[:-1])) / 2
    filled, grown, decoding, writing = np.array(rounds_filled).T
    ratios = filled / around
    busy = (decoding + writing) * filled / cores / 1e6
    print(f"{folder}: {len(files)} images of {len(found)}, {channels}, {cores} cores")
    print(f"  decode {reading * 1e6:.0f} us, resize and crop {resizing * 1e6:.0f} us an image")
    print(
        f"  the digest takes {digesting / (reading + resizing):.3f} of both, its reading included"
    )
    print(f"  resize and crop: {resizing / plainly:.2f} of the time of the plain way")
    print(
        f"  per-image function {alone:.0f} images/s; in {cores} processes {np.median(around):.0f}"
    )
    print(
        f"  filling the store {np.median(filled):.0f} images/s; memory grew by {grown.max():.0f} MB"
    )
    print(
        f"  of a core an image: decoding {np.median(decoding):.0f} us, writing "
        f"{np.median(writing):.0f} us; {np.median(busy):.2f} of the cores were busy, and what is "
        f"written lets the ratio be {np.median(decoding / (decoding + writing)):.2f}"
    )
    print(f"  ratio {np.median(ratios):.3f} ({ratios.min():.3f} to {ratios.max():.3f})")


def main() -> None:
    """Measure the folders that are named."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, help="where the store is written")
    parser.add_argument("--quick", action="store_true", help="60 images, once: does it run?")
    arguments = parser.parse_args()
    for folder in arguments.folders:
        count, rounds = (60, 1) if arguments.quick else (arguments.images, 5)
        measure(folder, count, rounds, arguments.folder)


if __name__ == "__main__":
    main()
