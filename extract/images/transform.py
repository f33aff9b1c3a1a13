"""A user's own transform in place of a protocol's geometry."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from frostline.cache import InputError
from frostline.extract.images.geometry import READ_WITH, Channels, Geometry, Window, image_of

# What is tried first, to know what comes out.
BLANK = (320, 320)
NEEDED = "a float tensor [3, side, side], or uint8 [side, side, 3] or [side, side]"


class Transform(Geometry):
    """A function from an image to what a backbone sees, such as torchvision's transforms.

    Parameters
    ----------
    function : callable
        Takes a Pillow image of mode RGB; gives a float tensor [3, side, side], which the backbone
        sees as it is, or uint8 [side, side, 3] or [side, side] (an array, tensor or image), which
        is kept in the pixel store and normalised as the protocol says. It must give the same for
        the same image: nothing random.
    name : str, optional
        What names it in keys: another function needs another name. Not needed where its printed
        form shows its parameters, as that of torchvision's transforms does.
    window, spacing, neighbours
        See `Geometry`.

    Raises
    ------
    InputError
        If it needs a name, or gives something else.
    """

    def __init__(
        self,
        function: Callable[[Image.Image], Any],
        name: str | None = None,
        *,
        window: Window | None = None,
        spacing: Sequence[float] | None = None,
        neighbours: bool = False,
    ) -> None:
        self.function = function
        self.given = name
        self.name = name or printed(function)
        pixels = self._pixels(Image.new("RGB", BLANK))
        self.sample = pixels.shape, pixels.dtype
        side = pixels.shape[1]
        read = {"window": window, "spacing": spacing, "neighbours": neighbours}
        super().__init__("squash", side, side, **read)  # type: ignore[arg-type]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Transform) and self.to_spec() == other.to_spec()

    def __hash__(self) -> int:
        return hash(self.name)

    @property
    def dtype(self) -> np.dtype:
        """The dtype of what it gives, uint8 or float32."""
        return self.sample[1]

    def pixel_shape(self, channels: Channels) -> tuple[int, ...]:
        """Give the shape of one image's pixels: [side, side, 3], or [3, side, side] of floats."""
        return self.sample[0]

    def to_spec(self) -> dict[str, Any]:
        """Give everything that changes the pixels, as plain JSON values."""
        spacing = None if self.spacing is None else list(self.spacing)
        named = {"transform": self.name, "crop": self.crop}
        stacked = {"neighbours": True} if self.neighbours else {}
        return {**named, "window": self.window, "spacing": spacing, **stacked}

    def with_options(self, options: Mapping[str, Any]) -> Transform:
        """Take the options in `READ_WITH` from a data set's reading options, if it has them."""
        known = {key: options[key] for key in READ_WITH if options.get(key)}
        read = {key: getattr(self, key) for key in READ_WITH} | known
        return Transform(self.function, self.given, **read) if known else self

    def apply(
        self, image: Image.Image | np.ndarray, channels: Channels, out: np.ndarray | None = None
    ) -> np.ndarray:
        """Transform one image of 8 bits; ValueError where the result is unlike that of others."""
        pixels = self._pixels(image_of(image).convert("RGB"))
        if (pixels.shape, pixels.dtype) != self.sample:
            shape, dtype = self.sample
            raise ValueError(
                f"the transform gives {pixels.dtype} {list(pixels.shape)} for it, and {dtype} "
                f"{list(shape)} for others"
            )
        if out is None:
            return pixels.copy()
        out[...] = pixels
        return out

    def resized_size(self, width: int, height: int) -> tuple[int, int]:
        """Give the image's own size: the function sees all of it."""
        return width, height

    def _pixels(self, image: Image.Image) -> np.ndarray:
        found = self.function(image)
        if hasattr(found, "detach"):
            found = found.detach().cpu()
        pixels = np.asarray(found)
        if pixels.dtype == np.uint8 and pixels.ndim == 2:
            pixels = np.repeat(pixels[..., None], 3, axis=2)
        if pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] != 3:
            pixels = np.moveaxis(pixels, 0, 2)
        floats = pixels.dtype.kind == "f"
        shape = pixels.shape[::-1] if floats else pixels.shape
        square = pixels.ndim == 3 and shape[2] == 3 and shape[0] == shape[1]
        if not square or not (floats or pixels.dtype == np.uint8):
            raise InputError(
                f"The transform {self.name} gives {pixels.dtype} {list(pixels.shape)}, where "
                f"{NEEDED} is needed."
            )
        return pixels.astype(np.float32) if floats else np.ascontiguousarray(pixels)


def as_geometry(given: Geometry | Callable[[Image.Image], Any]) -> Geometry:
    """Make a geometry of a user's function; a geometry stays what it is."""
    return given if isinstance(given, Geometry) else Transform(given)


def printed(function: Callable[..., Any]) -> str:
    """Give the printed form of a transform, if that shows its parameters.

    Raises
    ------
    InputError
        If it is a function, or hides what it was made with.
    """
    text = " ".join(repr(function).split())
    hidden = re.search(r"0x[0-9a-f]+|lambda|<", text, re.IGNORECASE)
    if hidden or any(_hides(part) for part in _parts(function)):
        raise InputError(
            f"The transform {text} does not show its parameters, so that nothing would name it in "
            "the cache: give it a name, Transform(function, name='my-transform'), and another one "
            "when you change it."
        )
    return text


def _parts(function: Any) -> Iterable[Any]:
    """Yield a transform and those that it is made of, as torchvision and timm nest them."""
    yield function
    for part in getattr(function, "transforms", None) or ():
        yield from _parts(part)
    children = getattr(function, "children", None)
    for part in children() if callable(children) else ():
        yield from _parts(part)


def _hides(part: Any) -> bool:
    names = [name for name in getattr(part, "__dict__", {}) if not name.startswith("_")]
    public = [name for name in names if name not in ("training", "transforms")]
    return bool(public) and not any(f"{name}=" in repr(part) for name in public)
