"""What the headers of many parts said, kept in one file next to them (docs/format.md, 'Store')."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from frostline.cache.errors import InputError
from frostline.cache.keys import KEY_BYTES, canonical_json, spec_key
from frostline.cache.stamped import read_parquet, write_parquet
from frostline.cache.stores.part import FORMATS, Part, read_part

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT, VERSION = "frostline-headers", 1
NAME = "headers.parquet"
# Parts whose headers are read without a thought for next time: a quarter of a second or so.
FEW = 256


def read_headers(paths: Sequence[Path]) -> tuple[list[Part], list[os.stat_result], int]:
    """Read the headers of the parts of one store, where they are known from the file of headers.

    Returns
    -------
    (list of Part, list of os.stat_result, int)
        The parts, size and time of their files from before they were read, and of how many the
        headers were not known.

    Raises
    ------
    InputError, FileNotFoundError
        As of `read_part`.
    """
    known = _known(paths[0].parent) if len(paths) > FEW else {}
    stats, parts, unknown = [path.stat() for path in paths], [], 0
    for path, now in zip(paths, stats, strict=True):
        size, time, part = known.get(path.name, (None, None, None))
        if part is None or (size, time) != (now.st_size, now.st_mtime_ns):
            part, unknown = read_part(path), unknown + 1
        parts.append(part)
    return parts, stats, unknown


def keep_headers(parts: Sequence[Part], stats: Sequence[os.stat_result], unknown: int) -> None:
    """Write what the headers of all parts of a store say, if many of them were not known.

    Parameters are what `read_headers` gives. Where nobody may write, nothing is written.
    """
    if unknown <= FEW:
        return
    import pyarrow as pa

    first = parts[0]
    facts: dict[str, Any] = {"kind": first.format, "spec": first.spec}
    facts |= {"dtype": first.dtype.str, "shape": list(first.shape[1:])}
    columns: dict[str, Any] = {
        "name": [part.path.name for part in parts],
        "size": [stat.st_size for stat in stats],
        "mtime_ns": [stat.st_mtime_ns for stat in stats],
        "rows": [len(part) for part in parts],
        "offset": [part.offset for part in parts],
        "block_rows": [part.block_rows for part in parts],
        "provenance": [canonical_json(part.provenance) for part in parts],
        "block_digest": [part.block_digest.tobytes() for part in parts],
        "content_key": [part.keys.tobytes() for part in parts],
    }
    with suppress(OSError):  # such as of a folder that is read-only
        write_parquet(first.path.with_name(NAME), pa.table(columns), FORMAT, VERSION, facts)


def _known(folder: Path) -> dict[str, tuple[int, int, Part]]:
    """Read size, time and header of the files that were parts of a store once, by their names."""
    try:
        table, facts = read_parquet(folder / NAME, FORMAT, VERSION)
        return _parts_of(folder, table, facts)
    except (InputError, ArithmeticError, KeyError, TypeError, ValueError):
        return {}  # it is read from the parts again, and written again


def _parts_of(
    folder: Path, table: pa.Table, facts: dict[str, Any]
) -> dict[str, tuple[int, int, Part]]:
    dtype, shape, kind = np.dtype(facts["dtype"]), tuple(map(int, facts["shape"])), facts["kind"]
    if kind not in FORMATS or spec_key(facts["spec"]) != folder.name or dtype.hasobject:
        raise ValueError("it is of another store")
    known = {}
    for row in zip(*(column.to_pylist() for column in table.columns), strict=True):
        name, size, time, rows, offset, block_rows, provenance, digests, keys = row
        part = Part(
            path=folder / name,
            format=kind,
            key=folder.name,
            spec=facts["spec"],
            provenance=json.loads(provenance),
            shape=(rows, *shape),
            dtype=dtype,
            offset=offset,
            block_rows=block_rows,
            block_digest=np.frombuffer(digests, np.uint8).reshape(-1, KEY_BYTES),
            keys=np.frombuffer(keys, np.uint8).reshape(rows, KEY_BYTES),
        )
        end = offset + rows * int(np.prod(shape)) * dtype.itemsize
        if (
            min(offset, rows, *shape) < 0
            or end > size
            or len(part.block_digest) != -(-rows // block_rows)
        ):
            raise ValueError("it says what no part does")
        known[name] = (size, time, part)
    return known
