"""Geometry: from an image of any size to the square that a backbone sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from PIL import Image

from frostline.cache import InputError

Channels = Literal["grey", "rgb"]
Window = Mapping[str, Any]
# What a data set's reading options say of its pixels.
READ_WITH = ("window", "spacing", "neighbours")

MODES: dict[str, str] = {"grey": "L", "rgb": "RGB"}
# Pixels a side; no backbone sees more, and memory grows with the square.
LARGEST = 4096
FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


@dataclass(frozen=True)
class Geometry:
    """How an image becomes a square of `crop` pixels a side, 8 bits each.

    Equal, to the bit, to torchvision's `v2.Resize` and `v2.CenterCrop` on Pillow images.

    Parameters
    ----------
    resize
        `"shorter"`: the shorter side becomes `resize_to`, the aspect is kept;
        `"squash"`: both sides become `resize_to`.
    resize_to, crop
        Pixels. An image smaller than the crop is padded with zeros on all sides.
    interpolation
        `"bilinear"` or `"bicubic"`, antialiased as Pillow does.
    window
        How intensities of more than 8 bits (16-bit and float images, volumes) become 8 bits:
        `{"percentiles": [low, high]}` of the image's (or the whole volume's) finite values,
        `{"znormalization": [low, high]}`, standard deviations from their mean, or
        `{"range": [low, high]}` in the file's units. With both percentiles and znormalization,
        values are clipped to the percentiles before their mean and deviation are taken;
        `"nonzero": True` takes either from the values that are not 0. Without a window, 16-bit
        images keep their high byte, and files whose range is unknown (float, 32 bits, volumes)
        are refused. Images of 8 bits are never windowed.
    spacing
        Voxel size in mm (x, y, z of the RAS axes) to which volumes are resampled first.
    neighbours
        Whether a slice of a volume becomes three channels: the slice below, itself, the slice
        above (2.5-D). At an end of the volume the slice itself stands for the missing one.
    """

    resize: Literal["shorter", "squash"] = "shorter"
    resize_to: int = 256
    crop: int = 224
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    window: Window | None = None
    spacing: Sequence[float] | None = None
    neighbours: bool = False

    def __post_init__(self) -> None:
        _choice("resize", self.resize, ("shorter", "squash"))
        _choice("interpolation", self.interpolation, tuple(FILTERS))
        for name, value in (("resize_to", self.resize_to), ("crop", self.crop)):
            if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= LARGEST:
                raise InputError(
                    f"{name} must be a whole number of pixels from 1 to {LARGEST}, not {value!r}."
                )
        if self.window is not None:
            object.__setattr__(self, "window", _checked_window(self.window))
        if self.spacing is not None:
            object.__setattr__(self, "spacing", _checked_spacing(self.spacing))
        if not isinstance(self.neighbours, bool):
            raise InputError(f"The option neighbours is true or false, not {self.neighbours!r}.")

    def to_spec(self) -> dict[str, Any]:
        """Give everything that changes the pixels, as plain JSON values."""
        spec = asdict(self)
        if not self.neighbours:  # keys made before there was this option stay what they are
            del spec["neighbours"]
        return spec

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> Geometry:
        """Make the geometry that `to_spec` described; InputError for a user's own transform."""
        if "transform" in spec:
            raise InputError(
                f"The pixels were made by your own transform {spec['transform']!r}, which only "
                "your own code has: extract with it again."
            )
        return cls(**spec)

    @property
    def dtype(self) -> np.dtype:
        """The dtype of pixels."""
        return np.dtype(np.uint8)

    def pixel_shape(self, channels: Channels) -> tuple[int, ...]:
        """Give the shape of one image's pixels."""
        return (self.crop, self.crop) if channels == "grey" else (self.crop, self.crop, 3)

    def with_options(self, options: Mapping[str, Any]) -> Geometry:
        """Take the options in `READ_WITH` from a data set's reading options, if it has them."""
        known = {name: options[name] for name in READ_WITH if options.get(name)}
        return replace(self, **known)

    def apply(
        self, image: Image.Image | np.ndarray, channels: Channels, out: np.ndarray | None = None
    ) -> np.ndarray:
        """Resize and crop one image of 8 bits.

        Parameters
        ----------
        image
            A Pillow image of mode `L` or `RGB`, or `uint8 [H, W]` or `[H, W, 3]`.
        channels
            `"grey"` gives `[crop, crop]`, `"rgb"` gives `[crop, crop, 3]`.
        out
            Where to put it, of that shape; a new array if None.

        Returns
        -------
        uint8 array, contiguous, not shared with the image.
        """
        image = image_of(image)
        mode = MODES[channels]
        # Grey is expanded last: the filter treats channels alike, so the result is the same.
        if mode == "L" or image.mode not in ("L", mode):
            image = image if image.mode == mode else image.convert(mode)
        size = self.resized_size(*image.size)
        if image.mode == "RGB" and image.size != size and _is_grey(image):
            image = image.getchannel(0)
        image = _resized_crop(image, size, self.crop, FILTERS[self.interpolation])
        if out is None:
            out = np.empty(self.pixel_shape(channels), self.dtype)
        for channel in (slice(None),) if image.mode == mode else range(3):
            out[..., channel] = np.asarray(image)
        return out

    def resized_size(self, width: int, height: int) -> tuple[int, int]:
        """Give width and height after resizing, before the crop."""
        if self.resize == "squash":
            return self.resize_to, self.resize_to
        longer = int(self.resize_to * max(width, height) / min(width, height))
        return (self.resize_to, longer) if width <= height else (longer, self.resize_to)


