"""What the documents say can be done, done.

Right above every block of commands or of Python stands a comment that says how it is tested:

    <!-- run -->                     here, in the order of the page, in a folder with `images/`
    <!-- run by tests/…/test_x.py --> by that test
    <!-- not run: WHY -->            by nobody
    <!-- file NAME -->               not run itself: what the page says to save as NAME
    <!-- output -->                  not run itself: what the block above prints, … being anything

`<!-- demo -->` and `<!-- test -->` mark README's two commands, which `.ci/run` runs.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer
import yaml

from frostline.cli import app
from frostline.reference import commands, examples, reference
from frostline.study.file import parse_study

from .frostline.conftest import make_images

ROOT = Path(__file__).resolve().parents[1]
# Their commands take longest, and .ci/run runs them.
LONG = ("docs/tutorial.md", "docs/index.md", "docs/faq.md")
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("README.md", "CONTRIBUTING.md", "docs/**/*.md")
    for path in ROOT.glob(pattern)
)
# Pages whose commands a test of their own reads and runs, all of them.
OWN_TESTS = {"docs/datasets.md": "tests/extract/test_datasets_page.py"}
FENCED = r"^(?:<!-- (?P<mark>[^\n]*) -->\n)?```(?P<kind>sh|python|yaml|text)\n(?P<text>.*?)^```$"
INDENTED = (
    r"^(?:<!-- (?P<imark>[^\n]*) -->\n\n?)?"
    r"(?P<itext>(?:^    (?:frostline|python|pip|torchrun|git|kubectl|sbatch) [^\n]*\n)+)"
)


@dataclass(frozen=True)
class Block:
    """Code on a page: its mark, language and text."""

    mark: str
    kind: str
    text: str


def blocks(page: str) -> list[Block]:
    text = (ROOT / page).read_text(encoding="utf-8")
    found = []
    for one in re.finditer(f"{FENCED}|{INDENTED}", text, re.DOTALL | re.MULTILINE):
        mark = one["mark"] or one["imark"] or ""
        found.append(Block(mark, one["kind"] or "sh", one["text"] or one["itext"]))
    return found


@pytest.mark.parametrize("page", [page for page in PAGES if page not in OWN_TESTS])
def test_every_command_is_run_or_says_why_not(page: str) -> None:
    for block in blocks(page):
        if block.kind in ("yaml", "text") and not block.mark:
            continue
        told = re.fullmatch(
            r"run|not run: .{10,}|run by (\S+)|file \S+|output|demo|test", block.mark
        )
        assert told, f"{page}: say above this block how it is tested:\n{block.text}"
        assert not told[1] or (ROOT / told[1]).is_file(), f"{page}: there is no {told[1]}"
        assert block.mark not in ("demo", "test") or page == "README.md"


def test_pages_with_tests_of_their_own_are_named_there() -> None:
    for page, path in OWN_TESTS.items():
        assert page in (ROOT / path).read_text(encoding="utf-8")


def test_the_test_of_marks_sees_blocks_without_one() -> None:
    fenced = "<!-- run -->\n```sh\nfrostline a\n```\n\n```sh\nls\n```\n\n"
    text = f"{fenced}    frostline b\n    frostline c\n"
    found = [one["mark"] for one in re.finditer(f"{FENCED}|{INDENTED}", text, re.S | re.M)]
    assert found == ["run", None, None]


@pytest.mark.timeout(900)  # half a minute, but for machines that do something else
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=pytest.mark.slow if page in LONG else ())
        for page in PAGES
        if any(block.mark == "run" for block in blocks(page))
    ],
)
def test_the_commands_of_a_page_work_in_their_order(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    make_images(tmp_path / "images", 24)
    names: dict[str, object] = {}
    for block in blocks(page):
        if block.mark == "output":
            shown = re.escape(block.text.strip()).replace("…", ".*")
            printed = capsys.readouterr().out.strip()
            assert re.fullmatch(shown, printed, re.DOTALL), (
                f"{page} shows another output: {printed}"
            )
            continue
        capsys.readouterr()
        saved = re.fullmatch(r"file (\S+)", block.mark)
        if saved:
            (tmp_path / saved[1]).write_text(block.text, encoding="utf-8")
        elif block.mark == "run" and block.kind == "python":
            exec(compile(block.text, page, "exec"), names)
        elif block.mark == "run":
            for line in block.text.replace("\\\n", " ").strip().splitlines():
                run_line(line.strip(), tmp_path)


def run_line(line: str, folder: Path) -> None:
    """A line as a shell would run it, with `frostline` in this process."""
    program, *words = shlex.split(line, comments=True)
    arguments = [word for given in words for word in expanded(given, folder)]
    if program == "frostline":
        try:
            assert not app(arguments, standalone_mode=False), line
        except (ValueError, SystemExit) as error:
            raise AssertionError(f"{line}: {error}") from error
        return
    assert program == "python", f"only frostline and python are run, not {line}"
    subprocess.run([sys.executable, *arguments], cwd=folder, check=True)


def expanded(word: str, folder: Path) -> list[str]:
    if "*" not in word or "/" not in word:
        return [word]
    return sorted(str(path.relative_to(folder)) for path in folder.glob(word))


def test_readme_has_one_command_to_run_and_one_to_test() -> None:
    marked = {block.mark: block.text.strip() for block in blocks("README.md")}
    for mark, last in (("demo", "frostline demo"), ("test", "-m pytest")):
        command = marked[mark]
        assert "\n" not in command
        assert command.startswith("python3 -m venv .venv && .venv/bin/pip install -e ")
        assert command.endswith(last)


@pytest.mark.parametrize("page", PAGES)
def test_studies_in_the_docs_are_valid(page: str) -> None:
    for block in blocks(page):
        if block.kind == "yaml" and "datasets:" in block.text and "protocols:" in block.text:
            assert parse_study(yaml.safe_load(block.text), page).protocols


def test_the_reference_says_what_the_help_says() -> None:
    written = (ROOT / "docs/reference.md").read_text(encoding="utf-8")
    assert written == reference(), "run `python -m frostline.reference docs/reference.md`"


@pytest.mark.parametrize(
    ("name", "command"),
    list(commands(typer.main.get_command(app))),
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_examples_of_the_help_are_read(name: str, command: object) -> None:
    lines = examples(command)
    assert lines, f"the help of {name} has no example"
    for line in lines:
        program = shlex.split(line)
        words = name.split()
        assert program[: len(words)] == words, line
        command.make_context(name, program[len(words) :])  # type: ignore[attr-defined]


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    path = ROOT / page
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), f"{page} links to {target}"


def test_every_page_can_be_reached_from_the_readme() -> None:
    seen, todo = set(), ["README.md"]
    while todo:
        page = todo.pop()
        if page in seen or not page.endswith(".md"):
            continue
        seen.add(page)
        for target in re.findall(r"\]\(([^)#:]+)", (ROOT / page).read_text(encoding="utf-8")):
            todo.append(((ROOT / page).parent / target).resolve().relative_to(ROOT).as_posix())
    assert set(PAGES) <= seen
