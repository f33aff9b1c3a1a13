"""Types: what a user's type checker sees of Frostline, however it is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from source import ROOT

SCRIPT = ROOT / "tests" / "typed_script.py"
# Three files that pyright must find no fault with: the face, a room's public names, a script.
STRICT = ("frostline/workspace.py", "cache/embeddings.py", "tests/typed_script.py")


def run(*command: object, **options: object) -> subprocess.CompletedProcess[str]:
    # Where this is set it would be found before what is installed.
    options.setdefault("env", {k: v for k, v in os.environ.items() if k != "PYTHONPATH"})
    return subprocess.run(  # type: ignore[call-overload, no-any-return]
        [*map(str, command)], capture_output=True, text=True, check=False, **options
    )


def environment(folder: Path, *paths: Path) -> Path:
    """Make an interpreter that sees this one's packages but for Frostline, which `paths` give.

    Returns
    -------
    Path
        Its python.
    """
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    (site,) = folder.glob("lib/python*/site-packages")
    lines = [*paths, sysconfig.get_path("purelib")]
    (site / "paths.pth").write_text("\n".join(map(str, lines)) + "\n")
    return folder / "bin" / "python"


def check(python: Path, script: Path, tool: str) -> None:
    """Check a user's script, which has no configuration of ours next to it."""
    outside = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "MYPYPATH")}
    if tool == "mypy":
        cache = ROOT / ".mypy_cache" / "users"
        options = ("--strict", "--python-executable", python, "--cache-dir", cache)
        command: tuple[object, ...] = (sys.executable, "-m", "mypy", *options, script)
    else:
        command = (sys.executable, "-m", "pyright", "--pythonpath", python, script)
    done = run(*command, cwd=script.parent, env=outside)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """A user's script, beside files with the names of our folders."""
    folder = tmp_path / "user"
    folder.mkdir()
    for name in ("cache", "report"):
        (folder / f"{name}.py").write_text("raise SystemExit('the wrong module')\n")
    return Path(shutil.copy(SCRIPT, folder / "script.py"))


def test_mypy_is_content() -> None:
    done = run(sys.executable, "-m", "mypy", "-p", "frostline", cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("place", ["editable", "in place"])
def test_a_users_script_is_checked(place: str, script: Path, tmp_path: Path) -> None:
    # What `pip install -e` puts on the path, as the slow test below shows; or the checkout itself.
    python = environment(tmp_path / "env", ROOT / "src" if place == "editable" else ROOT)
    check(python, script, "pyright")


def test_mypy_checks_a_users_script_in_place(script: Path) -> None:
    # With our options, so that what the test above found of torch and pandas need not be found
    # again; the slow test has a user's own.
    command = (
        "mypy",
        "--config-file",
        ROOT / "pyproject.toml",
        "--cache-dir",
        ROOT / ".mypy_cache",
    )
    outside = {**os.environ, "MYPYPATH": str(ROOT)}
    done = run(sys.executable, "-m", *command, script, cwd=script.parent, env=outside)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("how", ["editable", "wheel"])
def test_a_users_script_is_checked_after_pip_install(
    how: str, script: Path, tmp_path: Path
) -> None:
    python = environment(tmp_path / "env")
    copy = tmp_path / "checkout"  # building writes into its folder
    shutil.copytree(ROOT, copy, symlinks=True, ignore=shutil.ignore_patterns(".*", "*.egg-info"))
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--no-deps")
    target = ("-e", copy) if how == "editable" else (copy,)
    done = run(*pip, "--no-build-isolation", "--ignore-installed", *target)
    assert done.returncode == 0, done.stderr
    (site,) = (tmp_path / "env").glob("lib/python*/site-packages")
    if how == "editable":
        (path,) = site.glob("__editable__*")
        assert path.read_text().strip() == str(copy / "src")
    else:
        installed = {str(p.relative_to(site / "frostline")) for p in site.rglob("frostline/**/*.*")}
        data = {"py.typed", "__init__.pyi", "cache/__init__.pyi", "studies/demo.yaml"}
        assert data | {"report/page/templates/page.css"} <= installed
    for tool in ("mypy", "pyright"):
        check(python, script, tool)
    where = "import frostline.cache, frostline.report; print(frostline.cache.__file__)"
    done = run(python, "-c", where, cwd=script.parent)
    assert done.returncode == 0, done.stderr
    assert str(tmp_path) in done.stdout


def test_pyright_is_content_with_three_files() -> None:
    done = run(sys.executable, "-m", "pyright", "--pythonpath", sys.executable, *STRICT, cwd=ROOT)
    assert done.returncode == 0, done.stdout
