"""Pixel keys: which images show the same, whatever their bytes.

The key of an image is the digest of its brightness, as it is decoded; an image of one brightness
everywhere has none, for blank images of two patients say nothing. Only what may have an equal is
decoded: image files that share their size with another file, and every frame of a volume, of an
archive and of DICOM. JPEG files are decoded at an eighth of their size, but for those that share
it with files of other formats.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

from frostline.cache import InputError, Manifest
from frostline.cache.keys import KEY_BYTES
from frostline.cache.locks import own_cores
from frostline.extract.files import Progress
from frostline.extract.images.decode import (
    IMAGE_SUFFIXES,
    UNREADABLE,
    decode_file,
    read_image,
    why_unreadable,
)
from frostline.extract.images.geometry import Geometry
from frostline.extract.images.opened import open_image

CONTAINERS = ("NIfTI", "NPZ", "DICOM")
FRAME_SIDE = 256  # pixels a side to which frames are brought before they are compared
UNDECODED = b""
SAMPLE = 20  # images of more than 8 bits, whose grey levels are looked at
DEEP = ("I;16", "I;16B", "I;16L", "I;16N", "I", "uint16", "int16", "uint32", "int32")
HEADER = ["width", "height", "mode", "format"]


class Task(NamedTuple):
    """A file to decode, its digest, the frames of it, and whether a JPEG is decoded whole."""

    path: Path
    file_key: bytes
    frames: Sequence[int | None]
    whole: bool


def add_pixel_keys(
    table: pd.DataFrame,
    roots: Sequence[Path],
    options: Mapping[str, Any],
    previous: Manifest | None = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Add `pixel_key` (bytes, or None) to a table with the facts of its files.

    Parameters
    ----------
    options
        `window` and `spacing` of the data set, where it has them.
    previous
        Images whose content it has are not decoded again.
    progress
        Called with the number of files done and their total.

    Returns
    -------
    The table. The header of a file that turns out to be damaged behind it is missing, as of any
    file that cannot be read.
    """
    table = table.reset_index(drop=True)
    keys: dict[tuple[bytes, bool], bytes | None] = _known(previous, options)
    contents, whole = list(map(bytes, table["content_key"])), _whole(table)
    wanted = [
        (row, (contents[row], whole[row])) for row in np.flatnonzero(_comparable(table)).tolist()
    ]
    tasks = _tasks(table, roots, [item for item in wanted if item[1] not in keys], whole)
    damaged: list[int] = []
    for rows, found in _decode_all(tasks, Geometry().with_options(options), progress):
        damaged += rows if found is None else []
        for row, key in zip(rows, found or [], strict=False):
            keys[contents[row], whole[row]] = contents[row] if key == UNDECODED else key
    pixel_keys: list[bytes | None] = [None] * len(table)
    for row, name in wanted:
        pixel_keys[row] = keys.get(name)
    table = table.assign(pixel_key=pd.Series(pixel_keys, dtype=object))
    table.loc[table["file_key"].isin(table["file_key"].iloc[damaged]), HEADER] = pd.NA
    return table


def undecoded(table: pd.DataFrame) -> pd.Series:
    """Say which rows are whole, but could not be decoded with the data set's options."""
    return table["mode"].notna() & (table["pixel_key"] == table["content_key"]).fillna(False)


def grey_levels(
    table: pd.DataFrame, roots: Sequence[Path], options: Mapping[str, Any]
) -> dict[str, dict[str, int]]:
    """Find how bright images of more than 8 bits become, from a few of them.

    Returns
    -------
    For the notes of a manifest: `grey_levels`, with `highest`, the greatest of 0 to 255 in any of
    them, and how many `images` were looked at; nothing where there are none, or a window says what
    becomes of them.
    """
    deep = table["mode"].isin(DEEP) & table["pixel_key"].ne(table["content_key"])
    rows = table[deep.fillna(False).astype(bool)]
    if options.get("window") is not None or not len(rows):
        return {}
    rows = rows.iloc[np.linspace(0, len(rows) - 1, min(SAMPLE, len(rows))).astype(int)]
    square = Geometry("squash", FRAME_SIDE, FRAME_SIDE)
    highest = 0
    for root, path, frame in zip(rows["root"], rows["path"], rows["frame"], strict=True):
        number = None if pd.isna(frame) else int(frame)
        (pixels,) = decode_file(roots[root] / path, [number], square, "grey")
        highest = max(highest, int(pixels.max()))
    return {"grey_levels": {"highest": highest, "images": len(rows)}}


def blank(table: pd.DataFrame) -> pd.Series:
    """Say which rows are of one brightness everywhere: compared, and with nothing to compare."""
    missing = table["pixel_key"].isna()
    return _comparable(table) & missing & (not missing.all())


def _framed(table: pd.DataFrame) -> pd.Series:
    return table["format"].isin(CONTAINERS).fillna(False).astype(bool) | table["frame"].notna()


