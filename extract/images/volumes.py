"""Volumes in NIfTI: reoriented, checked, windowed, and cut into axial slices."""

from __future__ import annotations

import gzip
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.funcs import as_closest_canonical
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from frostline.cache import InputError
from frostline.cache.errors import READ_ERRORS
from frostline.extract.images.decode import Facts, cannot_read, unreadable
from frostline.extract.images.geometry import Geometry, clipped, to_uint8, window_limits
from frostline.extract.images.opened import OpenedFile, open_image

# What nibabel's readers raise on files that are empty, cut off or not volumes.
UNREADABLE = (*READ_ERRORS, ImageFileError, HeaderDataError)
GZIP = b"\x1f\x8b"
KINDS = (nib.Nifti1Image, nib.Nifti2Image)
PIECE = 1 << 20  # bytes


@dataclass(frozen=True)
class Grid:
    """Where voxels are.

    Attributes
    ----------
    shape : tuple of 3 int
    affine : float64 [4, 4]
        From voxel indices to mm.
    stated : bool
        Whether the file says so (sform or qform), or the affine is a guess from voxel sizes.
    """

    shape: tuple[int, ...]
    affine: NDArray[np.float64]
    stated: bool

    def same_as(self, other: Grid) -> bool:
        """Whether both have the same voxels, to a hundredth of a millimetre."""
        return self.shape == other.shape and np.allclose(
            self.affine, other.affine, rtol=0, atol=1e-2
        )


@dataclass(frozen=True)
class Volume:
    """Voxels along the RAS axes.

    Attributes
    ----------
    values : ndarray [x, y, z]
        x grows to the patient's right, y to the front, z to the head.
    affine : float64 [4, 4]
        From voxel indices to mm.
    stated : bool
        See `Grid`.
    """

    values: NDArray
    affine: NDArray[np.float64]
    stated: bool = True

    @property
    def grid(self) -> Grid:
        """Where the voxels are."""
        return Grid(self.values.shape, self.affine, self.stated)

    @property
    def spacing(self) -> NDArray[np.float64]:
        """Voxel size in mm, float64 [3]."""
        return np.sqrt((self.affine[:3, :3] ** 2).sum(axis=0))


def read_volume(path: Path) -> Volume:
    """Read a NIfTI file as float32, with its axes flipped and swapped to the nearest RAS.

    A fourth dimension of length one is dropped.

    Raises
    ------
    InputError
        Naming the file: missing, empty, cut off, not NIfTI, not three-dimensional, not real.
    """
    try:
        with open_image(path) as opened:
            return _volume(opened)
    except OSError as error:
        raise unreadable(path, error) from error


def _volume(opened: OpenedFile) -> Volume:
    image, stated = _open(opened)
    try:
        values = np.asarray(image.dataobj, dtype=np.float32)
    except UNREADABLE as error:
        raise unreadable(opened.path, _cause(opened, error)) from error
    return Volume(values, image.affine, stated)


def read_grid(path: Path) -> Grid:
    """Read only the header: where the voxels are, along the RAS axes."""
    try:
        with open_image(path) as opened:
            image, stated = _open(opened)
            return Grid(image.shape, image.affine, stated)
    except OSError as error:
        raise unreadable(path, error) from error


def slice_count(path: Path, spacing: Sequence[float] | None = None) -> int:
    """Count the axial slices of a volume, resampled to `spacing` where that is given."""
    grid = read_grid(path)
    if spacing is None:
        return grid.shape[2]
    size = float(np.sqrt((grid.affine[:3, 2] ** 2).sum()))
    return _resampled_count(grid.shape[2], spacing[2] / size)


def onto_grid(mask: Volume, grid: Grid) -> Volume:
    """Bring a mask onto another grid by nearest neighbour; beyond its field of view it is 0.

    Raises
    ------
    ValueError
        If a file does not state its affine, or nothing of the mask falls onto the grid. The
        message names no file: the caller does.
    """
    from scipy.ndimage import affine_transform

    if not (mask.stated and grid.stated):
        raise ValueError("the files do not say where their voxels lie (no sform or qform)")
    to_mask = np.linalg.inv(mask.affine) @ grid.affine
    marked = ((mask.values != 0) & np.isfinite(mask.values)).astype(np.uint8)
    values = affine_transform(
        marked, to_mask, output_shape=grid.shape, order=0, mode="constant", cval=0
    )
    if marked.any() and not values.any():
        raise ValueError("nothing of the mask falls onto the image")
    return Volume(values, grid.affine)


def resample(volume: Volume, spacing: Sequence[float], order: int) -> Volume:
    """Resample to voxels of another size, the first voxel's centre staying where it is.

    Parameters
    ----------
    spacing
        Voxel size in mm along x, y, z.
    order
        1 for images (linear), 0 for masks (nearest voxel).
    """
    from scipy.ndimage import affine_transform

    step = np.asarray(spacing) / volume.spacing  # old voxels per new voxel
    shape = tuple(map(_resampled_count, volume.values.shape, step))
    values = affine_transform(volume.values, step, output_shape=shape, order=order, mode="nearest")
    affine = volume.affine.copy()
    affine[:3, :3] *= step
    return Volume(values, affine, volume.stated)


def _resampled_count(count: int, step: float) -> int:
    # The small number keeps the last voxel where the division is not exact.
    return int(np.floor((count - 1) / step + 1e-6)) + 1


