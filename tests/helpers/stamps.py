"""Stamped files with another content, as a release that meant it would have written them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from frostline.cache.stamped import write_json


def rewrite(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change what a stamped JSON file says, in place, with the digest that it then has."""
    content = json.loads(path.read_text())
    change(content)
    write_json(path, content["format"], content["format_version"], content)
