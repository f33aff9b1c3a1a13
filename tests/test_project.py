"""The project holds together: packages, linters, types, and what an import costs."""

from __future__ import annotations

import configparser
import subprocess
import sys
from pathlib import Path

import pytest
from setuptools import find_packages
from source import ROOMS, ROOT, source_files


def setup() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def packages_on_disk() -> dict[str, str]:
    markers = (path for path in source_files() if path.name == "__init__.py")
    folders = [path.parent.relative_to(ROOT) for path in markers]
    return {
        ".".join(("frostline", *folder.parts)).replace("frostline.frostline", "frostline"): str(
            folder
        )
        for folder in folders
    }


def test_every_package_on_disk_is_installed() -> None:
    # src/ holds one link: with it alone on the path, nobody sees a bare `cache` or `tests`.
    assert [path.name for path in (ROOT / "src").glob("*[!o]")] == ["frostline"]  # not .egg-info
    assert sorted(find_packages(str(ROOT / "src"))) == sorted(packages_on_disk())


def test_every_room_ships_its_type_marker_and_data() -> None:
    data = setup()["options.package_data"]
    for room in ROOMS:
        assert (ROOT / room / "py.typed").exists()
        name = "frostline" if room == "frostline" else f"frostline.{room}"
        assert "py.typed" in data[name]


def run(*command: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload, no-any-return]


@pytest.mark.parametrize("arguments", [("check",), ("format", "--check")])
def test_ruff_is_content(arguments: tuple[str, ...]) -> None:
    done = run(sys.executable, "-m", "ruff", *arguments, str(ROOT))
    assert done.returncode == 0, done.stdout + done.stderr


def test_importing_costs_nothing_and_changes_nothing() -> None:
    script = (
        "import sys, warnings; before = list(warnings.filters)\n"
        "import frostline.cli, frostline.report\n"
        "heavy = {'torch', 'timm', 'pandas', 'matplotlib', 'sklearn', 'h5py'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert warnings.filters == before\n"
    )
    done = run(sys.executable, "-c", script)
    assert done.returncode == 0, done.stderr


def test_a_users_cache_py_and_report_py_change_nothing(tmp_path: Path) -> None:
    for name in ("cache", "report", "extract", "probe", "finetune"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong module')\n")
    done = run(
        sys.executable,
        "-c",
        "import frostline.cache, frostline.report, frostline.extract, frostline.probe.run",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
