"""Images in one NumPy archive, as MedMNIST publishes them."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from frostline.cache import InputError
from frostline.cache.errors import READ_ERRORS
from frostline.cache.manifest import SPLITS
from frostline.extract.images.decode import Facts, cannot_read, unreadable
from frostline.extract.images.geometry import Geometry
from frostline.extract.images.opened import OpenedFile

UNREADABLE = (*READ_ERRORS, zipfile.BadZipFile)


class Header(NamedTuple):
    """Shape and dtype of an array in the archive."""

    shape: tuple[int, ...]
    dtype: np.dtype


def read_frames(
    opened: OpenedFile, frames: Sequence[int | None], geometry: Geometry
) -> Iterator[NDArray[np.uint8]]:
    """Yield images by their number, counted through train, val and test, uint8 each.

    Rising numbers are read in one pass that holds one image at a time.

    Raises
    ------
    InputError
        If the archive cannot be read, or has no such image.
    """
    wanted = [-1 if frame is None else frame for frame in frames]
    if wanted != sorted(set(wanted)):
        order = sorted(set(wanted))
        found = dict(zip(order, read_frames(opened, order, geometry), strict=True))
        yield from (found[number] for number in wanted)
        return
    try:
        with zipfile.ZipFile(opened.file) as archive:
            yield from _chosen(opened.path, archive, wanted)
    except InputError:
        raise
    except UNREADABLE as error:
        raise unreadable(opened.path, error) from error


def facts(opened: OpenedFile) -> Facts | None:
    """Read size and mode of the images; None if the file cannot be read."""
    try:
        with zipfile.ZipFile(opened.file) as archive:
            shape, dtype = image_header(opened.path, archive, SPLITS[0])
    except (InputError, *UNREADABLE):
        return None
    if dtype != np.uint8 or not is_flat(shape):
        return None
    return Facts(shape[2], shape[1], "RGB" if len(shape) == 4 else "L", "NPZ")


def first_frame(opened: OpenedFile) -> int:
    """Give 0: every archive has a first image."""
    return 0


def image_header(path: Path, archive: zipfile.ZipFile, part: str) -> Header:
    """Read shape and dtype of a part's images.

    Raises
    ------
    InputError
        If the archive has no such array.
    """
    name = f"{part}_images.npy"
    if name not in archive.namelist():
        raise cannot_read(path, f"it holds no array {part}_images, as MedMNIST's files do")
    with archive.open(name) as member:
        return _read_header(member)


def is_flat(shape: tuple[int, ...]) -> bool:
    """Whether images of this shape are grey or colour, not volumes."""
    return len(shape) == 3 or (len(shape) == 4 and shape[3] == 3)


def _chosen(path: Path, archive: zipfile.ZipFile, wanted: list[int]) -> Iterator[NDArray[np.uint8]]:
    start = 0
    left = iter(wanted)
    number = next(left, None)
    for part in SPLITS:
        (count, *shape), dtype = image_header(path, archive, part)
        if dtype != np.uint8 or not is_flat((count, *shape)):
            raise cannot_read(
                path,
                f"{part}_images is {dtype} {(count, *shape)}, where uint8 [n, height, width] or "
                "[n, height, width, 3] is needed",
            )
        with archive.open(f"{part}_images.npy") as member:
            _read_header(member)
            for position in range(start, start + count):
                data = member.read(int(np.prod(shape)))
                if position == number:
                    yield np.frombuffer(data, np.uint8).reshape(shape)
                    number = next(left, None)
        start += count
    if number is not None:
        raise cannot_read(path, f"it has images 0 to {start - 1}, not {number}")


def _read_header(member: IO[bytes]) -> Header:
    version = npy.read_magic(member)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read(member)
    if fortran and len(shape) > 1:
        raise ValueError("its arrays are in Fortran order, which is not supported")
    return Header(shape, dtype)
