"""The rooms: who may import whom, no circles, and wings that a newcomer can look over."""

from __future__ import annotations

import ast
from collections import Counter

import pytest
from source import ROOMS, ROOT, children, circle, import_graph, imported, source_files

GRAPH = import_graph()
PACKAGES = sorted({name for name in GRAPH if any(other.startswith(f"{name}.") for other in GRAPH)})
MOST_MODULES = 14
MOST_LINES, MOST_PARAMETERS = 60, 12  # of a function

# DESIGN, "The rooms": arrows point one way.
MAY_IMPORT = {
    "cache": set(),
    "extract": {"cache"},
    "report": {"cache"},
    "probe": {"cache", "report"},
    "finetune": {"cache", "extract", "probe", "report"},
    "frostline": {"cache", "extract", "report", "probe", "finetune"},
}
# And within a package: whatever stands further left knows nothing of what stands further right.
WINGS = {
    "frostline.report": (
        "statistics",
        "tables",
        "depth",
        "clinical",
        "manuscript",
        "figures",
        "page",
    ),
    "frostline.probe": ("solver", "heads", "sweep"),
    "frostline.extract": ("images", "readers"),
    "frostline": ("apply", "tracking", "study", "commands"),
}


def room_of(module: str) -> str:
    """The room that a module lies in; the face for what lies in no other."""
    first = module.split(".")[1] if "." in module else "frostline"
    return first if first in ROOMS else "frostline"


@pytest.mark.parametrize("room", ROOMS)
def test_arrows_point_one_way(room: str) -> None:
    for module, used in GRAPH.items():
        if room_of(module) == room:
            strangers = {room_of(other) for other in used} - MAY_IMPORT[room] - {room}
            # The version stands in the face's __init__, which imports nothing.
            assert not strangers, f"{module} imports {sorted(strangers)}"


def test_modules_do_not_import_each_other_in_a_circle() -> None:
    assert circle(GRAPH) == []


@pytest.mark.parametrize("package", PACKAGES)
def test_neither_do_the_wings_of_a_package(package: str) -> None:
    assert circle(children(GRAPH, package)) == []


@pytest.mark.parametrize("package", WINGS)
def test_lower_wings_know_nothing_of_higher_ones(package: str) -> None:
    inside, order = children(GRAPH, package), WINGS[package]
    for place, wing in enumerate(order):
        higher = inside[wing] & set(order[place + 1 :])
        assert not higher, f"{package}.{wing} imports {sorted(higher)}"


def test_no_folder_holds_more_modules_than_one_can_look_over() -> None:
    files = [path for path in source_files() if path.name != "__init__.py"]
    counts = Counter(path.parent.relative_to(ROOT).as_posix() for path in files)
    assert {folder: n for folder, n in counts.items() if n > MOST_MODULES} == {}


def test_functions_can_be_read_at_a_glance() -> None:
    long = {}
    for path in source_files():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                given = len(node.args.args) + len(node.args.kwonlyargs)
                if lines > MOST_LINES or given > MOST_PARAMETERS:
                    long[f"{path.relative_to(ROOT)}:{node.name}"] = (lines, given)
    assert long == {}


def test_the_tests_see_what_they_look_for() -> None:
    known = {"frostline.a", "frostline.b", "frostline.b.c"}
    source = "import frostline.a\ndef f():\n    from frostline.b import c, nothing\n"
    assert set(imported(source, known)) == {"frostline.a", "frostline.b.c", "frostline.b"}
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}}) == ["a", "b", "c", "a"]
    assert circle({"a": {"b"}, "b": set()}) == []
    graph = {"p.x.one": {"p.y.two"}, "p.y.two": {"p.x.three"}, "p.x.three": set()}
    assert circle(graph) == []
    assert circle(children(graph, "p")) == ["x", "y", "x"]
