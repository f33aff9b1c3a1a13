"""Augmented views of images: what they are, by what they are keyed, and that they go on."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from frostline.cache import InputError, Manifest, Store, Workspace, find_stores, read_manifest
from frostline.cache.stores.store import store_spec
from frostline.cache.stores.views import find_views, plain_spec
from frostline.extract.augmentation.augment import augment
from frostline.extract.augmentation.chance import view_chance
from frostline.extract.augmentation.settings import AUGMENTATIONS, STRENGTHS, Augmentation
from frostline.extract.augmentation.views import Views, make_views
from frostline.extract.embed import Extraction
from frostline.extract.forward import forward_function
from frostline.extract.images.geometry import Geometry
from frostline.extract.images.transform import Transform
from frostline.extract.index import index_dataset
from frostline.extract.pixels import distinct_images, fill_pixels, pixel_source
from frostline.stages import Machine, Network, extract_features, viewed_images

from .test_embed import make_images

NETWORK = Network("timm:test_vit", "random", image_size=32)
CPU = Machine("cpu", engine="torch", batch=4)
FLIPPED = Augmentation(augmentation=("horizontal_flip",), degrees=10)
CROPPED = Augmentation(augmentation=("random_resized_crop",), gaussian_noise=0.02)
KEYS = np.random.default_rng(0).integers(0, 256, (64, 16), dtype=np.uint8)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    place = Workspace(tmp_path / "workspace")
    index_dataset(place, "set", roots=[make_images(tmp_path / "images", 12)])
    return place


def extract(place: Workspace, views: Views | None, **options: Any) -> list[Extraction]:
    machine = options.pop("machine", CPU)
    return extract_features(place, "set", NETWORK, [None], machine=machine, views=views, **options)


def manifest_of(place: Workspace) -> Manifest:
    return read_manifest(place.manifest("set"))


def view_store(place: Workspace, key: str) -> Store:
    return Store.open(place.views("set", "timm:test_vit") / key)


def rows(store: Store, keys: np.ndarray) -> np.ndarray:
    return store.read(store.locate(keys))


def bytes_of(place: Workspace) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in place.root.rglob("part-*.h5")}


@pytest.mark.parametrize("changes", [FLIPPED, CROPPED])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_view_is_the_embedding_of_the_augmented_pixels(
    workspace: Workspace, changes: Augmentation, precision: str
) -> None:
    done = extract(workspace, Views(2, changes, 5), machine=replace(CPU, precision=precision))
    manifest = manifest_of(workspace)
    images = distinct_images(replace(manifest, table=manifest.table.query("split == 'train'")))
    keys = np.frombuffer(b"".join(images["content_key"]), np.uint8).reshape(-1, 16)
    inputs = NETWORK.inputs(workspace, manifest)
    # By hand: the square that is kept, changed, then seen.
    crop = 36 if changes.crops else 32
    kept = pixel_source(workspace, manifest, replace(inputs.geometry, crop=crop))
    pixels = torch.from_numpy(rows(fill_pixels(kept), keys))
    backbone = NETWORK.load(workspace, inputs)
    embed = forward_function(backbone, inputs.normalisation, "cpu", precision)
    plain, *views = done
    assert [(one.view, one.images) for one in views] == [(1, len(keys)), (2, len(keys))]
    for one in views:
        seen = augment(pixels, changes, 32, view_chance(keys, 5, one.view))
        assert seen.shape[1:3] == (32, 32)
        expected = np.concatenate([embed(part.numpy()) for part in _padded(seen)])[: len(keys)]
        np.testing.assert_array_equal(rows(view_store(workspace, one.key), keys), expected)
    store = Store.open(workspace.embeddings("set", "timm:test_vit") / plain.key)
    first = rows(view_store(workspace, views[0].key), keys)
    assert not np.isclose(first, rows(store, keys)).all(axis=1).any()


def _padded(images: torch.Tensor, size: int = 4) -> Sequence[torch.Tensor]:
    """Batches as an extraction has them."""
    parts = torch.split(images, size)
    last = torch.cat([parts[-1], parts[-1].new_zeros(size - len(parts[-1]), *images.shape[1:])])
    return [*parts[:-1], last]


def test_without_views_all_is_as_it_was_and_with_them_plain_rows_are(workspace: Workspace) -> None:
    (plain,) = extract(workspace, None)
    before = bytes_of(workspace)
    assert not (workspace.root / "views").exists()
    again, *views = extract(workspace, Views(1, FLIPPED))
    assert (again.key, again.embedded) == (plain.key, 0)
    assert {path: path.read_bytes() for path in before} == before
    spec = store_spec(workspace.views("set", "timm:test_vit") / views[0].key)
    assert spec["view"] == {
        "number": 1,
        "seed": 0,
        "augmentation": ["horizontal_flip"],
        "degrees": 10.0,
    }
    plain_store = Store.open(workspace.embeddings("set", "timm:test_vit") / plain.key)
    assert plain_spec(spec) == plain_store.spec
    assert "view" not in plain_store.spec


def test_seed_changes_and_number_are_the_key_and_the_count_is_not(workspace: Workspace) -> None:
    stronger = FLIPPED.model_copy(update={"degrees": 11.0})
    kinds = [Views(2, FLIPPED), Views(2, FLIPPED, 1), Views(2, stronger), Views(2, CROPPED)]
    keys = [tuple(one.key for one in extract(workspace, views)[1:]) for views in kinds]
    assert len({key for pair in keys for key in pair}) == 8
    more = extract(workspace, Views(3, FLIPPED))
    assert [one.embedded for one in more] == [0, 0, 0, more[1].images]
    assert tuple(one.key for one in more[1:3]) == keys[0]
    # What needs a margin is cut from it, and belongs to the same plain store.
    crop = store_spec(workspace.views("set", "timm:test_vit") / keys[3][0])
    assert (crop["view"]["crop"], crop["pixels"]["geometry"]["crop"]) == (32, 36)
    plain = Store.open(workspace.embeddings("set", "timm:test_vit") / more[0].key)
    assert plain_spec(crop) == plain.spec
    folder = workspace.views("set", "timm:test_vit")
    for number, pair in enumerate(keys):
        chosen = find_views(folder, plain, 2, pair[1][:12])
        assert [store.key for store in chosen] == list(keys[number])
    with pytest.raises(InputError) as caught:
        find_views(folder, plain, 2)
    assert "choose one by --views-key" in str(caught.value)
    assert all(pair[0][:12] in str(caught.value) for pair in keys)
    with pytest.raises(InputError, match="starts with 'zz'"):
        find_views(folder, plain, 2, "zz")
    with pytest.raises(InputError, match="view 4 of 5 is not there: run"):
        find_views(folder, plain, 5, keys[0][0])


def test_a_view_is_the_same_in_another_workspace_order_batch_and_shard(
    workspace: Workspace, tmp_path: Path
) -> None:
    done = extract(workspace, Views(2, CROPPED, 3, "all"))
    other = Workspace(tmp_path / "other")
    shutil.copytree(workspace.root / "manifests", other.root / "manifests")
    shards = [extract(other, Views(2, CROPPED, 3, "all"), shard=(n, 2)) for n in (1, 0)]
    assert [sum(one[1].embedded for one in shards), done[1].embedded] == [12, 12]
    keys = manifest_of(workspace).keys()
    for one in done[1:]:
        left, right = (rows(view_store(place, one.key), keys) for place in (workspace, other))
        np.testing.assert_array_equal(left, right)


def test_an_extraction_that_was_stopped_goes_on_with_the_same_views(workspace: Workspace) -> None:
    done = extract(workspace, Views(3, FLIPPED))
    before = {one.key: view_store(workspace, one.key) for one in done[1:]}
    keys = before[done[1].key].keys
    expected = {key: rows(store, keys) for key, store in before.items()}
    for path in before[done[2].key].folder.glob("part-*.h5"):
        path.unlink()
    again = extract(workspace, Views(3, FLIPPED))
    assert [one.embedded for one in again] == [0, 0, done[2].images, 0]
    for key, values in expected.items():
        np.testing.assert_array_equal(rows(view_store(workspace, key), keys), values)


def test_views_are_of_training_images_or_of_all(workspace: Workspace) -> None:
    manifest = manifest_of(workspace)
    train = manifest.table.query("split == 'train'")
    assert len(viewed_images(manifest, Views(1, FLIPPED))) == len(train) < len(manifest)
    assert len(viewed_images(manifest, Views(1, FLIPPED, of="all"))) == len(manifest)
    with pytest.raises(InputError, match="has no column 'site' for the split"):
        extract(workspace, Views(1, FLIPPED, split="site"))
    nobody = replace(manifest, table=manifest.table.assign(split="test"))
    with pytest.raises(InputError, match="has no training image .* --views-of all"):
        viewed_images(nobody, Views(1, FLIPPED))
    assert find_stores(workspace.embeddings("set", "timm:test_vit")) == []  # refused before work


def test_draws_follow_from_content_seed_and_view_alone() -> None:
    drawn = view_chance(KEYS, 7, 2)
    turned = view_chance(KEYS[::-1], 7, 2).of(torch.arange(len(KEYS)).flip(0))
    assert all(torch.equal(*pair) for pair in zip(drawn, turned, strict=True))
    others = [view_chance(KEYS, 7, 1), view_chance(KEYS, 8, 2), view_chance(KEYS, 2**32 - 1, 2)]
    for other in others:
        assert not any((left == right).any() for left, right in zip(drawn, other, strict=True))
    assert ((drawn.shares >= 0) & (drawn.shares < 1)).all()
    assert (drawn.seeds >= 0).all()


def test_draws_are_those_of_fine_tuning_in_their_distribution() -> None:
    keys = np.random.default_rng(1).integers(0, 256, (4000, 16), dtype=np.uint8)
    drawn = view_chance(keys, 0, 1)
    for share in drawn.shares.T:
        counts = torch.histc(share, 10, 0, 1)
        assert ((counts - 400).abs() < 100).all()  # five standard deviations
    matrix = np.corrcoef(torch.cat([drawn.shares, drawn.bits.double()], 1).T.numpy())
    assert np.abs(matrix - np.eye(len(matrix))).max() < 0.08


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({}, "--views needs something that changes images"),
        ({"augmentation": "none", "degrees": "0"}, "--views needs something that changes images"),
        ({"degree": "5"}, "An augmentation has no field 'degree': there are augmentation, degrees"),
        ({"degrees": "270"}, "degrees must be less than or equal to 180"),
        ({"augmentation": "mirror"}, f"none, or some of {', '.join(AUGMENTATIONS)}"),
    ],
)
def test_what_views_cannot_be(fields: dict[str, str], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        make_views(2, fields)


@pytest.mark.parametrize("how", [{"seed": 1}, {"of": "all"}, {"split": "part"}])
def test_what_is_for_views_is_refused_without(how: dict[str, Any]) -> None:
    assert make_views(0, {}) is None
    with pytest.raises(InputError, match="is for --views: give it too, or leave"):
        make_views(0, {}, **how)
    with pytest.raises(InputError, match="is for --views"):
        make_views(0, {"degrees": 5})


def test_every_change_can_be_one_of_views(workspace: Workspace) -> None:
    everything = {name: 0.1 for name in STRENGTHS if name != "scale"} | {"scale": "0.9,1.1"}
    names = ",".join(name for name in AUGMENTATIONS if name != "random_crop")
    views = make_views(1, {"augmentation": names, **everything})
    assert views is not None
    assert extract(workspace, views)[1].embedded > 0
    spec = store_spec(find_stores(workspace.views("set", "timm:test_vit"))[0])
    assert set(spec["view"]) == {"number", "seed", "augmentation", "crop", *STRENGTHS}


def test_crops_without_a_margin_and_a_transform_of_ones_own_are_refused(
    workspace: Workspace,
) -> None:
    crop = Views(1, Augmentation(augmentation=("random_crop",)))
    network = replace(NETWORK, image_size=None, transform=Geometry("squash", 32, 32))
    with pytest.raises(InputError, match="There is no margin for random_crop"):
        extract_features(workspace, "set", network, [None], machine=CPU, views=crop)
    assert not (workspace.root / "embeddings").exists()  # before anything was computed
    function = Transform(lambda image: image.resize((32, 32)), name="small")
    own = replace(NETWORK, image_size=None, transform=function)
    with pytest.raises(InputError, match="Your own transform is not for --views"):
        extract_features(workspace, "set", own, [None], machine=CPU, views=Views(1, FLIPPED))
