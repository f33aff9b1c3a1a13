"""Check every part of a store, and set aside what is damaged or wrong."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path

import numpy as np

from frostline.cache.atomic import flush_to_disk
from frostline.cache.errors import InputError
from frostline.cache.stamped import NewerFormatError
from frostline.cache.stores.compact import locked, write_rows
from frostline.cache.stores.part import Part, damaged_part, read_part
from frostline.cache.stores.store import Store, part_files

ASIDE = "damaged-"


def verify_store(folder: Path, *, repair: bool = False) -> list[InputError]:
    """Check header and blocks of every part; give the error of each part that fails.

    Parameters
    ----------
    repair : bool
        Rename damaged parts to `damaged-…`, so that the next extraction computes their rows. Parts
        of a newer format are left where they are.
    """
    found: list[InputError] = []
    first: Part | None = None
    for path in part_files(folder):
        try:
            part = _check(path, folder, first)
            first = first or part
        except FileNotFoundError:
            continue  # compacted meanwhile: its rows are in a newer part
        except InputError as error:
            found.append(error)
            if repair and not isinstance(error, NewerFormatError):
                _set_aside(path)
    return found


def drop_rows(folder: Path, keys: Set[bytes]) -> int:
    """Take the rows of some keys out of a store, and give their number.

    What else is in a part that has any is written as a new part before the old one is set aside:
    a kill leaves every other row readable.

    Raises
    ------
    InputError
        If a part is damaged, or another process is compacting.
    """
    dropped = 0
    with locked(folder):
        for path in part_files(folder):
            part = Store(folder, [read_part(path)])
            wrong = np.array([key.tobytes() in keys for key in part.keys], bool)
            if wrong.any():
                if not wrong.all():
                    write_rows(part, np.flatnonzero(~wrong))
                _set_aside(path)
                dropped += int(wrong.sum())
    return dropped


def _set_aside(path: Path) -> None:
    path.rename(path.with_name(f"{ASIDE}{path.name}"))
    flush_to_disk(path.parent)


def _check(path: Path, folder: Path, first: Part | None) -> Part:
    part = read_part(path)
    if part.key != folder.name:
        raise damaged_part(path, f"it belongs to store {part.key}")
    part.check_all()
    if first is not None and part.kind_of_rows() != first.kind_of_rows():
        raise damaged_part(path, "its rows are of another shape or type")
    return part
