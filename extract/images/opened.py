"""Image files, opened once: the bytes that are decoded are the bytes that are digested."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from frostline.cache import InputError
from frostline.cache.keys import KEY_BYTES
from frostline.cache.workspace import is_url

# Bytes of a file that is read into memory; a larger one is an archive, and stays on disk.
IN_MEMORY = 2**28


class FileState(NamedTuple):
    """Size in bytes, and times of the last change in ns since 1970: of the bytes, and of anything.

    What is read through fsspec has one time, and 0 where its file system does not say.
    """

    size: int
    mtime_ns: int
    ctime_ns: int


@dataclass(frozen=True)
class OpenedFile:
    """A file that is read once, whatever happens to it meanwhile.

    Attributes
    ----------
    path : pathlib.Path
        For messages and suffixes alone: nothing opens it again.
    file : file object
        Its bytes, in memory; those of a file of more than `IN_MEMORY` bytes are read from disk, for
        a URL from a copy.
    state : FileState
        As it was before the first byte was read.
    """

    path: Path
    file: io.BytesIO | io.BufferedReader
    state: FileState

    def key(self) -> bytes:
        """Digest all bytes (BLAKE2b-128), and go back to the first."""
        if isinstance(self.file, io.BytesIO):
            return hashlib.blake2b(self.file.getvalue(), digest_size=KEY_BYTES).digest()
        self.file.seek(0)
        digest = hashlib.file_digest(self.file, lambda: hashlib.blake2b(digest_size=KEY_BYTES))
        self.file.seek(0)
        return digest.digest()

    def check_key(self, file_key: bytes | None) -> None:
        """Raise InputError if these are not the bytes that a manifest names."""
        if file_key is not None and self.key() != file_key:
            raise changed(self.path)

    def check_unchanged(self) -> None:
        """Raise InputError if a file that is read from disk was written to since it was opened."""
        # Memory and our own copy cannot change; on disk, the time of the last change to the file is
        # the system's.
        if isinstance(self.file, io.BytesIO) or is_url(self.path):
            return
        if self.state != _state(os.fstat(self.file.fileno())):
            raise changed(self.path)


@contextmanager
def open_image(path: Path) -> Iterator[OpenedFile]:
    """Open a file for decoding, the one place where images are; OSError if that cannot be done."""
    if is_url(path):
        with _fetched(path) as opened:
            yield opened
        return
    with path.open("rb") as file:
        state = _state(os.fstat(file.fileno()))
        if state.size > IN_MEMORY:
            yield OpenedFile(path, file, state)
            return
        # Pillow's many short reads would each release the interpreter's lock, and threads that
        # decode side by side would wait for it most of the time.
        data = io.BytesIO(file.read())
    yield OpenedFile(path, data, state)


@contextmanager
def _fetched(path: Path) -> Iterator[OpenedFile]:
    """Open a file of a URL: its bytes in memory, or a copy on disk."""
    with ExitStack() as stack:
        with remote_errors(path):
            state = file_state(path)
            remote = stack.enter_context(path.open("rb"))
            if state.size <= IN_MEMORY:
                file: Any = io.BytesIO(remote.read())
            else:
                file = stack.enter_context(tempfile.TemporaryFile())
                shutil.copyfileobj(remote, file, IN_MEMORY)
                file.seek(0)
        yield OpenedFile(path, file, state)


def file_state(path: Path) -> FileState:
    """Ask for size and time of a file.

    Raises
    ------
    OSError
        If it is not there, or cannot be asked for.
    """
    if not is_url(path):
        return _state(path.stat())
    system, name = path.fs, path.path  # type: ignore[attr-defined]
    with remote_errors(path):
        size = system.info(name)["size"]
        try:
            time = int(system.modified(name).timestamp() * 1e9)
        except NotImplementedError:
            time = 0
    return FileState(size or 0, time, time)


@contextmanager
def remote_errors(path: Path) -> Iterator[None]:
    """Raise OSError for whatever a file system of fsspec raises."""
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path)) from error
    except Exception as error:
        words = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise OSError(errno.EIO, words, str(path)) from error


@contextmanager
def local_copy(path: Path) -> Iterator[Path]:
    """Give a path that any library opens: that of a URL is a copy, for a while."""
    if not is_url(path):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        with remote_errors(path):
            copy.write_bytes(path.read_bytes())
        yield copy


def starts_as_dicom(file: BinaryIO) -> bool:
    """Whether a file begins as DICOM files do; it is at its first byte, before and after."""
    start = file.read(132)
    file.seek(0)
    return start[128:] == b"DICM"


def changed(path: Path) -> InputError:
    """Make the one sentence for a file that is another than the manifest says."""
    return InputError(
        f"Image {path} changed after it was indexed: run `frostline index` again, or bring the "
        "file back."
    )


def _state(stat: os.stat_result) -> FileState:
    return FileState(stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
