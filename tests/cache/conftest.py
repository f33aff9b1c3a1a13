"""A small workspace: one data set, one store of embeddings in several parts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from frostline.cache import EMBEDDINGS, Manifest, StoreWriter, Workspace, spec_key, write_manifest

SPEC = {"pixels": {"geometry": {"crop": 224}, "channels": "rgb"}, "feature": "cls"}


def rows(count: int, seed: int = 0, dim: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    keys = rng.integers(0, 256, (count, 16), dtype=np.uint8)
    return keys, rng.normal(size=(count, dim)).astype(np.float32)


def make_manifest(keys: np.ndarray) -> Manifest:
    """One image a key: labels x and y in turn, two images a patient, splits by patient."""
    count = len(keys)
    numbers = range(count)
    table = pd.DataFrame(
        {
            "image_id": [f"a/{n}.png" for n in numbers],
            "path": [f"a/{n}.png" for n in numbers],
            "root": 0,
            "frame": pd.array([None] * count, "Int64"),
            "label": pd.array(["xy"[n % 2] for n in numbers], "string"),
            "group_id": [f"p{n // 2}" for n in numbers],
            "split": ["train" if n // 2 % 3 else "test" for n in numbers],
            "file_key": [bytes(key) for key in keys],
            "content_key": [bytes(key) for key in keys],
            "file_size": 10,
            "file_mtime_ns": 5,
            "width": pd.array([8] * count, "Int32"),
            "height": pd.array([8] * count, "Int32"),
            "mode": "L",
            "format": "PNG",
        }
    )
    return Manifest(table, {"dataset": "set", "kind": "folder", "roots": ["/data"], "options": {}})


def fill(folder: Path, keys: np.ndarray, values: np.ndarray, parts: int = 3) -> Path:
    """A store with these rows in so many parts."""
    place = folder / spec_key(SPEC)
    with StoreWriter(place, EMBEDDINGS, SPEC, {"device": "cpu"}) as writer:
        for mine in np.array_split(np.arange(len(keys)), parts):
            writer.append(keys[mine], values[mine])
            writer.flush()
    return place


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    place = Workspace(tmp_path / "ws")
    keys, values = rows(12)
    write_manifest(place.manifest("set"), make_manifest(keys))
    fill(place.embeddings("set", "timm:tiny"), keys, values)
    return place
