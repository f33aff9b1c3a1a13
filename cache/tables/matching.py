"""Find the images of a data set that other tools name in their way."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from frostline.cache.errors import InputError

# An ending begins with a letter: the one of `scan.5` is none.
ENDING = re.compile(r"\.nii\.gz$|\.[A-Za-z][A-Za-z0-9]{0,4}$")


@dataclass(frozen=True)
class Matched:
    """Which images the rows of a file are of.

    Attributes
    ----------
    ids : Series of str [n]
        The `image_id` in the data set; null for rows of no image of it.
    how : str
        By what they were found, where it is not the `image_id`, for the output; else "".
    """

    ids: pd.Series
    how: str


def _file_name(image: str) -> str:
    """Leave out folders; what stands behind `#`, a slice, stays."""
    path, mark, frame = image.partition("#")
    return re.split(r"[/\\]", path)[-1] + mark + frame


def _stem(image: str) -> str:
    path, mark, frame = _file_name(image).partition("#")
    return ENDING.sub("", path) + mark + frame


WAYS: dict[str, Callable[[str], str]] = {
    "": str,
    "paths with slashes for backslashes": lambda image: image.replace("\\", "/"),
    "file names": _file_name,
    "file names without their endings": _stem,
}


def match_images(theirs: pd.Series, ours: Iterable[str], path: Path | str, dataset: str) -> Matched:
    r"""Find the images that a file names: by `image_id`, else by file name, else by its stem.

    An `image_id` may have `\` for `/`. The first of these ways in which any row is of an
    image of the data set is that of all rows.

    Parameters
    ----------
    theirs : Series of str [n]
        What a file calls its images.
    ours : iterable of str
        Every `image_id` of the data set.
    path, dataset
        Their names, for sentences.

    Raises
    ------
    InputError
        If no row is of an image of the data set, a name is that of several, or two rows are of one.
    """
    known = list(ours)
    for how, key in WAYS.items():
        images: dict[str, list[str]] = {}
        for image in known:
            images.setdefault(key(image), []).append(image)
        keys = theirs.map(key)
        found = keys[keys.isin(images)]
        if found.empty:
            continue
        for name in found:
            if len(images[name]) > 1:
                raise InputError(
                    f"{path}: {name!r} may be {images[name][0]!r} or {images[name][1]!r} of data "
                    f"set {dataset!r}; name images by their image_id."
                )
        twice = found[found.duplicated()]
        if len(twice):
            raise InputError(
                f"{path}: image {images[twice.iloc[0]][0]!r} of data set {dataset!r} occurs twice; "
                "keep one row an image."
            )
        ids = keys.map(lambda name, images=images: images[name][0] if name in images else None)
        return Matched(ids.astype("string"), how)
    raise InputError(
        f"No image_id of {path} is in data set {dataset!r}: the file says {theirs.iloc[0]!r}, "
        f"for instance, and the data set {known[0]!r}."
    )
