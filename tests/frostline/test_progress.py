"""What runs is said: by a bar on a terminal and in a notebook, by lines in a pipe, to the log."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pexpect
import pytest
from processes import MAIN

import frostline as package
from frostline.console import running

from .conftest import Run, environment, make_images

TINY = ("-d", "set", "-b", "timm:test_vit", "--weights", "random", "--image-size", "32")
# Lines as often as they can be, from a training that is slow enough to be heard.
OFTEN = "from frostline.console import running; running.FIRST = running.EVERY = 0.05; "
SLOW = (
    "import time; from frostline.extract import prefetch; "
    "import frostline.finetune.training.step as s; step = s.Stepper.step; "
    "s.Stepper.step = lambda *given: (time.sleep(0.1), step(*given))[1]; "
)


@pytest.fixture
def folder(tmp_path: Path, frostline: Run) -> Path:
    make_images(tmp_path / "images", 24)
    found = frostline("index", "set", "--root", "images", "--group-pattern", r"(patient\d+)")
    assert found.returncode == 0, found.stderr
    return tmp_path


def piped(folder: Path, before: str, *words: str) -> subprocess.CompletedProcess[str]:
    """A command in a pipe, in a process of its own, after some Python."""
    code = before + MAIN.partition("; ")[0] + "; from frostline.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )


def on_a_terminal(folder: Path, before: str, *words: str) -> str:
    """All that a terminal of 80 columns gets of a command."""
    code = before + "from frostline.cli import main; main()"
    command = pexpect.spawn(
        sys.executable,
        ["-c", code, *words],
        cwd=str(folder),
        env={**environment(), "TERM": "xterm"},
        dimensions=(24, 80),
        encoding="utf-8",
        timeout=120,
    )
    command.expect(pexpect.EOF)
    text = command.before
    command.close()
    assert command.exitstatus == 0, text
    return str(text)


def shown_at_the_end(text: str) -> list[str]:
    """The lines that stay on a terminal, of what moves up, to the left, and clears lines."""
    lines, row = [""], 0
    for piece in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", text):
        if piece == "\n":
            row += 1
            lines += [""] * (row == len(lines))
        elif piece == "\x1b[1A":
            row -= 1
        elif piece == "\x1b[2K":
            lines[row] = ""
        elif piece[0] not in "\x1b\r":
            lines[row] += piece
    return [line for line in lines if line]


def test_a_pipe_gets_lines_with_what_runs_and_how_far(folder: Path) -> None:
    done = piped(folder, OFTEN + SLOW, "finetune", *TINY, "--epochs", "3")
    lines = done.stderr.splitlines()
    trained = r"Training timm:test_vit on set: \d+ of 36 images(, \d:\d\d:\d\d left)?\."
    assert any(re.fullmatch(trained, line) for line in lines), done.stderr
    assert any(re.match(r"Preparing timm:test_vit on set[.:]", line) for line in lines)
    assert not any(line.startswith("Decoding") and "0 of 0" in line for line in lines)
    assert sum(line.startswith("epoch ") for line in lines) == 3
    assert "\x1b" not in done.stderr + done.stdout


def test_a_command_that_waits_says_that_it_runs(folder: Path) -> None:
    slow = "import time; import frostline.audits as a; f = a.audit_stored; "
    slow += "a.audit_stored = lambda *given: (time.sleep(0.3), f(*given))[1]; "
    done = piped(folder, OFTEN + slow, "audit", "set")
    assert re.match(r"frostline audit is at work[.:]", done.stderr), done.stderr
    quiet = piped(folder, OFTEN + slow, "audit", "set", "-q")
    assert (quiet.stderr, quiet.stdout) == ("", done.stdout)


def test_no_line_comes_before_its_time(folder: Path, frostline: Run) -> None:
    assert running.EVERY == 30
    assert "at work" not in frostline("audit", "set").stderr


@pytest.mark.slow
def test_helpers_of_a_run_write_lines_and_no_bars(folder: Path) -> None:
    (folder / "study.yaml").write_text(
        "name: small\n"
        "datasets: {set: {root: images, group_pattern: '(patient\\d+)'}}\n"
        "backbones: [{name: 'timm:test_vit', weights: random}]\n"
        "protocols: {a: {unfreeze: all, epochs: 3, image_size: 32},"
        " b: {unfreeze: 1, epochs: 3, image_size: 32}}\n"
        "replicates: 100\n"
    )
    text = on_a_terminal(folder, OFTEN, "run", "study.yaml", "--jobs", "2")
    assert re.search(r"Preparing set/timm:test_vit/[ab]/0[.:]", text), text
    # Both processes write to the terminal, where a bar would be in the way of lines.
    assert not re.search(r"(Preparing|Decoding for|Training) set/\S+ [^\n]*━", text)


def test_a_terminal_sees_the_start_then_what_runs_then_the_result(folder: Path) -> None:
    text = on_a_terminal(folder, SLOW, "finetune", *TINY, "--epochs", "2")
    assert text.startswith("frostline finetune is at work …\r")
    titles = re.findall(r"(Preparing|Decoding for|Training) timm:test_vit on set", text)
    assert list(dict.fromkeys(titles)) == ["Preparing", "Decoding for", "Training"]
    rest = shown_at_the_end(text)
    assert not [line for line in rest if "at work" in line or "━" in line]
    assert [line.split()[0] for line in rest[:2]] == ["epoch", "epoch"]
    assert rest[-1].startswith("accuracy ")


def test_a_terminal_line_of_the_start_is_gone_before_a_result(folder: Path) -> None:
    text = on_a_terminal(folder, "", "audit", "set")
    assert text.startswith("frostline audit is at work …\r\x1b[2K\r")
    assert shown_at_the_end(text)[0] == "Data set set"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("extract", *TINY), {"Computing on": False, "distinct images": True}),
        (("-v", "extract", *TINY), {"Computing on": True, " took ": True}),
        (("extract", *TINY, "-v"), {"Computing on": True, "Finished after": True}),
        (("-q", "extract", *TINY), {"Computing on": False, "distinct images": False}),
        (("extract", "-q", *TINY), {"distinct images": False}),
    ],
)
def test_quiet_and_verbose_stand_before_or_behind_the_command(
    folder: Path, frostline: Run, words: tuple[str, ...], said: dict[str, bool]
) -> None:
    done = frostline(*words)
    assert done.returncode == 0, done.stderr
    for text, is_there in said.items():
        assert (text in done.stdout + done.stderr) == is_there, (text, done.stdout, done.stderr)


def test_quiet_and_verbose_exclude_each_other_wherever_they_stand(
    tmp_path: Path, frostline: Run
) -> None:
    for words in (("-q", "audit", "x", "-v"), ("-q", "-v", "audit", "x"), ("audit", "x", "-qv")):
        done = frostline(*words)
        assert done.stderr.splitlines()[-1] == "Error: Give --quiet or --verbose, not both."
        assert done.returncode == 2


def script(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    start = "import logging, frostline; from frostline.console import running; "
    start += "running.FIRST = running.EVERY = 0.02\n"
    return subprocess.run(
        [sys.executable, "-c", start + text],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )


EXTRACT = "ws.extract('set', 'timm:test_vit', weights='random', image_size=32)"


def test_python_is_silent_until_somebody_listens(folder: Path) -> None:
    made = f"ws = frostline.Workspace(%s); {EXTRACT}"
    assert script(folder, made % "").stderr == ""
    assert script(folder, made % "progress=False").stderr == ""
    asked = script(folder, made % "progress=True").stderr
    assert "Embedding set with timm:test_vit" in asked
    verbose = script(folder, made % "verbose=True").stderr
    assert "Embedding set with timm:test_vit" in verbose
    heard = "logging.basicConfig(level='DEBUG', format='%(name)s %(levelname)s %(message)s'); "
    lines = script(folder, heard + made % "").stderr.splitlines()
    ours = [line for line in lines if line.startswith("frostline ")]
    assert any(line.startswith("frostline DEBUG Computing on cpu") for line in ours)
    assert any(line.startswith("frostline INFO Embedding set with timm:test_vit") for line in ours)
    # Where logging is set up, a verbose workspace says nothing twice.
    twice = script(folder, heard + made % "verbose=True").stderr.splitlines()
    assert sum("Computing on cpu" in line for line in twice) == 1


def test_progress_is_true_false_or_none(tmp_path: Path) -> None:
    with pytest.raises(package.InputError, match="progress must be True, False or None, not 'yes'"):
        package.Workspace(tmp_path, progress="yes")  # type: ignore[arg-type]


def test_the_log_has_a_handler_that_says_nothing() -> None:
    code = "import logging, frostline.console; print(logging.getLogger('frostline').handlers)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[<NullHandler (NOTSET)>]\n"


@pytest.mark.slow
def test_a_notebook_shows_a_bar_as_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(folder / "config"))
    monkeypatch.setenv("IPYTHONDIR", str(folder / "ipython"))
    first = f"import frostline\nws = frostline.Workspace()\nstore = {EXTRACT}"
    tune = "run = ws.finetune('set', 'timm:test_vit', weights='random', image_size=32, epochs=2)"
    silent = f"ws.progress = False\nstore = {EXTRACT.replace('32', '48')}"
    cells = [nbformat.v4.new_code_cell(one) for one in (first, tune, silent)]  # type: ignore[no-untyped-call]
    notebook = nbformat.v4.new_notebook(cells=cells)  # type: ignore[no-untyped-call]
    resources: dict[str, Any] = {"metadata": {"path": str(folder)}}
    nbclient.NotebookClient(
        notebook, timeout=240, kernel_name="python3", resources=resources
    ).execute()
    # Warnings of others, such as of widgets that are not installed, go to standard error.
    shown = [
        [one["data"]["text/plain"] for one in cell.outputs if "data" in one]
        for cell in notebook.cells
    ]
    assert [len(one) for one in shown] == [1, 1, 0]
    assert re.fullmatch(r"Embedding set with timm:test_vit ━+ 24/24 .*", shown[0][0])
    assert re.fullmatch(r"Training timm:test_vit on set ━+ 24/24 .*", shown[1][0])