def windowed(values: np.ndarray, window: Window) -> np.ndarray:
    """Give the intensities of one image as uint8; errors as of `window_limits`."""
    values = clipped(values, window)
    return to_uint8(values, *window_limits(values, window))


def clipped(values: np.ndarray, window: Window) -> np.ndarray:
    """Clip to the percentiles of a window that z-normalises afterwards; else give them as they are.

    What is not finite stays, and with `nonzero` what is 0: the background.
    """
    if not {"percentiles", "znormalization"} <= set(window):
        return values
    counts = _counting(values, window)
    low, high = map(float, np.percentile(values[counts], window["percentiles"]))
    return np.where(counts, np.clip(values, low, high), values)


def window_limits(values: np.ndarray, window: Window) -> tuple[float, float]:
    """Find the intensities that become 0 and 255.

    Raises
    ------
    ValueError
        If no value is finite, or both limits are one value (the image would be blank). The
        message names no file: the caller does.

    Notes
    -----
    The standard deviation is that of all values, divided by their number and not by one less.
    """
    if "range" in window:
        low, high = window["range"]
        return float(low), float(high)
    found = values[_counting(values, window)]
    if "znormalization" in window:
        mean, deviation = (float(f(found, dtype=np.float64)) for f in (np.mean, np.std))
        if not deviation:
            raise ValueError(
                f"the intensities are all {mean:g}, so the image would be blank; leave it out"
            )
        low, high = (mean + number * deviation for number in window["znormalization"])
        return low, high
    low, high = (float(limit) for limit in np.percentile(found, list(window["percentiles"])))
    if low == high:
        percentiles = " and ".join(f"{percentile:g}" for percentile in window["percentiles"])
        raise ValueError(
            f"the percentiles {percentiles} of the intensities are both {low:g}, so the image "
            "would be blank; choose a wider window"
        )
    return low, high


def _counting(values: np.ndarray, window: Window) -> np.ndarray:
    """Say which values a window is found from: the finite ones, and those not 0 if it says so."""
    counts = np.isfinite(values)
    if not counts.any():
        raise ValueError("no intensity is a finite number")
    if window.get("nonzero"):
        counts &= values != 0
        if not counts.any():
            raise ValueError("all intensities are 0, and the window is that of those that are not")
    return counts


