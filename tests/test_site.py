"""The site: every public name is in its reference, the picture is of the rooms, links lead on."""

from __future__ import annotations

import importlib.util
import re
from types import ModuleType

import pytest
from source import ROOT

from .test_rooms import MAY_IMPORT

PACKAGES = ("frostline", "report", "probe", "finetune", "cache")


def module_at(place: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location("from_docs", ROOT / place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_in_the_reference(package: str) -> None:
    # As it is imported: there a release has it, too.
    room = ROOT / "src/frostline" / ("" if package == "frostline" else package)
    stub = (room / "__init__.pyi").read_text(encoding="utf-8")
    public = re.findall(r'^    "(\w+)",$', stub, re.MULTILINE)
    page = (ROOT / "docs/python" / f"{package}.md").read_text(encoding="utf-8")
    shown = re.findall(r"^::: [\w.]+\.(\w+)$", page, re.MULTILINE)
    assert sorted(shown) == sorted(public)


def test_the_picture_of_the_rooms_is_that_of_the_table() -> None:
    rooms = module_at("docs/style/rooms.py")
    assert {room: set(others) for room, others in rooms.imports().items()} == MAY_IMPORT
    written = (ROOT / "docs/style/rooms.svg").read_text(encoding="utf-8")
    assert written == rooms.picture(), "run `python docs/style/rooms.py`"


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    named = set(re.findall(r"[\w/-]+\.md", navigation))
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in ROOT.glob("docs/**/*.md")}
    assert named == pages | {"contributing.md", "changelog.md"}
