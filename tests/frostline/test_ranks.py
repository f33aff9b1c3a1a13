"""Under torchrun, commands that know nothing of it are refused before they do anything."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from frostline.cache import InputError, Workspace
from frostline.cli import app
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
    needs |= {"depth": "-d mine -b theirs"}
    needs |= dict.fromkeys(("run", "audit", "evaluate", "compare", "report"), "name")
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
