"""Kills, several processes at once, machines that stop: afterwards every row is there, the same.

Extractions run in forked processes, with parts of a few rows, so that a test can stop many of them.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import threading
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from frostline.cache import Store, Workspace, atomic, find_stores, read_manifest
from frostline.cache.stores import writer
from frostline.cache.stores.verify import verify_store
from frostline.extract.backbones.backbone import Backbone, load_backbone
from frostline.extract.embed import embed_images, embedding_spec
from frostline.extract.images.geometry import Geometry
from frostline.extract.index import index_dataset
from frostline.extract.pixels import pixel_source

from .test_embed import NORMALISATION, make_images

GEOMETRY = Geometry("shorter", 36, 32)
COUNT = 48
STOPPED = 77
FORK = multiprocessing.get_context("fork")
Rows = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load_backbone("timm:test_vit", weights="random", image_size=32)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_images(tmp_path_factory.mktemp("images"), COUNT)


@pytest.fixture(scope="module")
def undisturbed(images: Path, backbone: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Rows:
    workspace = indexed(tmp_path_factory.mktemp("whole"), images)
    in_process(workspace, backbone).join()
    return stored(workspace)


def indexed(folder: Path, images: Path) -> Workspace:
    workspace = Workspace(folder)
    index_dataset(workspace, "set", roots=[images])
    return workspace


def extract(workspace: Workspace, backbone: Backbone, options: dict[str, Any]) -> None:
    torch.set_num_threads(1)
    writer.PART_BYTES = 1000
    manifest = read_manifest(workspace.manifest("set"))
    source = pixel_source(workspace, manifest, GEOMETRY, workers=1)
    spec = embedding_spec(source, backbone.name, backbone.weights, "cls", NORMALISATION)
    embed_images(workspace, source, spec, lambda: backbone, batch=4, **options)


def in_process(workspace: Workspace, backbone: Backbone, **options: Any) -> BaseProcess:
    process = FORK.Process(target=extract, args=(workspace, backbone, options))
    process.start()
    return process


def stored(workspace: Workspace) -> Rows:
    """Rows by image; every digest of every part is checked."""
    manifest = read_manifest(workspace.manifest("set"))
    (folder,) = find_stores(workspace.embeddings("set", "timm:test_vit"))
    (pixels,) = find_stores(workspace.pixels("set"))
    assert verify_store(folder) + verify_store(pixels) == []
    store = Store.open(folder)
    found = store.locate(manifest.keys())
    ids = manifest.table["image_id"][found >= 0]
    return dict(zip(ids, store.read(found[found >= 0]), strict=True))


def check_same(rows: Rows, undisturbed: Rows) -> None:
    assert rows.keys() == undisturbed.keys()
    for image_id, row in undisturbed.items():
        np.testing.assert_array_equal(row, rows[image_id])


def finish(workspace: Workspace, backbone: Backbone) -> None:
    process = in_process(workspace, backbone)
    process.join()
    assert process.exitcode == 0
    assert list(workspace.root.rglob(".tmp-*")) == []


def kill_again_and_again(workspace: Workspace, backbone: Backbone, kills: int) -> int:
    """Kill an extraction at random moments; a finished one begins anew. Give how many were hit."""
    rng, hit = random.Random(0), 0
    while hit < kills:
        process = in_process(workspace, backbone)
        process.join(timeout=rng.uniform(0.01, 0.5))
        if process.exitcode is None:
            os.kill(process.pid or 0, signal.SIGKILL)
            hit += 1
            process.join()
            continue
        # It was done: take some parts away, so that there is work again.
        for part in random.Random(hit).sample(sorted(workspace.root.rglob("part-*.h5")), k=8):
            part.unlink()
    return hit


def test_killed_a_few_times(
    tmp_path: Path, images: Path, backbone: Backbone, undisturbed: Rows
) -> None:
    workspace = indexed(tmp_path, images)
    kill_again_and_again(workspace, backbone, kills=5)
    finish(workspace, backbone)
    check_same(stored(workspace), undisturbed)


@pytest.mark.slow
def test_killed_a_hundred_times(
    tmp_path: Path, images: Path, backbone: Backbone, undisturbed: Rows
) -> None:
    workspace = indexed(tmp_path, images)
    assert kill_again_and_again(workspace, backbone, kills=100) == 100
    finish(workspace, backbone)
    check_same(stored(workspace), undisturbed)


@pytest.mark.parametrize("processes", [2, 4])
def test_several_processes_extract_the_same_store_at_once(
    tmp_path: Path, images: Path, backbone: Backbone, undisturbed: Rows, processes: int
) -> None:
    workspace = indexed(tmp_path, images)
    running = [in_process(workspace, backbone) for _ in range(processes)]
    for process in running:
        process.join()
        assert process.exitcode == 0
    check_same(stored(workspace), undisturbed)
    assert list(workspace.root.rglob(".tmp-*")) == []


def test_four_shards_of_which_one_is_killed_and_restarted(
    tmp_path: Path, images: Path, backbone: Backbone, undisturbed: Rows
) -> None:
    workspace = indexed(tmp_path, images)
    running = []
    for share in range(4):
        running.append(in_process(workspace, backbone, shard=(share, 4)))
        if share == 2:  # soon: a share of so few images takes no longer than a fraction of a second
            time.sleep(0.03)
            os.kill(running[2].pid or 0, signal.SIGKILL)
    running[2].join()
    running.append(in_process(workspace, backbone, shard=(2, 4)))
    for process in running:
        process.join()
    assert [process.exitcode for process in running] == [0, 0, -signal.SIGKILL, 0, 0]
    check_same(stored(workspace), undisturbed)


class Disk:
    """Knows what a machine that stops would lose: renames whose folder was not flushed."""

    def __init__(self, stop_at: int) -> None:
        self.left = stop_at
        self.renamed: list[tuple[Path, Path]] = []
        self.flushed: set[Path] = set()
        self.lock = threading.Lock()

    def flush(self, path: Path) -> None:
        with self.lock:
            if path.is_dir():
                self.left -= 1
                if not self.left:
                    self.stop()
                self.renamed = [(old, new) for old, new in self.renamed if new.parent != path]
            self.flushed.add(path)

    def replace(self, old: Path, new: Path) -> None:
        with self.lock:
            # Without a flush before it is renamed, a file may come back empty.
            assert old in self.flushed, f"{old} was renamed before it was flushed"
            os.rename(old, new)
            self.renamed.append((old, new))

    def stop(self) -> None:
        for old, new in self.renamed:
            os.rename(new, old)
        os._exit(STOPPED)


def stopping(stop_at: int, workspace: Workspace, backbone: Backbone) -> None:
    disk = Disk(stop_at)
    atomic.flush_to_disk = disk.flush
    Path.replace = lambda old, new: disk.replace(old, new)  # type: ignore[method-assign, assignment, return-value]
    extract(workspace, backbone, {})


@pytest.mark.parametrize("stop_at", [1, 2, 5])
def test_a_machine_that_stops_between_rename_and_flush(
    tmp_path: Path, images: Path, backbone: Backbone, undisturbed: Rows, stop_at: int
) -> None:
    workspace = indexed(tmp_path, images)
    process = FORK.Process(target=stopping, args=(stop_at, workspace, backbone))
    process.start()
    process.join()
    assert process.exitcode == STOPPED
    assert len(list(workspace.root.rglob(".tmp-*"))) >= 1
    finish(workspace, backbone)
    check_same(stored(workspace), undisturbed)
