"""One voice: what the project says is checked by reading its source."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from source import ROOMS, ROOT, source_files

# Words that a colleague would not use for what is meant here.
STIFF = re.compile(
    r"\banew\b|\bof which\b|\btold\b|\btells? apart\b|\bas this changed\b|\bCannot be:|"
    r"\bis none\b|\bis wanted\b|what is .* is\b",
)
# A path, a name or an option may open a sentence, and a list or a quotation may end it.
OPENING = re.compile(r"[A-Z{\"'`-]")
ENDING = re.compile(r"(?s).*[.?!}]$")


def literal(node: ast.expr) -> str | None:
    """A text as the source has it, with {} for what is filled in; None if it is made elsewhere."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        parts = [value.value if isinstance(value, ast.Constant) else "{}" for value in node.values]
        return "".join(str(part) for part in parts)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = literal(node.left), literal(node.right)
        return f"{'{}' if left is None else left}{'{}' if right is None else right}"
    return None


def errors(path: Path) -> Iterator[tuple[int, str]]:
    """The sentences of every InputError of a file, with their lines."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func
        name = name.id if isinstance(name, ast.Name) else name
        if name in ("InputError", "OtherKindError") and (text := literal(node.args[0])):
            yield node.lineno, text


def docstrings(path: Path) -> Iterator[tuple[int, str]]:
    """Every docstring of a file, with the line of what it is of."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        if isinstance(node, kinds) and (text := ast.get_docstring(node)):
            yield getattr(node, "lineno", 1), text


def where(path: Path, line: int, text: str) -> str:
    return f"{path.relative_to(ROOT)}:{line}: {text}"


@pytest.mark.parametrize("room", ROOMS)
def test_an_error_is_a_sentence_with_capital_and_full_stop(room: str) -> None:
    found = [(path, *error) for path in source_files(room) for error in errors(path)]
    bad = [
        where(path, line, text)
        for path, line, text in found
        if not (OPENING.match(text) and ENDING.match(text))
    ]
    assert not bad, "\n".join(bad)


@pytest.mark.parametrize("room", ROOMS)
def test_errors_and_first_lines_are_plain_english(room: str) -> None:
    bad = []
    for path in source_files(room):
        said = [*errors(path), *((n, text.split("\n")[0]) for n, text in docstrings(path))]
        bad += [where(path, line, text) for line, text in said if STIFF.search(text)]
    assert not bad, "\n".join(bad)


@pytest.mark.parametrize("room", ROOMS)
def test_docstrings_have_one_style(room: str) -> None:
    found = [(path, *text) for path in source_files(room) for text in docstrings(path)]
    # A literal block of an example may hold what it likes; names in prose have single backticks.
    bad = [where(p, n, text.split("\n")[0]) for p, n, text in found if re.search(r"``[^`]", text)]
    assert not bad, "\n".join(bad)


@pytest.mark.parametrize("room", ROOMS)
def test_no_line_is_packed_by_hand(room: str) -> None:
    bad = [path for path in source_files(room) if "# fmt: skip" in path.read_text("utf-8")]
    assert not bad, bad


def test_the_tests_see_what_they_look_for(tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text(
        '"""Things of which some are done anew."""\n'
        "def f(x):\n    raise InputError(f'no {x} here; choose ' + x)\n"
        "def g(x):\n    raise errors.InputError('There is no x: give one.')\n"
    )
    assert [text for _, text in errors(bad)] == [
        "no {} here; choose {}",
        "There is no x: give one.",
    ]
    assert not OPENING.match("no {} here")
    assert OPENING.match("{} is no table.")
    assert not ENDING.match("There is no x")
    assert STIFF.search(next(docstrings(bad))[1])
