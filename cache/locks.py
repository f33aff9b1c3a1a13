"""Locks between processes; each ends with the process that holds it, however that ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def lock_file(path: Path, *, wait: bool = False) -> Iterator[bool]:
    """Hold the lock of a file that exists for this alone; give whether it could be had.

    Whether the file exists means nothing. The lock is the kernel's: it ends with its process, even
    one that is killed, and processes that this one forks do not hold it.

    Parameters
    ----------
    wait : bool
        Wait until another process lets go of it.

    Yields
    ------
    bool
        Always true with `wait`.
    """
    # Commands that take no lock need not load it.
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=-1 if wait else 0)
    try:
        lock.acquire()
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()
