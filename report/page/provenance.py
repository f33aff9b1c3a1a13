"""How a report was made: what each run recorded of itself, and the versions that wrote it."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib import metadata
from typing import Any

from frostline.report.predictions import META_KEYS, Predictions

VERSIONED = ("frostline", "numpy", "pandas", "matplotlib")


def provenance(run: Predictions) -> dict[str, Any]:
    """Collect what is known from the metadata of a run; nested values as text."""
    facts = {
        name.replace("_", " "): _as_text(run.meta[name])
        for name in META_KEYS
        if name != "run" and run.meta[name] is not None
    }
    return {"run": run.run, "facts": facts}


def versions() -> str:
    """Name the versions of Python and of what draws and computes."""
    names = [f"python {platform.python_version()}"]
    for name in VERSIONED:
        try:
            names.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            names.append(f"{name} (not installed as a package)")
    return ", ".join(names)


def _as_text(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_as_text(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_as_text, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)
