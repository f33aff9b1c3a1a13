"""Stamped files: each says what it is and in which version (docs/format.md, 'Stamps')."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frostline.cache.atomic import atomic_write, write_text
from frostline.cache.errors import READ_ERRORS, InputError

if TYPE_CHECKING:
    import pyarrow as pa

# Of the metadata of Parquet and safetensors; what stands there is a JSON object.
KEY = "frostline"
REMEDY = "delete it and make it again"
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
    whole = _stamped(format, version, content)
    write_text(path, json.dumps(whole, indent=1, allow_nan=False) + "\n")


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
        content = _json_object(path.read_text(encoding="utf-8"))
    check_stamp(content, path, format, newest, remedy=remedy)
    return content


def write_parquet(
    path: Path, table: pa.Table, format: str, version: int, meta: Mapping[str, Any]
) -> None:
    """Write a stamped Parquet file, whole or not at all.

    Parameters
    ----------
    table : pyarrow.Table
        Its own schema metadata is kept.
    format, version : str, int
        As of `write_json`.
    meta : mapping
        Facts about the table, as of `write_json`.
    """
    import pyarrow.parquet as pq

    text = json.dumps(_stamped(format, version, meta), ensure_ascii=False, allow_nan=False)
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), KEY: text.encode()})
    with atomic_write(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


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
    return table, meta


def read_any_parquet(
    path: Path, columns: list[str] | None = None, *, remedy: str = REMEDY
) -> tuple[pa.Table, dict[str, Any] | None]:
    """Read a Parquet file of anyone: its table, and what Frostline wrote about it, if it did.

    Raises
    ------
    InputError
        If it is not there, or damaged.
    """
    import pyarrow.parquet as pq

    _must_exist(path)
    with reading(path, remedy):
        # Folders named `a=b` above the file are no columns of it.
        table = pq.read_table(path, columns=columns, partitioning=None)
        table.validate(full=True)
        text = (table.schema.metadata or {}).get(KEY.encode())
        return table, None if text is None else _json_object(text.decode())


def check_stamp(
    stamp: Mapping[str, Any],
    path: Path,
    format: str | Collection[str],
    newest: int,
    *,
    remedy: str = REMEDY,
) -> None:
    """Raise InputError unless the stamp of a file is of this format, and no newer than `newest`.

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
    return stamp | dict(content) | stamp


def _json_object(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise TypeError("it holds no JSON object")
    return value
