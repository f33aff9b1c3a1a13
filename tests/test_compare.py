"""The page on other programs says where and when each fact was read, and agrees with the rest."""

from __future__ import annotations

import re
import sys
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs/compare.md").read_text(encoding="utf-8")
sys.path.append(str(ROOT / "benchmarks"))
from others import NOT_COMPARABLE, OTHERS  # noqa: E402

COMMIT = re.compile(r"` at [0-9a-f]{7}\b")
ON_PYPI = {"thunder-bench": "THUNDER"}


def rows(heading: str) -> list[dict[str, str]]:
    """Read the table under a heading: a dictionary of its header a row."""
    part = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("|")]
    header, _, *cells = [[cell.strip() for cell in line[1:-1].split("|")] for line in lines]
    return [dict(zip(header, row, strict=True)) for row in cells]


def programs() -> dict[str, str]:
    return {row["program"]: row["version"] for row in rows("What each does")}


def sourced(text: str) -> bool:
    """Whether a file or a package is named as the source."""
    return re.search(r"`[\w./-]+`", text) is not None


def test_every_program_has_a_version_a_source_and_a_date() -> None:
    for row in rows("What each does"):
        assert re.match(r"\d+\.\d+|not found|this release", row["version"]), row
        assert sourced(row["read in"]), row
        assert date.fromisoformat(row["on"]), row
        assert all(row.values()), row
        repository = row["read in"].split(":")[0]
        if "/" in repository:  # its files change, and have no release
            assert row["read in"].count("`") == 2 * len(COMMIT.findall(row["read in"])), row


def test_every_lack_names_who_has_it_and_where_that_was_read() -> None:
    known = set(programs()) - {"Frostline"}
    for row in rows("What Frostline lacks"):
        who = row["who has it, and where that was read"]
        named = [name for name in known if name in who]
        assert named, row
        for name in named:
            assert sourced(who.partition(f"{name} (")[2].split(")")[0]), f"{name}: {row}"


def test_every_program_is_run_or_left_out_by_the_benchmark() -> None:
    run = {ON_PYPI.get(other.package, other.package) for other in OTHERS}
    assert run | set(NOT_COMPARABLE) | {"Frostline", "scikit-learn by hand"} == set(programs())


def test_numbers_are_of_the_versions_on_the_page() -> None:
    named = [row["by"].rsplit(" ", 1) for row in rows("Numbers") if row["by"][-1].isdigit()]
    assert {name for name, _ in named} == {other.package for other in OTHERS}
    for name, version in named:
        assert programs()[ON_PYPI.get(name, name)] == version
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"kaiko-eva (\d[\d.]*\d)", readme) == [programs()["kaiko-eva"]]


def test_numbers_have_the_columns_that_the_command_prints() -> None:
    printed = (ROOT / "benchmarks/against.py").read_text(encoding="utf-8")
    assert " | ".join(rows("Numbers")[0]) in printed


def test_links_to_parts_of_pages_lead_there() -> None:
    for target, part in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", PAGE):
        text = (ROOT / "docs" / target).read_text(encoding="utf-8") if target else PAGE
        parts = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
        assert part in {re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in parts}
