"""Sweeps by real commands in real processes: the command line, an interrupt, a Dask cluster."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from processes import MAIN

from frostline.cache import InputError
from frostline.probe.sweep.run import run_sweep
from frostline.probe.sweep.settings import parse_sweep

from .conftest import Build, embeddings, make_table, run, sweep_of

HEADS = {"centroid": {}, "knn": {"n_neighbors": [1, 5]}}


def command(place: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-c", MAIN, "sweep", "--workspace", str(place), *arguments]


def frostline(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(place, *arguments),
        capture_output=True,
        text=True,
        check=False,
        # Dask waits half a minute for a scheduler to come up, unless it is told.
        env={**os.environ, "COLUMNS": "200", "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "3s"},
    )


def test_processes_give_the_same_numbers(build: Build, tmp_path: Path) -> None:
    place = build()
    changes = {"heads": ["centroid", "knn"], "train_groups": [9, "all"], "draws": 2}
    alone = run(place, **changes)
    for path in alone.predictions:
        path.unlink()
    for path in (place.root / "sweeps" / "cells").iterdir():
        path.unlink()
    together = run_sweep(place, sweep_of(**changes), jobs=2)
    pd.testing.assert_frame_equal(alone.table, together.table)


def test_a_mistake_in_a_worker_is_one_sentence(build: Build) -> None:
    X = embeddings(pd.factorize(make_table()["label"])[0])
    X[3, 3] = np.nan
    sweep = sweep_of(heads=["centroid", "knn"])
    with pytest.raises(InputError, match=r"^The embeddings of 1 images in store .* hold NaN"):
        run_sweep(build(X=X), sweep, jobs=2)


def test_the_command_sweeps_and_prints_the_best(build: Build, tmp_path: Path) -> None:
    place = build().root
    file = tmp_path / "heads.yaml"
    file.write_text("datasets: mri\nbackbones: tiny\nheads: [centroid, majority]\n")
    done = frostline(place, str(file), "--train-groups", "2,all", "--jobs", "1")
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == [
        "mri: 2 training groups are skipped, because every class needs 3.",
        "mri · tiny · pooled · centroid: accuracy 87.5% [65.3, 96.3] on 12 test groups; majority "
        "class 33.3%",
    ]
    assert "Best head of every backbone, chosen on validation" in done.stdout
    assert "centroid" in done.stdout
    assert "2 predictions files in" in done.stdout
    (results,) = place.glob("sweeps/heads-????????/results.parquet")
    assert str(results) in done.stdout
    options = ("-d", "mri", "-b", "tiny", "--head", "knn", "--grid", "knn.n_neighbours=1,5")
    wrong = frostline(place, *options)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr == (
        "Error: Head 'knn' has no hyper-parameter 'n_neighbours': there are "
        "n_neighbors, temperature, class_weight.\n"
    )


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_finished(build: Build) -> None:
    place = build().root
    grid = ("--grid", "adam.lr=1e-4,1e-3,1e-2", "--grid", "adam.epochs=200")
    options = ("-d", "mri", "-b", "tiny", *grid, "--train-groups", "6,all", "--jobs", "2")
    preamble = "import frostline.probe.sweep.run as s; s.HEADS_A_TASK = 1; "
    arguments = command(place, *options)
    arguments[2] = preamble + MAIN
    process = subprocess.Popen(
        arguments, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    predictions = place / "predictions"
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if len(list(predictions.glob("mri-*"))) >= 2:
            break
        time.sleep(0.05)
    # As a terminal does: to every process of the command.
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.splitlines()[-1] == (
        "Interrupted: run the same command again to go on from what is finished."
    )
    assert "Traceback" not in said
    finished = {path: path.stat().st_mtime_ns for path in predictions.glob("mri-*")}
    assert 2 <= len(finished) < 11
    again = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert len(list(predictions.glob("mri-*"))) == 11
    assert all(path.stat().st_mtime_ns == before for path, before in finished.items())


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[str]:
    """Address of a Dask scheduler with two workers, each a process of its own."""
    pytest.importorskip("distributed")
    scheduler_file = tmp_path / "scheduler.json"
    module = [sys.executable, "-m", "distributed.cli.dask_"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    place = ["--scheduler-file", str(scheduler_file)]
    local = ["--no-dashboard", "--host", "127.0.0.1"]
    processes = [
        subprocess.Popen(
            [*module[:-1], f"{module[-1]}scheduler", "--port", "0", *local, *place], **quiet
        )
    ]
    worker = [*module[:-1], f"{module[-1]}worker", "--no-nanny", "--nthreads", "1", *local, *place]
    processes += [
        subprocess.Popen([*worker, "--local-directory", str(tmp_path / f"w{n}")], **quiet)
        for n in range(2)
    ]
    from distributed import Client

    with Client(scheduler_file=str(scheduler_file), timeout="60s") as client:
        client.wait_for_workers(2, timeout=60)
        address = client.scheduler.address
    yield address
    for process in processes[::-1]:
        process.terminate()
        process.wait(timeout=30)


@pytest.mark.slow
def test_a_dask_cluster_gives_the_same_numbers(
    build: Build, cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = build()
    about = {"datasets": "mri", "backbones": "tiny", "heads": HEADS, "train_groups": [6, "all"]}
    monkeypatch.setattr("frostline.probe.sweep.run.HEADS_A_TASK", 4)
    far = run_sweep(place, parse_sweep(about, "here"), scheduler=cluster)
    for path in far.predictions:
        path.unlink()
    for path in (place.root / "sweeps" / "cells").iterdir():
        path.unlink()
    near = run_sweep(place, parse_sweep(about, "here"), jobs=1)
    pd.testing.assert_frame_equal(far.table, near.table)


def test_no_scheduler_is_one_sentence(build: Build) -> None:
    pytest.importorskip("distributed")
    options = ("-d", "mri", "-b", "tiny", "--head", "centroid", "--scheduler", "tcp://127.0.0.1:1")
    done = frostline(build().root, *options)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        "Error: No Dask scheduler answers at tcp://127.0.0.1:1 (OSError): start one, or correct "
        "--scheduler."
    )
