"""Geometry: from an image of any size to the square that a backbone sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from PIL import Image

from frostline.cache import InputError

Channels = Literal["grey", "rgb"]
Window = Mapping[str, Sequence[float]]

MODES: dict[str, str] = {"grey": "L", "rgb": "RGB"}
FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


@dataclass(frozen=True)
class Geometry:
    """How an image becomes a square of ``crop`` pixels a side, 8 bits each.

    Equal, to the bit, to torchvision's ``v2.Resize`` and ``v2.CenterCrop`` on Pillow images.

    Parameters
    ----------
    resize
        ``"shorter"``: the shorter side becomes ``resize_to``, the aspect is kept;
        ``"squash"``: both sides become ``resize_to``.
    resize_to, crop
        Pixels. An image smaller than the crop is padded with zeros on all sides.
    interpolation
        ``"bilinear"`` or ``"bicubic"``, antialiased as Pillow does.
    window
        How intensities of more than 8 bits (16-bit and float images, volumes) become 8 bits:
        ``{"percentiles": [low, high]}`` of the image's (or the whole volume's) finite values, or
        ``{"range": [low, high]}`` in the file's units. Without a window, 16-bit images keep
        their high byte, and files whose range is unknown (float, 32 bits, volumes) are refused.
        Images of 8 bits are never windowed.
    spacing
        Voxel size in mm (x, y, z of the RAS axes) to which volumes are resampled first.
    """

    resize: Literal["shorter", "squash"] = "shorter"
    resize_to: int = 256
    crop: int = 224
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    window: Window | None = None
    spacing: Sequence[float] | None = None

    def __post_init__(self) -> None:
        _choice("resize", self.resize, ("shorter", "squash"))
        _choice("interpolation", self.interpolation, tuple(FILTERS))
        for name, value in (("resize_to", self.resize_to), ("crop", self.crop)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InputError(f"{name} must be a positive whole number of pixels, not {value!r}")
        if self.window is not None:
            object.__setattr__(self, "window", _checked_window(self.window))
        if self.spacing is not None:
            object.__setattr__(self, "spacing", _checked_spacing(self.spacing))

    def to_spec(self) -> dict[str, Any]:
        """Give everything that changes the pixels, as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> Geometry:
        """Make the geometry that `to_spec` described."""
        return cls(**spec)

    def with_options(self, options: Mapping[str, Any]) -> Geometry:
        """Take ``window`` and ``spacing`` from a data set's reading options, where it has them."""
        known = {name: options[name] for name in ("window", "spacing") if options.get(name)}
        return replace(self, **known)

    def apply(self, image: Image.Image | np.ndarray, channels: Channels) -> np.ndarray:
        """Resize and crop one image of 8 bits.

        Parameters
        ----------
        image
            A Pillow image of mode ``L`` or ``RGB``, or ``uint8 [H, W]`` or ``[H, W, 3]``.
        channels
            ``"grey"`` gives ``[crop, crop]``, ``"rgb"`` gives ``[crop, crop, 3]``.

        Returns
        -------
        uint8 array, contiguous, not shared with the image.
        """
        if isinstance(image, np.ndarray):
            image = _from_array(image)
        mode = MODES[channels]
        # Grey is expanded last: the filter treats channels alike, so the result is the same.
        if mode == "L" or image.mode != "L":
            image = image.convert(mode)
        size = self.resized_size(*image.size)
        image = _centre_crop(image.resize(size, FILTERS[self.interpolation]), self.crop)
        return np.array(image if image.mode == mode else image.convert(mode))

    def resized_size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height after resizing, before the crop."""
        if self.resize == "squash":
            return self.resize_to, self.resize_to
        longer = int(self.resize_to * max(width, height) / min(width, height))
        return (self.resize_to, longer) if width <= height else (longer, self.resize_to)


def window_limits(values: np.ndarray, window: Window) -> tuple[float, float]:
    """Find the intensities that become 0 and 255.

    Raises
    ------
    InputError
        If no value is finite, or both limits are one value (the image would be blank). The
        message names no file: the caller does.
    """
    if "range" in window:
        low, high = window["range"]
        return float(low), float(high)
    finite = values[np.isfinite(values)]
    if not finite.size:
        raise InputError("no intensity is a finite number")
    low, high = (float(limit) for limit in np.percentile(finite, list(window["percentiles"])))
    if low == high:
        percentiles = " and ".join(f"{percentile:g}" for percentile in window["percentiles"])
        raise InputError(
            f"the percentiles {percentiles} of the intensities are both {low:g}, so the image "
            "would be blank; choose a wider window"
        )
    return low, high


def to_uint8(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Map low..high linearly onto 0..255, rounded; beyond is clipped and NaN is 0."""
    scaled = (values.astype(np.float64) - low) * 255.0 / (high - low)
    scaled = np.nan_to_num(scaled, nan=0.0, posinf=255.0, neginf=0.0)
    return np.rint(np.clip(scaled, 0.0, 255.0)).astype(np.uint8)


def _from_array(array: np.ndarray) -> Image.Image:
    grey_or_colour = array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)
    if array.dtype != np.uint8 or not grey_or_colour:
        raise TypeError(f"uint8 [H, W] or [H, W, 3] wanted, not {array.dtype} {array.shape}")
    return Image.fromarray(np.ascontiguousarray(array))


def _centre_crop(image: Image.Image, size: int) -> Image.Image:
    # torchvision pads on both sides first (the odd pixel right and below), then rounds the
    # corner half to even.
    width, height = max(image.width, size), max(image.height, size)
    if (width, height) != image.size:
        padded = Image.new(image.mode, (width, height))
        padded.paste(image, ((width - image.width) // 2, (height - image.height) // 2))
        image = padded
    left, top = round((width - size) / 2), round((height - size) / 2)
    return image.crop((left, top, left + size, top + size))


def _choice(name: str, value: object, valid: tuple[str, ...]) -> None:
    if value not in valid:
        raise InputError(f"{name} must be one of {', '.join(valid)}, not {value!r}")


def _checked_window(window: Window) -> dict[str, list[float]]:
    kinds = {"percentiles": "two numbers of 0 to 100", "range": "two numbers"}
    if len(window) != 1 or next(iter(window)) not in kinds:
        raise InputError(
            f"window must be {{percentiles: [low, high]}} or {{range: [low, high]}}, "
            f"not {dict(window)!r}"
        )
    kind, limits = next(iter(window.items()))
    numbers = [float(limit) for limit in limits]
    rising = len(numbers) == 2 and -np.inf < numbers[0] < numbers[1] < np.inf
    if not rising or (kind == "percentiles" and not 0 <= numbers[0] < numbers[1] <= 100):
        raise InputError(f"{kind} of the window must be {kinds[kind]}, rising, not {numbers}")
    return {kind: numbers}


def _checked_spacing(spacing: Sequence[float]) -> list[float]:
    numbers = [float(size) for size in spacing]
    if len(numbers) != 3 or not all(0 < size < np.inf for size in numbers):
        raise InputError(f"spacing must be three positive numbers (mm), not {numbers}")
    return numbers


PAPER_GEOMETRY = Geometry("shorter", 256, 224, "bilinear")
