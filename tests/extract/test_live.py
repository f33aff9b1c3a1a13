"""Cached embeddings against fresh ones: equal when all is well, found when not."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from frostline.cache import (
    EMBEDDINGS,
    InputError,
    Store,
    StoreWriter,
    Workspace,
    read_manifest,
    spec_key,
)
from frostline.extract.backbones.backbone import Backbone, load_backbone
from frostline.extract.embed import embed_images, embedding_spec
from frostline.extract.forward import whole_float32
from frostline.extract.index import index_dataset
from frostline.extract.live import LEAST_COSINE, LiveRow, compare_live
from frostline.extract.pixels import pixel_source

from .test_embed import GEOMETRY, NORMALISATION, extract, make_images


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


def test_a_good_store_of_few_bits_is_not_condemned(tmp_path: Path, backbone: Backbone) -> None:
    """Its passes are as large as extraction's were; and bfloat16 rounds at every other addition."""
    workspace = Workspace(tmp_path / "ws")
    manifest = index_dataset(workspace, "set", roots=[make_images(tmp_path / "images", 9)])
    source = pixel_source(workspace, manifest, GEOMETRY)
    about = backbone.name, backbone.weights, backbone.feature, NORMALISATION
    for batch in (2, 16):
        spec = embedding_spec(source, *about, "bfloat16")
        store = workspace.embeddings("set", backbone.name) / spec_key(spec)
        shutil.rmtree(store, ignore_errors=True)
        embed_images(workspace, source, spec, lambda: backbone, batch=batch)
        opened = Store.open(store)
        assert opened.provenance["batch"] == batch
        rows = compare_live(manifest, opened, backbone, sample=9)
        assert all(row.equal and row.difference == 0 for row in rows)
    assert LEAST_COSINE["bfloat16"] < LEAST_COSINE["float16"] < LEAST_COSINE["float32"]
    assert LiveRow("a.png", 1 - 2.8e-5, 0.1, LEAST_COSINE["bfloat16"]).equal
    assert not LiveRow("a.png", 1 - 2.8e-5, 0.1).equal


def test_float32_is_whole_on_a_gpu_and_what_was_set_comes_back() -> None:
    places = torch.backends.cudnn, torch.backends.cuda.matmul
    before = [place.allow_tf32 for place in places]
    try:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = True, False
        with pytest.raises(KeyError), whole_float32("cuda:1"):
            assert [place.allow_tf32 for place in places] == [False, False]
            raise KeyError
        assert [place.allow_tf32 for place in places] == [True, False]
        with whole_float32("cpu"):
            assert [place.allow_tf32 for place in places] == [True, False]
    finally:
        for place, was in zip(places, before, strict=True):
            place.allow_tf32 = was


@pytest.mark.skipif(
    not hasattr(torch.backends.cudnn, "conv"), reason="torch has no fp32_precision before 2.9"
)
def test_a_users_fp32_precision_comes_back_too() -> None:
    cudnn, products = torch.backends.cudnn, torch.backends.cuda.matmul
    before = [(one, one.fp32_precision) for one in (cudnn.conv, cudnn.rnn, products)]
    try:
        cudnn.conv.fp32_precision, products.fp32_precision = "ieee", "tf32"
        with pytest.raises(RuntimeError):  # which reads two settings that say different things
            print(cudnn.allow_tf32)
        with whole_float32("cuda"):
            assert [one.fp32_precision for one, _ in before] == ["ieee"] * 3
            assert not cudnn.allow_tf32
        assert [one.fp32_precision for one, _ in before] == ["ieee", "tf32", "tf32"]
    finally:
        for one, was in before:
            one.fp32_precision = was
