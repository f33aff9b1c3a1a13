"""Stamped files: each says what it is, in which version, and its digest (docs/format.md)."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import xxhash

from frostline.cache.atomic import atomic_write, write_text
from frostline.cache.errors import READ_ERRORS, InputError
from frostline.cache.keys import canonical_json
from frostline.cache.tables.limits import limited_batches

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

# Of the metadata of Parquet and safetensors; what stands there is a JSON object.
KEY = "frostline"
# Of JSON, in the object; of Parquet, in the metadata of the schema, next to `frostline`.
DIGEST, PARQUET_DIGEST = "content_digest", "frostline_digest"
_NO_DIGEST = b"0" * 32
# Thrift writes a text as its type (0x18), its length and its bytes.
_PARQUET_DIGEST = re.compile(PARQUET_DIGEST.encode() + rb"\x18\x20([0-9a-f]{32})")
_DIGEST_BYTES = len(PARQUET_DIGEST) + 2 + len(_NO_DIGEST)
CHANGED = "it is not what was written: its digest differs"
REMEDY = "delete it and make it again"
MARK = b"PAR1"
PIECE = 1 << 20  # bytes of a file that are digested at a time
# What JSON, Parquet and HDF5 raise over bytes that are not what was written.
UNREADABLE = (*READ_ERRORS, MemoryError)


class NewerFormatError(InputError):
    """A file of a newer release: it is whole, and a newer Frostline reads it."""


def write_json(path: Path, format: str, version: int, content: Mapping[str, Any]) -> None:
    """Write a stamped JSON file, whole or not at all.

    Parameters
    ----------
    format : str
        What the file is, `frostline-…`.
    version : int
        Of this format, from 1.
    content : mapping
        What JSON can say (neither NaN nor infinity); a stamp in it, of the file that it was read
        from, is replaced.
    """
    whole = json.loads(json.dumps(_stamped(format, version, content), allow_nan=False))
    whole = {**whole, DIGEST: _content_digest(whole)}
    write_text(path, json.dumps(whole, indent=1) + "\n")


def read_json(path: Path, format: str, newest: int, *, remedy: str = REMEDY) -> dict[str, Any]:
    """Read a stamped JSON file.

    Parameters
    ----------
    format : str
        What the file must be.
    newest : int
        The newest version of this format that the caller understands.
    remedy : str
        What to do about a file that is damaged or something else, as an imperative.

    Returns
    -------
    dict
        What the file says, with `format` and `format_version`.

    Raises
    ------
    InputError
        If it is not there, is something else, or damaged; `NewerFormatError` if a newer release
        wrote it.
    """
    _must_exist(path)
    with reading(path, remedy):
        content = _json_object(path)
        # The stamp first: a newer release may digest in another way.
        check_stamp(content, path, format, newest, remedy=remedy)
        _check_content(path, content, remedy)
    return {name: value for name, value in content.items() if name != DIGEST}


def read_any_json(path: Path, *, remedy: str = REMEDY) -> dict[str, Any]:
    """Read a JSON object of anyone; if it carries a digest, check that it is what was written.

    Raises
    ------
    InputError
        If it is not there, is no JSON object, or damaged.
    """
    _must_exist(path)
    with reading(path, remedy):
        content = _json_object(path)
        _check_content(path, content, remedy)
    return content


def file_digests(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Digest files, for `files` in the JSON file next to them: XXH3-128 by name, in hex."""
    return {name: _file_digest(folder / name) for name in names}


def check_files(path: Path, content: Mapping[str, Any], remedy: str = REMEDY) -> None:
    """Check the files next to a JSON file against `files` in it; it may have none.

    Raises
    ------
    InputError
        If one is not there, or is not what was written.
    """
    files = content.get("files") or {}
    for name, digest in files.items():
        file = path.parent / name
        with reading(file, remedy):
            if not file.is_file():
                raise damaged(file, f"it is not there, though {path.name} names it", remedy)
            if _file_digest(file) != digest:
                raise damaged(file, CHANGED, remedy)


