from .atomic import atomic_write, clear_temporary, write_text
from .embeddings import EmbeddingStore
from .errors import InputError
from .keys import content_key, file_key, run_id, spec_difference, spec_key
from .locks import lock_file
from .manifest import Manifest, declared_classes, declared_sources, read_manifest, write_manifest
from .stamped import NewerFormatError
from .stores.part import EMBEDDINGS, PIXELS
from .stores.store import (
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
    "NewerFormatError",
    "Store",
    "StoreWriter",
    "Workspace",
    "atomic_write",
    "choose_store",
    "clear_temporary",
    "content_key",
    "declared_classes",
    "declared_sources",
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
    "write_text",
]
