"""docs/clusters.md: its job files are what the systems take, and start what they are to start."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest
import typer
import yaml

from frostline.cli import app

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "clusters.md").read_text(encoding="utf-8")
MARKED = r"<!-- run by tests/frostline/test_clusters.py -->\n```{}\n(.*?)```"


def file_of(kind: str) -> str:
    (text,) = re.findall(MARKED.format(kind), PAGE, re.DOTALL)
    return str(text)


def started(script: list[str], folder: Path, **variables: str) -> list[str]:
    """Arguments of the `frostline` that a script starts."""
    binary = folder / ".venv" / "bin" / "frostline"
    binary.parent.mkdir(parents=True)
    binary.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    binary.chmod(0o755)
    path = f"{binary.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        script,
        cwd=folder,
        env={"PATH": path, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def options(arguments: list[str]) -> dict[str, object]:
    """What the command makes of them."""
    name, *rest = arguments
    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    return dict(command.make_context(name, rest).params)


def test_the_slurm_script_starts_the_share_of_its_task(tmp_path: Path) -> None:
    script = tmp_path / "study.sbatch"
    script.write_text(file_of("sh"))
    lines = script.read_text().splitlines()
    assert lines[0] == "#!/bin/bash"
    assert all(line.startswith("#SBATCH --") for line in lines[1 : lines.index("set -eu")])
    task = {"SLURM_ARRAY_TASK_ID": "3"}
    arguments = started(["bash", str(script)], tmp_path, SLURM_SUBMIT_DIR=str(tmp_path), **task)
    found = options(arguments)
    (last,) = re.findall(r"--array=0-(\d+)$", script.read_text(), re.MULTILINE)
    assert found["shard"] == f"3/{int(last) + 1}"
    assert found["data"] == Path("data")
    with pytest.raises(subprocess.CalledProcessError):
        (tmp_path / "other").mkdir()
        started(["bash", str(script)], tmp_path / "other", SLURM_SUBMIT_DIR=str(tmp_path))


def test_the_slurm_script_queues_itself_again_before_its_time_is_over(tmp_path: Path) -> None:
    (tmp_path / "study.sbatch").write_text(file_of("sh"))
    binaries = tmp_path / ".venv" / "bin"
    binaries.mkdir(parents=True)
    for name, script in {
        "frostline": "sleep 0.5; touch begun; i=0; while [ $i -lt 600 ] && ! [ -e queued ]; do "
        "sleep 0.1; i=$((i + 1)); done; exit 3",
        "scontrol": 'echo "$@" > queued',
    }.items():
        (binaries / name).write_text(f"#!/bin/sh\n{script}\n")
        (binaries / name).chmod(0o755)
    given = {"SLURM_SUBMIT_DIR": str(tmp_path), "SLURM_ARRAY_TASK_ID": "3", "SLURM_JOB_ID": "77"}
    job = subprocess.Popen(
        ["bash", "study.sbatch"], cwd=tmp_path, env={"PATH": os.environ["PATH"], **given}
    )
    while job.poll() is None and not (tmp_path / "begun").exists():
        time.sleep(0.01)
    job.send_signal(signal.SIGUSR1)
    assert job.wait() == 128 + signal.SIGUSR1
    assert (tmp_path / "queued").read_text() == "requeue 77\n"
    # Without a signal, the exit status is that of the study.
    assert subprocess.run(job.args, cwd=tmp_path, env={**os.environ, **given}).returncode == 3


def test_the_kubernetes_job_starts_the_share_of_its_index(tmp_path: Path) -> None:
    job = yaml.safe_load(file_of("yaml"))
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    assert job["spec"]["completionMode"] == "Indexed"
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}
    script = [*container["command"], *container["args"]]
    found = options(started(script, tmp_path, JOB_COMPLETION_INDEX="5"))
    assert found["shard"] == f"5/{job['spec']['completions']}"
    assert found["workspace"] == Path("/workspace")


def test_options_of_the_other_commands_of_the_page_exist() -> None:
    lines = re.findall(r"frostline (?:run|probe) [^'`\n#…]*", PAGE)
    assert len(lines) >= 3
    for line in lines:
        if "$" not in line and not line.rstrip().endswith(("\\", "…")) and "--" in line:
            options([word for word in shlex.split(line)[1:] if word != "…"])
