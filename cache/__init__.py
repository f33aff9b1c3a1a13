"""What is at rest: the manifest and the HDF5 stores (docs/format.md)."""

from __future__ import annotations

from frostline.cache.atomic import atomic_write, clear_temporary
from frostline.cache.errors import InputError
from frostline.cache.keys import content_key, file_key, run_id, spec_difference, spec_key
from frostline.cache.manifest import Manifest, read_manifest, write_manifest
from frostline.cache.workspace import Workspace

__all__ = [
    "InputError",
    "Manifest",
    "Workspace",
    "atomic_write",
    "clear_temporary",
    "content_key",
    "file_key",
    "read_manifest",
    "run_id",
    "spec_difference",
    "spec_key",
    "write_manifest",
]
