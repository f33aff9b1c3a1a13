"""docs/clusters.md, "Embedding by Dask or Ray Data": its code on real workers; one dies."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import frostline
from frostline.cache import Store, part_files
from frostline.extract.images import decoders
from frostline.extract.pixels import fill_pixels, pixel_source

from ..extract.test_embed import GEOMETRY
from .conftest import make_images
from .test_clusters import PAGE

NETWORK = "timm:test_vit"
TINY = {"weights": "random", "image_size": 32}
# In each worker: slow enough to be killed in the middle of a shard, of which it tells.
SLOWLY = """
import os, pathlib, time
import frostline.cache.stores.writer as w
def dask_setup(worker):
    append = w.StoreWriter.append
    def slowly(*rows):
        pathlib.Path(os.environ["BEGUN"], str(os.getpid())).touch()
        time.sleep(0.2)
        append(*rows)
    w.StoreWriter.append = slowly
"""


def code_of(engine: str) -> str:
    (text,) = [one for one in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if engine in one]
    place = '"/shared/workspace", "mine", "dinov2-s"'
    assert place in text
    return str(text)


@pytest.fixture
def ws(tmp_path: Path) -> frostline.Workspace:
    make_images(tmp_path / "images", 48)
    found = frostline.Workspace(tmp_path / "ws")
    found.index("mine", tmp_path / "images", group_pattern="(patient[0-9]+)")
    return found


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[tuple[str, Path, dict[int, subprocess.Popen[bytes]]]]:
    """Address of a scheduler, a folder where workers say that they have begun, and two workers."""
    pytest.importorskip("distributed")
    (begun := tmp_path / "begun").mkdir()
    (tmp_path / "slowly.py").write_text(SLOWLY)
    place, local = ["--scheduler-file", str(tmp_path / "scheduler.json")], ["--host", "127.0.0.1"]

    def start(what: str, *options: str) -> subprocess.Popen[bytes]:
        words = [sys.executable, "-m", f"distributed.cli.dask_{what}", "--no-dashboard"]
        return subprocess.Popen(
            [*words, *local, *place, *options],
            env={**os.environ, "BEGUN": str(begun), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    preload = "--preload", str(tmp_path / "slowly.py"), "--no-nanny", "--nthreads", "1"
    processes = [start("scheduler", "--port", "0")]
    processes += [start("worker", *preload, "--local-directory", str(tmp_path / n)) for n in "ab"]
    from distributed import Client

    try:
        with Client(scheduler_file=str(tmp_path / "scheduler.json"), timeout="60s") as client:
            client.wait_for_workers(2, timeout=60)
            address = client.scheduler.address
        yield address, begun, {worker.pid: worker for worker in processes[1:]}
    finally:
        for process in processes[::-1]:
            process.kill()
            process.wait()


def rows_of(folder: Path) -> dict[bytes, bytes]:
    store = Store.open(folder)
    rows = store.locate(store.keys)
    found = zip(store.keys, store.read(rows), strict=True)
    return {key.tobytes(): row.tobytes() for key, row in found}


@pytest.mark.slow
def test_dask_completes_what_a_killed_worker_had_begun(
    ws: frostline.Workspace,
    workers: tuple[str, Path, dict[int, subprocess.Popen[bytes]]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    address, begun, processes = workers
    stores = ws.paths.embeddings("mine", NETWORK)
    at_its_end: list[int] = []

    def kill_the_first() -> None:
        while not (first := next(begun.iterdir(), None)):
            time.sleep(0.01)
        processes[int(first.name)].send_signal(signal.SIGKILL)
        processes[int(first.name)].wait()
        at_its_end.append(len(list(stores.rglob("part-*.h5"))))

    killer = threading.Thread(target=kill_the_first, daemon=True)
    killer.start()
    code = code_of("distributed").replace("tcp://HOST:8786", address).replace("1024", "4")
    code = code.replace("/shared/workspace", str(ws.folder)).replace("dinov2-s", NETWORK)
    code = code.replace(f'"{NETWORK}"', f'"{NETWORK}", **{TINY}')
    names: dict[str, object] = {}
    exec(compile(code, "docs/clusters.md", "exec"), names)
    names["client"].close()  # type: ignore[attr-defined]
    killer.join()
    assert at_its_end[0] < 12  # there was something left to do
    assert sorted(process.poll() is None for process in processes.values()) == [False, True]
    assert len(capsys.readouterr().out.splitlines()) == 12

    (folder,) = stores.iterdir()
    alone = frostline.Workspace(tmp_path / "alone")
    alone.index("mine", tmp_path / "images", group_pattern="(patient[0-9]+)")
    assert alone.extract("mine", NETWORK, **TINY).store.key == folder.name  # type: ignore[arg-type]
    assert rows_of(folder) == rows_of(alone.paths.embeddings("mine", NETWORK) / folder.name)
    parts = part_files(folder)
    assert ws.extract("mine", NETWORK, **TINY).store.key == folder.name  # type: ignore[arg-type]
    assert part_files(folder) == parts


def test_ray_fills_the_same_store(ws: frostline.Workspace) -> None:
    ray = pytest.importorskip("ray")
    network = {"weights": "random", "image_size": 32}
    code = code_of("import ray").replace("/shared/workspace", str(ws.folder)).replace("1024", "4")
    code = code.replace("dinov2-s", NETWORK).replace("(*about)", f"(*about, **{network})")
    code = code.replace("args=about,", f"args=about, fn_constructor_kwargs={network},")
    code = code.replace("concurrency=8", "concurrency=2").replace("num_gpus=1", "num_cpus=0.5")
    names: dict[str, object] = {}
    ray.init(num_cpus=2, include_dashboard=False)
    try:
        exec(compile(code, "docs/clusters.md", "exec"), names)
    finally:
        ray.shutdown()
    (folder,) = ws.paths.embeddings("mine", NETWORK).iterdir()
    assert len(part_files(folder)) == 12
    assert len(Store.open(folder)) == 48
    assert frostline.Embedder(ws.folder, "mine", NETWORK, **TINY).shards() == []


def decode_all(ws: frostline.Workspace) -> None:
    decoders.FEW = 8
    manifest = frostline.cache.read_manifest(ws.paths.manifest("mine"))  # type: ignore[attr-defined]
    store = fill_pixels(pixel_source(ws.paths, manifest, GEOMETRY, workers=2))
    assert len(store.read(np.arange(len(store)))) == 48


def test_a_daemon_decodes_too(ws: frostline.Workspace) -> None:
    process = multiprocessing.get_context("fork").Process(
        target=decode_all, args=(ws,), daemon=True
    )
    process.start()
    process.join()
    assert process.exitcode == 0
