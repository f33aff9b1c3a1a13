"""Benchmarks run; what they measure is measured elsewhere, on a quiet machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.mark.slow
def test_against_runs_on_real_numbers_and_says_what_it_left_out(tmp_path: Path) -> None:
    import numpy as np

    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 600)
    x = (rng.normal(size=(600, 64)) + 8 * np.eye(3, 64)[y]).astype(np.float32)
    np.savez(tmp_path / "given.npz", x=x, y=np.array(["a", "b", "c"])[y], g=np.arange(600) // 2)
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