def to_uint8(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Map low..high linearly onto 0..255, rounded; beyond is clipped and NaN is 0."""
    result = np.empty(values.shape, np.uint8)
    rows = max(1, 2**16 // max(1, values[:1].size))  # doubles of a few rows at a time
    for start in range(0, len(values), rows):
        scaled = (values[start : start + rows].astype(np.float64) - low) * 255.0 / (high - low)
        scaled = np.nan_to_num(scaled, nan=0.0, posinf=255.0, neginf=0.0)
        result[start : start + rows] = np.rint(np.clip(scaled, 0.0, 255.0))
    return result


def image_of(array: Image.Image | np.ndarray) -> Image.Image:
    """Make an image of uint8 `[H, W]` or `[H, W, 3]`; an image stays what it is."""
    if isinstance(array, Image.Image):
        return array
    grey_or_colour = array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)
    if array.dtype != np.uint8 or not grey_or_colour:
        raise TypeError(f"uint8 [H, W] or [H, W, 3] wanted, not {array.dtype} {array.shape}")
    return Image.fromarray(np.ascontiguousarray(array))


def _is_grey(image: Image.Image) -> bool:
    """Whether all three channels of an RGB image are the same; False if that is slow to tell."""
    try:
        # Pillow's own memory, 4 bytes a pixel; in several blocks if the image is large.
        words = np.frombuffer(pa.array(image).flatten().buffers()[1], np.uint32)
    except (ValueError, TypeError, pa.ArrowException):
        return False
    return not any((((part ^ (part >> 8)) & 0xFFFF) != 0).any() for part in (words[::97], words))


def _resized_crop(
    image: Image.Image, size: tuple[int, int], crop: int, resample: Image.Resampling
) -> Image.Image:
    """Resize to a size and cut out the centre, to the bit as if one after the other.

    Pillow resizes along x, rounds to 8 bits, then along y; where the height shrinks, new releases
    may do y first. So where it does not shrink, and there alone, each step is done by itself, for
    little more than what the crop keeps.
    """
    (width, height), (new_width, new_height) = image.size, size
    if image.size == size:
        return _centre_crop(image, crop)  # Pillow would copy it
    if height > new_height or min(size) < crop:
        return _centre_crop(image.resize(size, resample), crop)
    left, top = _corner(new_width, crop), _corner(new_height, crop)
    x = _exact_box(width, new_width, left, crop)
    y = _exact_box(height, new_height, top, crop)
    if x is None:
        wide = image.resize((new_width, height), resample)
        image = wide.crop((left, 0, left + crop, height))
    else:
        image = image.resize((crop, height), resample, (x[0], 0, x[1], height))
    if y is None:
        return image.resize((crop, new_height), resample).crop((0, top, crop, top + crop))
    return image.resize((crop, crop), resample, (0, y[0], crop, y[1]))


def _exact_box(old: int, new: int, start: int, crop: int) -> tuple[float, float] | None:
    """Give the part of a side from which its crop is resized, if Pillow's 32-bit box can hold it.

    If not, the filter's weights would differ in the last place. A side that keeps its size is
    only cropped.
    """
    power_of_two = new & (new - 1) == 0
    if old == new or not power_of_two or old * (start + crop) >= 2**24:
        return None
    return start * old / new, (start + crop) * old / new


def _corner(side: int, crop: int) -> int:
    return round((side - crop) / 2)  # half to even, as torchvision does


def _centre_crop(image: Image.Image, crop: int) -> Image.Image:
    # torchvision pads on both sides first (the odd pixel right and below), then crops.
    width, height = max(image.width, crop), max(image.height, crop)
    if (width, height) != image.size:
        padded = Image.new(image.mode, (width, height))
        padded.paste(image, ((width - image.width) // 2, (height - image.height) // 2))
        image = padded
    left, top = _corner(width, crop), _corner(height, crop)
    return image.crop((left, top, left + crop, top + crop))


def _choice(name: str, value: object, valid: tuple[str, ...]) -> None:
    if value not in valid:
        raise InputError(f"{name} must be one of {', '.join(valid)}, not {value!r}.")


def _checked_window(window: Window) -> dict[str, Any]:
    """Give a window with its limits as floats, in one order; `nonzero` only where it is true."""
    names = {"percentiles": "two numbers of 0 to 100", "znormalization": "two numbers"}
    names["range"] = "two numbers"
    given = set(window) - {"nonzero"} if isinstance(window, Mapping) else set()
    nonzero = window.get("nonzero", False) if given else False
    alone = "range" in given and (len(given) > 1 or nonzero)
    if not given or not given <= set(names) or alone or not isinstance(nonzero, bool):
        raise InputError(
            "The option window must be {percentiles: [low, high]} or {range: [low, high]}, or "
            "{znormalization: [low, high]}, percentiles and znormalization also together and with "
            f"nonzero: true, not {window!r}."
        )
    checked: dict[str, Any] = {}
    for name in names:
        if name in given:
            checked[name] = _limits(name, window[name], names[name])
    return checked | ({"nonzero": True} if nonzero else {})


def _limits(name: str, limits: Any, wanted: str) -> list[float]:
    numbers = _numbers(limits)
    rising = len(numbers) == 2 and -np.inf < numbers[0] < numbers[1] < np.inf
    if not rising or (name == "percentiles" and not 0 <= numbers[0] < numbers[1] <= 100):
        raise InputError(f"The {name} of a window must be {wanted}, rising, not {limits!r}.")
    return numbers


def _checked_spacing(spacing: Sequence[float]) -> list[float]:
    numbers = _numbers(spacing)
    if len(numbers) != 3 or not all(0 < size < np.inf for size in numbers):
        raise InputError(
            f"The option spacing must be three positive numbers (mm), not {spacing!r}."
        )
    return numbers


def _numbers(values: Any) -> list[float]:
    """Read a list of numbers; none if it is anything else."""
    try:
        return [float(value) for value in values]
    except (TypeError, ValueError):
        return []


PAPER_GEOMETRY = Geometry("shorter", 256, 224, "bilinear")
