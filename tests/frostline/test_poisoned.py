"""A store that an earlier release poisoned is found by `cache verify --images`, and mended."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import frostline
from frostline.cache import EMBEDDINGS, Store, StoreWriter, find_stores, spec_key
from frostline.cli import app
from frostline.extract.images.opened import OpenedFile
from frostline.extract.images.transform import Transform

TINY = "timm:test_vit"
HOW = {"weights": "random", "image_size": 32}
Verify = Callable[..., str]


def write(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)


@pytest.fixture
def place(tmp_path: Path) -> frostline.Workspace:
    for seed in range(6):
        write(tmp_path / f"images/{'ab'[seed % 2]}/{seed}.png", seed)
    place = frostline.Workspace(tmp_path / "workspace")
    place.index("set", tmp_path / "images")
    return place


@pytest.fixture
def poisoned(
    place: frostline.Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> frostline.Workspace:
    """Embeddings of 6 images, a/2.png among them while it was another one, by release 0.1.0."""
    image = tmp_path / "images/a/2.png"
    old = image.read_bytes()
    write(image, 99)
    monkeypatch.setattr(OpenedFile, "check_key", lambda *_: None)
    place.extract("set", TINY, **HOW)
    monkeypatch.undo()
    image.write_bytes(old)
    place.index("set", tmp_path / "images")
    return place


@pytest.fixture
def verify(place: frostline.Workspace) -> Verify:
    def run(*more: str, code: int = 0) -> str:
        done = CliRunner().invoke(
            app, ["cache", "verify", "--workspace", str(place.folder), "--images", *more]
        )
        assert done.exit_code == code, done.output
        return done.output

    return run


def embeddings(place: frostline.Workspace) -> np.ndarray:
    store = place.extract("set", TINY, **HOW).store
    return store.read(store.locate(place.index("set", place.folder.parent / "images").keys()))


def stores(place: frostline.Workspace) -> list[Store]:
    folders = [place.paths.pixels("set"), place.paths.embeddings("set", TINY)]
    return [Store.open(folder) for parent in folders for folder in find_stores(parent)]


def test_a_poisoned_store_is_found_and_mended(
    poisoned: frostline.Workspace, verify: Verify, tmp_path: Path
) -> None:
    wrong = embeddings(poisoned)
    run = poisoned.probe("set", TINY, "centroid")
    said = verify(code=1)
    pixels, made = (store.folder.relative_to(poisoned.folder) for store in stores(poisoned))
    for folder in (pixels, made):
        assert (
            f"{folder}: 1 of 6 rows are not of the image that their key names: a/2.png.\n" in said
        )
    assert "Compared 12 rows with their images: 2 wrong." in said
    assert f"Run {run.id} learned from them: delete {run.path} to repeat it." in said
    assert [len(store) for store in stores(poisoned)] == [6, 6]  # nothing is changed unasked
    said = verify("--repair")
    assert "2 wrong, and dropped: run `frostline extract` to compute them again." in said
    assert [len(store) for store in stores(poisoned)] == [5, 5]
    assert len(list(poisoned.folder.rglob("damaged-part-*.h5"))) == 2
    right = embeddings(poisoned)
    clean = frostline.Workspace(tmp_path / "clean")
    clean.index("set", tmp_path / "images")
    np.testing.assert_array_equal(right, embeddings(clean))
    assert (right != wrong).any(axis=1).sum() == 1
    assert "Compared 12 rows with their images: 0 wrong." in verify()


def test_rows_that_a_repair_does_not_touch_are_not_computed_again(
    poisoned: frostline.Workspace, verify: Verify, capsys: pytest.CaptureFixture[str]
) -> None:
    verify("--repair", code=0)
    where = ["--workspace", str(poisoned.folder), "--weights", "random", "--image-size", "32"]
    app(["extract", "-d", "set", "-b", TINY, *where], standalone_mode=False)
    assert "6 distinct images: 1 embedded now (1 decoded), 5 reused" in capsys.readouterr().out


def test_what_cannot_be_compared_is_said(
    place: frostline.Workspace, verify: Verify, tmp_path: Path
) -> None:
    place.extract("set", TINY, **HOW)

    def floats(image: Image.Image) -> np.ndarray:
        return np.asarray(image.resize((32, 32)), np.float32).transpose(2, 0, 1)

    place.extract("set", TINY, weights="random", transform=Transform(floats, "floats"))
    (tmp_path / "images/a/0.png").unlink()
    place.index("set", tmp_path / "images")
    write(tmp_path / "images/b/1.png", 98)
    said = verify()
    assert said.count("rows of images that the data set no longer has cannot be checked (1)") == 3
    assert f"Image {tmp_path}/images/b/1.png changed after it was indexed" in said
    assert (
        "5 rows whose pixels are not stored are not checked because your own transform made its "
        "pixels.\n"
    ) in said
    assert "Compared 8 rows with their images: 0 wrong." in said


def test_embeddings_without_stored_pixels_are_computed_again(
    poisoned: frostline.Workspace, verify: Verify
) -> None:
    pixels, made = stores(poisoned)
    for part in pixels.folder.glob("part-*.h5"):
        part.unlink()
    said = verify(code=1)
    assert f"{made.folder.relative_to(poisoned.folder)}: 1 of 6 rows are not" in said
    assert "Compared 6 rows with their images: 1 wrong." in said


def test_activations_are_judged_by_the_pixels_they_were_made_from(
    poisoned: frostline.Workspace, verify: Verify
) -> None:
    made = stores(poisoned)[1]
    smaller = {**made.spec["pixels"], "channels": "grey"}  # whose pixels are not stored
    for spec in ({**made.spec, "feature": "block:x"}, {**made.spec, "pixels": smaller}):
        folder = poisoned.paths.boundaries("set", TINY) / spec_key(spec)
        with StoreWriter(folder, EMBEDDINGS, spec, {"weights_source": "file lost.pth"}) as writer:
            writer.append(made.keys, made.read(np.arange(6)))
    said = verify(code=1)
    assert said.count(" of 6 rows are not of the image that their key names: a/2.png.") == 3
    assert ": 5 rows whose pixels are not stored are not checked because its weights" in said
    assert "Compared 19 rows with their images: 4 wrong." in said
