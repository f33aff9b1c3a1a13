"""Whole files or none: write under a temporary name, flush to disk, rename."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TEMPORARY = ".tmp-"


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give a temporary path in the folder of `path`; rename it to `path` if the block succeeds.

    The temporary file exists and is locked (`flock`) while the block runs, so that
    `clear_temporary` in another process leaves it alone. After the block the file is flushed to
    disk, renamed, and the folder is flushed. On any exception the temporary file is removed and
    `path` is untouched.

    Notes
    -----
    The block must write into the existing file (`open(temporary, "wb")` truncates it and keeps the
    lock); replacing it by a rename of its own would lose the lock, though not the atomicity.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, descriptor = _locked_temporary(path)
    try:
        yield temporary
        flush_to_disk(temporary)
        temporary.rename(path)
        flush_to_disk(path.parent)
    finally:
        os.close(descriptor)
        temporary.unlink(missing_ok=True)


def _locked_temporary(path: Path) -> tuple[Path, int]:
    while True:
        temporary = path.with_name(f"{TEMPORARY}{secrets.token_hex(4)}-{path.name}")
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if temporary.exists():
            return temporary, descriptor
        # Another process cleared it in the instant between its making and its locking.
        os.close(descriptor)


def flush_to_disk(path: Path) -> None:
    """Flush a file's bytes, or a folder's entries, to the disk (`fsync`)."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def clear_temporary(folder: Path) -> int:
    """Delete the temporary files in `folder` whose writer is dead; give their number."""
    return sum(_delete_if_unlocked(path) for path in sorted(folder.glob(f"{TEMPORARY}*")))


def _delete_if_unlocked(path: Path) -> bool:
    with writer_is_dead(path) as dead:
        if dead:
            path.unlink(missing_ok=True)
        return dead


@contextmanager
def writer_is_dead(path: Path) -> Iterator[bool]:
    """Whether nobody holds the lock of a temporary file; while the block runs, nobody gets it."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        yield False
        return
    try:
        yield _lock_now(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def lock_file(path: Path, *, wait: bool = False) -> Iterator[bool]:
    """Hold the lock of a file that exists for this alone; give whether it was to be had.

    The file's existence means nothing: the lock (`flock`) ends with its process.

    Parameters
    ----------
    wait : bool
        Until another process lets go of it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if wait:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield wait or _lock_now(descriptor)
    finally:
        os.close(descriptor)


def _lock_now(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, whole or not at all."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
