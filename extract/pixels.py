"""Fill and read the pixel store: every distinct image decoded once for a geometry."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from PIL.Image import Image

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
from frostline.cache.locks import own_cores
from frostline.cache.manifest import as_keys, shard_of
from frostline.cache.versions import numbered, versions
from frostline.extract.images.decoders import Chunk, Decoders, File
from frostline.extract.images.geometry import Channels, Geometry
from frostline.extract.images.transform import Transform, as_geometry
from frostline.extract.prefetch import Memory

GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N", "F"})
OnError = Literal["stop", "skip"]
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
    keep : bool
        Whether what is decoded for `batches` goes to the store.
    decoded : int
        Images decoded so far; the others came from the store.
    """

    folder: Path
    manifest: Manifest
    geometry: Geometry
    channels: Channels
    on_error: OnError = "stop"
    workers: int = 0
    keep: bool = True
    skipped: list[str] = field(default_factory=list)
    decoded: int = 0

    @property
    def spec(self) -> dict[str, Any]:
        """The spec of the pixel store."""
        return pixel_spec(self.geometry, self.channels)

    def batches(
        self, images: pd.DataFrame, size: int, memory: Memory = np.empty
    ) -> Iterator[Batch]:
        """Yield pixels of `images` (rows of `distinct_images`) in batches of at most `size`.

        Parameters
        ----------
        memory : callable
            Gives memory for the pixels of each batch, by shape and dtype.

        Yields
        ------
        keys : numpy.ndarray, uint8 [m, 16]
        pixels : numpy.ndarray, uint8 [m, height, width] or [m, height, width, 3]
        """
        keys = image_keys(images)
        store = Store.open(self.folder) if part_files(self.folder) else None
        rows = store.locate(keys) if store is not None else np.full(len(keys), -1)
        at_hand = np.flatnonzero(rows >= 0)
        for start in range(0, len(at_hand), size):
            chosen = at_hand[start : start + size]
            assert store is not None
            place = memory((size, *store.shape), store.dtype)[: len(chosen)]
            yield keys[chosen], store.read(rows[chosen], out=place)
        with closing(self.decode(images[rows < 0], keep=self.keep)) as chunks:
            yield from _gathered(chunks, size, memory)

    def decode(self, images: pd.DataFrame, *, keep: bool = True) -> Generator[Batch, None, None]:
        """Decode images, a part at a time, into the store if they are to be kept.

        Yields
        ------
        keys : numpy.ndarray, uint8 [m, 16]
        pixels : numpy.ndarray, uint8 [m, height, width] or [m, height, width, 3]
            Memory that is used again when the iterator goes on.

        Raises
        ------
        InputError
            At the first image that cannot be read, if `on_error` is "stop"; what was decoded is
            in the store.
        """
        if images.empty:
            return
        workers = self.workers or own_cores()
        with ExitStack() as stack:
            writer = None  # the pixel store holds 8 bits: a transform's floats are not kept
            if keep and self.geometry.dtype == np.uint8:
                writer = stack.enter_context(
                    StoreWriter(self.folder, PIXELS, self.spec, versions())
                )
            decoders = stack.enter_context(
                Decoders(image_files(images), self.geometry, self.channels, workers)
            )
            try:
                for chunk in decoders.chunks():
                    self._keep(writer, chunk)
                    self._report(chunk.failures)
                    yield chunk.keys, chunk.values
            finally:
                for chunk in decoders.remains():
                    self._keep(writer, chunk)

    def _keep(self, writer: StoreWriter | None, chunk: Chunk) -> None:
        if writer is not None:
            writer.write(chunk.keys, chunk.values)
        self.decoded += len(chunk.keys)

    def _report(self, failures: list[str]) -> None:
        if failures and self.on_error == "stop":
            raise InputError(f"{failures[0].rstrip('.')} (--on-error skip leaves it out).")
        self.skipped += failures


def _gathered(chunks: Iterator[Batch], size: int, memory: Memory) -> Iterator[Batch]:
    """Copy rows of chunks, whose memory is used again, into batches of one size but the last."""
    count = 0
    for keys, pixels in chunks:
        done = 0
        while done < len(keys):
            if not count:
                batch = (
                    np.empty((size, 16), np.uint8),
                    memory((size, *pixels.shape[1:]), pixels.dtype),
                )
            taken = min(size - count, len(keys) - done)
            for whole, part in zip(batch, (keys, pixels), strict=True):
                whole[count : count + taken] = part[done : done + taken]
            done, count = done + taken, count + taken
            if count == size:
                yield batch
                count = 0
    if count:
        yield batch[0][:count], batch[1][:count]


