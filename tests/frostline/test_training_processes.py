"""`frostline finetune` stopped by Ctrl-C, and shared by several processes."""

from __future__ import annotations

import csv
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from frostline.cache import read_manifest
from frostline.report import read_predictions

from .conftest import Run, command, environment
from .tiny_training import TINY, epoch_lines, workspace

# Ctrl-C is heard, which a shell that runs the tests in the background has its children ignore.
HEARD = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "


def test_ctrl_c_keeps_the_best_so_far_and_the_next_run_goes_on(
    indexed: Run, tmp_path: Path
) -> None:
    arguments = command(*TINY, "--epochs", 400, "--set", "patience=6", "--lr", "1e-9")
    process = subprocess.Popen(
        [sys.executable, "-c", HEARD + arguments[2], *arguments[3:]],
        cwd=tmp_path,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    seen: list[str] = []
    while len(epoch_lines("".join(seen))) < 2:
        seen.append(process.stderr.readline())
    process.send_signal(signal.SIGINT)
    rest = process.communicate()[1].splitlines()
    assert process.returncode == 130
    assert rest[-1] == "Interrupted: run the same command again to go on from what is finished."
    lines = epoch_lines("".join(seen)) + epoch_lines("\n".join(rest))
    (folder,) = (tmp_path / "frostline-workspace" / "models").iterdir()
    kept = folder / "checkpoints" / (folder / "checkpoints" / "latest").read_text()
    # The epoch that was being told may have been saved before its line was.
    assert int(kept.name) in (len(lines), len(lines) + 1)
    assert {path.name for path in kept.iterdir()} == {
        "best.safetensors",
        "optimizer.pt",
        "state.json",
        "weights.safetensors",
    }
    again = indexed(*TINY, "--epochs", 400, "--set", "patience=6", "--lr", "1e-9")
    assert again.returncode == 0, again.stderr
    first = epoch_lines(again.stderr)[0]
    assert first.startswith(f"epoch {int(kept.name) + 1:3d}/400  train loss")
    with (folder / "log.csv").open() as file:
        epochs = [int(row["epoch"]) for row in csv.DictReader(file)]
    assert epochs == list(range(1, len(epochs) + 1))


def torchrun(tmp_path: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Two processes on this CPU."""
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node",
            "2",
            *map(str, arguments),
        ],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )


SHARED = (
    "--epochs",
    2,
    "--batch",
    5,
    "--lr",
    "1e-3",
    "--set",
    "micro_batch=2",
    "--set",
    "class_weights=balanced",
    "--set",
    "augmentation=horizontal_flip,color_jitter",
    "--set",
    "degrees=10",
    "--set",
    "gaussian_noise=0.02",
    "--set",
    "ema=0.5",
    "--set",
    "clip_grad_norm=1",
)


def test_two_processes_train_as_one(indexed: Run, tmp_path: Path) -> None:
    one = indexed(*TINY, *SHARED)
    assert one.returncode == 0, one.stderr
    path = tmp_path / one.stdout.strip()
    expected = read_predictions(path)
    path.unlink()
    two = torchrun(tmp_path, "-m", "frostline", *TINY, *SHARED)
    assert two.returncode == 0, two.stderr
    assert two.stdout == one.stdout  # said once
    assert two.stderr.count("epoch 1/2") == 1
    found = read_predictions(path)
    manifest = read_manifest(workspace(tmp_path).manifest("set")).table
    scored = manifest["image_id"][manifest["split"].isin(["val", "test"])]
    assert sorted(found.table["image_id"]) == sorted(scored)
    # Neither batches nor validation images are the same number in both processes.
    assert [sum(manifest["split"] == name) for name in ("train", "val")] == [28, 7]
    for name in ("train_loss", "val_loss", "val_accuracy"):
        one_epochs, two_epochs = (
            [epoch[name] for epoch in run.meta["history"]] for run in (expected, found)
        )
        assert two_epochs == pytest.approx(one_epochs, abs=2e-4), name
    columns = ["prob_sick", "prob_well"]
    np.testing.assert_allclose(found.table[columns], expected.table[columns], atol=1e-3)
    assert found.table["image_id"].tolist() == expected.table["image_id"].tolist()


@pytest.mark.slow
def test_batch_norm_is_not_trained_by_several_processes_on_cpus(
    indexed: Run, tmp_path: Path
) -> None:
    arguments = ["timm:test_resnet" if a == "timm:test_vit" else a for a in TINY]
    done = torchrun(tmp_path, "-m", "frostline", *arguments, "--epochs", 1)
    assert done.returncode != 0
    assert (
        "Error: Batch norm (backbone.conv1.1) cannot be trained by several processes on CPUs: use "
        "one process, GPUs, or a backbone without batch norm.\n"
    ) in done.stderr
    assert not (tmp_path / "frostline-workspace" / "predictions").exists()


@pytest.mark.slow
def test_without_a_compiler_one_sentence_says_so(
    indexed: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "/nowhere")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "compiled"))
    done = indexed(*TINY, "--epochs", 1, "--compile", fresh=True)
    assert done.returncode == 2
    assert done.stderr.startswith("Error: Compiling by torch.compile does not work here (")
    assert done.stderr.endswith("): leave out --compile.\n")
    assert not (tmp_path / "frostline-workspace" / "predictions").exists()


ONE_FAILS = """
import os
from frostline.cache import InputError
import frostline.finetune.training.epochs as train
from frostline.cli import main

measure = train.measure

def fails(*arguments):
    if os.environ["RANK"] == "1":
        raise InputError("Something is wrong in the second process.")
    return measure(*arguments)

train.measure = fails
main()
"""


@pytest.mark.slow
def test_an_error_in_one_process_ends_all(indexed: Run, tmp_path: Path) -> None:
    (tmp_path / "one_fails.py").write_text(ONE_FAILS)
    done = torchrun(tmp_path, "one_fails.py", *TINY, "--epochs", 50, "--lr", "1e-3")
    assert done.returncode != 0
    assert done.stderr.count("Error: Something is wrong in the second process.") == 1
    assert not (tmp_path / "frostline-workspace" / "predictions").exists()
