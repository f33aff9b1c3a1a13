"""Kind `table`: one row an image, in CSV, TSV or Parquet."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from frostline.cache import InputError, Manifest
from frostline.cache.tables.labels import split_name
from frostline.cache.workspace import is_url
from frostline.extract.readers.reading import (
    REQUIRED,
    OtherKindError,
    Reading,
    find_in_roots,
    image_id,
)
from frostline.extract.readers.table_file import TableFile

OPTIONS: dict[str, Any] = {
    "table": REQUIRED,
    "image_column": None,
    "image": None,
    "label_column": REQUIRED,
    "group_column": None,
    "split_column": None,
    "frame_column": None,
    "window": None,
}


def read(roots: list[Path], options: Mapping[str, Any], previous: Manifest | None) -> Reading:
    """Read a table of images.

    Where the images are is said by `image_column` (paths relative to a root) or by `image`,
    a pattern such as `images/{image_id}.jpg` that is filled from the columns of each row. Pages
    of a file, counted from 0, are given by `frame_column`.

    Raises
    ------
    InputError
        Naming table and row: a column, file, label or group that is not there, a split that is
        not known, a file named twice or outside of the roots.
    """
    source = TableFile.read(options["table"], roots)
    files = [
        find_in_roots(roots, path, source.where(position))
        for position, path in enumerate(_paths(source, options))
    ]
    frames = _frames(source, options["frame_column"])
    _check_once(source, list(zip(files, frames, strict=True)))
    _check_case(source, roots, files)
    own = pd.DataFrame(
        {
            "image_id": [image_id(*file, frame) for file, frame in zip(files, frames, strict=True)],
            "path": [path for _, path in files],
            "root": [root for root, _ in files],
            "frame": frames,
            "label": source.column(options["label_column"], "label"),
            "group_id": _groups(source, options["group_column"]),
            "split": _splits(source, options["split_column"]),
        }
    )
    used = {
        "label": options["label_column"],
        "group_id": options["group_column"],
        "split": options["split_column"],
        "path": options["image_column"],
        "frame": options["frame_column"],
    }
    return Reading(pd.concat([own, source.extra_columns(used)], axis=1))


def _paths(source: TableFile, options: Mapping[str, Any]) -> list[str]:
    column, pattern = options["image_column"], options["image"]
    if (column is None) == (pattern is None):
        raise OtherKindError(
            "Kind table needs either --image-column (a column of paths) or --image (a pattern "
            "such as 'images/{name}.jpg')."
        )
    if column is not None:
        return source.column(column, "image")
    return source.filled(pattern, "image")


def _groups(source: TableFile, column: str | None) -> list[str] | None:
    return None if column is None else source.column(column, "group")


def _splits(source: TableFile, column: str | None) -> list[str | None] | None:
    if column is None:
        return None
    parts: list[str | None] = []
    for position, text in enumerate(source.optional(column, "split")):
        part = None if text is None else split_name(text)
        if text is not None and part is None:
            raise InputError(
                f"{source.where(position)}: {text!r} in column {column!r} is not a split; "
                "a split is train, val or test."
            )
        parts.append(part)
    return parts


def _frames(source: TableFile, column: str | None) -> list[int | None]:
    if column is None:
        return [None] * len(source)
    frames: list[int | None] = []
    for position, text in enumerate(source.optional(column, "frame")):
        if text is not None and not text.isdecimal():
            raise InputError(
                f"{source.where(position)}: {text!r} in column {column!r} is not a page's number."
            )
        frames.append(None if text is None else int(text))
    return frames


def _check_once(source: TableFile, images: list[tuple[tuple[int, str], int | None]]) -> None:
    first: dict[tuple[tuple[int, str], int | None], int] = {}
    for position, image in enumerate(images):
        if first.setdefault(image, position) != position:
            raise InputError(
                f"{source.where(position)}: {image[0][1]} is also in row {first[image] + 2}; "
                "name each image once."
            )


def _check_case(source: TableFile, roots: list[Path], files: list[tuple[int, str]]) -> None:
    """Refuse a file in two spellings, which Windows and macOS take for one."""
    first: dict[tuple[int, str], int] = {}
    for position, (root, path) in enumerate(files):
        before = first.setdefault((root, path.casefold()), position)
        other = files[before][1]
        if path == other or is_url(roots[root]):
            continue
        if (roots[root] / path).samefile(roots[root] / other):
            raise InputError(
                f"{source.where(position)}: {path} is the file {other} of row {before + 2}; "
                "write each file's name in one way."
            )
