"""Extraction that keeps no pixels: the same embeddings, and nothing else on disk."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from processes import start_script

from frostline.cache import Store, Workspace, find_stores, read_manifest

from .conftest import Run, environment, make_images, script

EXTRACT = ["extract", "--dataset", "set", "--backbone", "timm:test_vit", "--weights", "random"]
EXTRACT += ["--image-size", "32", "--device", "cpu", "--batch", "4"]
STUDY = {
    "name": "small",
    "datasets": {"set": {"root": "images", "group_pattern": "(patient[0-9]+)"}},
    "backbones": [{"name": "timm:test_vit", "weights": "random"}],
    "protocols": {"near": {"head": "knn", "image_size": 32}},
    "replicates": 100,
    "device": "cpu",
}


def index(folder: Path, frostline: Run, workspace: str, count: int = 40) -> Workspace:
    if not (folder / "images").exists():
        make_images(folder / "images", count)
    done = frostline("index", "set", "--root", "images", "--workspace", workspace)
    assert done.returncode == 0, done.stderr
    return Workspace(folder / workspace)


def embeddings(workspace: Workspace) -> np.ndarray:
    """Rows of all images, in the order of the manifest; every digest is checked."""
    (folder,) = find_stores(workspace.embeddings("set", "timm:test_vit"))
    store = Store.open(folder)
    return store.read(store.locate(read_manifest(workspace.manifest("set")).keys()))


def test_the_same_embeddings_and_no_pixels(tmp_path: Path, frostline: Run) -> None:
    with_pixels, without = (index(tmp_path, frostline, name) for name in "ab")
    first = frostline(*EXTRACT, "--workspace", "a")
    second = frostline(*EXTRACT, "--workspace", "b", "--keep-pixels", "no")
    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    np.testing.assert_array_equal(embeddings(without), embeddings(with_pixels))
    assert find_stores(with_pixels.pixels("set"))
    assert not (without.root / "pixels").exists()
    # Pixels that are there are read, and others are not added to them.
    make_images(tmp_path / "images", 50)
    index(tmp_path, frostline, "a")
    (pixels,) = find_stores(with_pixels.pixels("set"))
    again = frostline(*EXTRACT, "--workspace", "a", "--keep-pixels", "no")
    assert "10 embedded now" in again.stdout + again.stderr
    assert len(Store.open(pixels)) == 40
    # Fine-tuning reads pixels: it keeps them.
    tuned = frostline(
        *["finetune", *EXTRACT[1:-2], "--unfreeze", "1", "--epochs", "1", "--workspace", "b"]
    )
    assert tuned.returncode == 0, tuned.stderr
    assert find_stores(without.pixels("set"))


def test_what_was_killed_goes_on(tmp_path: Path, frostline: Run) -> None:
    whole, stopped = (index(tmp_path, frostline, name) for name in "ab")
    assert frostline(*EXTRACT, "--workspace", "a").returncode == 0
    words = [*EXTRACT, "--workspace", "b", "--keep-pixels", "no"]
    files = [str(tmp_path / "out"), str(tmp_path / "err")]
    process = start_script(script(slowly=True), words, tmp_path, environment(), files)
    while not list(stopped.root.rglob("part-*.h5")):
        assert process.is_alive(), (tmp_path / "err").read_text()
        time.sleep(0.002)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    (folder,) = find_stores(stopped.embeddings("set", "timm:test_vit"))
    before = len(Store.open(folder))
    assert 0 < before < 40
    done = frostline(*words)
    assert f"{40 - before} embedded now" in done.stdout + done.stderr
    np.testing.assert_array_equal(embeddings(stopped), embeddings(whole))
    assert not (stopped.root / "pixels").exists()


@pytest.mark.slow
def test_a_study_that_keeps_no_pixels(tmp_path: Path, frostline: Run) -> None:
    make_images(tmp_path / "images", 40)
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(STUDY))
    for name, more in (("a", []), ("b", ["--set", "keep_pixels=false"])):
        dry = frostline("run", "study.yaml", "--dry-run", "--workspace", name, *more)
        assert ("0 of 3 steps" if name == "a" else "0 of 2 steps") in dry.stdout, dry.stderr
        done = frostline("run", "study.yaml", "--workspace", name, *more)
        assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(*(embeddings(Workspace(tmp_path / name)) for name in "ab"))
    assert not (tmp_path / "b" / "pixels").exists()
    # What was done with pixels stays done without them, and the other way round.
    for name, more in (("a", ["--set", "keep_pixels=false"]), ("b", [])):
        again = frostline("run", "study.yaml", "--workspace", name, *more)
        assert again.returncode == 0, again.stderr
        assert "embedded now" not in again.stderr
