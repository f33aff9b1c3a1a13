"""Image files, opened once: the bytes that are decoded are the bytes that are digested."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from frostline.cache import InputError
from frostline.cache.keys import KEY_BYTES

# Bytes of a file that is read into memory; a larger one is an archive, and stays on disk.
IN_MEMORY = 2**28


@dataclass(frozen=True)
class OpenedFile:
    """A file that is read once, whatever happens to it meanwhile.

    Attributes
    ----------
    path : pathlib.Path
        For messages and suffixes alone: nothing opens it again.
    file : file object
        Its bytes, in memory; those of a file of more than `IN_MEMORY` bytes are read from disk.
    stat : os.stat_result
        As it was before the first byte was read.
    """

    path: Path
    file: io.BytesIO | io.BufferedReader
    stat: os.stat_result

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
        # Memory cannot change; on disk, the time of the last change to the file is the system's.
        if not isinstance(self.file, io.BytesIO) and _state(self.stat) != _state(
            os.fstat(self.file.fileno())
        ):
            raise changed(self.path)


@contextmanager
def open_image(path: Path) -> Iterator[OpenedFile]:
    """Open a file for decoding; OSError if that cannot be done."""
    with path.open("rb") as file:
        stat = os.fstat(file.fileno())
        if stat.st_size > IN_MEMORY:
            yield OpenedFile(path, file, stat)
            return
        # Pillow's many short reads would each release the interpreter's lock, and threads that
        # decode side by side would wait for it most of the time.
        data = io.BytesIO(file.read())
    yield OpenedFile(path, data, stat)


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


def _state(stat: os.stat_result) -> tuple[int, int, int]:
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns
