"""Cached embeddings against fresh ones: equal when all is well, found when not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from frostline.cache import (
    EMBEDDINGS,
    InputError,
    Store,
    StoreWriter,
    Workspace,
    read_manifest,
)
from frostline.extract.backbones.backbone import Backbone, load_backbone
from frostline.extract.live import compare_live

from .test_embed import extract, make_images


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load_backbone("timm:test_vit", weights="random", image_size=64)


def test_cached_equals_live_and_a_strange_row_does_not(tmp_path: Path, backbone: Backbone) -> None:
    workspace = Workspace(tmp_path / "ws")
    done = extract(workspace, make_images(tmp_path / "images", 9), backbone)
    manifest = read_manifest(workspace.manifest("set"))
    store = Store.open(workspace.embeddings("set", "timm:test_vit") / done.key)
    rows = compare_live(manifest, store, backbone, sample=5)
    assert len({row.image_id for row in rows}) == 5
    assert all(row.equal and row.difference < 1e-5 for row in rows)
    # The same store with two rows exchanged: whole by its digests, and wrong.
    keys, values = store.keys, store.read(np.arange(9))
    for part in store.parts:
        part.path.unlink()
    with StoreWriter(store.folder, EMBEDDINGS, store.spec, {}) as writer:
        writer.append(keys, values[[1, 0, *range(2, 9)]])
    found = compare_live(manifest, Store.open(store.folder), backbone, sample=20)
    assert sum(not row.equal for row in found) == 2


def test_other_weights_are_refused(tmp_path: Path, backbone: Backbone) -> None:
    workspace = Workspace(tmp_path / "ws")
    done = extract(workspace, make_images(tmp_path / "images", 2), backbone)
    store = Store.open(workspace.embeddings("set", "timm:test_vit") / done.key)
    other = load_backbone("timm:test_vit", weights="random", weights_seed=3, image_size=64)
    with pytest.raises(InputError, match="with other weights than these: give the weights it was"):
        compare_live(read_manifest(workspace.manifest("set")), store, other)
