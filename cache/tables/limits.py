"""Refuse files that are small on disk and enormous when unpacked, before they are."""

from __future__ import annotations

import itertools
import sys
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from frostline.cache.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

# What any file may unpack to, and how often its own size: real tables shrink to a tenth or so.
FREE_BYTES, MOST_TIMES = 2**30, 100
VALUE_BYTES = 8  # of a number in memory
BATCH_ROWS = 1 << 16
# Encodings of Parquet in which each text stands as a whole, where it is or in a dictionary.
WHOLE_TEXTS = frozenset({"PLAIN", "RLE", "BIT_PACKED", "PLAIN_DICTIONARY", "RLE_DICTIONARY"})


def check_unpacked(path: Path, size: int) -> None:
    """Refuse a file that would take this many bytes in memory, if its own size does not bear it.

    Raises
    ------
    InputError
        Saying both sizes.
    """
    on_disk = path.stat().st_size
    if size > _most(on_disk):
        raise InputError(
            f"{path} has {on_disk / 1e6:,.1f} MB and would unpack to {size / 1e9:,.1f} GB, which "
            "no table of measurements does: ask who made it, or write what is needed of it to a "
            "new file."
        )


def _most(on_disk: int) -> int:
    """Compute how many bytes a file of this size may unpack to."""
    return FREE_BYTES + MOST_TIMES * on_disk


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


def limited_batches(
    path: Path, file: BinaryIO, columns: list[str] | None = None
) -> tuple[pa.Schema, Iterator[pa.Table]]:
    """Read a Parquet file some rows at a time, and refuse it before it takes more than it may.

    Parameters
    ----------
    path : Path
        For the sentence.
    file : file object
        Open, in binary mode, while the rows are read.
    columns : list of str, optional
        Those to read.

    Returns
    -------
    (pyarrow.Schema, iterator of pyarrow.Table)
        Of the columns that are read, in the file's order, with the file's metadata.

    Raises
    ------
    InputError
        As of `check_unpacked`; that a text is repeated too often, when its rows are reached.
    ValueError
        If two columns have one name.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    whole = pq.ParquetFile(file)
    values, written = _measured(whole.metadata)
    check_unpacked(path, max(sum(written.values()), VALUE_BYTES * sum(values.values())))
    if twice := [name for name, count in Counter(whole.schema_arrow.names).items() if count > 1]:
        raise ValueError(f"two of its columns are called {twice[0]!r}")
    taken = [field for field in whole.schema_arrow if columns is None or field.name in columns]
    # A text that stands once in the file may stand in every row: columns where it could be too
    # much are measured before their texts are repeated.
    texts = [
        field.name
        for field in taken
        if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)
    ]
    most = _most(path.stat().st_size)
    repeated = [
        name
        for name in texts
        if values[name] * written[name] > most
        and written[name] + values[name] * _longest_repeated(file, whole, name) > most
    ]
    schema = pa.schema(taken, whole.schema_arrow.metadata)
    parts = pq.ParquetFile(file, metadata=whole.metadata, read_dictionary=repeated)
    return schema, _unpacked(path, parts, schema, repeated)


def _unpacked(
    path: Path, file: pq.ParquetFile, schema: pa.Schema, repeated: list[str]
) -> Iterator[pa.Table]:
    """Yield the rows with their texts as `schema` has them."""
    import pyarrow as pa

    size = 0
    for batch in file.iter_batches(BATCH_ROWS, columns=schema.names):
        size += sum(_text_bytes(batch[name]) for name in repeated)
        check_unpacked(path, size)
        yield pa.Table.from_batches([batch]).cast(schema)


def _longest_repeated(file: BinaryIO, whole: pq.ParquetFile, name: str) -> int:
    """Measure the longest text of a column that may stand in the file less often than in the rows.

    It is in a dictionary, one of each group of rows, that comes with the first row. Encodings that
    write parts of texts once could repeat anything in the column.
    """
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    longest, facts = 0, whole.metadata
    reader = pq.ParquetFile(file, metadata=facts, read_dictionary=[name])
    for number in range(facts.num_row_groups):
        group = facts.row_group(number)
        (chunk,) = (
            chunk
            for chunk in map(group.column, range(group.num_columns))
            if chunk.path_in_schema == name
        )
        if not WHOLE_TEXTS.issuperset(chunk.encodings):
            return sys.maxsize
        for batch in itertools.islice(reader.iter_batches(1, [number], [name]), 1):
            longest = max(longest, pc.max(pc.binary_length(batch[name].dictionary)).as_py() or 0)
    return longest


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


def _text_bytes(column: pa.DictionaryArray) -> int:
    """Measure texts that are kept once each, as if each stood where it is used."""
    import pyarrow.compute as pc

    lengths = pc.take(pc.binary_length(column.dictionary), column.indices)
    return pc.sum(lengths).as_py() or 0
