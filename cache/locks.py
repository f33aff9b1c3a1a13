"""Locks between processes; each ends with the process that holds it, however that ends."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from frostline.cache.atomic import NO_LOCKS
from frostline.cache.errors import InputError

WATCH = 0.2  # seconds between looks at whether a parent is there


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

    Raises
    ------
    InputError
        If the file system has no locks.
    """
    # Commands that take no lock need not load it.
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=-1 if wait else 0, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout:
        yield False
        return
    except (NotImplementedError, OSError) as error:
        # filelock names the one; not every file system says it that way.
        if isinstance(error, OSError) and error.errno not in NO_LOCKS:
            raise
        raise InputError(
            f"The file system of {path.parent} has no locks, without which two processes would "
            "spoil each other's work: mount it with them (Lustre: `-o flock`), or put --workspace "
            "on another."
        ) from error
    try:
        yield True
    finally:
        lock.release()


def own_cores() -> int:
    """Count the cores that this process may use: its affinity's and its container's.

    Those of a machine are shared by the processes that torchrun started there.
    """
    import joblib

    return max(1, joblib.cpu_count() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def system_memory() -> tuple[int | None, int | None]:
    """Give the bytes of memory of this machine and those that are free; None where it is not said.

    Windows says neither in this way, and macOS not the second.
    """
    found: list[int | None] = []
    for name in ("SC_PHYS_PAGES", "SC_AVPHYS_PAGES"):
        try:
            found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf(name))
        except (AttributeError, ValueError):
            found.append(None)
    return found[0], found[1]


def end_with(parent: int) -> None:
    """End this process when its parent is gone, were it killed."""
    while os.getppid() == parent:
        time.sleep(WATCH)
    os._exit(1)
