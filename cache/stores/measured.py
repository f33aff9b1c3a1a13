"""Measurements kept in a workspace, so that each is made once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from frostline.cache.keys import canonical_json
from frostline.cache.stamped import read_json, write_json
from frostline.cache.workspace import Workspace

FORMAT, VERSION = "frostline-measured", 2


def measure_once(
    workspace: Workspace, what: dict[str, Any], make: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """Give what was measured of this before, else what `make` measures now."""
    path = workspace.root / "measured.json"
    entries = _entries(path)
    key = canonical_json(what)
    if key not in entries:
        made = make()
        # Read again: another may have measured meanwhile.
        entries = _entries(path) | {key: made}
        write_json(path, FORMAT, VERSION, {"entries": entries})
    return dict(entries[key])


def known_costs(
    workspace: Workspace, device: str, precision: str, batch: int
) -> dict[str, dict[str, float]]:
    """Read what embedding an image takes for each backbone: seconds, and bytes of a GPU.

    On a CPU, or on a GPU whichever, in this precision and in batches of this size; of several
    measurements (other engines or threads) the last.
    """
    found: dict[str, dict[str, float]] = {}
    for key, cost in _entries(workspace.root / "measured.json").items():
        what = json.loads(key)
        how = what.get("precision"), what.get("batch"), what.get("device") == "cpu"
        if what.get("unfreeze") == "none" and how == (precision, batch, device == "cpu"):
            mine = {"embedding_seconds": cost["embedding_seconds"]}
            found[what["backbone"]] = mine | ({"memory": cost["memory"]} if cost["memory"] else {})
    return found


def _entries(path: Path) -> dict[str, Any]:
    return dict(read_json(path, FORMAT, VERSION)["entries"]) if path.is_file() else {}
