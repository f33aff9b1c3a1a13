"""A small workspace with a data set and embeddings that look like real ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from frostline.cache import EMBEDDINGS, Manifest, StoreWriter, Workspace, spec_key, write_manifest
from frostline.probe.sweep.results import Results
from frostline.probe.sweep.run import run_sweep
from frostline.probe.sweep.settings import parse_sweep

SPEC = {"backbone": "tiny", "feature": "pooled", "pixels": {"geometry": {"crop": 224}}}


def embeddings(codes: np.ndarray, dim: int = 24, seed: int = 0) -> np.ndarray:
    """Features with a falling spectrum, an offset, and class means that overlap: float32."""
    rng = np.random.default_rng(seed)
    scale = np.arange(1, dim + 1) ** -0.7
    turn = np.linalg.qr(rng.normal(size=(dim, dim)))[0]
    means = rng.normal(size=(codes.max() + 1, dim)) * 0.7
    values = (means[codes] + rng.normal(size=(len(codes), dim))) * scale
    return (values @ turn + 0.5).astype(np.float32)


def make_table(patients: int = 60, classes: int = 3) -> pd.DataFrame:
    """Two images a patient; by patient 60% train, 20% val, 20% test."""
    rows = []
    for patient in range(patients):
        split = ("train", "train", "train", "val", "test")[patient // classes % 5]
        for shot in range(2):
            name = f"p{patient:03}/{shot}.png"
            key = name.encode().ljust(16, b"\0")
            rows.append(
                {
                    "image_id": name,
                    "path": name,
                    "root": 0,
                    "frame": pd.NA,
                    "label": f"grade {patient % classes}",
                    "group_id": f"p{patient:03}",
                    "split": split,
                    "file_key": key,
                    "content_key": key,
                    "file_size": 1,
                    "file_mtime_ns": 1,
                    "width": 8,
                    "height": 8,
                    "mode": "L",
                    "format": "PNG",
                }
            )
    return pd.DataFrame(rows)


Build = Callable[..., Workspace]


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Write a manifest and its embeddings; `table` and `X` replace the usual ones."""

    def make(
        table: pd.DataFrame | None = None,
        X: np.ndarray | None = None,
        meta: Mapping[str, Any] | None = None,
        spec: Mapping[str, Any] = SPEC,
    ) -> Workspace:
        place = Workspace(tmp_path / "workspace")
        table = make_table() if table is None else table
        if X is None:
            X = embeddings(pd.factorize(table["label"].fillna("grade 0"))[0])
        about = {"dataset": "mri", "roots": ["/data"], "made_splits": ["val"], **(meta or {})}
        write_manifest(place.manifest("mri"), Manifest(table, about))
        folder = place.embeddings("mri", "tiny") / spec_key(spec)
        keys = np.frombuffer(b"".join(table["content_key"]), np.uint8).reshape(-1, 16)
        with StoreWriter(folder, EMBEDDINGS, spec, {"weights_source": "pretrained"}) as writer:
            writer.append(keys[: len(X)], X)
        return place

    return make


@pytest.fixture
def table() -> pd.DataFrame:
    return make_table()


HEADS = {
    "logistic": {"C": [0.01, 1.0, 100.0]},
    "ordinal": {"C": [0.01, 1.0, 100.0]},
    "adam": {"lr": [1e-3, 1e-2], "hidden": [None, 4], "epochs": 6},
    "knn": {"n_neighbors": [1, 5, 15]},
    "centroid": {},
    "majority": {},
}
ALL: dict[str, Any] = {"datasets": "mri", "backbones": "tiny", "heads": HEADS}


def sweep_of(**changes: Any) -> Any:
    """Make a sweep of all heads on the data set of `build`, but for `changes`."""
    return parse_sweep({**ALL, **changes}, "here")


def run(place: Workspace, **changes: Any) -> Results:
    """Run that sweep in this process."""
    return run_sweep(place, sweep_of(**changes), jobs=1)


def other_dataset(place: Workspace, label: str = "grade 1", embedded: int | None = None) -> None:
    """Write a second data set, of patients and images of its own, with its embeddings."""
    table = make_table(12)
    for column in ("image_id", "path", "group_id"):
        table[column] = "x" + table[column]
    keys = [name.encode().ljust(16, b"\0") for name in table["image_id"]]
    table["file_key"] = table["content_key"] = keys
    table.loc[table["label"] == "grade 1", "label"] = label
    write_manifest(place.manifest("other"), Manifest(table, {"dataset": "other", "roots": ["/"]}))
    folder = place.embeddings("other", "tiny") / spec_key(SPEC)
    X = embeddings(pd.factorize(table["label"])[0], seed=0)
    with StoreWriter(folder, EMBEDDINGS, SPEC, {}) as writer:
        writer.append(
            np.frombuffer(b"".join(keys[:embedded]), np.uint8).reshape(-1, 16), X[:embedded]
        )
