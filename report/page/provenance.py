"""How a report was made: what each run recorded of itself, and the versions that wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from frostline.cache.versions import versions
from frostline.report.predictions import META_KEYS, Predictions


def provenance(run: Predictions) -> dict[str, Any]:
    """Collect what is known from the metadata of a run; nested values as text."""
    facts = {
        name.replace("_", " "): _as_text(run.meta[name])
        for name in META_KEYS
        if name != "run" and run.meta[name] is not None
    }
    return {"run": run.run, "facts": facts}


def versions_text() -> str:
    """Name the versions of Python and of the libraries that computed the report."""
    return _as_text(versions())


def _as_text(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_as_text(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_as_text, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)
