"""What the command line says to who types too little: the first commands, and full examples."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from frostline.cache.errors import printable
from frostline.cache.workspace import DEFAULT, VARIABLE, Workspace

FIRST_CONTACT = """\
Find out how deep to freeze a pretrained backbone for your medical images.

Index your images: one folder a class, the patient in every file's name.
  frostline index mine --root images --group-pattern '(patient[0-9]+)'

Find where to read a backbone, from one pass over the images.
  frostline depth --dataset mine --backbone effnet-lite0

Score what was trained, by patient, with 95% intervals.
  frostline evaluate frostline-workspace/predictions/*.parquet

No images at hand: `frostline demo`. All commands: `frostline -h`."""


def examples(command: Any) -> list[str]:
    """Find the command lines that a command's help gives as examples."""
    return re.findall(r"^\s*(?:Examples?: )?(frostline \S.*)$", command.help, re.MULTILINE)


def usage_sentence(error: Any, group: Any, words: Sequence[str]) -> str:
    """Say what is wrong with an option, show a command that works, and where all are shown.

    Parameters
    ----------
    error
        What typer raised.
    group
        The command of all commands.
    words
        What was typed behind `frostline`.
    """
    # Typer checks closed lists by pydantic, whose messages begin with the kind of the error.
    sentence = error.format_message().replace("Value error, ", "").strip()
    sentence = " ".join(sentence.split())  # click writes some lists on lines of their own
    sentence += "" if sentence.endswith((".", "?")) else "."
    path, command, rest = _typed(group, words)
    if type(error).__name__ == "MissingParameter":
        sentence += f" For example: `{_completed(path, command, rest)}`."
    return f"{printable(sentence)} `{path} -h` shows what it takes."


def _typed(group: Any, words: Sequence[str]) -> tuple[str, Any, Sequence[str]]:
    """Find the command that was typed: typer does not say it of every mistake."""
    path, command = "frostline", group
    for place, word in enumerate(words):
        inner = getattr(command, "commands", {})
        if word in inner:
            path, command = f"{path} {word}", inner[word]
        elif not (word.startswith("-") and inner):
            return path, command, words[place:]
    return path, command, ()


def _completed(path: str, command: Any, rest: Sequence[str]) -> str:
    """Complete what was typed by what its command's example has; else give the example."""
    example = examples(command)[0]
    given, shown = set(rest), shlex.split(example)
    missing = [one for one in command.params if one.required and not given.intersection(one.opts)]
    if any(one.param_type_name == "argument" for one in command.params if one.required):
        return example
    words = list(rest)
    for one in missing:
        place = next(place for place, word in enumerate(shown) if word in one.opts)
        words += [shown[place], _own(shown[place], shown[place + 1])]
    return f"{path} {shlex.join(words)}"


def _own(option: str, value: str) -> str:
    """Give a data set of the workspace instead of the example's, if there is one."""
    names = Workspace(Path(os.environ.get(VARIABLE) or DEFAULT)).datasets()
    return names[0] if option in ("--dataset", "-d") and names else value
