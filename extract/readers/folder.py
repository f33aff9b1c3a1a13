"""Kind `folder`: one folder a class, optionally inside train, val and test folders."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from frostline.cache import InputError, Manifest
from frostline.cache.tables.labels import split_name
from frostline.extract.images.decode import IMAGE_SUFFIXES
from frostline.extract.readers.left_out import LeftOut
from frostline.extract.readers.reading import (
    OtherKindError,
    Reading,
    check_classes,
    files_under,
    image_id,
)

OPTIONS: dict[str, Any] = {"label_folder": "first", "window": None}

Row = tuple[Path, str | None, str]  # file, split, label


def read(roots: list[Path], options: Mapping[str, Any], previous: Manifest | None) -> Reading:
    """Read class folders.

    The label is the name of the first folder on the way to an image, which may lie in further
    folders inside of it (with `label_folder: last`, of the last folder: classes inside of
    patients or sites). Where a root holds folders called train, val (valid, validation) or test,
    in any case, the class folders are in those.

    Raises
    ------
    InputError
        If there is no image or only one class, an image lies in no class folder, or split folders
        lie next to others that hold images.
    """
    if options["label_folder"] not in ("first", "last"):
        raise InputError(
            f"The option label_folder must be first or last, not {options['label_folder']!r}."
        )
    place = 0 if options["label_folder"] == "first" else -1
    rows = []
    left_out = LeftOut()
    for number, root in enumerate(roots):
        for path, split, label in _root_rows(root, left_out, place):
            relative = path.relative_to(root).as_posix()
            rows.append(
                {
                    "image_id": image_id(number, relative),
                    "path": relative,
                    "root": number,
                    "frame": None,
                    "label": label,
                    "group_id": None,
                    "split": split,
                }
            )
    if not rows:
        raise OtherKindError(
            f"There is no image under {', '.join(map(str, roots))}: make one folder for each "
            f"class, with files that end in {', '.join(IMAGE_SUFFIXES)}."
            + (f" Left out: {left_out}." if left_out.total() else "")
        )
    table = pd.DataFrame(rows)
    check_classes(table, roots)
    return Reading(table, left_out)


def _root_rows(root: Path, left_out: LeftOut, place: int) -> Iterator[Row]:
    images = []
    for path in files_under(root, left_out):
        if path.suffix.lower() in IMAGE_SUFFIXES:
            images.append(path)
        else:
            left_out.add_suffix(path.relative_to(root).as_posix())
    in_parts = any(split_name(path.relative_to(root).parts[0]) for path in images)
    for path in images:
        yield _row(root, path, in_parts, place)


def _row(root: Path, path: Path, in_parts: bool, place: int) -> Row:
    folders = path.relative_to(root).parts[:-1]
    split = None
    if in_parts:
        split = split_name(folders[0]) if folders else None
        if split is None:
            raise InputError(
                f"{path} lies outside of the train, val and test folders of {root}; "
                "move it, or give another root."
            )
        folders = folders[1:]
    if not folders:
        raise OtherKindError(
            f"{path} is in no class folder: put it into a folder named as its label."
        )
    return path, split, folders[place]
