"""Print the probabilities of images as CSV: python predict.py MODEL.onnx IMAGE …

Written by `frostline export`. It needs onnxruntime, Pillow and numpy; for DICOM files pydicom, too.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


def main(model: str, *files: str) -> None:
    """Print a line a file: its path, the most probable class, and the probability of each."""
    try:
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        about = session.get_modelmeta().custom_metadata_map
        geometry, classes = json.loads(about["geometry"]), json.loads(about["classes"])
    except Exception:
        sys.exit(f"{model} is not there, or is no file of `frostline export`: give another.")
    rows = []
    for file in files:
        try:
            image = read_image(Path(file), geometry)
            pixels = resized_crop(image, geometry, "L" if about["channels"] == "grey" else "RGB")
        except Exception as error:
            sys.exit(f"Cannot read {file}: {error}.")
        ((found,),) = session.run(None, {"images": pixels[None]})
        rows.append([file, classes[int(found.argmax())], *map(str, found)])
    writer = csv.writer(sys.stdout)
    writer.writerow(["image_id", "prediction", *(f"prob_{name}" for name in classes)])
    writer.writerows(rows)


def read_image(path: Path, geometry: dict[str, Any]) -> Image.Image:
    """Read an image as 8 bits a channel, upright, with black behind what is transparent."""
    with path.open("rb") as file:
        if file.read(132)[128:] == b"DICM":
            return read_dicom(path, geometry["window"])
    with Image.open(path) as image:
        if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
            raise ValueError("it has several pages; give files of one")
        if image.width * image.height > 2**25:  # large JPEG files are decoded at a fraction
            width, height = new_size(image.size, geometry)
            image.draft(image.mode, (4 * width, 4 * height))
        upright = ImageOps.exif_transpose(image)
        if image.mode.startswith("I") or image.mode == "F":  # grey, of more than 8 bits
            values = np.asarray(upright)
            if geometry["window"]:
                return Image.fromarray(windowed(values, geometry["window"]))
            if not (image.mode.startswith("I;16") or (image.mode, image.format) == ("I", "PNG")):
                raise ValueError("its intensities have no known range")
            return Image.fromarray((values >> 8).astype(np.uint8))
        black = Image.new("RGBA", upright.size, "black")
        return Image.alpha_composite(black, upright.convert("RGBA")).convert("RGB")


def read_dicom(path: Path, window: dict[str, Any] | None) -> Image.Image:
    """Read a DICOM file of one frame by its own linear window, or by the one given."""
    try:
        from pydicom import dcmread
        from pydicom.pixels.processing import apply_modality_lut
        from pydicom.pixels.utils import pixel_array
    except ImportError:
        raise ValueError("DICOM needs pydicom 3; run `pip install pydicom`") from None
    data = dcmread(path)
    tables = ("ModalityLUTSequence", "VOILUTSequence", "SharedFunctionalGroupsSequence")
    if int(data.get("NumberOfFrames") or 1) > 1 or any(name in data for name in tables):
        raise ValueError("it has several frames or tables of intensities, which are not read here")
    stored, kind = pixel_array(data), data.PhotometricInterpretation
    if stored.ndim == 3 and stored.dtype == np.uint8 and data.BitsStored == 8:
        return Image.fromarray(stored)
    if kind not in ("MONOCHROME1", "MONOCHROME2") or stored.dtype.kind == "f":
        raise ValueError(f"pixels of {kind}, {stored.dtype}, are not read here")
    values = apply_modality_lut(stored, data)
    if window:
        grey = windowed(values, window)
    elif data.get("WindowWidth") is not None and data.get("WindowCenter") is not None:
        both = (data["WindowCenter"].value, data["WindowWidth"].value)
        centre, width = (float(np.ravel(value)[0]) for value in both)
        if data.get("VOILUTFunction", "LINEAR") != "LINEAR" or width <= 1:
            raise ValueError("its window is not linear, or not wider than 1, and not read here")
        centre, width = centre - 0.5, width - 1  # DICOM PS3.3, C.11.2.1.2
        grey = eight_bits(values, centre - width / 2, centre + width / 2)
    else:  # all that the stored bits can hold
        low = -(2 ** (data.BitsStored - 1)) if data.PixelRepresentation else 0
        ends = apply_modality_lut(np.array([low, low + 2**data.BitsStored - 1]), data)
        grey = eight_bits(values, *sorted(map(float, ends)))
    return Image.fromarray(255 - grey if kind == "MONOCHROME1" else grey)


def windowed(values: np.ndarray, window: dict[str, Any]) -> np.ndarray:
    """Map intensities to 0 to 255 by a range, percentiles or standard deviations."""
    if "range" in window:
        return eight_bits(values, *window["range"])
    low = high = 0.0
    if "percentiles" in window:
        counts = counting(values, window)
        low, high = map(float, np.percentile(values[counts], window["percentiles"]))
        if "znormalization" in window:
            values = np.where(counts, np.clip(values, low, high), values)
    if "znormalization" in window:
        found = values[counting(values, window)]
        mean, deviation = (float(f(found, dtype=np.float64)) for f in (np.mean, np.std))
        low, high = (mean + number * deviation for number in window["znormalization"])
    if not low < high:
        raise ValueError("its intensities are all alike, so that it would be blank")
    return eight_bits(values, low, high)


def counting(values: np.ndarray, window: dict[str, Any]) -> np.ndarray:
    """Say which values count: the finite ones, and those not 0 if the window says so."""
    return np.isfinite(values) & ((values != 0) | (not window.get("nonzero")))


def eight_bits(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Map low to high onto 0 to 255; clip what lies beyond, and take NaN for 0."""
    scaled = (values.astype(np.float64) - low) * 255.0 / (high - low)
    scaled = np.nan_to_num(scaled, nan=0.0, posinf=255.0, neginf=0.0)
    return np.rint(np.clip(scaled, 0.0, 255.0)).astype(np.uint8)


def resized_crop(image: Image.Image, geometry: dict[str, Any], mode: str) -> np.ndarray:
    """Resize an image and cut out its centre; around a smaller one is black."""
    resample = Image.Resampling[geometry["interpolation"].upper()]
    image = image.convert(mode).resize(new_size(image.size, geometry), resample)
    crop = geometry["crop"]
    left, top = (
        round((side - crop) / 2) if side > crop else (side - crop + 1) // 2 for side in image.size
    )
    return np.asarray(image.crop((left, top, left + crop, top + crop)))


def new_size(size: tuple[int, int], geometry: dict[str, Any]) -> tuple[int, int]:
    """Give width and height after resizing: of the shorter side alone, or squashed."""
    (width, height), side = size, geometry["resize_to"]
    if geometry["resize"] == "squash":
        return side, side
    longer = int(side * max(size) / min(size))
    return (side, longer) if width <= height else (longer, side)


if __name__ == "__main__":
    if len(sys.argv) < 3 or not sys.argv[1].endswith(".onnx"):
        sys.exit("Give a model and images: python predict.py MODEL.onnx IMAGE …")
    main(*sys.argv[1:])
