"""The project holds together: packages, linters, types, and what an import costs."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
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


def test_setup_cfg_names_every_package() -> None:
    options = setup()["options"]
    assert sorted(options["packages"].split()) == sorted(packages_on_disk())
    mapping = dict(
        line.replace(" ", "").split("=") for line in options["package_dir"].strip().splitlines()
    )
    assert mapping == packages_on_disk()


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


def test_mypy_is_content_with_the_installed_tree(tmp_path: Path) -> None:
    # As pip would lay it out: checkers cannot follow the mapping of folders in place.
    for package, folder in packages_on_disk().items():
        shutil.copytree(
            ROOT / folder,
            tmp_path / package.replace(".", "/"),
            dirs_exist_ok=True,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    shutil.copy(ROOT / "tests" / "typed_script.py", tmp_path)
    done = run(
        sys.executable,
        "-m",
        "mypy",
        "--config-file",
        str(ROOT / "pyproject.toml"),
        "--cache-dir",
        str(ROOT / ".mypy_cache"),
        "-p",
        "frostline",
        "-m",
        "typed_script",
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(tmp_path)},
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_importing_costs_nothing_and_changes_nothing() -> None:
    script = (
        "import sys, warnings; before = list(warnings.filters)\n"
        "import frostline.commands.cli, frostline.report\n"
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
