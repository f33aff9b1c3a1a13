"""Fill and read the pixel store: every distinct image decoded once for a geometry."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from frostline.cache import (
    PIXELS,
    InputError,
    Manifest,
    Store,
    StoreWriter,
    Workspace,
    part_files,
    spec_key,
)
from frostline.extract.decode import decode_file
from frostline.extract.geometry import Geometry

GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N", "F"})
MANY_FRAMES = 2048  # in one file: an archive, not a volume
TASK_FRAMES = 8
OnError = Literal["stop", "skip"]
Channels = Literal["grey", "rgb"]
Batch = tuple[np.ndarray, np.ndarray]


@dataclass
class PixelSource:
    """Distinct images of a data set as pixels, from the store where it has them, else decoded.

    Attributes
    ----------
    folder : pathlib.Path
        The pixel store; it need not exist.
    skipped : list of str
        With `on_error="skip"`, one sentence for each image that could not be read.
    decoded : int
        Images decoded so far; the others came from the store.
    """

    folder: Path
    manifest: Manifest
    geometry: Geometry
    channels: Channels
    on_error: OnError = "stop"
    workers: int = 0
    skipped: list[str] = field(default_factory=list)
    decoded: int = 0

    @property
    def spec(self) -> dict[str, Any]:
        """The spec of the pixel store."""
        return pixel_spec(self.geometry, self.channels)

    def batches(self, images: pd.DataFrame, size: int) -> Iterator[Batch]:
        """Pixels of `images` (rows of `distinct_images`) in batches of at most `size`.

        Yields
        ------
        keys : numpy.ndarray, uint8 [m, 16]
        pixels : numpy.ndarray, uint8 [m, height, width] or [m, height, width, 3]
        """
        keys = _keys(images)
        store = Store.open(self.folder) if part_files(self.folder) else None
        rows = store.locate(keys) if store is not None else np.full(len(keys), -1)
        at_hand = np.flatnonzero(rows >= 0)
        for start in range(0, len(at_hand), size):
            chosen = at_hand[start : start + size]
            assert store is not None
            yield keys[chosen], store.read(rows[chosen])
        yield from self._decode_missing(images[rows < 0], size)

    def _decode_missing(self, images: pd.DataFrame, size: int) -> Iterator[Batch]:
        if images.empty:
            return
        workers = self.workers or os.cpu_count() or 1
        with ExitStack() as stack:
            writer = stack.enter_context(StoreWriter(self.folder, PIXELS, self.spec, versions()))
            pool = stack.enter_context(ThreadPoolExecutor(workers, "decode"))
            stack.callback(pool.shutdown, wait=True, cancel_futures=True)
            keys: list[bytes] = []
            pixels: list[np.ndarray] = []
            for key, image in self._decoded(pool, images, ahead=4 * workers):
                keys.append(key)
                pixels.append(image)
                if len(keys) == size:
                    yield self._store(writer, keys, pixels)
                    keys, pixels = [], []
            if keys:
                yield self._store(writer, keys, pixels)

    def _store(self, writer: StoreWriter, keys: list[bytes], pixels: list[np.ndarray]) -> Batch:
        batch = np.frombuffer(b"".join(keys), np.uint8).reshape(-1, 16), np.stack(pixels)
        writer.append(*batch)
        self.decoded += len(keys)
        return batch

    def _decoded(
        self, pool: ThreadPoolExecutor, images: pd.DataFrame, ahead: int
    ) -> Iterator[tuple[bytes, np.ndarray]]:
        """Decode in threads (Pillow and zlib release the GIL), at most `ahead` tasks at a time."""
        archives, rest = _apart(images)
        for file in archives:
            # As many images as a data set has: one by one, never all in memory.
            yield from self._kept(zip(file.keys, self._pixels(file), strict=False))
        tasks = iter(_tasks(rest))
        waiting = deque(pool.submit(self._decode, task) for task in islice(tasks, ahead))
        while waiting:
            results = waiting.popleft().result()
            waiting.extend(pool.submit(self._decode, task) for task in islice(tasks, 1))
            for file, decoded in results:
                if isinstance(decoded, InputError):
                    yield from self._kept(iter(()), decoded)
                else:
                    yield from zip(file.keys, decoded, strict=True)

    def _kept(
        self, images: Iterator[tuple[bytes, np.ndarray]], error: InputError | None = None
    ) -> Iterator[tuple[bytes, np.ndarray]]:
        """Pass images on; an error, now or while they come, stops or is put among the skipped."""
        try:
            if error is not None:
                raise error
            yield from images
        except InputError as caught:
            if self.on_error == "stop":
                raise
            self.skipped.append(str(caught))

    def _pixels(self, file: _File) -> Iterator[np.ndarray]:
        return decode_file(Path(file.path), file.frames, self.geometry, self.channels)

    def _decode(self, task: list[_File]) -> list[tuple[_File, list[np.ndarray] | InputError]]:
        results: list[tuple[_File, list[np.ndarray] | InputError]] = []
        for file in task:
            try:
                results.append((file, list(self._pixels(file))))
            except InputError as error:
                results.append((file, error))
        return results


class _File(NamedTuple):
    """A file, the frames that are wanted of it, and their content keys."""

    path: str
    frames: list[int | None]
    keys: list[bytes]


def _apart(images: pd.DataFrame) -> tuple[list[_File], list[_File]]:
    """Files in the order of the rows: archives of very many frames, and the others."""
    frames = [None if pd.isna(frame) else int(frame) for frame in images["frame"].tolist()]
    rows = zip(images["file"].tolist(), frames, images["content_key"].tolist(), strict=True)
    files = []
    for path, group in groupby(rows, key=itemgetter(0)):
        _, wanted, keys = zip(*group, strict=True)
        files.append(_File(str(path), list(wanted), list(keys)))
    archives = [file for file in files if len(file.frames) > MANY_FRAMES]
    return archives, [file for file in files if len(file.frames) <= MANY_FRAMES]


def _tasks(files: list[_File]) -> Iterator[list[_File]]:
    """Several small files a task, so that handing them over costs little."""
    task: list[_File] = []
    count = 0
    for file in files:
        task.append(file)
        count += len(file.frames)
        if count >= TASK_FRAMES:
            yield task
            task, count = [], 0
    if task:
        yield task


def pixel_source(
    workspace: Workspace, manifest: Manifest, geometry: Geometry, **options: Any
) -> PixelSource:
    """The pixels of a data set for a geometry; options are those of `PixelSource`."""
    channels = manifest_channels(manifest)
    key = spec_key(pixel_spec(geometry, channels))
    folder = workspace.pixels(manifest.meta["dataset"]) / key
    return PixelSource(folder, manifest, geometry, channels, **options)


def fill_pixels(
    source: PixelSource, progress: Callable[[int, int], None] | None = None, size: int = 64
) -> Store:
    """Decode what the store lacks and open it.

    Raises
    ------
    InputError
        At the first image that cannot be read, if `source.on_error` is "stop".
    """
    images = distinct_images(source.manifest)
    if part_files(source.folder):
        images = images[Store.open(source.folder).locate(_keys(images)) < 0]
    done = 0
    for keys, _ in source.batches(images, size):
        done += len(keys)
        if progress is not None:
            progress(done, len(images))
    return Store.open(source.folder)


def pixel_spec(geometry: Geometry, channels: str) -> dict[str, Any]:
    """Everything that changes the pixels."""
    return {"geometry": geometry.to_spec(), "channels": channels}


def manifest_channels(manifest: Manifest) -> Channels:
    """`grey` if every readable image has one channel, else `rgb`."""
    table = manifest.table.dropna(subset="mode")
    grey = table["mode"].isin(GREY_MODES) | (table["format"] == "NIfTI")
    return "grey" if len(table) and grey.all() else "rgb"


def distinct_images(manifest: Manifest, shard: tuple[int, int] | None = None) -> pd.DataFrame:
    """One row a distinct content: `content_key`, `file` (text), `frame`; frames of a file together.

    Parameters
    ----------
    shard : (int, int), optional
        `(i, n)`: only files whose digest modulo n is i, so that n jobs need no coordination and
        a volume stays whole.
    """
    table = manifest.table
    if shard is not None:
        remainder = [int.from_bytes(key, "big") % shard[1] for key in table["file_key"]]
        table = table[np.asarray(remainder, int) == shard[0]]
    table = table.drop_duplicates("content_key")
    roots = np.asarray(manifest.meta["roots"], object)
    folders = roots[table["root"]]
    files = [f"{root}/{path}" for root, path in zip(folders, table["path"], strict=True)]
    return pd.DataFrame(
        {"content_key": table["content_key"], "file": files, "frame": table["frame"]}
    ).sort_values(["file", "frame"], kind="stable", ignore_index=True)


def versions() -> dict[str, str]:
    """Versions of the libraries that decide the numbers, for a part's provenance."""
    from importlib.metadata import version

    names = ("frostline", "torch", "torchvision", "timm", "pillow", "nibabel", "numpy", "h5py")
    return {name: version(name) for name in names}


def _keys(images: pd.DataFrame) -> np.ndarray:
    return np.frombuffer(b"".join(images["content_key"]), np.uint8).reshape(-1, 16)
