"""What every reader gives, and the words that readers share."""

from __future__ import annotations

import os.path
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from frostline.cache import InputError

REQUIRED: Any = object()  # an option that must be given

PART_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}


@dataclass(frozen=True)
class Reading:
    """What a reader found.

    Attributes
    ----------
    table : DataFrame
        ``image_id``, ``path`` (relative to its root, with ``/``), ``root`` (number of the root),
        ``frame``, ``label``, ``group_id``, ``split`` (the last four may hold None), then
        columns of the user.
    notes : dict
        What was left out and how often, kept in the manifest's ``notes``.
    """

    table: pd.DataFrame
    notes: dict[str, Any] = field(default_factory=dict)


def part_name(text: str) -> str | None:
    """Recognise train, val or test, in any of their usual spellings; None if it is neither."""
    return PART_NAMES.get(text.strip().lower())


def image_id(root: int, path: str, frame: int | None = None) -> str:
    """Name an image: relative path, ``#z=37`` for a slice, ``1:`` first in a further root.

    Raises
    ------
    InputError
        If the path is not valid UTF-8, which a manifest cannot hold.
    """
    try:
        path.encode()
    except UnicodeEncodeError:
        raise InputError(f"the name of {path!r} is not valid UTF-8; rename the file") from None
    prefix = f"{root}:" if root else ""
    return prefix + path + ("" if frame is None else f"#z={frame}")


def walk(folder: Path, ignored: Counter[str]) -> Iterator[Path]:
    """Yield the files under a folder, sorted; hidden ones are left out and counted."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name == "__MACOSX":
            ignored["hidden"] += 1
        elif path.is_dir():
            yield from walk(path, ignored)
        else:
            yield path


def find_in_roots(roots: list[Path], path: str, where: str) -> tuple[int, str]:
    """Find a file of a table: the number of its root, and its path relative to that.

    Raises
    ------
    InputError
        If it is in no root, or outside of them all. ``where`` says who names the file.
    """
    for number, root in enumerate(roots):
        relative = os.path.relpath(os.path.normpath(root / path), root)
        inside = relative != "." and relative.split(os.sep)[0] != ".."
        if inside and (root / relative).is_file():
            return number, relative.replace(os.sep, "/")
    places = " or ".join(str(root) for root in roots)
    absolute_or_leaving = os.path.isabs(path) or ".." in Path(path).parts
    if absolute_or_leaving and (roots[0] / path).exists():
        raise InputError(f"{where}: {path} lies outside of {places}; give a root that contains it")
    raise InputError(f"{where}: there is no file {path} under {places}")
