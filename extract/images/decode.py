"""Decoding: from an image file to 8-bit pixels, or one sentence that says why not."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from itertools import repeat
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from frostline.cache import InputError
from frostline.cache.errors import READ_ERRORS
from frostline.cache.workspace import is_url
from frostline.extract.images.geometry import (
    MODES,
    Channels,
    Geometry,
    Window,
    windowed,
)
from frostline.extract.images.opened import OpenedFile, open_image, starts_as_dicom

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
VOLUME_SUFFIXES = (".nii", ".nii.gz")
ARRAY_SUFFIXES = (".npz",)
DICOM_SUFFIXES = (".dcm", ".dicom")

LARGE = 2**25  # pixels; 100 megabytes in RGB
OVERSAMPLING = 4

# What Pillow's readers are seen to raise on files that are empty, cut off or not images.
UNREADABLE = (*READ_ERRORS, SyntaxError, Image.DecompressionBombError)
# Of these, those whose words are of a library's own variables and mean nothing to its user.
INSIDE = (AttributeError, TypeError, LookupError, ArithmeticError, struct.error, zlib.error)


class Facts(NamedTuple):
    """What a file's header says: size in pixels as stored, Pillow's mode (or dtype), format."""

    width: int
    height: int
    mode: str
    format: str


def decode(
    path: Path,
    frame: int | None,
    geometry: Geometry,
    channels: Channels,
    file_key: bytes | None = None,
) -> np.ndarray:
    """Read one image.

    Parameters
    ----------
    path
        An image file (see `IMAGE_SUFFIXES`), a NIfTI volume, a DICOM file or MedMNIST's arrays.
    frame
        Page of a multi-page image, axial slice of a volume, frame of a DICOM file, number in an
        array, or None for the only image.
    geometry, channels
        See `Geometry.apply`.
    file_key
        See `decode_file`.

    Returns
    -------
    uint8 `[crop, crop]` (grey) or `[crop, crop, 3]` (rgb).

    Raises
    ------
    InputError
        Naming the file: missing, empty, cut off, not an image, or of an unknown range.

    Notes
    -----
    EXIF rotation is applied; palettes are looked up; transparency is composited on black; CMYK
    becomes RGB; colour becomes grey by Pillow's luma (ITU-R 601-2).
    """
    return next(decode_file(path, [frame], geometry, channels, file_key=file_key))


def decode_file(
    path: Path,
    frames: Sequence[int | None],
    geometry: Geometry,
    channels: Channels,
    out: np.ndarray | None = None,
    file_key: bytes | None = None,
) -> Iterator[np.ndarray]:
    """Read the given frames of one file in the given order; the file is read only once.

    They go to the rows of `out` (uint8 `[frames, crop, crop]` or `[frames, crop, crop, 3]`)
    if there is one.

    Parameters
    ----------
    file_key
        The manifest's digest of the file. The bytes that are decoded must have it, whatever the
        file's size and time; an InputError says so where they do not. None compares nothing.
    """
    places: Iterable[np.ndarray | None] = repeat(None) if out is None else out
    with _opened(path) as opened:
        opened.check_key(file_key)
        images = _images(opened, frames, geometry)
        for image, place in zip(images, places, strict=False):
            pixels = _applied(path, geometry, image, channels, place)
            opened.check_unchanged()
            yield pixels


@contextmanager
def _opened(path: Path) -> Iterator[OpenedFile]:
    try:
        with open_image(path) as opened:
            yield opened
    except OSError as error:
        raise unreadable(path, error) from error


def _images(
    opened: OpenedFile, frames: Sequence[int | None], geometry: Geometry
) -> Iterator[Image.Image | np.ndarray]:
    container = _container(opened)
    if container is not None:
        yield from container.read_frames(opened, frames, geometry)
        return
    for frame in frames:
        yield _read(opened, frame, geometry.window, geometry)


def _applied(
    path: Path,
    geometry: Geometry,
    image: Image.Image | np.ndarray,
    channels: Channels,
    out: np.ndarray | None,
) -> np.ndarray:
    try:
        return geometry.apply(image, channels, out)
    except ValueError as error:  # a user's own transform
        raise unreadable(path, error) from error


def why_unreadable(path: Path) -> str | None:
    """Say in one sentence why a file cannot be read; None if it can."""
    geometry = Geometry(window={"range": [0, 1]})
    try:
        with _opened(path) as opened:
            container = _container(opened)
            frame = None if container is None else container.first_frame(opened)
            next(_images(opened, [frame], geometry))
    except InputError as error:
        return str(error)
    return None


class Container(Protocol):
    """A module that reads files of many images: volumes, arrays, DICOM."""

    def read_frames(
        self, opened: OpenedFile, frames: Sequence[int | None], geometry: Geometry
    ) -> Iterator[np.ndarray]:
        """Yield the frames in the given order, 8 bits each, at their own size."""

    def facts(self, opened: OpenedFile) -> Facts | None:
        """Read the header; None if the file cannot be read, or ends before its last image."""

    def first_frame(self, opened: OpenedFile) -> int | None:
        """Give a frame that the file has if it can be read at all."""


def _container(opened: OpenedFile) -> Container | None:
    """Find what reads a file that Pillow does not."""
    name = opened.path.name.lower()
    if name.endswith(IMAGE_SUFFIXES):
        return None
    module = None
    if name.endswith(VOLUME_SUFFIXES):
        module = "volumes"
    elif name.endswith(ARRAY_SUFFIXES):
        module = "arrays"
    elif name.endswith(DICOM_SUFFIXES) or starts_as_dicom(opened.file):
        module = "dicom"
    return module and import_module(f"frostline.extract.images.{module}")  # type: ignore[return-value]


def has_dicom_prefix(path: Path) -> bool:
    """Whether the file begins as DICOM files do, whatever its name."""
    try:
        with path.open("rb") as file:
            return starts_as_dicom(file)
    except OSError:
        return False


def read_image(
    path: Path,
    frame: int | None = None,
    window: Window | None = None,
    shrink: Geometry | None = None,
    *,
    file_key: bytes | None = None,
) -> Image.Image:
    """Read an image file as `_read` does; `file_key` is that of `decode_file`."""
    with _opened(path) as opened:
        opened.check_key(file_key)
        return _read(opened, frame, window, shrink)


def _read(
    opened: OpenedFile,
    frame: int | None,
    window: Window | None,
    shrink: Geometry | None,
) -> Image.Image:
    """Read an image file as mode `L` or `RGB`, upright.

    It has its own size, but for JPEG files of more than `LARGE` pixels with `shrink`: these are
    decoded at a half, quarter or eighth of it, at least `OVERSAMPLING` times what this geometry
    resizes to. What it makes of them then differs by less than one of 255 levels on average.
    """
    try:
        opened.file.seek(0)
        with Image.open(opened.file) as image:
            if frame is not None:
                image.seek(frame)
            elif has_pages(image):
                raise ValueError("it has several pages; say which one by a table's frame column")
            if shrink is not None and image.width * image.height > LARGE:
                width, height = shrink.resized_size(*image.size)
                image.draft(image.mode, (OVERSAMPLING * width, OVERSAMPLING * height))
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
            return _eight_bits(image, window)
    except UNREADABLE as error:
        raise unreadable(opened.path, error) from error


def has_pages(image: Image.Image) -> bool:
    """Whether a file holds several images of equal standing (a camera's MPO does not)."""
    return image.format in ("TIFF", "WEBP", "PNG", "GIF") and getattr(image, "n_frames", 1) > 1


def image_facts(opened: OpenedFile, pages: bool = False) -> Facts | None:
    """Read the header, and check that the rest decodes; None if the file cannot be read.

    Without `pages`, a file of several pages counts as one that cannot be read.

    JPEG is decoded at an eighth of its size: all of its bytes are still parsed, so that a file
    that was cut off is found, at a fraction of the time.
    """
    container = _container(opened)
    if container is not None:
        return container.facts(opened)
    try:
        with Image.open(opened.file) as image:
            if not pages and has_pages(image):
                return None
            facts = Facts(image.width, image.height, image.mode, str(image.format))
            image.draft("L", (1, 1))
            image.load()
    except UNREADABLE:
        return None
    return facts


def unreadable(path: Path, error: BaseException) -> UnreadableImage:
    """Make the one sentence for a file that cannot be read."""
    if is_url(path):  # which is not asked again
        gone, empty = isinstance(error, FileNotFoundError), False
    else:
        gone, empty = not path.exists(), path.is_file() and path.stat().st_size == 0
    if gone:
        reason = "there is no such file"
    elif empty:
        reason = "the file is empty"
    elif isinstance(error, UnidentifiedImageError):
        reason = "it is not an image, or of a format that is not known here"
    else:
        reason = reason_of(error)
    return cannot_read(path, reason)


def reason_of(error: BaseException) -> str:
    """Give the words of what a reader raised; where they are of its inside, say so."""
    words = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    return f"it is damaged ({words})" if isinstance(error, INSIDE) else words


class UnreadableImage(InputError):
    """An image file that cannot be read."""


def cannot_read(path: Path, reason: str) -> UnreadableImage:
    """Make the one sentence for a file, from a reason in lower case without a full stop."""
    return UnreadableImage(f"Cannot read image {path}: {reason}.")


def _eight_bits(image: Image.Image, window: Window | None) -> Image.Image:
    if image.mode in MODES.values():
        # An RGB or grey PNG may name one colour as transparent.
        return _on_black(image) if "transparency" in image.info else image
    if image.mode.startswith("I") or image.mode == "F":
        return _windowed(image, window)
    if image.mode == "1":
        return image.convert("L")
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa", "P"):
        return _on_black(image)
    if image.mode in ("CMYK", "YCbCr", "HSV", "RGBX"):
        return image.convert("RGB")
    raise ValueError(f"pixels of mode {image.mode} are not supported; convert it to PNG")


def _on_black(image: Image.Image) -> Image.Image:
    grey = image.mode in ("L", "LA", "La")
    if image.mode == "P" and "transparency" not in image.info:
        return image.convert("RGB")
    rgba = image.convert("RGBA")
    flat = Image.alpha_composite(Image.new("RGBA", rgba.size, (0, 0, 0, 255)), rgba)
    return flat.convert("L" if grey else "RGB")


def _windowed(image: Image.Image, window: Window | None) -> Image.Image:
    values = np.asarray(image)
    if window is not None:
        return Image.fromarray(windowed(values, window))
    sixteen_bits = image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG")
    if not sixteen_bits:
        kind = "floating point" if image.mode == "F" else "32-bit or signed"
        raise ValueError(
            f"its intensities are {kind} numbers of unknown range; "
            "give a window (percentiles or a range)"
        )
    # The high byte, as Pillow itself does for 16-bit colour: images stay comparable.
    return Image.fromarray((values >> 8).astype(np.uint8))