def write_parquet(
    path: Path, table: pa.Table, format: str, version: int, meta: Mapping[str, Any]
) -> None:
    """Write a stamped Parquet file, whole or not at all.

    Parameters
    ----------
    table : pyarrow.Table
        Its own schema metadata is kept, but for the stamp of a file that it was read from.
    format, version : str, int
        As of `write_json`.
    meta : mapping
        Facts about the table, as of `write_json`.
    """
    import pyarrow.parquet as pq

    text = json.dumps(_stamped(format, version, meta), ensure_ascii=False, allow_nan=False)
    stamp = {KEY.encode(): text.encode(), PARQUET_DIGEST.encode(): _NO_DIGEST}
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), **stamp})
    with atomic_write(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")
        with temporary.open("r+b") as file:
            place, _ = _digest_in(file) or (None, b"")
            assert place is not None
            digest = _parquet_digest(file, place)
            file.seek(place)
            file.write(digest)


def read_parquet(
    path: Path,
    format: str,
    newest: int,
    columns: list[str] | None = None,
    *,
    remedy: str = REMEDY,
) -> tuple[pa.Table, dict[str, Any]]:
    """Read a stamped Parquet file.

    Parameters
    ----------
    format, newest, remedy : str, int, str
        As of `read_json`.
    columns : list of str, optional
        Those to read; none of them (`[]`) reads the metadata alone.

    Returns
    -------
    (pyarrow.Table, dict)
        The table, and its facts with `format` and `format_version`.

    Raises
    ------
    InputError
        As of `read_json`.
    """
    table, meta = read_any_parquet(path, columns, remedy=remedy)
    meta = meta or {}
    check_stamp(meta, path, format, newest, remedy=remedy)
    return table, {name: value for name, value in meta.items() if name != DIGEST}


def read_any_parquet(
    path: Path, columns: list[str] | None = None, *, remedy: str = REMEDY
) -> tuple[pa.Table, dict[str, Any] | None]:
    """Read a Parquet file of anyone: its table, and what Frostline wrote about it, if it did.

    A digest that the file carries is checked, and stands in what is given as `content_digest`.

    Raises
    ------
    InputError
        If it is not there, or damaged.
    """
    import pyarrow as pa

    _must_exist(path)
    with reading(path, remedy):
        # All of it first, so that what is read is what was digested, whoever writes meanwhile.
        meta, schema, parts = _parquet_parts(path, io.BytesIO(path.read_bytes()), columns)
        return pa.concat_tables([schema.empty_table(), *parts]), meta


@contextmanager
def parquet_parts(
    path: Path,
    format: str,
    newest: int,
    columns: list[str] | None = None,
    *,
    remedy: str = REMEDY,
) -> Iterator[tuple[dict[str, Any], pa.Schema, Iterator[pa.Table]]]:
    """Read a stamped Parquet file some rows at a time: its bytes never lie in memory as a whole.

    Parameters
    ----------
    format, newest, columns, remedy : str, int, list of str, str
        As of `read_parquet`.

    Yields
    ------
    (dict, pyarrow.Schema, iterator of pyarrow.Table)
        The facts as of `read_parquet`; the schema of what is read; the rows in their order. All are
        of the file that was digested, whatever is put in its place meanwhile.

    Raises
    ------
    InputError
        As of `read_parquet`; that rows are damaged, when they are reached.
    """
    _must_exist(path)
    with reading(path, remedy), path.open("rb") as file:
        meta, schema, parts = _parquet_parts(path, file, columns)
        check_stamp(meta or {}, path, format, newest, remedy=remedy)
        yield {name: at for name, at in (meta or {}).items() if name != DIGEST}, schema, parts


def _parquet_parts(
    path: Path, file: BinaryIO, columns: list[str] | None
) -> tuple[dict[str, Any] | None, pa.Schema, Iterator[pa.Table]]:
    """Check the digest, then give what Frostline wrote about a table, its schema and its rows."""
    digest = _check_parquet(file)
    schema, parts = limited_batches(path, file, columns)
    text = (schema.metadata or {}).get(KEY.encode())
    meta = None if text is None else json.loads(text.decode())
    if meta is not None and not isinstance(meta, dict):
        raise TypeError("its stamp is no JSON object")
    if meta is not None and digest is not None:
        meta[DIGEST] = digest
    return meta, schema, map(_valid, parts)


def _valid(table: pa.Table) -> pa.Table:
    table.validate(full=True)
    return table


def read_any_frame(
    path: Path, *, remedy: str = REMEDY
) -> tuple[pd.DataFrame, dict[str, Any] | None]:
    """Read a Parquet file of anyone as `read_any_parquet` does, for pandas."""
    table, meta = read_any_parquet(path, remedy=remedy)
    with reading(path, remedy):
        return table.to_pandas(), meta


def is_whole_parquet(path: Path) -> bool:
    """Say whether a Parquet file is there and is what was written; nothing of it is parsed.

    Files of release 0.1, which carry no digest, need only begin and end as Parquet does.
    """
    if not path.is_file():
        return False
    data = path.read_bytes()
    try:
        _check_parquet(io.BytesIO(data))
    except ValueError:
        return False
    return len(data) > 2 * len(MARK) and data.startswith(MARK) and data.endswith(MARK)


def check_stamp(
    stamp: Mapping[str, Any],
    path: Path,
    format: str | Collection[str],
    newest: int,
    *,
    remedy: str = REMEDY,
) -> None:
    """Raise InputError unless the stamp of a file is of this format, and no newer than `newest`.

    A file of the newest version must have a digest; those of earlier versions may have none.

    Parameters
    ----------
    stamp : mapping
        Wherever it rides in the file: `format` and `format_version`, among other things.
    path : Path
        Of the file, for the sentence.
    format : str, or several
        What it must be, or all that it may be.
    newest, remedy : int, str
        As of `read_json`.
    """
    wanted = [format] if isinstance(format, str) else list(format)
    found, version = stamp.get("format"), stamp.get("format_version")
    if found not in wanted:
        but = "" if found is None else f" but {found!r}"
        raise InputError(f"{path} is not a {' or '.join(wanted)} file{but}: {remedy}.")
    if type(version) is not int or version < 1:
        raise damaged(path, f"its format version is {version!r}", remedy)
    if version > newest:
        raise NewerFormatError(
            f"{path} has format version {version}, this release reads up to {newest}: install a "
            "newer Frostline."
        )
    if version == newest and DIGEST not in stamp:
        raise damaged(path, "its digest is gone", remedy)


@contextmanager
def reading(path: Path, remedy: str = REMEDY) -> Iterator[None]:
    """Raise InputError where the block fails because the bytes of a file are not what they were.

    That it is not there, or may not be read, passes through unchanged.
    """
    try:
        yield
    except (InputError, FileNotFoundError, PermissionError):
        raise
    except UNREADABLE as error:
        raise damaged(path, (str(error) or type(error).__name__).splitlines()[0], remedy) from error


def damaged(path: Path, why: str, remedy: str = REMEDY) -> InputError:
    """Build the error for a file that cannot be trusted."""
    return InputError(f"{path} is damaged ({why.rstrip('.')}): {remedy}.")


def _must_exist(path: Path) -> None:
    if not path.is_file():
        raise InputError(f"There is no file {path}: check its name.")


def _stamped(format: str, version: int, content: Mapping[str, Any]) -> dict[str, Any]:
    stamp = {"format": format, "format_version": version}
    facts = {name: value for name, value in content.items() if name != DIGEST}
    return stamp | facts | stamp


def _content_digest(content: Mapping[str, Any]) -> str:
    facts = {name: value for name, value in content.items() if name != DIGEST}
    return bytes_digest(canonical_json(facts).encode(errors="surrogatepass"))


def _check_content(path: Path, content: Mapping[str, Any], remedy: str) -> None:
    if DIGEST in content and content[DIGEST] != _content_digest(content):
        raise damaged(path, CHANGED, remedy)


def bytes_digest(data: bytes) -> str:
    """Digest bytes: XXH3-128, in hex."""
    return xxhash.xxh3_128_hexdigest(data)


def _file_digest(path: Path) -> str:
    digest = xxhash.xxh3_128()
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            digest.update(piece)
    return digest.hexdigest()


def _digest_in(file: BinaryIO) -> tuple[int, bytes] | None:
    """Find where the digest of a Parquet file stands in its bytes, and what it is."""
    end = file.seek(0, os.SEEK_END)
    while end > 0:  # from the end, where it usually is; a file without one is searched as a whole
        start = max(0, end - PIECE)
        file.seek(start)
        found = list(_PARQUET_DIGEST.finditer(file.read(end - start)))
        if found:
            return start + found[-1].start(1), found[-1][1]
        # It may lie across the border.
        end = start + _DIGEST_BYTES if start else 0
    return None


def _parquet_digest(file: BinaryIO, place: int) -> bytes:
    """Digest a Parquet file with zeros in the place of its digest."""
    digest = xxhash.xxh3_128()
    file.seek(0)
    for start in range(0, place, PIECE):
        digest.update(file.read(min(PIECE, place - start)))
    digest.update(_NO_DIGEST)
    file.seek(len(_NO_DIGEST), os.SEEK_CUR)
    while piece := file.read(PIECE):
        digest.update(piece)
    return digest.hexdigest().encode()


def _check_parquet(file: BinaryIO) -> str | None:
    """Give the digest that a Parquet file carries, having checked it; None if it carries none."""
    found = _digest_in(file)
    if found is None:
        return None
    place, digest = found
    if _parquet_digest(file, place) != digest:
        raise ValueError(CHANGED)
    return digest.decode()


def _json_object(path: Path) -> dict[str, Any]:
    value = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(value, dict):
        raise TypeError("it holds no JSON object")
    return value
