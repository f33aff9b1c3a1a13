"""DICOM files: rescaled, windowed as the file or the user says, one frame at a time.

Pixels follow the standard's pipeline (PS3.3 C.11): modality transform, then VOI transform, then
inversion where the smallest value is white (MONOCHROME1).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from frostline.cache import InputError
from frostline.cache.errors import READ_ERRORS
from frostline.extract.images.decode import Facts, cannot_read, reason_of, unreadable
from frostline.extract.images.geometry import Geometry, to_uint8, windowed
from frostline.extract.images.opened import OpenedFile

UNREADABLE = (*READ_ERRORS, AttributeError)
PIXEL_KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
DECODERS = {
    "1.2.840.10008.1.2.4.5": "pylibjpeg pylibjpeg-libjpeg",  # JPEG
    "1.2.840.10008.1.2.4.6": "pylibjpeg pylibjpeg-libjpeg",
    "1.2.840.10008.1.2.4.7": "pylibjpeg pylibjpeg-libjpeg",
    "1.2.840.10008.1.2.4.8": "pyjpegls",  # JPEG-LS
    "1.2.840.10008.1.2.4.9": "pylibjpeg pylibjpeg-openjpeg",  # JPEG 2000
    "1.2.840.10008.1.2.4.20": "pylibjpeg pylibjpeg-openjpeg",  # High-throughput JPEG 2000
}


def read_frames(
    opened: OpenedFile, frames: Sequence[int | None], geometry: Geometry
) -> Iterator[NDArray[np.uint8]]:
    """Yield frames, uint8 `[y, x]` or `[y, x, 3]`; None is the only frame.

    Grey intensities become 8 bits by `geometry.window` where there is one (a range is in the
    units after rescaling, such as Hounsfield's; percentiles are of the frame), else by the VOI
    window or table of the file (the first, where there are several), else by the whole range
    of the bits stored.

    Raises
    ------
    InputError
        Naming the file: not DICOM, without pixels, cut off, or of a transfer syntax whose decoder
        is not installed; the message then names the package.
    """
    path = opened.path
    dataset = _dataset(path, opened.file, pixels=True)
    count = frame_count(dataset)
    for frame in frames:
        if (frame is None and count > 1) or not 0 <= (frame or 0) < count:
            raise cannot_read(path, f"it has frames 0 to {count - 1}, not {frame}")
        try:
            yield _eight_bits(dataset, frame or 0, geometry)
        except UNREADABLE as error:
            raise _sentence(path, dataset, error) from error


def facts(opened: OpenedFile) -> Facts | None:
    """Read the header, and check that the first and the last frame decode; None if not.

    The mode is Pillow's: `L` and `RGB` for 8 bits, `I;16` for more, `F` for floats.
    """
    try:
        dataset = _dataset(opened.path, opened.file, pixels=True)
        for frame in {0, frame_count(dataset) - 1}:
            _decoded(dataset, frame)
        grey = dataset.SamplesPerPixel == 1 and dataset.PhotometricInterpretation != "PALETTE COLOR"
        mode = "RGB"
        if grey and "PixelData" in dataset:
            mode = "L" if dataset.BitsAllocated <= 8 else "I;16"
        elif grey:
            mode = "F"
        return Facts(int(dataset.Columns), int(dataset.Rows), mode, "DICOM")
    except UNREADABLE:
        return None


def first_frame(opened: OpenedFile) -> int:
    """Give 0: every image has a first frame."""
    return 0


def read_dataset(path: Path, *, pixels: bool) -> Any:
    """Read a DICOM file, or only its header.

    Raises
    ------
    InputError
        If pydicom is not installed, or the file is not DICOM, cut off, or (with `pixels`)
        holds no image.
    """
    try:
        with path.open("rb") as file:
            return _dataset(path, file, pixels=pixels)
    except OSError as error:
        raise unreadable(path, error) from error


def _dataset(path: Path, file: BinaryIO, *, pixels: bool) -> Any:
    try:
        from pydicom import dcmread
        from pydicom.errors import InvalidDicomError
    except ImportError:
        raise cannot_read(
            path, "DICOM needs pydicom; run `pip install 'frostline[dicom]'`"
        ) from None
    try:
        dataset = dcmread(file, stop_before_pixels=not pixels)
    except InvalidDicomError:
        whole = file.seek(0, os.SEEK_END)
        reason = "it does not begin as a DICOM file does" if whole else "the file is empty"
        raise cannot_read(path, reason) from None
    except UNREADABLE as error:
        raise unreadable(path, error) from error
    if pixels and not any(name in dataset for name in PIXEL_KEYWORDS):
        kind = dataset.file_meta.get("MediaStorageSOPClassUID", None)
        name = getattr(kind, "name", None) or "its kind is not said"
        raise cannot_read(path, f"it holds no image ({name})")
    fault = _fault(dataset) if pixels else None
    if fault:
        raise cannot_read(path, fault)
    return dataset


def _fault(dataset: Any) -> str | None:
    """Say what an image lacks, where pydicom would say it in words of its own; else None."""
    for name in ("RescaleSlope", "RescaleIntercept"):
        if name in dataset and dataset[name].is_empty:
            return f"its {name} is empty, so that the scale of its intensities is not known"
    palette = dataset.get("PhotometricInterpretation") == "PALETTE COLOR"
    tables = ("RedPaletteColorLookupTableData", "SegmentedRedPaletteColorLookupTableData")
    if palette and not any(name in dataset for name in tables):
        return "it has a palette without a table of colours"
    return _cut_off(dataset)


def _cut_off(dataset: Any) -> str | None:
    """Say how many bytes of pixels are there, if too few; compressed ones are left to pydicom."""
    from pydicom.pixels.utils import get_expected_length

    syntax = dataset.file_meta.get("TransferSyntaxUID", None)
    if "PixelData" not in dataset or syntax is None or syntax.is_compressed:
        return None
    try:
        needed, found = int(get_expected_length(dataset)), len(dataset.PixelData)
    except UNREADABLE:  # an element is missing: pydicom names it where it decodes
        return None
    return f"its pixels are cut off, after {found} of {needed} bytes" if found < needed else None


def frame_count(dataset: Any) -> int:
    """Count the frames that a file says it has; 1 if it says nothing that makes sense."""
    text = str(dataset.get("NumberOfFrames", None) or 1)
    return int(text) if text.isdecimal() and int(text) else 1


def _decoded(dataset: Any, frame: int) -> NDArray:
    """Decode one frame; YBR becomes RGB."""
    from pydicom.pixels.utils import pixel_array

    return pixel_array(dataset, index=frame)


def _eight_bits(dataset: Any, frame: int, geometry: Geometry) -> NDArray[np.uint8]:
    from pydicom.pixels.processing import apply_color_lut

    values = _decoded(dataset, frame)
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        values = apply_color_lut(values, dataset)
        return values if values.dtype == np.uint8 else (values >> 8).astype(np.uint8)
    if dataset.SamplesPerPixel > 1:
        depth = int(dataset.BitsStored)
        return values if depth == 8 else to_uint8(values, 0, 2**depth - 1)
    grey = _windowed(dataset, frame, values, geometry)
    return 255 - grey if dataset.PhotometricInterpretation == "MONOCHROME1" else grey


def _windowed(dataset: Any, frame: int, values: NDArray, geometry: Geometry) -> NDArray[np.uint8]:
    from pydicom.pixels.processing import apply_modality_lut

    stored = values
    transform = _item(dataset, frame, "PixelValueTransformationSequence")
    values = apply_modality_lut(stored, transform or dataset)
    if geometry.window is not None:
        return windowed(values, geometry.window)
    voi = _item(dataset, frame, "FrameVOILUTSequence") or dataset
    if "VOILUTSequence" in voi:
        return _by_table(voi.VOILUTSequence[0], values)
    if voi.get("WindowWidth") is not None and voi.get("WindowCenter") is not None:
        return _by_window(voi, values)
    if stored.dtype.kind == "f":
        raise ValueError(
            "its intensities are floating point numbers of unknown range; "
            "give a window (percentiles or a range)"
        )
    signed, depth = bool(dataset.PixelRepresentation), int(dataset.BitsStored)
    ends = np.array([-(2 ** (depth - 1)), 2 ** (depth - 1) - 1] if signed else [0, 2**depth - 1])
    if "ModalityLUTSequence" in dataset:
        low, high = 0.0, 2.0 ** int(dataset.ModalityLUTSequence[0].LUTDescriptor[2]) - 1
    else:
        low, high = sorted(map(float, apply_modality_lut(ends, transform or dataset)))
    return to_uint8(values, low, high)


def _by_window(voi: Any, values: NDArray) -> NDArray[np.uint8]:
    """Apply centre and width as PS3.3 C.11.2.1.2 and C.11.2.1.3 have it."""
    centre, width = (_first(voi[name].value) for name in ("WindowCenter", "WindowWidth"))
    function = voi.get("VOILUTFunction", "LINEAR")
    if function == "SIGMOID":
        return to_uint8(1 / (1 + np.exp(-4 * (values - centre) / width)), 0, 1)
    if function == "LINEAR" and width > 1:
        centre, width = centre - 0.5, width - 1
    elif function == "LINEAR":
        return np.where(values > centre - 0.5, 255, 0).astype(np.uint8)  # width 1 is a threshold
    if width <= 0:
        raise ValueError(f"its window has a width of {width:g}; give a window of your own")
    return to_uint8(values, centre - width / 2, centre + width / 2)


def _by_table(item: Any, values: NDArray) -> NDArray[np.uint8]:
    """Look intensities up in a VOI table, whose ends stand for all beyond (PS3.3 C.11.2.1.1)."""
    entries, first, depth = item.LUTDescriptor
    data = item.LUTData
    if isinstance(data, bytes):
        data = np.frombuffer(data, np.uint8 if len(data) == (entries or 65536) else "<u2")
    table = np.asarray(data, np.float64)
    position = np.clip(np.rint(values.astype(np.float64) - first), 0, len(table) - 1).astype(
        np.int64
    )
    return to_uint8(table[position], 0, 2 ** int(depth) - 1)


def _item(dataset: Any, frame: int, name: str) -> Any:
    """Find a sequence's item in the functional groups of an enhanced multi-frame file."""
    groups = []
    if "PerFrameFunctionalGroupsSequence" in dataset:
        groups.append(dataset.PerFrameFunctionalGroupsSequence[frame])
    groups.extend(dataset.get("SharedFunctionalGroupsSequence", None) or [])
    return next((group[name].value[0] for group in groups if name in group), None)


def _first(value: Any) -> float:
    return float(value if isinstance(value, int | float | str) else value[0])


def _sentence(path: Path, dataset: Any, error: BaseException) -> InputError:
    syntax = dataset.file_meta.get("TransferSyntaxUID", None)
    if syntax is not None and "missing dependencies" in str(error):
        package = next(
            (name for prefix, name in DECODERS.items() if syntax.startswith(prefix)), "gdcm"
        )
        if syntax.startswith("1.2.840.10008.1.2.4.20"):
            package = DECODERS["1.2.840.10008.1.2.4.20"]
        return cannot_read(
            path,
            f"its pixels are compressed as {syntax.name}, for which no decoder is installed; run "
            f"`pip install {package}`",
        )
    return cannot_read(path, reason_of(error))
