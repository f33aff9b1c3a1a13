"""Under torchrun, commands that know nothing of it are refused before they do anything."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import typer

from frostline.cache import InputError, Workspace
from frostline.cache.locks import own_cores
from frostline.cli import app
from frostline.commands.options import rank_device
from frostline.finetune.parallel import process_group
from frostline.ranks import SHARED, refuse_ranks
from frostline.reference import commands
from frostline.study.runner import run_study

from .small_study import study_at
from .test_options import invoke, sentence

ONE = (
    "Only `frostline extract` and `frostline finetune` share their work among the 2 processes that "
    "torchrun started: run this without torchrun; `frostline run` shares a study with --jobs or "
    "--shard."
)


@pytest.fixture
def two_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")


@pytest.mark.usefixtures("two_ranks")
def test_commands_that_do_not_share_their_work_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    needs = {"index": "new --root .", "cache export": "out.csv -d mine -b theirs"}
    needs |= {"cache import": "in.csv -d mine -b theirs", "probe": "-d mine -b theirs"}
    needs |= {"depth": "-d mine -b theirs", "predictions import": "in.csv -d mine --name theirs"}
    needs |= dict.fromkeys(("run", "audit", "evaluate", "compare", "report"), "name")
    needs |= {"cache similarity": "-d mine", "track": "name --to mlflow"}
    needs |= {"predict": "images --run name", "export": "--run name"}
    names = {name.strip() for name, _ in commands(typer.main.get_command(app), above="")}
    for name in sorted(names - set(SHARED)):
        assert ONE in sentence(invoke(f"{name} {needs.get(name, '')}")), name
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", SHARED)
@pytest.mark.usefixtures("two_ranks")
def test_commands_that_share_their_work_are_not(name: str) -> None:
    refuse_ranks(name)


@pytest.mark.usefixtures("two_ranks")
def test_a_study_is_refused_in_python_too(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        run_study(Workspace(tmp_path / "ws"), study_at(tmp_path))
    assert str(caught.value) == ONE


def test_variables_that_are_no_numbers_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "many")
    with pytest.raises(InputError, match="not '0' and 'many': unset them"):
        refuse_ranks("run")


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_each_process_of_torchrun_takes_a_card_of_its_own(
    monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    assert rank_device(device) == device  # one process chooses as ever
    for local, card in (("0", "cuda:0"), ("3", "cuda:3"), ("5", "cuda:1")):
        monkeypatch.setenv("LOCAL_RANK", local)
        assert rank_device(device) == card
    assert (rank_device("cuda:2"), rank_device("cpu")) == ("cuda:2", "cpu")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert rank_device(device) == {"auto": "cpu", "cuda": "cuda"}[device]


def test_cores_are_those_that_a_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    script = "import os; from frostline.cache.locks import own_cores; print(own_cores())"
    first = f"import os; os.sched_setaffinity(0, {{{min(os.sched_getaffinity(0))}}}); {script}"
    done = subprocess.run([sys.executable, "-c", first], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1"]
    monkeypatch.setattr("joblib.cpu_count", lambda: 8)
    assert own_cores() == 8
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    assert own_cores() == 2
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "16")
    assert own_cores() == 1


def test_who_joins_waits_for_a_store_to_be_filled(monkeypatch: pytest.MonkeyPatch) -> None:
    """NCCL's own ten minutes are too short for the decoding of a large set."""
    joined: dict[str, Any] = {}
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr("torch.distributed.init_process_group", lambda *a, **k: joined.update(k))
    monkeypatch.setattr("torch.distributed.destroy_process_group", lambda: None)
    with process_group("cpu"):
        assert joined["timeout"] >= timedelta(days=1)
