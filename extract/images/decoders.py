"""Files decoded side by side, by processes, into memory that they share with this one."""

from __future__ import annotations

import math
import mmap
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import (
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from types import TracebackType
from typing import NamedTuple

import numpy as np
from PIL import Image

from frostline.cache import InputError
from frostline.cache.locks import end_with
from frostline.cache.stores.writer import AT_ONCE, PART_BYTES
from frostline.cache.workspace import as_path
from frostline.extract.images.decode import decode_file
from frostline.extract.images.geometry import Channels, Geometry
from frostline.extract.images.transform import Transform

FEW = 256  # images for which threads do: processes take a while to begin
MANY_FRAMES = 2048  # in one file: an archive, not a volume
TASK_FRAMES = 16
BLOCKS = 3 + AT_ONCE - 1  # two are decoded, one is used, and parts are written
FIRST_CHUNK = 64  # images; so that what waits for pixels need not wait long
SLOW = 20.0  # seconds
KEPT_BLOCKS = 4  # at most 16 MB each


class File(NamedTuple):
    """A file, the frames that are wanted of it, their content keys, and the file's digest."""

    path: str
    frames: list[int | None]
    keys: list[bytes]
    file_key: bytes


class Chunk(NamedTuple):
    """Images that were decoded together: the rows of one part.

    Attributes
    ----------
    keys : numpy.ndarray, uint8 [n, 16]
    values : numpy.ndarray, uint8 [n, height, width] or [n, height, width, 3]
        Memory that is used again for the chunk that comes `BLOCKS` after this one; a user's own
        transform may give another shape and dtype.
    failures : list of str
        One sentence for each file that could not be read.
    """

    keys: np.ndarray
    values: np.ndarray
    failures: list[str]


class _Task(NamedTuple):
    """Files whose frames go to the rows from `start` on of a block of memory."""

    block: int
    start: int
    files: list[File]


class Decoders:
    """Decode files side by side; use as a context manager.

    Pillow holds Python's lock often enough that two threads fill little more than one core. So
    processes do it: forked, they put images into memory that this process sees too, and only
    names of files are sent. Where there is no safe fork, or none at all, and for few images,
    threads do the same.

    Parameters
    ----------
    files : sequence of File
        Those of at most `MANY_FRAMES` frames are decoded in one piece: a volume is read once.
    workers : int
        Processes.
    """

    def __init__(
        self, files: Sequence[File], geometry: Geometry, channels: Channels, workers: int
    ) -> None:
        self._how = (geometry, channels)
        self._archives = [file for file in files if len(file.frames) > MANY_FRAMES]
        self._files = deque(file for file in files if len(file.frames) <= MANY_FRAMES)
        frames = [len(file.frames) for file in self._files]
        shape, dtype = geometry.pixel_shape(channels), geometry.dtype
        self._capacity = max(1, PART_BYTES // (math.prod(shape) * dtype.itemsize))
        rows = self._capacity + max(frames, default=0)
        self._blocks = [_shared_memory((rows, *shape), dtype) for _ in range(BLOCKS)]
        self._waiting: deque[list[tuple[_Task, Future[list[str | None]]]]] = deque()
        self._size = min(FIRST_CHUNK, self._capacity)
        self._pool = self._make_pool(workers, sum(frames))

    def _make_pool(self, workers: int, images: int) -> Executor:
        # A user's own transform may call PyTorch, whose threads do not live through a fork.
        own = isinstance(self._how[0], Transform)
        # A daemon may have no processes of its own: Dask's workers are, for one.
        forks = sys.platform == "linux" and hasattr(os, "fork")
        barred = own or not forks or multiprocessing.current_process().daemon
        if workers == 1 or images <= FEW or barred:
            self._decode = lambda task: _decode(self._blocks, *self._how, task)
            return ThreadPoolExecutor(workers, "decode")
        self._decode = _decode_here
        return ProcessPoolExecutor(
            workers,
            multiprocessing.get_context("fork"),
            initializer=_begin,
            initargs=(os.getpid(), self._blocks, *self._how),
        )

    def __enter__(self) -> Decoders:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def chunks(self) -> Iterator[Chunk]:
        """Yield all files in their order, but archives first, and decode two chunks ahead."""
        for archive in self._archives:
            yield from self._archive_chunks(archive)
        number = 0
        while self._files or self._waiting:
            while self._files and len(self._waiting) < 2:
                tasks = list(self._tasks(number % len(self._blocks)))
                self._waiting.append(
                    [(task, self._pool.submit(self._decode, task)) for task in tasks]
                )
                number += 1
            began = time.monotonic()
            yield self._collect()
            slow = time.monotonic() - began > SLOW
            self._size = max(1, self._size // 2) if slow else min(2 * self._size, self._capacity)

    def remains(self) -> Iterator[Chunk]:
        """Yield what the chunks that were begun have decoded, and give the rest of them up."""
        for chunk in self._waiting:
            for _, future in chunk:
                future.cancel()
        while self._waiting:
            yield self._collect()

    def _tasks(self, block: int) -> Iterator[_Task]:
        """Take files for one chunk, several small ones a task."""
        start, files, frames = 0, [], 0
        while self._files and start + frames < self._size:
            files.append(self._files.popleft())
            frames += len(files[-1].frames)
            if frames >= TASK_FRAMES:
                yield _Task(block, start, files)
                start, files, frames = start + frames, [], 0
        if files:
            yield _Task(block, start, files)

    def _collect(self) -> Chunk:
        """Wait for the oldest chunk."""
        keys: list[bytes] = []
        good: list[bool] = []
        failures: list[str] = []
        chunk = self._waiting.popleft()
        for task, future in chunk:
            for file, sentence in zip(task.files, _result(task, future), strict=True):
                keys += file.keys
                good += [sentence is None] * len(file.keys)
                failures += [sentence] if sentence else []
        values = self._blocks[chunk[0][0].block][: len(keys)]
        return _chunk(keys, values, np.array(good), failures)

    def _archive_chunks(self, file: File) -> Iterator[Chunk]:
        """Yield the images of an archive in one pass: one by one, never all in memory."""
        images = decode_file(as_path(file.path), file.frames, *self._how, file_key=file.file_key)
        keys = iter(file.keys)
        while True:
            values: list[np.ndarray] = []
            failures: list[str] = []
            try:
                values.extend(islice(images, self._size))
            except InputError as error:
                failures = [str(error)]
            if not values and not failures:
                return
            mine = list(islice(keys, len(values)))
            yield _chunk(mine, np.array(values), np.ones(len(values), bool), failures)
            if failures:
                return


def _chunk(keys: list[bytes], values: np.ndarray, good: np.ndarray, failures: list[str]) -> Chunk:
    rows = np.frombuffer(b"".join(keys), np.uint8).reshape(-1, 16)
    if not good.all():
        rows, values = rows[good], values[good]
    return Chunk(rows, values, failures)


def _result(task: _Task, future: Future[list[str | None]]) -> list[str | None]:
    """Give a sentence for each file that could not be read, an empty one for what was given up."""
    try:
        return future.result()
    except CancelledError:
        return [""] * len(task.files)
    except BrokenProcessPool as error:
        raise ChildProcessError(
            "A process that decodes images ended at once, perhaps for want of memory: run the "
            "command again, with fewer --workers."
        ) from error


def _decode(
    blocks: list[np.ndarray], geometry: Geometry, channels: Channels, task: _Task
) -> list[str | None]:
    """Decode the files of a task into its rows; a sentence for each that cannot be read."""
    outcome: list[str | None] = []
    row = task.start
    for file in task.files:
        try:
            place = blocks[task.block][row : row + len(file.frames)]
            how = geometry, channels, place, file.file_key
            for _ in decode_file(as_path(file.path), file.frames, *how):
                pass
            outcome.append(None)
        except InputError as error:
            outcome.append(str(error))
        row += len(file.frames)
    return outcome


# In a process that decodes: what it was begun with.
_begun: list[tuple[list[np.ndarray], Geometry, Channels]] = []


def _decode_here(task: _Task) -> list[str | None]:
    return _decode(*_begun[0], task)


def _begin(parent: int, blocks: list[np.ndarray], geometry: Geometry, channels: Channels) -> None:
    _begun[:] = [(blocks, geometry, channels)]
    # Pillow keeps the memory of some images for the next ones: fresh memory costs a third more.
    Image.core.set_blocks_max(KEPT_BLOCKS)  # type: ignore[attr-defined]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    threading.Thread(target=end_with, args=(parent,), daemon=True).start()


def _shared_memory(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Reserve memory that forked processes share; only what is used of it costs anything."""
    memory = mmap.mmap(-1, math.prod(shape) * dtype.itemsize)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        memory.madvise(mmap.MADV_HUGEPAGE)  # every process meets 512 times fewer new pages
    return np.frombuffer(memory, dtype).reshape(shape)