def axial(values: NDArray, z: int) -> NDArray:
    """Cut slice `z` of `[x, y, z]`, turned for viewing.

    The front of the patient is up, the patient's left is on the left (`numpy.rot90`).

    Returns
    -------
    `[y, x]`: rows from front to back, columns from left to right.
    """
    return np.rot90(values[:, :, z])


def read_frames(
    opened: OpenedFile, frames: Sequence[int | None], geometry: Geometry
) -> Iterator[NDArray[np.uint8]]:
    """Read a volume once and yield the given axial slices, windowed.

    They are uint8 `[y, x]` each, or `[y, x, 3]` with `geometry.neighbours`: the slice below, itself
    and the slice above, each of them windowed alike. NaN becomes 0; infinities become the ends of
    the window.
    """
    volume, path = _volume(opened), opened.path
    if geometry.window is None:
        raise cannot_read(path, "intensities of a volume need a window (percentiles or a range)")
    try:
        values = clipped(volume.values, geometry.window)
        low, high = window_limits(values, geometry.window)
    except ValueError as error:
        raise unreadable(path, error) from None
    if geometry.spacing is not None:
        # Interpolation would spread NaN and infinities to their neighbours.
        finite = np.nan_to_num(values, nan=low, posinf=high, neginf=low)
        values = resample(Volume(finite, volume.affine), geometry.spacing, order=1).values
    last = values.shape[2] - 1
    for frame in frames:
        if frame is None or not 0 <= frame <= last:
            raise cannot_read(path, f"it has axial slices 0 to {last}, not {frame}")
        if geometry.neighbours:
            three = (max(frame - 1, 0), frame, min(frame + 1, last))
            yield np.stack([to_uint8(axial(values, z), low, high) for z in three], axis=-1)
        else:
            yield to_uint8(axial(values, frame), low, high)


def facts(opened: OpenedFile) -> Facts | None:
    """Read what the header says of one axial slice; None if the file is not whole."""
    try:
        image, _ = _open(opened)
        _check_whole(opened)
    except (InputError, *UNREADABLE):
        return None
    return Facts(image.shape[0], image.shape[1], str(image.get_data_dtype()), "NIfTI")


def first_frame(opened: OpenedFile) -> int:
    """Give 0: every volume has a first slice."""
    return 0


def _open(opened: OpenedFile) -> tuple[Any, bool]:
    """Give a file's volume, its axes turned to RAS; and whether it states its affine."""
    try:
        image = _unturned(opened)
        _check_header(image)
        while len(image.shape) > 3:
            image = image.slicer[..., 0]
        # Turning the axes marks the affine as stated: ask before.
        stated = bool(int(image.header["sform_code"]) or int(image.header["qform_code"]))
        return as_closest_canonical(image), stated  # type: ignore[no-untyped-call]
    except UNREADABLE as error:
        raise unreadable(opened.path, _cause(opened, error)) from error


def _unturned(opened: OpenedFile) -> Any:
    """Read the header; the voxels are read from the same bytes when they are asked for."""
    stream = _stream(opened)
    start = stream.read(1024)
    stream.seek(0)
    for kind in KINDS:
        if kind.header_class.may_contain_header(start):  # type: ignore[no-untyped-call]
            _check_rotation(kind.header_class, start)
            return kind.from_stream(stream)
    raise ValueError("it does not begin as a NIfTI file does")


def _check_rotation(header_class: Any, start: bytes) -> None:
    """Raise if the file has a qform that is no rotation."""
    header = header_class(start[: header_class.sizeof_hdr], check=False)
    if not int(header["qform_code"]):
        return
    try:
        header.get_qform_quaternion()
    except ValueError:
        reason = "its qform is no rotation; mend the header, or give it an sform alone"
        raise ValueError(reason) from None


def _stream(opened: OpenedFile) -> io.BufferedIOBase:
    """Give what is in a file, out of its compression if it has any."""
    opened.file.seek(0)
    compressed = opened.file.read(len(GZIP)) == GZIP
    opened.file.seek(0)
    return gzip.GzipFile(fileobj=opened.file) if compressed else opened.file


def _check_whole(opened: OpenedFile) -> None:
    """Read on to the end: a file may be cut off, or damaged, where its header is fine."""
    image = _unturned(opened)
    voxels = math.prod(image.shape) * image.get_data_dtype().itemsize
    needed, found = int(image.dataobj.offset) + voxels, 0
    stream = _stream(opened)
    try:
        while piece := stream.read(PIECE):
            found += len(piece)
    except EOFError:
        raise ValueError("it is cut off, in the middle of its compressed data") from None
    if found < needed:
        raise ValueError(f"it is cut off, after {found} of {needed} bytes")


def _cause(opened: OpenedFile, error: Exception) -> Exception:
    """Find out whether a file that nibabel cannot read is cut off; else its error stays."""
    try:
        _check_whole(opened)
    except UNREADABLE as found:
        return found
    return error


def _check_header(image: Any) -> None:
    shape = image.shape
    sizes = " x ".join(map(str, shape))
    if len(shape) < 3 or 0 in shape:
        raise ValueError(f"it has {sizes} voxels, which is no volume")
    if any(size != 1 for size in shape[3:]):
        raise ValueError(
            f"it holds several volumes ({sizes}); save the one you mean as a volume of its own"
        )
    if image.get_data_dtype().kind not in "biuf":
        raise ValueError(f"voxels of type {image.get_data_dtype()} are not supported")
    if not np.isfinite(image.affine).all() or abs(np.linalg.det(image.affine[:3, :3])) < 1e-12:
        raise ValueError("its affine does not say where the voxels are; mend the header")
