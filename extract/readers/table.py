"""Kind ``table``: one row an image, in CSV, TSV or Parquet."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from frostline.cache import InputError, Manifest
from frostline.extract.readers.reading import (
    REQUIRED,
    Reading,
    find_in_roots,
    image_id,
    part_name,
)
from frostline.extract.readers.table_file import TableFile

OPTIONS: dict[str, Any] = {
    "table": REQUIRED,
    "image_column": None,
    "image": None,
    "label_column": REQUIRED,
    "group_column": None,
    "split_column": None,
    "window": None,
}


def read(roots: list[Path], options: Mapping[str, Any], previous: Manifest | None) -> Reading:
    """Read a table of images.

    Where the images are is said by ``image_column`` (paths relative to a root) or by ``image``,
    a pattern such as ``images/{image_id}.jpg`` that is filled from the columns of each row.

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
    _check_once(source, files)
    own = pd.DataFrame(
        {
            "image_id": [image_id(*file) for file in files],
            "path": [path for _, path in files],
            "root": [root for root, _ in files],
            "frame": None,
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
    }
    return Reading(pd.concat([own, source.extra_columns(used)], axis=1))


def _paths(source: TableFile, options: Mapping[str, Any]) -> list[str]:
    column, pattern = options["image_column"], options["image"]
    if (column is None) == (pattern is None):
        raise InputError(
            "kind table needs either the option image_column (a column of paths) or image "
            "(a pattern such as 'images/{name}.jpg')"
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
        part = None if text is None else part_name(text)
        if text is not None and part is None:
            raise InputError(
                f"{source.where(position)}: {text!r} in column {column!r} is not a split; "
                "a split is train, val or test"
            )
        parts.append(part)
    return parts


def _check_once(source: TableFile, files: list[tuple[int, str]]) -> None:
    first: dict[tuple[int, str], int] = {}
    for position, file in enumerate(files):
        if first.setdefault(file, position) != position:
            raise InputError(
                f"{source.where(position)}: {file[1]} is also in row {first[file] + 2}; "
                "name each image once"
            )
