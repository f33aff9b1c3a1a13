"""Benchmarks run; what they measure is measured elsewhere, on a quiet machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from frostline.cache.export import WRITERS

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.mark.slow
def test_against_runs_on_real_numbers_and_says_what_it_left_out(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 600)
    x = (rng.normal(size=(600, 64)) + 8 * np.eye(3, 64)[y]).astype(np.float32)
    parts = rng.choice(["train", "val", "test"], 600, p=[0.6, 0.1, 0.3])
    names = {"image_id": np.arange(600).astype(str), "group_id": np.arange(600).astype(str)}
    about = pd.DataFrame({**names, "label": np.array(["a", "b", "c"])[y], "split": parts})
    WRITERS["npz"](tmp_path / "given.npz", about, x, {})  # as `frostline cache export` does
    command = [sys.executable, str(BENCHMARKS / "against.py"), "--quick", "--embeddings"]
    done = subprocess.run(
        [*command, str(tmp_path / "given.npz")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("64 numbers an image, 3 classes, ")
    accuracies = [float(line.split("accuracy")[1].split("%")[0]) for line in lines if " x" in line]
    assert len(accuracies) >= 3
    assert min(accuracies) > 50
    assert "kaiko-eva" in done.stdout


@pytest.mark.slow
def test_the_checks_of_a_gpu_are_rehearsed_on_a_cpu(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / "gpu.py"), "--rehearse", "--folder", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("| ")]
    assert len(rows) > 40
    assert not [row for row in rows if "wrong" in row or "left out" in row]
