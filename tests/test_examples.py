"""The examples do what they are for, on tiny images: a Snakemake workflow, and jobs for SLURM."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import typer
import yaml

from frostline.cache import Store
from frostline.cli import app

from .frostline.conftest import make_images
from .test_docs import blocks

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
NETS = ("timm:test_vit", "timm:test_resnet")
TINY = "--weights random --image-size 32 --device cpu"


def page_commands() -> list[str]:
    """The lines of docs/clusters.md that start the examples."""
    here = [one for one in blocks("docs/clusters.md") if one.mark.endswith("test_examples.py")]
    return [one.text.strip() for one in here]


def program(folder: Path, name: str, text: str) -> None:
    """Put a program on the path of a test."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)


@pytest.fixture
def binaries(tmp_path: Path) -> Path:
    """A folder with `frostline`, of this clone."""
    code = "from frostline.cli import main; main()"
    program(tmp_path / "bin", "frostline", f'#!/bin/sh\nexec {sys.executable} -c "{code}" "$@"\n')
    return tmp_path / "bin"


def environment(binaries: Path, **variables: str) -> dict[str, str]:
    path = f"{binaries}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", **variables}


def check_tables(folder: Path) -> None:
    """Both tables are of both networks."""
    scores, compared = (folder / name for name in ("scores.tex", "compared.md"))
    assert r"\begin{tabular}" in scores.read_text()
    assert all(net in compared.read_text() for net in NETS)


@pytest.mark.parametrize("path", sorted((EXAMPLES / "slurm").iterdir()), ids=lambda p: p.name)
def test_scripts_are_read_by_bash(path: Path) -> None:
    subprocess.run(["bash", "-n", path], check=True)


def test_every_command_and_option_exists() -> None:
    text = "".join(path.read_text() for path in sorted(EXAMPLES.rglob("*")) if path.is_file())
    text = re.sub(r'"\n\s+"|\\\n', " ", text)  # lines that go on
    lines = re.findall(r"(?<!`)\bfrostline ((?:index|extract|probe|evaluate|compare) [^\n]*)", text)
    assert {line.split()[0] for line in lines} == {
        *("index", "extract", "probe", "evaluate", "compare")
    }
    group = typer.main.get_command(app)
    for line in lines:
        command = group.commands[line.split()[0]]  # type: ignore[attr-defined]
        known = {option for parameter in command.params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", line)) <= known, line


# The scheduler, for one machine: tasks of an array one after the other, and what depends on them.
SBATCH = """#!/bin/bash
set -eu
echo "$@" >> queued
script="${!#}"
last=$(sed -n 's/^#SBATCH --array=0-//p' "$script")
export SLURM_SUBMIT_DIR="$PWD"
for task in $(seq 0 "${last:-0}"); do
    if [ -n "$last" ]; then
        export SLURM_ARRAY_TASK_ID=$task SLURM_ARRAY_TASK_COUNT=$((last + 1))
    fi
    bash "$script" > "$script-$task.log" 2>&1
done
echo 7$(wc -l < queued)
"""


@pytest.mark.slow
def test_slurm_jobs_embed_their_shares_and_write_the_tables(tmp_path: Path, binaries: Path) -> None:
    place = shutil.copytree(EXAMPLES / "slurm", tmp_path / "place")
    array = place / "extract.sbatch"
    array.write_text(array.read_text().replace("--array=0-3", "--array=0-1"))
    make_images(place / "images", 24)
    index = ("index", "mine", "--root", place / "images", "--group-pattern", r"(patient\d+)")
    workspace = ("--workspace", place / "frostline-workspace")
    assert not app([*map(str, (*index, *workspace))], standalone_mode=False)
    program(binaries, "sbatch", SBATCH)
    program(binaries, "srun", '#!/bin/sh\necho "$@" >> steps\nexec "$@"\n')
    command = page_commands()[0]
    given = environment(binaries, BACKBONES=" ".join(NETS), EXTRACT=TINY)
    done = subprocess.run(
        ["bash", "-c", command], cwd=place, env=given, capture_output=True, text=True, check=False
    )
    logs = "".join(path.read_text() for path in place.glob("*.log"))
    assert done.returncode == 0, done.stderr + logs
    queued = (place / "queued").read_text().splitlines()
    assert queued == [
        "--parsable extract.sbatch",
        "--parsable --dependency=afterok:71 table.sbatch",
    ]
    steps = (place / "steps").read_text()
    assert [steps.count(f"--shard {share}") for share in ("0/2", "1/2")] == [2, 2]
    stores = (place / "frostline-workspace" / "embeddings" / "mine").glob("*/*")
    assert [len(Store.open(store)) for store in stores] == [24, 24]
    check_tables(place)


@pytest.fixture
def workflow(tmp_path: Path) -> Path:
    """The Snakemake example with settings and images of its own."""
    place = shutil.copytree(EXAMPLES / "snakemake", tmp_path / "place")
    make_images(place / "images", 24)
    settings = yaml.safe_load((place / "config.yaml").read_text())
    changed = {"backbones": list(NETS), "extract": TINY, "group_pattern": r"(patient\d+)"}
    assert changed.keys() <= settings.keys()
    (place / "config.yaml").write_text(yaml.safe_dump(settings | changed))
    return Path(place)


def snakemake(place: Path, binaries: Path, *more: str) -> str:
    found = shutil.which("snakemake")
    if found is None:
        pytest.skip("Snakemake is not installed: `pip install snakemake`, in whatever environment.")
    done = subprocess.run(
        [found, *page_commands()[1].split()[1:], *more],
        cwd=place,
        env=environment(binaries),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
def test_the_workflow_ends_with_the_tables(workflow: Path, binaries: Path) -> None:
    assert "8 of 8 steps" in snakemake(workflow, binaries)
    check_tables(workflow / "results")
    runs = [Path(path.read_text().strip()) for path in workflow.glob("steps/probe-*.txt")]
    assert len(runs) == 2
    assert all(len(pd.read_parquet(workflow / run)) for run in runs)
    assert "Nothing to be done" in snakemake(workflow, binaries)
    # Another head: no image is embedded again.
    again = snakemake(workflow, binaries, "--dry-run", "--config", "head=knn")
    assert "probe           2" in again
    assert "extract  " not in again


def test_the_workflow_uses_every_setting() -> None:
    settings = yaml.safe_load((EXAMPLES / "snakemake" / "config.yaml").read_text())
    used = set(re.findall(r'config\["(\w+)"\]', (EXAMPLES / "snakemake" / "Snakefile").read_text()))
    assert used == set(settings)
