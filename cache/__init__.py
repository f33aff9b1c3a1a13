"""What is at rest: the manifest, the HDF5 stores and how they are written (docs/format.md).

Public names load on first use, so that importing this package costs nothing.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
