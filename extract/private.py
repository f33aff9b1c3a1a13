"""Names of patients: written as keyed hashes, whose key never leaves the workspace."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Sequence

import pandas as pd
import xxhash

from frostline.cache import InputError, Workspace, atomic_write

KEY_FILE = "patient-key"
SECRET_BYTES = 32


def hide_columns(table: pd.DataFrame, columns: Sequence[str], workspace: Workspace) -> pd.DataFrame:
    """Replace the texts of columns by their keyed hashes (BLAKE2b, 16 hex digits).

    The same text has the same hash in all data sets of a workspace and another in any other. A
    missing text stays missing.
    """
    if not columns:
        return table
    key = workspace_key(workspace)
    hidden = table.copy()
    for name in columns:
        hidden[name] = [_hidden(text, name, key) for text in table[name]]
    return hidden


def workspace_key(workspace: Workspace) -> bytes:
    """Read the workspace's key, made at random the first time and readable by its owner alone.

    Raises
    ------
    InputError
        If the key's file is damaged.
    """
    path = workspace.root / KEY_FILE
    if not path.exists():
        workspace.root.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as temporary:
            key = secrets.token_bytes(SECRET_BYTES)
            temporary.write_bytes(key + _digest(key))
            os.chmod(temporary, 0o600)
    data = path.read_bytes()
    key, digest = data[:SECRET_BYTES], data[SECRET_BYTES:]
    # Release 0.1 wrote no digest.
    if len(key) != SECRET_BYTES or digest not in (b"", _digest(key)):
        raise InputError(
            f"{path} is damaged: delete it, and index the DICOM data sets again with --resplit."
        )
    return key


def _digest(key: bytes) -> bytes:
    return xxhash.xxh3_128_digest(key)


def _hidden(text: str | None, column: str, key: bytes) -> str | None:
    if text is None or pd.isna(text):
        return None
    message = f"{column}\0{text}".encode()
    return hashlib.blake2b(message, key=key, digest_size=8).hexdigest()
