"""Refuse files that are small on disk and enormous when unpacked, before they are."""

from __future__ import annotations

import zipfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from frostline.cache.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa
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


def read_limited(path: Path, data: pa.Buffer, columns: list[str] | None = None) -> pa.Table:
    """Read a Parquet file, and refuse it before it takes more memory than it may.

    Parameters
    ----------
    path : Path
        For the sentence.
    data : pyarrow.Buffer
        All of its bytes.
    columns : list of str, optional
        Those to read.

    Raises
    ------
    InputError
        As of `check_unpacked`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = pq.ParquetFile(pa.BufferReader(data))
    schema = file.schema_arrow
    values, written = _measured(file.metadata)
    check_unpacked(path, max(sum(written.values()), VALUE_BYTES * sum(values.values())))
    # A text that stands once in the file may stand in every row: such columns are measured before
    # their texts are repeated.
    repeated = [
        field.name
        for field in schema
        if pa.types.is_string(field.type)
        and values.get(field.name, 0) * written.get(field.name, 0) > FREE_BYTES
    ]
    table = pq.read_table(pa.BufferReader(data), columns=columns, read_dictionary=repeated)
    repeated = [name for name in repeated if name in table.column_names]
    if repeated:
        check_unpacked(path, sum(_text_bytes(table[name]) for name in repeated))
        types = [pa.string() if f.name in repeated else f.type for f in table.schema]
        fields = [field.with_type(kind) for field, kind in zip(table.schema, types, strict=True)]
        table = table.cast(pa.schema(fields, table.schema.metadata))
    return table


def _measured(facts: pq.FileMetaData) -> tuple[Counter[str], Counter[str]]:
    """Count the values of each column, and their bytes as they are written, unpacked."""
    values: Counter[str] = Counter()
    written: Counter[str] = Counter()
    for place in range(facts.num_row_groups):
        group = facts.row_group(place)
        for chunk in map(group.column, range(group.num_columns)):
            values[chunk.path_in_schema] += chunk.num_values
            written[chunk.path_in_schema] += chunk.total_uncompressed_size
    return values, written


def _text_bytes(column: pa.ChunkedArray) -> int:
    """Measure texts that are kept once each, as if each stood where it is used."""
    import pyarrow.compute as pc

    return sum(
        pc.sum(pc.take(pc.binary_length(chunk.dictionary), chunk.indices)).as_py() or 0
        for chunk in column.chunks
    )
