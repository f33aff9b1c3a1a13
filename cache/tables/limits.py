"""Refuse files that are small on disk and enormous when unpacked, before they are."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from frostline.cache.errors import InputError

if TYPE_CHECKING:
    import pyarrow.parquet as pq

# What any file may unpack to, and how often its own size: real tables shrink to a tenth or so.
FREE_BYTES, MOST_TIMES = 2**30, 100
VALUE_BYTES = 8  # of a number in memory


def check_unpacked(path: Path, size: int) -> None:
    """Refuse a file that would take this many bytes in memory, if its own size does not bear it.

    Raises
    ------
    InputError
        Saying both sizes.
    """
    on_disk = path.stat().st_size
    if size > FREE_BYTES + MOST_TIMES * on_disk:
        raise InputError(
            f"{path} has {on_disk / 1e6:,.1f} MB and would unpack to {size / 1e9:,.1f} GB, which "
            "no table of measurements does: ask who made it, or write what is needed of it to a "
            "new file."
        )


def check_zip(path: Path) -> None:
    """Refuse a zip file (`.npz`, `.xlsx`) that unpacks to more than it may.

    Raises
    ------
    InputError
        As of `check_unpacked`.
    zipfile.BadZipFile
        If it is none.
    """
    with zipfile.ZipFile(path) as file:
        check_unpacked(path, sum(member.file_size for member in file.infolist()))


def check_parquet(path: Path, facts: pq.FileMetaData) -> None:
    """Refuse a Parquet file whose columns would take more memory than they may.

    Raises
    ------
    InputError
        As of `check_unpacked`.
    """
    groups = [facts.row_group(place) for place in range(facts.num_row_groups)]
    chunks = [group.column(place) for group in groups for place in range(group.num_columns)]
    values = sum(chunk.num_values for chunk in chunks)
    written = sum(chunk.total_uncompressed_size for chunk in chunks)
    check_unpacked(path, max(written, VALUE_BYTES * values))
