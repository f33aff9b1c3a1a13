"""What the documents say can be done, done."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from frostline.study import parse_study

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def block(marker: str) -> str:
    found = re.search(rf"<!-- {marker} -->\n```sh\n(.*?)```", README, re.DOTALL)
    assert found is not None, f"README has no block marked {marker}"
    return found[1]


def test_readme_has_one_command_to_run_and_one_to_test() -> None:
    for marker, last in (("demo", "frostline demo"), ("test", "-m pytest")):
        command = block(marker).strip()
        assert "\n" not in command
        assert command.startswith("python3 -m venv .venv && .venv/bin/pip install -e ")
        assert command.endswith(last)


def test_readmes_example_works_as_it_is_written(tmp_path: Path) -> None:
    sys.path.insert(0, str(ROOT / "tests" / "frostline"))
    try:
        from conftest import make_images  # type: ignore[import-not-found]
    finally:
        sys.path.pop(0)
    make_images(tmp_path / "images", 24)
    for line in block("worked example").strip().splitlines():
        program, *arguments = shlex.split(line)
        assert program == "frostline"
        paths = sorted(tmp_path.glob(arguments[-1])) if "*" in arguments[-1] else arguments[-1:]
        done = subprocess.run(
            [sys.executable, "-m", "frostline", *arguments[:-1], *map(str, paths)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stderr}"
    assert "effnet-lite0" in done.stdout


def test_readmes_study_is_valid() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    assert parse_study(yaml.safe_load(text), "README.md").seeds == [0, 1, 2]


@pytest.mark.parametrize("path", sorted((ROOT / "docs").glob("*.md")), ids=lambda path: path.name)
def test_links_in_docs_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), f"{path.name} links to {target}"
