"""Reading many consecutive rows: one thread reads into place, another checks what was read."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from frostline.cache.stores.part import Part, damaged_part

# Blocks a read: few enough to be hashed from the processor's cache.
BLOCKS = 4


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
    end = first + len(out)
    # Both release the interpreter. Two threads that read would wait for each other's page faults.
    with part.path.open("rb", buffering=0) as file, ThreadPoolExecutor(1, "check") as pool:
        checks = []
        for block in range(first // part.block_rows, -(-end // part.block_rows), BLOCKS):
            blocks = range(block, min(block + BLOCKS, len(part.block_digest)))
            start, stop = part.block_span(blocks[0])[0], part.block_span(blocks[-1])[1]
            low, high = max(start, first), min(stop, end)
            target = whole = out[low - first : high - first]
            if (low, high) != (start, stop):
                whole = np.empty((stop - start, *out.shape[1:]), out.dtype)
            _read_into(part, file.fileno(), start, whole)
            if not checked[blocks].all():
                checks.append(pool.submit(_check, part, blocks, whole, checked))
            if whole is not target:
                target[...] = whole[low - start : high - start]
        for check in checks:
            check.result()


def _check(part: Part, blocks: range, values: np.ndarray, checked: np.ndarray) -> None:
    first = part.block_span(blocks[0])[0]
    for block in blocks:
        start, stop = part.block_span(block)
        part.check_block(values[start - first : stop - first], block)
        checked[block] = True


def _read_into(part: Part, file: int, row: int, out: np.ndarray) -> None:
    data = out.reshape(-1).view(np.uint8).data
    place = part.offset + row * out[:1].nbytes
    while data:
        count = os.preadv(file, [data], place)
        if not count:
            raise damaged_part(part.path, f"it ends at row {row} or soon after")
        data, place = data[count:], place + count
