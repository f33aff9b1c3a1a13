"""Files of a manifest: their digests and headers, read once and again only when they change."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from frostline.cache import InputError, Manifest, content_key
from frostline.cache.locks import own_cores
from frostline.cache.workspace import is_url
from frostline.extract.images.decode import Facts, image_facts
from frostline.extract.images.opened import file_state, open_image

Progress = Callable[[int, int], None]
# Files that are asked of a bucket at once: each waits for an answer most of the time.
REMOTE_READS = 32


class FileFacts(NamedTuple):
    """What is known of one file; `header` is None if it cannot be read as an image."""

    file_key: bytes
    file_size: int
    file_mtime_ns: int
    header: Facts | None


def add_file_facts(
    table: pd.DataFrame,
    roots: Sequence[Path],
    previous: Manifest | None = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Add digests, size, time and header of every row's file.

    Parameters
    ----------
    table
        With `path`, `root`, `frame`.
    previous
        Files with the size and time that they have in this manifest are not opened.
    progress
        Called with the number of files done and their total.

    Returns
    -------
    The table with `file_key`, `content_key` (bytes), `file_size`, `file_mtime_ns`,
    `width`, `height`, `mode`, `format` (missing where a file cannot be read).
    """
    paths = [roots[root] / path for root, path in zip(table["root"], table["path"], strict=True)]
    pages = {path for path, frame in zip(paths, table["frame"], strict=True) if pd.notna(frame)}
    facts = _facts_of_all(list(dict.fromkeys(paths)), pages, _known(previous), progress)
    rows = [facts[path] for path in paths]
    headers = [row.header or Facts(None, None, None, None) for row in rows]  # type: ignore[arg-type]
    return table.assign(
        file_key=[row.file_key for row in rows],
        content_key=[
            content_key(row.file_key, None if pd.isna(frame) else int(frame))
            for row, frame in zip(rows, table["frame"], strict=True)
        ],
        file_size=[row.file_size for row in rows],
        file_mtime_ns=[row.file_mtime_ns for row in rows],
        width=pd.array([header.width for header in headers], dtype="Int32"),
        height=pd.array([header.height for header in headers], dtype="Int32"),
        mode=pd.array([header.mode for header in headers], dtype="string"),
        format=pd.array([header.format for header in headers], dtype="string"),
    )


def read_file_facts(path: Path, pages: bool = False) -> FileFacts:
    """Read one file: its digest, then its header and whether it decodes.

    `pages` says that one of several pages is meant, not the whole file.

    Raises
    ------
    InputError
        If the file is gone or may not be read.
    """
    try:
        with open_image(path) as opened:
            key, state = opened.key(), opened.state
            return FileFacts(key, state.size, state.mtime_ns, image_facts(opened, pages))
    except OSError as error:
        raise InputError(
            f"Cannot read {path}: {error.strerror}. Mend or remove it, and index again."
        ) from error


def _facts_of_all(
    paths: list[Path],
    pages: Collection[Path],
    known: dict[str, FileFacts],
    progress: Progress | None,
) -> dict[Path, FileFacts]:
    facts = {}
    changed = []
    for path in paths:
        earlier = known.get(_with_slashes(path))
        if earlier is not None and _unchanged(path, earlier):
            facts[path] = earlier
        else:
            changed.append(path)
    for path, found in zip(changed, _read_all(changed, pages), strict=True):
        facts[path] = found
        if progress is not None:
            progress(len(facts), len(paths))
    return facts


def _read_all(paths: list[Path], pages: Collection[Path]) -> Iterator[FileFacts]:
    # Threads suffice: reading, hashing and decoding all happen outside of Python's lock.
    workers = REMOTE_READS if any(map(is_url, paths[:1])) else own_cores()
    pool = ThreadPoolExecutor(max_workers=max(2, workers))
    try:
        yield from pool.map(read_file_facts, paths, [path in pages for path in paths])
    finally:
        pool.shutdown(cancel_futures=True)


def _unchanged(path: Path, earlier: FileFacts) -> bool:
    try:
        state = file_state(path)
    except OSError as error:
        raise InputError(
            f"Cannot read {path}: {error.strerror}. Mend or remove it, and index again."
        ) from error
    known = earlier.file_size, earlier.file_mtime_ns
    return state.mtime_ns != 0 and (state.size, state.mtime_ns) == known


def _known(previous: Manifest | None) -> dict[str, FileFacts]:
    if previous is None:
        return {}
    roots = previous.meta["roots"]
    columns = ["root", "path", *FileFacts._fields[:3], *Facts._fields]
    known = {}
    # A file that could not be read is tried again: it may be read in another way now.
    for root, path, key, size, mtime, *header in previous.table[columns].itertuples(index=False):
        if not pd.isna(header[2]):
            found = FileFacts(bytes(key), int(size), int(mtime), Facts(*header))
            known[_with_slashes(f"{roots[root]}/{path}")] = found
    return known


def _with_slashes(path: Path | str) -> str:
    """Write a file as manifests do, whose paths have slashes on Windows, too."""
    return str(path).replace(os.sep, "/")
