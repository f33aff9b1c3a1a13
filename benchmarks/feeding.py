"""What extraction does beside the network: images/s and CPU time with one that costs nothing.

    python benchmarks/feeding.py [--quick] [--folder DIR] [--images DIR] [--batch N] [--dim N]

The network is a stub: an image's embedding is its first bytes, which are checked. So what is
measured is reading and checking pixels, or decoding files, and keeping embeddings: the rate above
which a GPU waits. From pixels: colour images of 224 x 224 from a warm disk cache, against plain
reading of the same bytes, without and with their digests, by one thread into the same number of
arrays in turn. From files: those of `--images`, or JPEG files that need no more than a crop, with
and without keeping pixels, against the per-image function (decode, resize, crop) in as many
processes as cores, which do nothing else. `--folder` is where the files lie: in memory (/dev/shm),
the disk is no limit. Medians of several rounds, everything measured in turn in each.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import tempfile
import time
from functools import partial
from itertools import cycle
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import torch
import xxhash
from PIL import Image
from pixels import one, rate_together

from frostline.cache import PIXELS, Manifest, Store, StoreWriter, Workspace, find_stores
from frostline.extract import embed, forward
from frostline.extract.images.decode import IMAGE_SUFFIXES
from frostline.extract.images.geometry import PAPER_GEOMETRY, Channels
from frostline.extract.index import index_dataset
from frostline.extract.pixels import distinct_images, image_keys, manifest_channels, pixel_source

SHAPE = (224, 224, 3)
NORMALISATION = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
BACKBONE: Any = SimpleNamespace(name="stub", weights="none", weights_source="none", head="")
BUFFERS = 4
Speed = tuple[float, float]  # images/s, and microseconds of CPU an image


def first_bytes(pixels: np.ndarray, dim: int) -> np.ndarray:
    """The embeddings of the stub, float32 [n, dim]."""
    return pixels.reshape(len(pixels), -1)[:, :dim].astype(np.float32)


def spent() -> float:
    """Seconds of CPU of this process and of those that it has waited for."""
    used = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return sum(one.ru_utime + one.ru_stime for one in used)


def extraction(
    place: Path, manifest: Manifest, options: argparse.Namespace, *, keep: bool = True
) -> Speed:
    """A whole pass; the rate is from the end of the first batch on."""
    with tempfile.TemporaryDirectory(dir=place) as folder:
        # The pixels stay, the embeddings go.
        workspace = Workspace(Path(folder))
        (place / "pixels").mkdir(exist_ok=True)
        (workspace.root / "pixels").symlink_to(place / "pixels")
        source = pixel_source(workspace, manifest, PAPER_GEOMETRY, keep=keep)
        spec = embed.embedding_spec(source, "stub", "none", "bytes", NORMALISATION)
        times: list[tuple[float, int]] = []

        def stub(pixels: torch.Tensor) -> list[torch.Tensor]:
            return [torch.from_numpy(first_bytes(pixels.numpy(), options.dim))]

        with mock.patch.object(forward, "several_forward", return_value=stub):
            before = spent()
            embed.embed_features(
                workspace,
                source,
                [spec],
                lambda: BACKBONE,
                batch=options.batch,
                progress=lambda done, total: times.append((time.perf_counter(), done)),
            )
            cpu = spent() - before
        check(workspace, manifest, source.folder, options.dim)
    (first, some), (last, count) = times[0], times[-1]
    return (count - some) / (last - first), cpu / count * 1e6


def check(workspace: Workspace, manifest: Manifest, pixels: Path, dim: int) -> None:
    """A sample of embeddings is what the stub makes of the image's pixels."""
    (folder,) = find_stores(workspace.embeddings(manifest.meta["dataset"], "stub"))
    keys = manifest.keys()[:: max(1, len(manifest.table) // 50)]
    store = Store.open(folder)
    rows = store.locate(keys)
    assert (rows >= 0).all()
    if pixels.is_dir():
        images = Store.open(pixels)
        expected = first_bytes(images.read(images.locate(keys)), dim)
        np.testing.assert_array_equal(store.read(rows), expected)


def make_files(folder: Path, count: int, side: int, mode: str = "RGB") -> Path:
    """JPEG files of smooth noise, each different."""
    rng = np.random.default_rng(0)
    for number in range(count):
        path = folder / "ab"[number % 2] / f"{number:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        image.resize((side, side), Image.Resampling.BICUBIC).convert(mode).save(path)
    return folder


def fill(place: Path, manifest: Manifest) -> Path:
    """A pixel store of noise for all images, and the same values as a plain file."""
    source = pixel_source(Workspace(place), manifest, PAPER_GEOMETRY)
    keys = image_keys(distinct_images(manifest))
    rng = np.random.default_rng(0)
    with (
        StoreWriter(source.folder, PIXELS, source.spec, {}) as writer,
        (place / "plain").open("wb") as plain,
    ):
        for start in range(0, len(keys), 256):
            mine = keys[start : start + 256]
            values = rng.integers(0, 256, (len(mine), *SHAPE), dtype=np.uint8)
            writer.append(mine, values)
            values.tofile(plain)
    return place / "plain"


def bare(plain: Path, batch: int, *, digests: bool) -> Speed:
    """Reading a plain file into memory that is used again."""
    arrays = [np.ones((batch, *SHAPE), np.uint8) for _ in range(BUFFERS)]
    start, before, count = time.perf_counter(), spent(), 0
    with plain.open("rb", buffering=0) as file:
        for array in cycle(arrays):
            size = file.readinto(array.data)
            if not size:
                seconds = time.perf_counter() - start
                return count / seconds, (spent() - before) / count * 1e6
            count += size // array[0].nbytes
            if digests:
                xxhash.xxh3_128(array.reshape(-1).data[:size]).digest()
    raise AssertionError


def function_alone(files: list[Path], channels: Channels) -> Speed:
    """The per-image function in processes that do nothing else."""
    cores = len(os.sched_getaffinity(0))
    before = spent()
    rate = rate_together(partial(one, channels), files, cores)
    warm = min(50 * cores, len(files))
    return rate, (spent() - before) / (len(files) + warm) * 1e6


def say(name: str, ours: list[Speed], baselines: dict[str, list[Speed]]) -> None:
    """Print medians, and ratios to each baseline, which are taken round by round."""
    print(f"{name}: {words(ours)}")
    for what, found in baselines.items():
        rate, cpu = np.array(ours).T / np.array(found).T
        print(
            f"  {what}: {words(found)}; ratio {np.median(rate):.2f} ({rate.min():.2f} to "
            f"{rate.max():.2f}), of CPU {np.median(cpu):.2f} ({cpu.min():.2f} to {cpu.max():.2f})"
        )


def words(found: list[Speed]) -> str:
    """Say medians."""
    rate, cpu = np.median(found, axis=0)
    return f"{rate:,.0f} images/s, {cpu:.0f} us of CPU an image"


def from_pixels(place: Path, options: argparse.Namespace) -> None:
    """Measure extraction from a pixel store."""
    count = 1024 if options.quick else 8192
    manifest = index_dataset(Workspace(place), "set", roots=[make_files(place / "tiny", count, 8)])
    plain = fill(place, manifest)
    ours, read, checked = [], [], []
    for _ in range(options.rounds):
        read.append(bare(plain, options.batch, digests=False))
        ours.append(extraction(place, manifest, options))
        checked.append(bare(plain, options.batch, digests=True))
    say("from pixels", ours, {"plain reading": read, "plain reading and digests": checked})


def from_files(place: Path, options: argparse.Namespace, mode: str) -> None:
    """Measure extraction from files, with pixels kept and without."""
    count = 512 if options.quick else 4096
    root = options.images or make_files(place / "images", count, 256, mode)
    manifest = index_dataset(Workspace(place), "files", roots=[root])
    files = [path for path in sorted(root.rglob("*")) if path.suffix.lower() in IMAGE_SUFFIXES]
    channels = manifest_channels(manifest)
    found: dict[bool, list[Speed]] = {True: [], False: []}
    decoded = []
    for _ in range(options.rounds):
        for keep, kept in found.items():
            kept.append(extraction(place, manifest, options, keep=keep))
            shutil.rmtree(place / "pixels" / "files", ignore_errors=True)
        decoded.append(function_alone(files, channels))
    for keep, kept in found.items():
        name = f"from {channels} files, pixels {'kept' if keep else 'not kept'}"
        say(name, kept, {"the per-image function": decoded})


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="Fewer images and rounds.")
    parser.add_argument("--folder", type=Path, help="Where 3 GB lie for a while.")
    parser.add_argument("--images", type=Path, help="Files instead of those that are made.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--dim", type=int, default=1024)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as place:
        from_pixels(Path(place), options)
    for mode in ("RGB",) if options.images else ("L", "RGB"):
        with tempfile.TemporaryDirectory(dir=options.folder) as place:
            from_files(Path(place), options, mode)


if __name__ == "__main__":
    main()
