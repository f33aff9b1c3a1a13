"""Reading many consecutive rows: threads read into place, and check what they read."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

import numpy as np

from frostline.cache.stores.part import Part, damaged_part

# Blocks a read: few enough to be hashed from the processor's cache.
BLOCKS = 8
# They read and hash side by side; both release the interpreter.
THREADS = 2
_ONE_READER = Lock()


def read_run(part: Part, first: int, out: np.ndarray, checked: np.ndarray) -> None:
    """Read rows `first`, `first + 1`, … of a part into `out`.

    A plain read is faster than a memory map here: no page of the file is mapped, and the digest is
    computed from the copy that was just made.

    Parameters
    ----------
    out : numpy.ndarray [m, ...]
        Contiguous, of the part's type.
    checked : numpy.ndarray, bool [blocks]
        Blocks whose digests were found right before; it is brought up to date.

    Raises
    ------
    InputError
        If a block does not match its digest, or the file ends before it.
    """
    end, size = first + len(out), part.block_rows
    whole = range(-(-first // size), len(checked) if end == len(part) else end // size)
    before = min(whole.start * size, end)
    with part.path.open("rb", buffering=0) as file, ThreadPoolExecutor(THREADS, "read") as pool:

        def read(blocks: range) -> None:
            start, stop = part.block_span(blocks[0])[0], part.block_span(blocks[-1])[1]
            values = out[start - first : stop - first]
            _read_into(part, file.fileno(), start, values)
            _check(part, blocks, values, checked)

        tasks = [pool.submit(read, whole[at : at + BLOCKS]) for at in range(0, len(whole), BLOCKS)]
        for start, stop in ((first, before), (max(whole.stop * size, before), end)):
            if start < stop:
                _read_edge(part, file.fileno(), start, out[start - first : stop - first], checked)
        for task in tasks:
            task.result()


def _read_edge(part: Part, file: int, first: int, out: np.ndarray, checked: np.ndarray) -> None:
    """Read rows of one block into `out`; the others are read, too, where it is to be checked."""
    block = first // part.block_rows
    if checked[block]:
        return _read_into(part, file, first, out)
    start, stop = part.block_span(block)
    values = np.empty((stop - start, *out.shape[1:]), out.dtype)
    _read_into(part, file, start, values)
    _check(part, range(block, block + 1), values, checked)
    out[...] = values[first - start :][: len(out)]
    return None


def _check(part: Part, blocks: range, values: np.ndarray, checked: np.ndarray) -> None:
    first = part.block_span(blocks[0])[0]
    for block in blocks:
        if not checked[block]:
            start, stop = part.block_span(block)
            part.check_block(values[start - first : stop - first], block)
            checked[block] = True


def _read_into(part: Part, file: int, row: int, out: np.ndarray) -> None:
    data = out.reshape(-1).view(np.uint8).data
    place = part.offset + row * out[:1].nbytes
    while data:
        count = _read_at(file, data, place)
        if not count:
            raise damaged_part(part.path, f"it ends at row {row} or soon after")
        data, place = data[count:], place + count


def _read_at(file: int, data: memoryview, place: int) -> int:
    """Read into memory from a place on; give the bytes that were read."""
    if hasattr(os, "preadv"):
        return os.preadv(file, [data], place)
    # Windows reads from where the file was left, and the threads share that.
    with _ONE_READER:
        os.lseek(file, place, os.SEEK_SET)
        found = os.read(file, len(data))
    data[: len(found)] = found
    return len(found)
