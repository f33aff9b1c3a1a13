"""Filling the pixel store: many files a task, archives image by image, errors in their place."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from frostline.cache import InputError, Manifest, Store, Workspace
from frostline.cache.stores import writer
from frostline.extract import pixels
from frostline.extract.images import decoders
from frostline.extract.images.geometry import Geometry
from frostline.extract.index import index_dataset
from frostline.extract.pixels import PixelSource, fill_pixels, pixel_source

EXACT = Geometry("squash", 8, 8)
CHANGED = (
    "Image {} changed after it was indexed: run `frostline index` again, or bring the file back."
)
IMAGES = np.random.default_rng(0).integers(0, 256, (30, 8, 8), dtype=np.uint8)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")


def files(root: Path, workspace: Workspace) -> Manifest:
    for label in "ab":
        (root / label).mkdir(parents=True)
    for number, image in enumerate(IMAGES):
        Image.fromarray(image).save(root / f"{'ab'[number >= 20]}/{number:02d}.png")
    return index_dataset(workspace, "set", roots=[root])


def archive(root: Path, workspace: Workspace, **options: Any) -> PixelSource:
    root.mkdir()
    ends = {"train": (0, 20), "val": (20, 24), "test": (24, 30)}
    arrays = {f"{part}_images": IMAGES[slice(*end)] for part, end in ends.items()}
    arrays |= {f"{part}_labels": np.zeros((e - s, 1)) for part, (s, e) in ends.items()}
    np.savez_compressed(root / "small.npz", **arrays)
    manifest = index_dataset(
        workspace, "set", kind="medmnist", roots=[root], options={"data": "small"}
    )
    return pixel_source(workspace, manifest, EXACT, **options)


def stored(source: PixelSource) -> np.ndarray:
    """Pixels in the order of the manifest."""
    store = fill_pixels(source)
    return store.read(store.locate(source.manifest.keys()))


def test_files_of_several_tasks(tmp_path: Path, workspace: Workspace) -> None:
    source = pixel_source(workspace, files(tmp_path / "root", workspace), EXACT)
    np.testing.assert_array_equal(stored(source), IMAGES)
    assert source.decoded == 30


@pytest.mark.parametrize("many", [10, 2048])
def test_archives(
    tmp_path: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    monkeypatch.setattr(decoders, "MANY_FRAMES", many)
    source = archive(tmp_path / "root", workspace)
    np.testing.assert_array_equal(stored(source), IMAGES)


def test_an_archive_is_read_image_by_image(
    tmp_path: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoders, "MANY_FRAMES", 10)
    monkeypatch.setattr(decoders, "FIRST_CHUNK", 4)
    source = archive(tmp_path / "root", workspace)
    decoded = []
    apply = Geometry.apply

    def counted(self: Geometry, *arguments: Any) -> np.ndarray:
        decoded.append(1)
        return apply(self, *arguments)

    monkeypatch.setattr(Geometry, "apply", counted)
    batches = source.batches(pixels.distinct_images(source.manifest), 4)
    next(batches)
    assert len(decoded) == 4
    assert sum(len(keys) for keys, _ in batches) == 26


@pytest.mark.parametrize("many", [10, 2048])
def test_damaged_archives_stop_or_are_skipped(
    tmp_path: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    monkeypatch.setattr(decoders, "MANY_FRAMES", many)
    source = archive(tmp_path / "root", workspace, on_error="skip")
    path = tmp_path / "root/small.npz"
    path.write_bytes(path.read_bytes()[:200])
    assert not list(source.batches(pixels.distinct_images(source.manifest), 4))
    assert source.skipped == [CHANGED.format(path)]
    source.on_error = "stop"
    with pytest.raises(InputError, match=r"small.npz changed after it was indexed"):
        fill_pixels(source)


def test_memory_is_not_used_again_before_it_is_written(
    tmp_path: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoders, "PART_BYTES", 3 * IMAGES[0].nbytes)
    write = writer.write_part

    def slow(*about: Any) -> Path:
        time.sleep(0.03)
        return write(*about)

    monkeypatch.setattr(writer, "write_part", slow)
    source = pixel_source(workspace, files(tmp_path / "root", workspace), EXACT)
    np.testing.assert_array_equal(stored(source), IMAGES)
    assert len(Store.open(source.folder).parts) == 10


def test_batches_are_full_whatever_chunks_files_come_in(
    tmp_path: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoders, "FIRST_CHUNK", 3)
    manifest = files(tmp_path / "root", workspace)
    images = pixels.distinct_images(manifest)
    given: list[np.ndarray] = []

    def memory(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        given.append(np.empty(shape, dtype))
        return given[-1]

    def read(source: PixelSource) -> list[int]:
        rows = iter(range(30))
        sizes = []
        for keys, values in source.batches(images, 8, memory):
            assert np.shares_memory(values, given[-1])
            for key, value in zip(keys, values, strict=True):
                row = next(rows)
                assert key.tobytes() == images["content_key"][row]
                np.testing.assert_array_equal(value, IMAGES[row])
            sizes.append(len(keys))
        return sizes

    kept = pixel_source(workspace, manifest, EXACT)
    assert read(pixel_source(workspace, manifest, EXACT, keep=False)) == [8, 8, 8, 6]
    assert not kept.folder.exists()
    assert read(kept) == [8, 8, 8, 6]  # from files
    assert read(kept) == [8, 8, 8, 6]  # from the store
    assert {array.shape[0] for array in given} == {8}


def test_processes_decode_what_threads_do(
    tmp_path: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoders, "FEW", 10)
    monkeypatch.setattr(decoders, "FIRST_CHUNK", 4)
    manifest = files(tmp_path / "root", workspace)
    (tmp_path / "root/a/05.png").write_bytes(b"damaged")
    source = pixel_source(workspace, manifest, EXACT, workers=2, on_error="skip")
    store = fill_pixels(source)
    rows = store.locate(manifest.keys())
    assert np.flatnonzero(rows < 0).tolist() == [5]
    np.testing.assert_array_equal(store.read(rows[rows >= 0]), np.delete(IMAGES, 5, axis=0))
    assert len(source.skipped) == 1
    assert len(store.parts) > 2


def test_a_killed_process_is_one_sentence_and_what_was_decoded_is_kept(
    tmp_path: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoders, "FEW", 10)
    monkeypatch.setattr(decoders, "FIRST_CHUNK", 10)
    monkeypatch.setattr(decoders, "TASK_FRAMES", 1)
    manifest = files(tmp_path / "root", workspace)
    apply = Geometry.apply

    def killed(self: Geometry, image: Image.Image, *rest: Any) -> np.ndarray:
        if np.array_equal(np.asarray(image), IMAGES[25]):
            os.kill(os.getpid(), signal.SIGKILL)
        return apply(self, image, *rest)

    monkeypatch.setattr(Geometry, "apply", killed)
    source = pixel_source(workspace, manifest, EXACT, workers=2)
    with pytest.raises(ChildProcessError, match=r"decodes images ended at once.*fewer --workers"):
        fill_pixels(source)
    monkeypatch.undo()
    kept = len(Store.open(source.folder))
    assert 10 <= kept < 30
    again = pixel_source(workspace, manifest, EXACT)
    np.testing.assert_array_equal(stored(again), IMAGES)
    assert again.decoded == 30 - kept


def test_no_process_outlives_its_parent(tmp_path: Path) -> None:
    script = (
        "import multiprocessing, os, sys, time\n"
        "from frostline.extract.images import decoders\n"
        "process = multiprocessing.get_context('fork').Process(\n"
        "    target=lambda: (decoders._begin(os.getppid(), [], None, 'grey'), time.sleep(60)))\n"
        "process.start()\n"
        "print(process.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        time.sleep(0.5)
        os.kill(child, 0)
        parent.kill()
    for _ in range(100):
        time.sleep(0.1)
        if not running(child):
            return
    os.kill(child, signal.SIGKILL)
    raise AssertionError("the process is still there")


def running(process: int) -> bool:
    """Whether there is such a process that has not ended (nor waits for a parent to hear it)."""
    try:
        return Path(f"/proc/{process}/stat").read_text().split(") ")[1][0] != "Z"
    except FileNotFoundError:
        return False


def test_one_damaged_file_of_a_task_is_skipped_alone(tmp_path: Path, workspace: Workspace) -> None:
    manifest = files(tmp_path / "root", workspace)
    for number in (3, 17):
        (tmp_path / f"root/a/{number:02d}.png").write_bytes(b"damaged, %d" % number)
    manifest = index_dataset(workspace, "set", roots=[tmp_path / "root"])
    source = pixel_source(workspace, manifest, EXACT, on_error="skip")
    store = fill_pixels(source)
    assert len(store) == 28
    assert [text.split(":")[0].rpartition("/")[2] for text in source.skipped] == [
        "03.png",
        "17.png",
    ]
    missing = np.flatnonzero(store.locate(manifest.keys()) < 0)
    assert missing.tolist() == [3, 17]
    source = pixel_source(workspace, manifest, EXACT)
    with pytest.raises(InputError, match=r"03.png: it is not an image"):
        fill_pixels(source)
