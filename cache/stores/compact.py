"""Merging the parts of a store into one, while others read and write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from frostline.cache.atomic import atomic_write, clear_temporary, flush_to_disk
from frostline.cache.errors import InputError
from frostline.cache.keys import KEY_BYTES
from frostline.cache.locks import lock_file
from frostline.cache.stores.headers import NAME as HEADERS
from frostline.cache.stores.part import (
    SECONDS,
    block_digest,
    header_digest,
    new_part_name,
    part_attributes,
    read_part,
    rows_in_block,
    set_attributes,
)
from frostline.cache.stores.store import Store

LOCK = "lock"


def compact_store(folder: Path, keep: np.ndarray | None = None) -> tuple[int, int]:
    """Write the rows of all parts of a store into one new part, then delete the old ones.

    Safe at any moment: the new part appears whole before any old one goes, and a key in two parts
    is legal, so a kill leaves every row readable. Readers that opened the store before find the
    rows in the new part; parts that others write meanwhile stay as they are. Every digest is
    checked on the way, and again in the new part.

    Parameters
    ----------
    folder : Path
        Of the store.
    keep : numpy.ndarray, uint8 [m, 16], optional
        Drop all rows but those of these keys; without any of them the store is deleted.

    Returns
    -------
    (int, int)
        How many parts there were, and how many rows went.

    Raises
    ------
    InputError
        If a part is damaged (nothing is changed), or another process is compacting.
    """
    with locked(folder):
        clear_temporary(folder)
        store = Store.open(folder)
        rows = store.distinct_rows()
        if keep is not None:
            wanted = store.locate(keep)
            rows = np.unique(wanted[wanted >= 0])
        dropped = len(store) - len(rows)
        old = [part.path for part in store.parts]
        if len(old) == 1 and len(rows) == len(store.keys):
            return 1, 0
        if len(rows):
            merged = write_rows(store, rows)
            read_part(merged).check_all()
        for path in old:
            path.unlink(missing_ok=True)
        (folder / HEADERS).unlink(missing_ok=True)
        flush_to_disk(folder)
    if not len(rows):
        _remove_if_empty(folder)
    return len(old), dropped


def write_rows(store: Store, rows: np.ndarray) -> Path:
    """Write rows as one new part, a block at a time: the store may be larger than memory."""
    known = {} if store.seconds is None else {SECONDS: round(store.seconds, 3)}
    provenance = {**store.provenance, **known}
    path = new_part_name(store.folder)
    block_rows = rows_in_block(int(np.prod(store.shape)) * store.dtype.itemsize)
    attributes = part_attributes(store.parts[0].format, store.spec, provenance, block_rows)
    keys = store.keys[rows]
    shape = (len(rows), *store.shape)
    digests = np.empty((-(-len(rows) // block_rows), KEY_BYTES), np.uint8)
    with atomic_write(path) as temporary:
        # HDF5's own lock would meet the one that says that the file's writer lives.
        with h5py.File(temporary, "w", libver=("v108", "v108"), locking=False) as file:
            values = file.create_dataset("values", shape, store.dtype)
            for number, start in enumerate(range(0, len(rows), block_rows)):
                mine = slice(start, start + block_rows)
                block = store.read(rows[mine])
                values[mine] = block
                digest = block_digest(block, keys[mine])
                digests[number] = np.frombuffer(digest, np.uint8)
            file["content_key"], file["block_digest"] = keys, digests
            header = header_digest(attributes, shape, store.dtype, digests.tobytes())
            set_attributes(file, {**attributes, "header_digest": header})
        read_part(temporary)
    return path


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep away others that take rows out of a store; the lock ends with the process."""
    if not folder.is_dir():
        raise InputError(f"There is no store in {folder}: run `frostline extract` first.")
    with lock_file(folder / LOCK) as mine:
        if not mine:
            raise InputError(f"Another process is compacting {folder}: wait for it, and try again.")
        yield


def _remove_if_empty(folder: Path) -> None:
    if {path.name for path in folder.iterdir()} <= {LOCK}:
        (folder / LOCK).unlink(missing_ok=True)
        folder.rmdir()
