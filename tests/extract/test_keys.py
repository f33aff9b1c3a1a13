"""Every field of both specs changes the key, and nothing else does."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from frostline.cache import Workspace, read_manifest, spec_key
from frostline.extract.backbones.backbone import Backbone, load_backbone
from frostline.extract.embed import embed_images, embedding_spec
from frostline.extract.images.geometry import Geometry
from frostline.extract.index import index_dataset
from frostline.extract.pixels import pixel_source, pixel_spec

from .test_embed import GEOMETRY, NORMALISATION, make_images

# Another value for every field there is: a new field of either spec must be added here.
CHANGES: dict[str, Any] = {
    "pixels.geometry.resize": "squash",
    "pixels.geometry.resize_to": 73,
    "pixels.geometry.crop": 63,
    "pixels.geometry.interpolation": "bicubic",
    "pixels.geometry.window": {"percentiles": [1, 99]},
    "pixels.geometry.spacing": [1.0, 1.0, 1.0],
    "pixels.geometry.neighbours": False,
    "pixels.channels": "grey",
    "normalisation.mean": [0.485, 0.456, 0.407],
    "normalisation.std": [0.229, 0.224, 0.226],
    "backbone": "timm:test_vit2",
    "weights": "0" * 32,
    "feature": "mean",
    "compute": "bfloat16",
    "storage": "float16",
    "head": "1" * 32,
}

STACKED = replace(GEOMETRY, neighbours=True)


def whole_spec(tmp_path: Path) -> dict[str, Any]:
    workspace = Workspace(tmp_path / "ws")
    manifest = index_dataset(workspace, "set", roots=[make_images(tmp_path / "images", 2)])
    source = pixel_source(workspace, manifest, STACKED)
    return embedding_spec(
        source, "timm:test_vit", "f" * 32, "cls", NORMALISATION, "float32", "e" * 32
    )


def leaves(value: Any, name: str = "") -> Iterator[str]:
    if not isinstance(value, dict):
        yield name
        return
    for key, item in value.items():
        yield from leaves(item, f"{name}.{key}".lstrip("."))


def test_every_field_of_the_specs_changes_the_key(tmp_path: Path) -> None:
    spec = whole_spec(tmp_path)
    assert set(leaves(spec)) == set(CHANGES)
    assert set(spec["pixels"]["geometry"]) == {field.name for field in fields(Geometry)}
    keys = {spec_key(spec)}
    for name, value in CHANGES.items():
        changed = copy.deepcopy(spec)
        *path, last = name.split(".")
        inner = changed
        for step in path:
            inner = inner[step]
        assert inner[last] != value
        inner[last] = value
        keys.add(spec_key(changed))
    assert len(keys) == 1 + len(CHANGES)
    assert spec["pixels"] == pixel_spec(STACKED, "rgb")
    plain = {**spec, "pixels": pixel_spec(GEOMETRY, "rgb")}
    assert spec_key(plain) not in keys  # it has no such field, as before there was one


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load_backbone("timm:test_vit", weights="random", image_size=64)


def test_nothing_else_changes_the_key_or_computes_a_row_again(
    tmp_path: Path, backbone: Backbone
) -> None:
    workspace, root = Workspace(tmp_path / "ws"), make_images(tmp_path / "images", 6)
    index_dataset(workspace, "set", roots=[root])

    def run(batch: int = 4, workers: int = 1, **options: Any) -> tuple[str, int, int]:
        manifest = read_manifest(workspace.manifest("set"))
        if options.pop("reversed", False):
            manifest.table = manifest.table.iloc[::-1].reset_index(drop=True)
        source = pixel_source(workspace, manifest, GEOMETRY, workers=workers)
        spec = embedding_spec(
            source, backbone.name, backbone.weights, backbone.feature, NORMALISATION
        )
        done = embed_images(workspace, source, spec, lambda: backbone, batch=batch, **options)
        return done.key, done.embedded, done.decoded

    key, *first = run()
    assert first == [6, 6]
    again = (key, 0, 0)
    assert run(batch=3) == run(workers=3) == run(reversed=True) == run(device="meta") == again
    # Relabelled and renamed: into another class folder, under another name.
    image = sorted(root.rglob("*.png"))[0]
    image.rename(root / "b" / "renamed.png")
    index_dataset(workspace, "set", roots=[root])
    assert run() == again
    index_dataset(workspace, "set", roots=[root], resplit=True, seed=5)
    assert run() == again
    # Removed: nothing to do. Changed under the same name, and new: these alone.
    sorted(root.rglob("*.png"))[1].unlink()
    index_dataset(workspace, "set", roots=[root])
    assert run() == again
    other = make_images(tmp_path / "other", 2, seed=9)
    sorted(root.rglob("*.png"))[2].write_bytes((other / "b" / "p9-0.png").read_bytes())
    (root / "a" / "new.png").write_bytes((other / "a" / "p9-1.png").read_bytes())
    index_dataset(workspace, "set", roots=[root])
    assert run() == (key, 2, 2)
