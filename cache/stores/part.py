"""One immutable HDF5 file of a store (docs/format.md, 'Store')."""

from __future__ import annotations

import errno
import json
import math
import os
import secrets
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np
import xxhash

from frostline.cache import stamped
from frostline.cache.atomic import atomic_write
from frostline.cache.errors import InputError
from frostline.cache.keys import KEY_BYTES, canonical_json, spec_key
from frostline.cache.stamped import DIGEST, check_stamp, reading

PIXELS = "frostline-pixels"
EMBEDDINGS = "frostline-embeddings"
FORMATS = (PIXELS, EMBEDDINGS)
FORMAT_VERSION = 1
REMEDY = (
    "set it aside with `frostline cache verify --repair` and run `frostline extract` again (for "
    "boundaries `frostline finetune`), which computes only its rows"
)
BLOCK_BYTES = 1 << 20
# More than all of a part but its rows takes.
HEADER_BYTES = 1 << 16
# Where a part's provenance says how long its rows took.
SECONDS = "seconds"
HEADER_DIGEST = "header_digest"
_ATTRIBUTES = ("key", "spec", "provenance", "block_rows")


@dataclass(frozen=True)
class Part:
    """What the header of a part says; its values are mapped from `path` at `offset`."""

    path: Path
    format: str
    key: str
    spec: dict[str, Any]
    provenance: dict[str, Any]
    shape: tuple[int, ...]
    dtype: np.dtype
    offset: int
    block_rows: int
    block_digest: np.ndarray
    keys: np.ndarray

    def __len__(self) -> int:
        return self.shape[0]

    def kind_of_rows(self) -> tuple[str, np.dtype, tuple[int, ...]]:
        """Return what all parts of a store have in common: format, type and shape of a row."""
        return self.format, self.dtype, self.shape[1:]

    def values(self) -> np.ndarray:
        """Map the values into memory, read-only; digests are the caller's to check."""
        if not len(self):
            return np.empty(self.shape, self.dtype)
        return np.memmap(self.path, self.dtype, "r", self.offset, self.shape)

    def block_span(self, block: int) -> tuple[int, int]:
        """Return the first row of a block, and the row after its last."""
        start = block * self.block_rows
        return start, min(start + self.block_rows, len(self))

    def check_block(self, values: np.ndarray, block: int) -> None:
        """Raise InputError if `values`, the rows of block number `block`, do not match its digest.

        The digest covers the keys too.
        """
        start, stop = self.block_span(block)
        if block_digest(values, self.keys[start:stop]) != self.block_digest[block].tobytes():
            raise damaged_part(self.path, f"rows {start} to {stop - 1} changed")

    def check_all(self) -> None:
        """Check every block."""
        values = self.values()
        for block in range(len(self.block_digest)):
            self.check_block(values[slice(*self.block_span(block))], block)


def write_part(
    folder: Path,
    kind: str,
    spec: Mapping[str, Any],
    provenance: Mapping[str, Any],
    keys: np.ndarray,
    values: np.ndarray,
) -> Path:
    """Write rows as one new part of the store in `folder`, whole or not at all.

    Parameters
    ----------
    kind : str
        `frostline-pixels` or `frostline-embeddings`.
    keys : numpy.ndarray, uint8 [n, 16]
    values : numpy.ndarray [n, ...]

    Raises
    ------
    OSError
        If the disk is full or the folder read-only; nothing is left behind.
    """
    values = np.ascontiguousarray(values)
    block_rows = rows_in_block(values[:1].nbytes)
    digests = b"".join(
        block_digest(values[start : start + block_rows], keys[start : start + block_rows])
        for start in range(0, len(values), block_rows)
    )
    attributes = part_attributes(kind, spec, provenance, block_rows)
    small = {
        "content_key": np.ascontiguousarray(keys, np.uint8),
        "block_digest": np.frombuffer(digests, np.uint8).reshape(-1, KEY_BYTES),
    }
    attributes[HEADER_DIGEST] = header_digest(attributes, values.shape, values.dtype, digests)
    path = new_part_name(folder)
    with atomic_write(path) as temporary:
        _need_space(folder, values.nbytes + sum(array.nbytes for array in small.values()))
        offset = _write_header(temporary, attributes, small, values)
        with temporary.open("r+b", buffering=0) as file:
            _write_at(file, offset, values)
    return path


def rows_in_block(row_bytes: int) -> int:
    """Return how many rows make a block."""
    return max(1, BLOCK_BYTES // max(1, row_bytes))


def new_part_name(folder: Path) -> Path:
    """Return a name that no other writer takes."""
    return folder / f"part-{time.time_ns():020d}-{secrets.token_hex(4)}.h5"


def part_attributes(
    kind: str, spec: Mapping[str, Any], provenance: Mapping[str, Any], block_rows: int
) -> dict[str, Any]:
    """Return the attributes of a part without the digest of its header."""
    return {
        "format": kind,
        "format_version": FORMAT_VERSION,
        "key": spec_key(spec),
        "spec": canonical_json(spec),
        "provenance": canonical_json(provenance),
        "block_rows": block_rows,
    }


def _need_space(folder: Path, size: int) -> None:
    # A full disk must not meet the HDF5 library halfway: it cannot always say so, nor close.
    if shutil.disk_usage(folder).free < size + HEADER_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))


def _write_header(
    path: Path, attributes: Mapping[str, Any], small: Mapping[str, np.ndarray], values: np.ndarray
) -> int:
    """Write all of a part but its values; give the offset where these belong."""
    with h5py.File(path, "w", locking=False, libver=("v108", "v108")) as file:
        for name, array in small.items():
            file.create_dataset(name, data=array)
        set_attributes(file, attributes)
        layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        layout.set_layout(h5py.h5d.CONTIGUOUS)
        # Space now, and no zeros: the values are written past the library, from where they are.
        layout.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        layout.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        space = h5py.h5s.create_simple(values.shape)
        kind = h5py.h5t.py_create(values.dtype)
        dataset = h5py.h5d.create(file.id, b"values", kind, space, dcpl=layout)
        return dataset.get_offset() or 0


