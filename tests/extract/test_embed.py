"""From files to embeddings: each image once, in any order, whatever was there before."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils._python_dispatch import TorchDispatchMode

from frostline.cache import InputError, Store, Workspace, find_stores, read_manifest, spec_key
from frostline.extract import forward
from frostline.extract.backbones.backbone import Backbone, load_backbone
from frostline.extract.embed import Extraction, embed_features, embed_images, embedding_spec
from frostline.extract.forward import forward_function, pad
from frostline.extract.images.geometry import Geometry
from frostline.extract.index import index_dataset
from frostline.extract.pixels import distinct_images, fill_pixels, pixel_source
from frostline.extract.prefetch import AHEAD, prefetch, reused_memory

NORMALISATION = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
GEOMETRY = Geometry("shorter", 72, 64)


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load_backbone("timm:test_vit", weights="random", image_size=64)


def make_images(root: Path, count: int, seed: int = 0, mode: str = "RGB") -> Path:
    rng = np.random.default_rng(seed)
    for number in range(count):
        path = root / ("a" if number % 2 else "b") / f"p{seed}-{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        shape = (80, 90, 3) if mode == "RGB" else (80, 90)
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(path)
    return root


def extract(
    workspace: Workspace, root: Path, backbone: Backbone, batch: int = 4, **options: Any
) -> Extraction:
    source_options = {k: options.pop(k) for k in ("on_error", "workers") if k in options}
    manifest = index_dataset(workspace, "set", roots=[root])
    source = pixel_source(workspace, manifest, GEOMETRY, **source_options)
    of = backbone.name, backbone.weights, backbone.feature, NORMALISATION
    spec = embedding_spec(source, *of, options.pop("compute", "float32"))
    return embed_images(workspace, source, spec, lambda: backbone, batch=batch, **options)


def stored(workspace: Workspace, done: Extraction) -> dict[str, np.ndarray]:
    manifest = read_manifest(workspace.manifest("set"))
    store = Store.open(workspace.embeddings("set", "timm:test_vit") / done.key)
    rows = store.locate(manifest.keys())
    return dict(zip(manifest.table["image_id"], store.read(rows), strict=True))


def test_the_batch_that_fits_is_found(
    tmp_path: Path, backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_images(tmp_path / "images", 21)
    places = [Workspace(tmp_path / name) for name in "abc"]
    whole = stored(places[0], extract(places[0], root, backbone))
    passes: list[int] = []
    most = 5
    make = forward.several_forward

    def small_memory(*about: Any) -> Any:
        compute = make(*about)

        def limited(pixels: torch.Tensor) -> list[torch.Tensor]:
            passes.append(len(pixels))
            if len(pixels) > most:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return compute(pixels)

        return limited

    monkeypatch.setattr(forward, "several_forward", small_memory)
    with pytest.warns(UserWarning, match="does not hold (16|8) images at a time: passes") as said:
        found = stored(places[1], extract(places[1], root, backbone, batch=16))
    assert len(said) == 2
    # 16 do not fit, 8 do not; then all are of 4.
    assert passes == [16, 8, *[4] * 6]
    for name, row in whole.items():
        np.testing.assert_allclose(found[name], row, atol=1e-6)
    most = 0
    with pytest.raises(InputError, match="does not hold the forward pass of one image: use "):
        extract(places[2], root, backbone, batch=1)


class Casts(TorchDispatchMode):
    """Count what copies of some tensors are made."""

    def __init__(self, tensors: Iterable[torch.Tensor]) -> None:
        super().__init__()
        self.known = {tensor.data_ptr() for tensor in tensors}
        self.count = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        copies = (torch.ops.aten._to_copy.default, torch.ops.aten.to.dtype)
        self.count += func in copies and args[0].data_ptr() in self.known
        return func(*args, **(kwargs or {}))


def test_weights_are_cast_once_and_not_in_every_batch(tmp_path: Path, backbone: Backbone) -> None:
    counts = []
    for count in (4, 12):
        with Casts(backbone.model.parameters()) as casts:
            root, place = tmp_path / f"{count}", Workspace(tmp_path / f"ws{count}")
            extract(place, make_images(root, count), backbone, compute="bfloat16")
        counts.append(casts.count)
    assert counts[0] == counts[1] > 40


def test_cached_equals_live(tmp_path: Path, backbone: Backbone) -> None:
    workspace = Workspace(tmp_path / "ws")
    done = extract(workspace, make_images(tmp_path / "images", 7), backbone)
    assert (done.images, done.embedded, done.decoded) == (7, 7, 7)
    forward = forward_function(backbone, NORMALISATION, "cpu", "float32")
    for image_id, embedding in stored(workspace, done).items():
        with Image.open(tmp_path / "images" / image_id) as image:
            pixels = GEOMETRY.apply(image, "rgb")
        np.testing.assert_array_equal(
            forward(pad(torch.from_numpy(pixels[None]), 4).numpy())[0], embedding
        )


def test_a_row_does_not_depend_on_its_neighbours_or_the_batch_it_came_in(
    tmp_path: Path, backbone: Backbone
) -> None:
    root = make_images(tmp_path / "images", 11)
    whole = extract(Workspace(tmp_path / "one"), root, backbone)
    for image in sorted(root.rglob("*.png"), key=lambda path: path.name)[5:]:
        image.rename(image.with_suffix(".later"))
    extract(Workspace(tmp_path / "two"), root, backbone)
    for image in root.rglob("*.later"):
        image.rename(image.with_suffix(".png"))
    grown = extract(Workspace(tmp_path / "two"), root, backbone)
    assert (grown.key, grown.embedded) == (whole.key, 6)
    first, second = (
        stored(Workspace(tmp_path / place), done)
        for place, done in (("one", whole), ("two", grown))
    )
    for image_id, embedding in first.items():
        np.testing.assert_array_equal(embedding, second[image_id])


def test_a_second_run_opens_no_image_and_computes_nothing(
    tmp_path: Path, backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, root = Workspace(tmp_path / "ws"), make_images(tmp_path / "images", 5)
    extract(workspace, root, backbone)
    parts = sorted((tmp_path / "ws").rglob("*.h5"))
    monkeypatch.setattr(Image, "open", lambda *_: pytest.fail("an image was opened"))
    again = extract(workspace, root, backbone)
    assert (again.images, again.embedded, again.decoded) == (5, 0, 0)
    assert sorted((tmp_path / "ws").rglob("*.h5")) == parts


def test_another_backbone_reuses_the_pixels(tmp_path: Path, backbone: Backbone) -> None:
    workspace, root = Workspace(tmp_path / "ws"), make_images(tmp_path / "images", 5)
    extract(workspace, root, backbone)
    other = load_backbone("timm:test_vit", weights="random", weights_seed=1, image_size=64)
    done = extract(workspace, root, other)
    assert (done.embedded, done.decoded) == (5, 0)
    assert [line.split(":")[0] for line in done.differs] == ["weights"]


def test_equal_contents_are_embedded_once(tmp_path: Path, backbone: Backbone) -> None:
    root = make_images(tmp_path / "images", 4)
    (root / "a" / "copy.png").write_bytes((root / "a" / "p0-1.png").read_bytes())
    workspace = Workspace(tmp_path / "ws")
    done = extract(workspace, root, backbone)
    rows = stored(workspace, done)
    assert (done.images, len(rows)) == (4, 5)
    np.testing.assert_array_equal(rows["a/copy.png"], rows["a/p0-1.png"])


def test_grey_images_are_stored_as_one_channel_and_shown_as_three(
    tmp_path: Path, backbone: Backbone
) -> None:
    workspace = Workspace(tmp_path / "ws")
    done = extract(workspace, make_images(tmp_path / "images", 3, mode="L"), backbone)
    manifest = read_manifest(workspace.manifest("set"))
    pixels = fill_pixels(pixel_source(workspace, manifest, GEOMETRY))
    assert pixels.shape == (64, 64)
    grey = pixels.read(pixels.locate(manifest.keys()[:1]))
    forward = forward_function(backbone, NORMALISATION, "cpu", "float32")
    three = torch.from_numpy(np.repeat(grey[..., None], 3, axis=3))
    colour = forward(pad(three, 4).numpy())[0]
    cached = stored(workspace, done)[manifest.table["image_id"][0]]
    np.testing.assert_allclose(colour, cached, atol=1e-6)


def test_an_unreadable_image_stops_with_its_name_or_is_skipped_and_listed(
    tmp_path: Path, backbone: Backbone
) -> None:
    root = make_images(tmp_path / "images", 6)
    broken = root / "a" / "p0-3.png"
    broken.write_bytes(broken.read_bytes()[:200])
    workspace = Workspace(tmp_path / "ws")
    with pytest.raises(InputError, match=f"Cannot read image {broken}"):
        extract(workspace, root, backbone)
    done = extract(workspace, root, backbone, on_error="skip")
    (sentence,) = done.skipped
    assert sentence.startswith(f"Cannot read image {broken}: ")
    assert done.images == 6
    manifest = read_manifest(workspace.manifest("set"))
    store = Store.open(workspace.embeddings("set", "timm:test_vit") / done.key)
    missing = manifest.table["image_id"][store.locate(manifest.keys()) < 0]
    assert missing.tolist() == ["a/p0-3.png"]


def test_shards_share_the_work_without_overlap(tmp_path: Path, backbone: Backbone) -> None:
    root, workspace = make_images(tmp_path / "images", 9), Workspace(tmp_path / "ws")
    manifest = index_dataset(workspace, "set", roots=[root])
    shares = [set(distinct_images(manifest, (part, 3))["content_key"]) for part in range(3)]
    assert sum(map(len, shares)) == len(set().union(*shares)) == 9
    counts = [extract(workspace, root, backbone, shard=(part, 3)).embedded for part in range(3)]
    assert counts == list(map(len, shares))
    assert extract(workspace, root, backbone).embedded == 0


def test_extraction_leaves_the_random_state_alone(tmp_path: Path, backbone: Backbone) -> None:
    before = torch.get_rng_state()
    extract(Workspace(tmp_path / "ws"), make_images(tmp_path / "images", 2), backbone)
    assert torch.equal(before, torch.get_rng_state())


def test_prefetch_passes_items_on_and_raises_what_was_raised() -> None:
    def items() -> Any:
        yield 1
        raise InputError("the second item is bad")

    ahead = prefetch(items())
    assert next(ahead) == 1
    with pytest.raises(InputError, match="the second item is bad"):
        next(ahead)


def test_prefetch_that_is_closed_early_closes_its_items() -> None:
    closed = []

    def items() -> Any:
        try:
            while True:
                yield 1
        finally:
            closed.append(True)

    ahead = prefetch(items())
    next(ahead)
    ahead.close()  # type: ignore[attr-defined]
    assert closed == [True]


def test_memory_is_used_again_only_when_its_batch_was_used() -> None:
    memory, filled = reused_memory(), 0

    def items() -> Any:
        nonlocal filled
        for number in range(12):
            place = memory((3,), np.dtype(int))
            place[:] = number
            filled += 1
            yield place

    seen = set()
    for number, place in enumerate(prefetch(items())):
        while filled < min(number + AHEAD + 2, 12):  # it is as far ahead as it gets
            time.sleep(0.001)
        assert place.tolist() == [number] * 3
        seen.add(place.ctypes.data)
    assert len(seen) == AHEAD + 2


def test_several_features_of_one_pass_equal_each_alone(tmp_path: Path) -> None:
    root = make_images(tmp_path / "images", 7)
    names = ("cls", "cls+mean", "layer:blocks.3")
    several = load_backbone("timm:test_vit", weights="random", image_size=64, feature=names)
    together, apart = Workspace(tmp_path / "together"), Workspace(tmp_path / "apart")
    # One of them was begun before: only what it lacks is added.
    extract(together, root, load_backbone("timm:test_vit", weights="random", image_size=64))
    image = next(iter(sorted(root.rglob("*.png"))))
    image.with_name("new.png").write_bytes(image.read_bytes() + b"more")
    manifest = index_dataset(together, "set", roots=[root])
    alone = []
    for name in names:
        backbone = load_backbone("timm:test_vit", weights="random", image_size=64, feature=name)
        alone.append(extract(apart, root, backbone))
    source = pixel_source(together, manifest, GEOMETRY)
    specs = [
        embedding_spec(source, several.name, several.weights, name, NORMALISATION) for name in names
    ]
    done = embed_features(together, source, specs, lambda: several, batch=4)
    assert [one.key for one in done] == [one.key for one in alone]
    assert [one.embedded for one in done] == [1, 8, 8]
    for one in alone:
        mine, theirs = stored(together, one), stored(apart, one)
        for image_id, row in theirs.items():
            np.testing.assert_array_equal(row, mine[image_id])


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (float("nan"), r"timm:test_vit, cls: 3 of 3 embeddings hold NaN or infinity"),
        (0.0, r"timm:test_vit, cls: all 3 embeddings are the same"),
    ],
)
def test_embeddings_that_teach_nothing_are_warned_of_when_they_are_made(
    tmp_path: Path, fault: float, sentence: str
) -> None:
    broken = load_backbone("timm:test_vit", weights="random", image_size=64)
    with torch.no_grad():
        broken.model.norm.weight.mul_(fault)
    with pytest.warns(UserWarning, match=sentence):
        extract(Workspace(tmp_path / "ws"), make_images(tmp_path / "images", 3), broken)


def test_a_pass_that_was_stopped_and_one_that_goes_on_add_their_seconds(
    tmp_path: Path, backbone: Backbone
) -> None:
    workspace, root = Workspace(tmp_path / "ws"), make_images(tmp_path / "images", 12)

    def stopping(done: int, _: int) -> None:
        time.sleep(0.2)
        if done >= 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract(workspace, root, backbone, progress=stopping)
    (folder,) = find_stores(workspace.embeddings("set", "timm:test_vit"))
    before = Store.open(folder).seconds
    assert before is not None
    assert before >= 0.4
    done = extract(workspace, root, backbone, progress=lambda *_: time.sleep(0.3))
    assert (done.key, done.embedded) == (folder.name, 4)
    after = Store.open(folder).seconds
    assert after is not None
    assert after - before == pytest.approx(Store.open(folder).parts[-1].provenance["seconds"])
    assert after - before >= 0.3
    # Nothing is left to do, and nothing is added.
    extract(workspace, root, backbone, progress=lambda *_: time.sleep(0.3))
    assert Store.open(folder).seconds == after


def test_each_store_of_one_pass_says_the_whole_pass(tmp_path: Path, backbone: Backbone) -> None:
    workspace = Workspace(tmp_path / "ws")
    manifest = index_dataset(workspace, "set", roots=[make_images(tmp_path / "images", 8)])
    source = pixel_source(workspace, manifest, GEOMETRY)
    specs = [
        embedding_spec(source, backbone.name, backbone.weights, feature, NORMALISATION)
        for feature in ("cls", "mean")
    ]
    began = time.monotonic()
    embed_features(
        workspace, source, specs, lambda: backbone, batch=4, progress=lambda *_: time.sleep(0.2)
    )
    wall = time.monotonic() - began
    folders = find_stores(workspace.embeddings("set", "timm:test_vit"))
    assert {folder.name for folder in folders} == {spec_key(spec) for spec in specs}
    for folder in folders:
        seconds = Store.open(folder).seconds
        assert seconds is not None
        assert 0.4 <= seconds <= wall
