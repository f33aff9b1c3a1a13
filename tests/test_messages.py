"""Messages name options that exist: read from the source, compared with the command line."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest
import typer
from source import ROOMS, ROOT, source_files

from frostline.cli import app
from frostline.reference import commands

# Options of other programs that our sentences and docstrings name.
OTHERS = {"--nproc-per-node", "--untracked-files", "--porcelain"}
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*[a-z0-9]")


def real_options() -> set[str]:
    """Every option of every command, and those of all."""
    found = {"--help", "--version", "--install-completion", "--show-completion"}
    for _, command in commands(typer.main.get_command(app)):
        for parameter in command.params:
            if parameter.param_type_name == "option":
                found |= set(parameter.opts) | set(parameter.secondary_opts)
    return found


def named_options(source: str) -> Iterator[tuple[int, str]]:
    """The options that texts of a source name, docstrings included, with their lines."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            for option in OPTION.findall(node.value):
                yield node.lineno, option


@pytest.mark.parametrize("room", ROOMS)
def test_every_option_that_a_text_names_exists(room: str) -> None:
    known = real_options() | OTHERS
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {option}"
        for path in source_files(room)
        for line, option in named_options(path.read_text(encoding="utf-8"))
        if option not in known
    ]
    assert not wrong, "\n".join(wrong)


def test_the_test_sees_an_option_that_is_none() -> None:
    source = 'def f():\n    """Say --image-size."""\n    raise InputError(f"{x}: use --size.")\n'
    assert [option for _, option in named_options(source)] == ["--image-size", "--size"]
    assert "--image-size" in real_options()
    assert "--size" not in real_options()