def _sizes(table: pd.DataFrame) -> pd.Series:
    return table["width"].astype("string") + "x" + table["height"].astype("string")


def _comparable(table: pd.DataFrame) -> pd.Series:
    """Say which rows may have an equal: frames, and images as large as another file's."""
    files = table["root"].astype(str) + "/" + table["path"].astype(str)
    shared = files.groupby(_sizes(table)).transform("nunique") > 1
    return (table["mode"].notna() & (_framed(table) | shared.fillna(False))).astype(bool)


def _whole(table: pd.DataFrame) -> list[bool]:
    """Say which rows are decoded whole: all but JPEG files of a size that no other format has."""
    jpeg = table["format"].isin(["JPEG", "MPO"]).fillna(False).astype(bool)
    only_jpeg = jpeg.groupby(_sizes(table)).transform("all").fillna(False).astype(bool)
    return (~only_jpeg | _framed(table)).tolist()


def _known(
    previous: Manifest | None, options: Mapping[str, Any]
) -> dict[tuple[bytes, bool], bytes | None]:
    """Give the keys of an earlier manifest that was read in the same way."""
    if previous is None or "pixel_key" not in previous.table:
        return {}
    earlier = previous.meta.get("options", {})
    if any(earlier.get(name) != options.get(name) for name in ("window", "spacing")):
        return {}
    table = previous.table
    known = zip(
        table["content_key"], _whole(table), table["pixel_key"], _comparable(table), strict=True
    )
    return {
        (bytes(content), deep): None if key is None or pd.isna(key) else bytes(key)
        for content, deep, key, compared in known
        if compared and bytes(content) != key  # what could not be decoded is tried again
    }


def _tasks(
    table: pd.DataFrame,
    roots: Sequence[Path],
    wanted: Iterable[tuple[int, tuple[bytes, bool]]],
    whole: Sequence[bool],
) -> list[tuple[list[int], Task]]:
    """Give what is to be decoded, each content once: a file's rows and its frames, rising."""
    rows_of: dict[tuple[int, str], list[int]] = {}
    files = list(zip(table["root"], table["path"], strict=True))
    for row in {name: row for row, name in reversed(list(wanted))}.values():
        rows_of.setdefault(files[row], []).append(row)
    frame = [None if pd.isna(number) else int(number) for number in table["frame"]]
    keys, tasks = list(table["file_key"]), []
    for (root, path), rows in sorted(rows_of.items()):
        rows.sort(key=lambda row: frame[row] or 0)
        frames = [frame[row] for row in rows]
        tasks.append((rows, Task(roots[root] / path, bytes(keys[rows[0]]), frames, whole[rows[0]])))
    return tasks


def _decode_all(
    tasks: Sequence[tuple[list[int], Task]], geometry: Geometry, progress: Progress | None
) -> Iterator[tuple[list[int], list[bytes | None] | None]]:
    pool = ThreadPoolExecutor(max_workers=max(2, own_cores()))
    try:
        found = pool.map(lambda task: _keys_of(task[1], geometry), tasks)
        for done, ((rows, _), keys) in enumerate(zip(tasks, found, strict=True), 1):
            yield rows, keys
            if progress is not None:
                progress(done, len(tasks))
    finally:
        pool.shutdown(cancel_futures=True)


def _keys_of(task: Task, geometry: Geometry) -> list[bytes | None] | None:
    """Decode one file; None if it is damaged."""
    try:
        if task.frames != [None] or not task.path.name.lower().endswith(IMAGE_SUFFIXES):
            return _frame_keys(task, geometry)
        if task.whole:
            image = read_image(task.path, None, geometry.window, file_key=task.file_key)
            return [_key(np.asarray(image.convert("L")))]
        return [_key(_eighth(task))]
    except InputError:
        # What lacks a window alone is whole; its bytes stand for the pixels that it will have.
        return None if why_unreadable(task.path) else [UNDECODED] * len(task.frames)


def _frame_keys(task: Task, geometry: Geometry) -> list[bytes | None]:
    square = Geometry("squash", FRAME_SIDE, FRAME_SIDE).with_options(
        {"window": geometry.window, "spacing": geometry.spacing}
    )
    found = decode_file(task.path, task.frames, square, "grey", file_key=task.file_key)
    return [_key(pixels) for pixels in found]


def _eighth(task: Task) -> np.ndarray:
    try:
        with open_image(task.path) as opened:
            opened.check_key(task.file_key)
            with Image.open(opened.file) as image:
                image.draft("L", (1, 1))
                image.load()
                return np.asarray(image.convert("L"))
    except InputError:
        raise
    except UNREADABLE as error:
        raise InputError(f"Cannot read image {task.path}: {error}.") from error


def _key(pixels: np.ndarray) -> bytes | None:
    """Digest brightness and size; None where it is the same everywhere."""
    if (pixels == pixels.flat[0]).all():
        return None
    digest = hashlib.blake2b(repr(pixels.shape).encode(), digest_size=KEY_BYTES)
    digest.update(pixels.tobytes())
    return digest.digest()
