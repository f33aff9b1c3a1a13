"""The stores of a workspace, listed and described."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np

from frostline.cache.errors import InputError
from frostline.cache.keys import KEY_BYTES
from frostline.cache.manifest import read_manifest
from frostline.cache.stores.store import Store, find_stores, part_files
from frostline.cache.workspace import Workspace

PART_TIME = re.compile(r"part-(\d{20})-")


def workspace_stores(workspace: Workspace) -> list[Path]:
    """List the folders of all stores: pixels, embeddings, views, activations at a boundary."""
    patterns = ("pixels/*", "embeddings/*/*", "views/*/*", "boundaries/*/*")
    parents = [path for pattern in patterns for path in sorted(workspace.root.glob(pattern))]
    return [folder for parent in parents for folder in find_stores(parent)]


def store_dataset(workspace: Workspace, folder: Path) -> str:
    """Return the data set whose store lies in a folder."""
    return folder.relative_to(workspace.root).parts[1]


def describe_store(workspace: Workspace, folder: Path) -> dict[str, Any]:
    """Describe a store in plain values, for `frostline cache ls`.

    Returns
    -------
    dict
        `kind`, `dataset`, `backbone` (None for pixels), `key`, `parts`, `bytes`, `age_seconds`
        (since its newest part), and, unless it is damaged (`damaged` then says how), `rows`,
        `needed` and `wanted` (distinct images of the manifest, and how many of them it has; None
        without a manifest), `spec`, `provenance`, `seconds` (that embedding took, None if unknown).
    """
    kind, dataset, *backbone = folder.parent.relative_to(workspace.root).parts
    parts = part_files(folder)
    about: dict[str, Any] = {
        "kind": kind,
        "dataset": dataset,
        "backbone": unquote(backbone[0]) if backbone else None,
        "key": folder.name,
        "parts": len(parts),
        "bytes": sum(path.stat().st_size for path in parts),
        "age_seconds": round(time.time() - _closed(parts[-1]), 1),
    }
    try:
        store = Store.open(folder)
    except InputError as error:
        return {**about, "damaged": str(error)}
    about |= {"rows": len(store), "spec": store.spec, "provenance": store.provenance}
    about["seconds"] = store.seconds
    try:
        keys = manifest_contents(workspace, dataset)
    except InputError:
        return {**about, "wanted": None, "needed": None}
    needed = int((store.locate(keys) >= 0).sum())
    return {**about, "wanted": len(keys), "needed": needed}


def manifest_contents(workspace: Workspace, dataset: str) -> np.ndarray:
    """Return the distinct content keys of a data set's images, uint8 [n, 16]."""
    table = read_manifest(workspace.manifest(dataset), ["content_key"]).table
    distinct = table["content_key"].drop_duplicates()
    return np.frombuffer(b"".join(distinct), np.uint8).reshape(-1, KEY_BYTES)


def short_spec(spec: Mapping[str, Any]) -> str:
    """Describe a spec in a few words: the fields that usually differ between stores."""
    pixels: Mapping[str, Any] = spec.get("pixels", spec)
    geometry = pixels.get("geometry") if isinstance(pixels, Mapping) else None
    words = [_view(view)] if isinstance(view := spec.get("view"), Mapping) else []
    words += [str(geometry.get("crop", ""))] if isinstance(geometry, Mapping) else []
    if isinstance(geometry, Mapping) and geometry.get("neighbours"):
        words.append("2.5-D")
    if isinstance(pixels, Mapping):
        words.append(str(pixels.get("channels", "")))
    words += [str(spec.get(name, "")) for name in ("feature", "compute")]
    words.append(f"weights {str(spec['weights'])[:8]}" if "weights" in spec else "")
    words.append("imported" if "imported" in spec else "")
    return " ".join(word for word in words if word)


def _view(view: Mapping[str, Any]) -> str:
    """Name a view, and what changes it: names, and strengths with their values."""
    names = view.get("augmentation") or []
    strengths = {
        name: value
        for name, value in view.items()
        if name not in ("number", "seed", "crop", "augmentation")
    }
    changes = [*map(str, names), *(f"{name}={value}" for name, value in strengths.items())]
    return f"view {view.get('number')} (seed {view.get('seed')}, {', '.join(changes)})"


def _closed(part: Path) -> float:
    """Return when a part was closed, in seconds since 1970, according to its name."""
    found = PART_TIME.match(part.name)
    return int(found[1]) / 1e9 if found else part.stat().st_mtime
