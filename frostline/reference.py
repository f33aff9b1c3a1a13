"""The page `docs/reference.md`, made from the help of every command.

`python -m frostline.reference FILE` writes it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from frostline.commands.options import VERBOSITY
from frostline.usage import examples

HEAD = """# Reference: every command

<!-- Made by `python -m frostline.reference docs/reference.md`; a test compares. -->

What `frostline COMMAND --help` says, on one page. Every command also has `--help` (`-h`),
`--quiet` (`-q`: results and errors, nothing else) and `--verbose` (`-v`: details and times, and
where errors rise), which may stand in front of its name, too. The variable FROSTLINE_WORKSPACE
stands for `--workspace`.
`frostline --install-completion` completes commands, options, data sets and backbones in your shell.
"""
COMMON = ("help", *VERBOSITY)
EXAMPLE = (
    "<!-- not run: names data of its own; a test checks that the command reads these options -->"
)


def reference() -> str:
    """Write every command in the order of `frostline --help`, as Markdown."""
    from frostline.cli import app

    sections = [_section(name, command) for name, command in commands(typer.main.get_command(app))]
    return "\n".join([HEAD, *sections])


def commands(group: Any, above: str = "frostline") -> Iterator[tuple[str, Any]]:
    """Yield the full names of the commands of a group and of its groups, and the commands."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{above} {name}")
        else:
            yield f"{above} {name}", command


def _section(name: str, command: Any) -> str:
    about = re.split(r"^\s*Examples?:", command.help, maxsplit=1, flags=re.MULTILINE)[0].strip()
    rows = [_row(parameter) for parameter in command.params if parameter.name not in COMMON]
    lines = [f"## {name}", "", about, "", EXAMPLE, "```sh", *examples(command), "```", ""]
    lines += ["| option | default | |", "|---|---|---|", *rows, ""]
    return "\n".join(lines)


def _row(parameter: Any) -> str:
    is_argument = parameter.param_type_name == "argument"
    names = [parameter.name.upper()] if is_argument else parameter.opts
    default = parameter.default
    shown = (
        "required"
        if parameter.required
        else ""
        if default is None or default is False or default == "" or callable(default)
        else f"`{default}`"
    )
    about = (parameter.help or "").replace("|", "\\|")
    return f"| {' '.join(f'`{name}`' for name in names)} | {shown} | {about} |"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(reference(), encoding="utf-8")
