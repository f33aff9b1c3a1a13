"""`frostline run` and `report`, killed again and again, end with the same results."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from processes import start_script

from frostline.report import read_predictions

from .conftest import Run, environment, make_images, script

STUDY: dict[str, Any] = {
    "name": "small",
    "datasets": {"set": {"root": "images", "group_pattern": "(patient[0-9]+)"}},
    "backbones": [{"name": "timm:test_vit", "weights": "random", "weights_seed": 3}],
    "protocols": {
        "frozen": {"unfreeze": "none", "image_size": 32, "epochs": 2},
        "tuned": {"unfreeze": "all", "image_size": 32, "epochs": 3},
        "last": {"unfreeze": 1, "image_size": 32, "epochs": 2},
        "depth": {"feature": "blocks", "train": [2], "image_size": 32, "epochs": 1},
    },
    "sweeps": {"few": {"protocol": "frozen", "train_groups": [4, "all"], "draws": 1}},
    "replicates": 100,
    "device": "cpu",
}
# Less of it, for a few kills.
FEW = {**STUDY, "protocols": {"tuned": STUDY["protocols"]["tuned"]}, "sweeps": {}}
LONGEST = 3.0  # seconds that a command is left to work


def make_study(folder: Path, study: dict[str, Any]) -> Path:
    make_images(folder / "images", 48)
    (folder / "small.yaml").write_text(yaml.safe_dump(study, sort_keys=False))
    return folder


def results(workspace: Path) -> dict[str, str]:
    """All that was computed: predictions of every run, by its id, and the answer."""
    paths = sorted((workspace / "predictions").glob("[!.]*.parquet"))
    tables = {path.stem: read_predictions(path).table.to_csv() for path in paths}
    return {**tables, "answer": (workspace / "reports" / "small" / "answer.txt").read_text()}


def leftovers(workspace: Path) -> list[Path]:
    return list(workspace.rglob(".tmp-*"))


def finish(folder: Path, workspace: str, rng: np.random.Generator, runners: int = 1) -> int:
    """Run the study and its report, killed at random, until both are done; count the kills."""
    kills, longest = 0, LONGEST
    for words in (["run", "small.yaml"], ["report", "small.yaml"]):
        busy = [words] * (runners if words[0] == "run" else 1)
        while busy:
            said = [
                [str(folder / f"{number}.out"), str(folder / f"{number}.err")] for number in (0, 1)
            ]
            processes = [
                start_script(
                    script(), [*words, "--workspace", workspace], folder, environment(), files
                )
                for words, files in zip(busy, said, strict=False)
            ]
            until = time.monotonic() + rng.uniform(0, longest)
            for process, (_, errors) in zip(processes, said, strict=False):
                process.join(max(0.0, until - time.monotonic()))
                if process.is_alive() and process.pid:
                    os.kill(process.pid, signal.SIGKILL)
                    process.join()
                assert process.exitcode in (0, -signal.SIGKILL), Path(errors).read_text()
            killed = [process for process in processes if process.exitcode]
            kills += len(killed)
            longest *= 1.3  # what is not finished in time is begun again: give it more
            busy = busy[: len(killed)]
    return kills


@pytest.mark.slow
def test_two_runners_killed_at_random(tmp_path: Path, frostline: Run) -> None:
    study = make_study(tmp_path, FEW)
    assert frostline("run", "small.yaml", "--workspace", "whole").returncode == 0
    assert finish(study, "killed", np.random.default_rng(0), runners=2) >= 2
    assert results(study / "killed") == results(study / "whole")
    # What a killed writer leaves beside a run that another has made since.
    (study / "killed" / "predictions" / ".tmp-0-gone.parquet").write_bytes(b"PAR1")
    assert frostline("run", "small.yaml", "--workspace", "killed").returncode == 0
    assert leftovers(study / "killed") == []


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_killed_two_hundred_times(tmp_path: Path, frostline: Run) -> None:
    study = make_study(tmp_path, STUDY)
    assert frostline("run", "small.yaml", "--workspace", "whole").returncode == 0
    whole, kills = results(study / "whole"), 0
    lost: list[tuple[str, str]] = []
    rng = np.random.default_rng(0)
    for number in range(200):
        name = f"killed-{number}"
        kills += finish(study, name, rng, 1 + number % 2)
        found = results(study / name)
        lost += [(name, key) for key in found.keys() | whole if found.get(key) != whole.get(key)]
        if kills >= 200:
            break
    print(f"\n{kills} kills of run and report, {len(lost)} results that differ")
    assert (kills >= 200, lost) == (True, [])
