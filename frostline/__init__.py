"""Frostline finds out how deep a pretrained backbone should be frozen for your medical images.

>>> ws = frostline.Workspace("folder")  # doctest: +SKIP
>>> ws.index("mine", "images", group_pattern="(patient[0-9]+)")  # doctest: +SKIP
>>> run = ws.probe("mine", "dinov2-s")  # doctest: +SKIP

Public names load on first use, so that `import frostline` costs nothing.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__version__ = "0.2.0"
