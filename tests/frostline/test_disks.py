"""Disks that are full, wherever a study meets their end, and limits on the size of files."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from processes import run_script

from .conftest import MAIN, Run, environment
from .test_kills import FEW, leftovers, make_study, results

# A limit on files as `ulimit -f` sets it.
LIMITED = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (MOST, MOST)); "


@pytest.mark.slow
def test_a_study_on_a_disk_that_is_full_wherever_it_ends(
    tmp_path: Path, frostline: Run, small_disk: Path
) -> None:
    """Steps, checkpoints, predictions, tables and the page: each meets a full disk once."""
    study = make_study(tmp_path, FEW)
    assert frostline("run", "small.yaml", "--workspace", "whole").returncode == 0
    refused = 0
    for size in np.geomspace(128, 1 << 16, 16).astype(int):
        subprocess.run(["mount", "-o", f"remount,size={size}k", str(small_disk)], check=True)
        done = frostline("run", "small.yaml", "--workspace", "disk/ws")
        if done.returncode == 0:
            break
        refused += 1
        *_, last = done.stderr.splitlines()
        assert (done.returncode, last[:23]) == (1, "Error: The disk is full"), done.stderr
        assert "Traceback" not in done.stderr
        assert leftovers(small_disk) == []
    assert refused >= 4
    assert results(small_disk / "ws") == results(study / "whole")


def test_files_that_may_not_grow(tmp_path: Path, frostline: Run) -> None:
    make_study(tmp_path, FEW)
    limited = LIMITED.replace("MOST", str(100_000)) + MAIN
    words = ["run", "small.yaml", "--workspace", "ws"]
    done = run_script(limited, words, tmp_path, environment())
    *_, last = done.stderr.splitlines()
    assert (done.returncode, "ulimit -f" in last) == (1, True), done.stderr
    assert leftovers(tmp_path / "ws") == []
    assert frostline(*words).returncode == 0
