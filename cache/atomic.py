"""Whole files or none: write under a temporary name, flush to disk, rename."""

from __future__ import annotations

import errno
import glob
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from frostline.cache.errors import InputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

TEMPORARY = ".tmp-"
# How safetensors (Rust), HDF5 and Arrow say which error the system gave.
NUMBER = re.compile(r"(?:os error|errno =|[Ee]rrno) (\d+)")
# What a file system that knows no locks answers: some of clusters, unless mounted for them.
NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP)


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
    if not path.name:  # such as "."
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, descriptor = _locked_temporary(path)
    try:
        with system_errors(path):
            yield temporary
        flush_to_disk(temporary)
        temporary.replace(path)
        flush_to_disk(path.parent)
    finally:
        if descriptor is not None:
            os.close(descriptor)
        temporary.unlink(missing_ok=True)


@contextmanager
def system_errors(path: Path) -> Iterator[None]:
    """Raise OSError, with its number, where a library that writes `path` only says it in words."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        number = _system_number(error)
        if number is None or (isinstance(error, OSError) and error.errno is not None):
            raise
        raise OSError(number, os.strerror(number), str(path)) from error


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, whole or not at all."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def flush_to_disk(path: Path) -> None:
    """Flush a file's bytes, or a folder's entries, to the disk (`fsync`)."""
    if os.name == "nt" and path.is_dir():  # Windows opens no folder
        return
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def clear_temporary(folder: Path, name: str = "*", *, below: bool = False) -> int:
    """Delete the temporary files in `folder` whose writer is dead; give their number.

    Parameters
    ----------
    name : str
        Of the file that was being written; of any without it.
    below : bool
        In the folders below it, too.
    """
    return sum(_delete_if_unlocked(path) for path in temporary_files(folder, name, below=below))


def temporary_files(folder: Path, name: str = "*", *, below: bool = False) -> list[Path]:
    """List the temporary files of writers, dead or alive; parameters as of `clear_temporary`."""
    find = folder.rglob if below else folder.glob
    pattern = f"{TEMPORARY}*" if name == "*" else f"{TEMPORARY}*-{glob.escape(name)}"
    return sorted(path for path in find(pattern) if path.is_file())


@contextmanager
def writer_is_dead(path: Path) -> Iterator[bool]:
    """Say whether nobody holds the lock of a temporary file; during the block nobody gets it."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        yield False
        return
    try:
        yield _lock(descriptor)
    finally:
        os.close(descriptor)


def _system_number(error: BaseException | None) -> int | None:
    """Find the system's number of an error, or of the one that it was raised over."""
    while error is not None:
        if isinstance(error, OSError) and error.errno is not None:
            return error.errno
        if found := NUMBER.search(str(error)):
            return int(found[1])
        error = error.__cause__ or error.__context__
    return None


def _delete_if_unlocked(path: Path) -> bool:
    with writer_is_dead(path) as dead:
        if dead:
            path.unlink(missing_ok=True)
        return dead


def _locked_temporary(path: Path) -> tuple[Path, int | None]:
    while True:
        temporary = path.with_name(f"{TEMPORARY}{secrets.token_hex(4)}-{path.name}")
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        if fcntl is None:  # Windows renames no file that is open
            os.close(descriptor)
            return temporary, None
        _lock(descriptor, wait=True)
        if temporary.exists():
            return temporary, descriptor
        # Another process cleared it in the instant between its making and its locking.
        os.close(descriptor)


# Not filelock, which `locks.py` uses: this lock lies on the temporary file itself, which is renamed
# while it is held, and looking for dead writers must neither make a file nor touch its bytes.
# filelock makes the file where it is gone, and some of its releases empty the one that is there.
def _lock(descriptor: int, *, wait: bool = False) -> bool:
    """Lock an open file, waiting for others or not; give whether that worked."""
    if fcntl is None:
        return wait  # no writer is known to be dead, so that nothing is ever cleared
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        return wait  # as on Windows: nobody is known to be dead
    return True