def image_files(images: pd.DataFrame) -> list[File]:
    """Group rows of `distinct_images` by file, in their order."""
    frames = [None if pd.isna(frame) else int(frame) for frame in images["frame"].tolist()]
    columns = (images[name].tolist() for name in ("file", "content_key", "file_key"))
    rows = zip(*columns, frames, strict=True)
    files = []
    for path, group in groupby(rows, key=itemgetter(0)):
        _, keys, file_keys, wanted = zip(*group, strict=True)
        files.append(File(str(path), list(wanted), list(keys), file_keys[0]))
    return files


def pixel_source(
    workspace: Workspace,
    manifest: Manifest,
    geometry: Geometry | Callable[[Image], Any],
    **options: Any,
) -> PixelSource:
    """Open the pixels of a data set for a geometry, or for a user's own transform.

    Options are those of `PixelSource`.
    """
    geometry = as_geometry(geometry)
    own = isinstance(geometry, Transform)
    channels: Channels = "rgb" if own else manifest_channels(manifest)
    key = spec_key(pixel_spec(geometry, channels))
    folder = workspace.pixels(manifest.meta["dataset"]) / key
    return PixelSource(folder, manifest, geometry, channels, **options)


def fill_pixels(source: PixelSource, progress: Callable[[int, int], None] | None = None) -> Store:
    """Decode what the store lacks and open it.

    Raises
    ------
    InputError
        At the first image that cannot be read, if `source.on_error` is "stop".
    """
    images = distinct_images(source.manifest)
    if part_files(source.folder):
        images = images[Store.open(source.folder).locate(image_keys(images)) < 0]
    done = 0
    for keys, _ in source.decode(images):
        done += len(keys)
        if progress is not None:
            progress(done, len(images))
    return Store.open(source.folder)


def pixel_spec(geometry: Geometry, channels: str) -> dict[str, Any]:
    """Collect everything that changes the pixels."""
    return numbered("pixels", {"geometry": geometry.to_spec(), "channels": channels})


def manifest_channels(manifest: Manifest) -> Channels:
    """Say `grey` if every readable image has one channel, else `rgb`; of all shards alike.

    Slices with their neighbours have three.
    """
    if manifest.meta.get("options", {}).get("neighbours"):
        return "rgb"
    table = manifest.table if manifest.all_modes is None else manifest.all_modes
    table = table.dropna(subset="mode")
    grey = table["mode"].isin(GREY_MODES) | (table["format"] == "NIfTI")
    return "grey" if len(table) and grey.all() else "rgb"


def distinct_images(manifest: Manifest, shard: tuple[int, int] | None = None) -> pd.DataFrame:
    """List distinct contents: `content_key`, `file_key`, `file` (text), `frame`.

    Frames of a file are together.

    Parameters
    ----------
    shard : (int, int), optional
        `(i, n)`: only files whose digest modulo n is i, so that n jobs need no coordination and
        a volume stays whole.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    table = manifest.table[["content_key", "file_key", "path", "root", "frame"]]
    if shard is not None:
        table = table[shard_of(as_keys(table["file_key"]), shard[1]) == shard[0]]
    table = table.drop_duplicates("content_key", ignore_index=True)
    text = pa.large_string()
    folders = pa.array(manifest.meta["roots"], text).take(pa.array(table["root"]).cast(pa.int64()))
    paths = pa.array(table["path"]).cast(text)
    files = pc.binary_join_element_wise(folders, paths, pa.scalar("/", text))
    places = pa.table({"file": files, "frame": pa.array(table["frame"]).cast(pa.int64())})
    keys = [("file", "ascending"), ("frame", "ascending")]
    order = pc.sort_indices(places, sort_keys=keys).to_numpy()
    images = table[["content_key", "file_key"]].assign(file=files.to_pandas(), frame=table["frame"])
    return images.take(order).reset_index(drop=True)


def image_keys(images: pd.DataFrame) -> np.ndarray:
    """Give the content keys of images, uint8 [n, 16]."""
    return as_keys(images["content_key"])
