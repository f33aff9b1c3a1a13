"""Commands in processes of their own, forked from one that has imported what they need.

An import of torch and its kind costs seconds of each command; here it is paid once.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path

# How long a command takes is no matter of what it says: none says that it has started.
MAIN = (
    "from frostline.console import running; running.FIRST = running.EVERY; "
    "from frostline.cli import main; main()"
)
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        "frostline.cli",
        "h5py",
        "matplotlib.figure",
        "pandas",
        "pyarrow.parquet",
        "pydantic",
        "scipy.stats",
        "sklearn.linear_model",
        "timm",
        "torch",
        "torchvision",
    ]
)


def run_script(
    script: str, arguments: Sequence[str], folder: Path, variables: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run `python -c SCRIPT ARGUMENTS` in a folder and wait for it."""
    with tempfile.TemporaryDirectory() as place:
        outputs = [os.path.join(place, name) for name in ("stdout", "stderr")]
        process = start_script(script, arguments, folder, variables, outputs)
        process.join()
        texts = [Path(path).read_text(encoding="utf-8") for path in outputs]
    assert process.exitcode is not None
    return subprocess.CompletedProcess(["-c", *arguments], process.exitcode, *texts)


def start_script(
    script: str,
    arguments: Sequence[str],
    folder: Path,
    variables: Mapping[str, str],
    outputs: Sequence[str] = (os.devnull, os.devnull),
) -> ForkServerProcess:
    """Start `python -c SCRIPT ARGUMENTS`; `outputs` are the files of what it says."""
    words = ["-c", *arguments]
    given = (script, words, str(folder), dict(variables), list(outputs))
    process = CONTEXT.Process(target=_run, args=given)
    process.start()
    return process


def ends(process: int, seconds: float = 30) -> bool:
    """Wait until a process that is nobody's child here has ended; false if it works on."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            if "zombie" in Path(f"/proc/{process}/status").read_text():
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False


def _run(
    script: str, words: list[str], folder: str, variables: dict[str, str], outputs: list[str]
) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    sys.argv = words
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, path in enumerate(outputs, 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    # The streams that Python itself opens for these numbers.
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
    try:
        exec(compile(script, "-c", "exec"), {"__name__": "__main__"})
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
