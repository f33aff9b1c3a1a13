"""What is at rest: the manifest and the HDF5 stores (docs/format.md)."""

from __future__ import annotations

from frostline.cache.atomic import atomic_write, clear_temporary, lock_file
from frostline.cache.embeddings import EmbeddingStore
from frostline.cache.errors import InputError
from frostline.cache.keys import content_key, file_key, run_id, spec_difference, spec_key
from frostline.cache.manifest import Manifest, read_manifest, write_manifest
from frostline.cache.store import (
    EMBEDDINGS,
    PIXELS,
    Store,
    choose_store,
    find_stores,
    part_files,
    store_spec,
)
from frostline.cache.workspace import Workspace
from frostline.cache.writer import StoreWriter

__all__ = [
    "EMBEDDINGS",
    "PIXELS",
    "EmbeddingStore",
    "InputError",
    "Manifest",
    "Store",
    "StoreWriter",
    "Workspace",
    "atomic_write",
    "choose_store",
    "clear_temporary",
    "content_key",
    "file_key",
    "find_stores",
    "lock_file",
    "part_files",
    "read_manifest",
    "run_id",
    "spec_difference",
    "spec_key",
    "store_spec",
    "write_manifest",
]
