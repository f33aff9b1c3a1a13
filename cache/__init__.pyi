from .atomic import atomic_write, clear_temporary, lock_file
from .embeddings import EmbeddingStore
from .errors import InputError
from .keys import content_key, file_key, run_id, spec_difference, spec_key
from .manifest import Manifest, read_manifest, write_manifest
from .stores.store import (
    EMBEDDINGS,
    PIXELS,
    Store,
    choose_store,
    find_stores,
    part_files,
    store_spec,
)
from .stores.writer import StoreWriter
from .workspace import Workspace

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
