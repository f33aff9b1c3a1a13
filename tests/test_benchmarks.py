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
sys.path.append(str(BENCHMARKS))
from others import NOT_COMPARABLE, OTHERS, Other  # noqa: E402


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
    table = [[cell.strip() for cell in line.split("|")] for line in lines if line.startswith("| ")]
    rows = {(row[1], row[2]): row[3:6] for row in table[1:]}
    assert min(float(accuracy.split("%")[0]) for accuracy, _, _ in rows.values()) > 50
    assert [row[2] for row in table if row[1]] == ["by", *["Frostline"] * 3]
    assert all(ratio == "1" for (_, by), (_, _, ratio) in rows.items() if by == "Frostline")
    for other in (*OTHERS, *NOT_COMPARABLE):
        name = getattr(other, "package", other)
        ran = any(by.startswith(f"{name} ") for _, by in rows)
        assert ran != (f"{name} is left out" in done.stdout), name


def test_a_program_that_is_missing_or_broken_is_left_out_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "brokenbench.py").write_text("import no_such_module\n")
    monkeypatch.syspath_prepend(tmp_path)
    absent = Other("no-such-bench", "no_such_bench.core")
    assert absent.unusable() == (
        "no-such-bench is left out because it is not installed: pip install no-such-bench"
    )
    assert Other("brokenbench", "brokenbench").unusable() == (
        "brokenbench is left out because it does not import here: No module named 'no_such_module'"
    )
    assert Other("numpy", "numpy.linalg").unusable() is None


@pytest.mark.slow
def test_the_checks_of_a_gpu_are_rehearsed_on_a_cpu(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / "gpu.py"), "--rehearse", "--folder", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("| ")]
    assert len(rows) > 40
    assert not [row for row in rows if "wrong" in row or "left out" in row]
