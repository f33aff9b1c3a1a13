"""The project's own source as tests read it: modules, their imports, and what they say."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("cache", "extract", "report", "probe", "finetune", "frostline")


def source_files(*rooms: str) -> list[Path]:
    """Python files of rooms, each once: what a link of frostline/ shows lies in its own folder."""
    found = (path for room in rooms or ROOMS for path in (ROOT / room).rglob("*.py"))
    return sorted(p for p in found if not any(folder.is_symlink() for folder in p.parents))


def module_name(path: Path) -> str:
    """The name that a file is imported by."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts[:-1] if parts[-1] == "__init__" else parts
    return ".".join(parts if parts[0] == "frostline" else ("frostline", *parts))


def import_graph() -> dict[str, set[str]]:
    """Modules of the project, and those that each imports, anywhere in it."""
    modules = {module_name(path): path for path in source_files()}
    return {
        name: set(imported(path.read_text(encoding="utf-8"), modules)) - {name}
        for name, path in modules.items()
    }


def imported(source: str, modules: Iterable[str]) -> Iterator[str]:
    """The modules of the project that a source imports."""
    known = set(modules)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            while name and name not in known:
                name = name.rpartition(".")[0]
            if name:
                yield name


def children(graph: Mapping[str, set[str]], package: str) -> dict[str, set[str]]:
    """What lies directly in a package, and which of it each imports, wherever inside."""

    def child(module: str) -> str | None:
        inside = module.startswith(f"{package}.")
        return module[len(package) + 1 :].split(".")[0] if inside else None

    found: dict[str, set[str]] = {}
    for module, used in graph.items():
        if (own := child(module)) is not None:
            others = {child(other) for other in used} - {None, own}
            found.setdefault(own, set()).update(o for o in others if o is not None)
    return found


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    """Names that import each other in a circle, in its order; empty if there is none."""
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return []
        for other in sorted(graph.get(name, ())):
            if found := visit(other, [*path, name]):
                return found
        done.add(name)
        return []

    for name in sorted(graph):
        if found := visit(name, []):
            return found
    return []


def floors(graph: Mapping[str, set[str]], package: str) -> int:
    """Length of the longest chain of imports among the modules of a package."""
    inside = {name for name in graph if name.startswith(f"{package}.")}
    known: dict[str, int] = {}

    def height(name: str) -> int:
        if name not in known:
            known[name] = 1 + max((height(other) for other in graph[name] & inside), default=0)
        return known[name]

    return max((height(name) for name in inside), default=0)