def _write_at(file: BinaryIO, offset: int, values: np.ndarray) -> None:
    rest = values.data.cast("B") if values.size else memoryview(b"")
    file.seek(offset)
    while rest:
        rest = rest[file.write(rest) :]


def set_attributes(file: h5py.File, attributes: Mapping[str, Any]) -> None:
    """Write attributes, text with a fixed length.

    Such text lies in the object header, which HDF5 checks by itself; text of variable length lies
    in a heap without a check, where a flipped bit can make HDF5 read for ever.
    """
    for name, value in attributes.items():
        if isinstance(value, str):
            data = value.encode()
            file.attrs.create(name, np.bytes_(data), dtype=h5py.string_dtype("utf-8", len(data)))
        else:
            file.attrs[name] = value


def read_part(path: Path) -> Part:
    """Read and check the header of a part; values stay on disk.

    Raises
    ------
    InputError
        If the file is truncated, changed, not a part, or written by a newer release.
    FileNotFoundError
        If it is not there: compacted away, or set aside, since the folder was listed.
    """
    with reading(path, REMEDY):
        file = h5py.h5f.open(os.fsencode(path), h5py.h5f.ACC_RDONLY, _reading_alone())
        try:
            return _read_header(path, file)
        finally:
            file.close()


@cache
def _reading_alone() -> h5py.h5p.PropFAID:
    """Open files without a lock, and close with a file all that was opened in it."""
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_file_locking(False, ignore_when_disabled=False)
    access.set_fclose_degree(h5py.h5f.CLOSE_STRONG)
    return access


def _read_header(path: Path, file: h5py.h5f.FileID) -> Part:
    # By h5py's low-level calls: a store may have tens of thousands of parts, and its objects for a
    # file, a group and attributes take most of the time.
    stamp = {name: _attribute(file, name) for name in ("format", "format_version")}
    digest = _attribute(file, HEADER_DIGEST)
    check_stamp({**stamp, DIGEST: digest}, path, FORMATS, FORMAT_VERSION, remedy=REMEDY)
    attributes = {**stamp, **{name: _attribute(file, name) for name in _ATTRIBUTES}}
    size = path.stat().st_size
    values, keys, digests = (
        _plain_dataset(path, size, file, name) for name in ("values", "content_key", "block_digest")
    )
    block_digests = _all_of(digests)
    expected = header_digest(attributes, values.shape, values.dtype, block_digests.tobytes())
    if digest != expected:
        raise damaged_part(path, "its header changed")
    if _key_of(attributes["spec"]) != attributes["key"]:
        raise damaged_part(path, "its key is not the digest of its spec")
    return Part(
        path=path,
        format=attributes["format"],
        key=attributes["key"],
        spec=json.loads(attributes["spec"]),
        provenance=json.loads(attributes["provenance"]),
        shape=values.shape,
        dtype=values.dtype,
        offset=values.get_offset() or 0,
        block_rows=attributes["block_rows"],
        block_digest=block_digests,
        keys=_all_of(keys),
    )


@lru_cache(maxsize=64)
def _key_of(spec: str) -> str:
    """Compute the key of a spec as it is written: parts of one store say the same."""
    return spec_key(json.loads(spec))


def _attribute(file: h5py.h5f.FileID, name: str) -> Any:
    attribute = h5py.h5a.open(file, name.encode())
    value = np.empty(attribute.shape, attribute.dtype)
    attribute.read(value)
    return _python(value[()])


def _all_of(dataset: h5py.h5d.DatasetID) -> np.ndarray:
    values = np.empty(dataset.shape, dataset.dtype)
    dataset.read(h5py.h5s.ALL, h5py.h5s.ALL, values)
    return values


def _plain_dataset(path: Path, size: int, file: h5py.h5f.FileID, name: str) -> h5py.h5d.DatasetID:
    """Open a dataset; its bytes must lie in this very file of `size` bytes, in one piece."""
    if file.links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
        raise damaged_part(path, f"{name!r} is a link")
    dataset = h5py.h5d.open(file, name.encode())
    made = dataset.get_create_plist()
    if made.get_layout() != h5py.h5d.CONTIGUOUS or made.get_external_count():
        raise damaged_part(path, f"{name!r} is not contiguous in the file itself")
    end = (dataset.get_offset() or 0) + dataset.dtype.itemsize * math.prod(dataset.shape)
    if end > size:
        raise damaged_part(path, f"it is cut short at {size} of {end} bytes")
    return dataset


def block_digest(values: np.ndarray, keys: np.ndarray) -> bytes:
    """Digest the bytes of a block's values, then of its keys (XXH3-128)."""
    digest = xxhash.xxh3_128(values.reshape(-1).view(np.uint8).data if values.size else b"")
    digest.update(np.ascontiguousarray(keys).tobytes())
    return digest.digest()


def header_digest(
    attributes: Mapping[str, Any], shape: tuple[int, ...], dtype: np.dtype, digests: bytes
) -> str:
    """Digest everything in a part but its rows (XXH3-128, in hexadecimal digits)."""
    header = {**attributes, "shape": list(shape), "dtype": np.dtype(dtype).str}
    return xxhash.xxh3_128_hexdigest(canonical_json(header).encode() + digests)


def damaged_part(path: Path, why: str) -> InputError:
    """Build the error for a part that cannot be trusted."""
    return stamped.damaged(path, why, REMEDY)


def _python(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    return value.decode() if isinstance(value, bytes) else value
