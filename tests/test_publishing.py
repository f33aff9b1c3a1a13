"""What others meet first holds together: citation, forms, workflows, and the files of a release."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from source import ROOT

import frostline

GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
FORMS = sorted((GITHUB / "ISSUE_TEMPLATE").glob("[!c]*.yml"))


def parsed(path: Path) -> Any:
    # YAML 1.1 reads the key `on` as true.
    return yaml.load(path.read_text(encoding="utf-8"), yaml.BaseLoader)


def test_the_citation_is_of_this_version() -> None:
    found = parsed(ROOT / "CITATION.cff")
    # What the format asks for (Citation File Format 1.2.0), and what a reader needs.
    assert {"cff-version", "message", "title", "authors"} <= set(found)
    assert (found["cff-version"], found["version"]) == ("1.2.0", frostline.__version__)
    assert all("name" in author for author in found["authors"])


def test_the_changelog_begins_with_this_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "[Keep a Changelog](https://keepachangelog.com/en/1.1.0/)" in text
    unreleased, *versions = re.split(r"^## ", text, flags=re.M)[1:]
    assert unreleased.startswith("[Unreleased]\n")
    assert versions[0].startswith(f"[{frostline.__version__}] - ")
    kinds = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")
    for version in versions:
        assert re.match(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d\n", version)
        found = re.findall(r"^### (.+)$", version, re.M)
        assert found == [kind for kind in kinds if kind in found]
        for section in re.split(r"^### .+\n", version, flags=re.M)[1:]:
            assert "\n\n" not in section.strip() or version.startswith("[0.1.0]")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_runs_scripts_of_this_folder_and_has_no_secret(path: Path) -> None:
    flow = parsed(path)
    assert {"name", "on", "permissions", "jobs"} <= set(flow)
    assert flow["permissions"] == {"contents": "read"}
    assert "secrets." not in path.read_text()
    for job in flow["jobs"].values():
        for step in job["steps"]:
            assert ("run" in step) != ("uses" in step)
            assert re.fullmatch(r"[\w-]+/[\w-]+@[\w./]+", step.get("uses", "a/b@v1"))
            if "run" in step:
                program, script = step["run"].split()
                assert program == "bash"
                assert (ROOT / script).stat().st_mode & 0o111


def test_the_site_is_published_from_main_alone_and_built_by_the_script_of_ci() -> None:
    jobs = parsed(GITHUB / "workflows" / "docs.yml")["jobs"]
    assert [step["run"] for step in jobs["build"]["steps"] if "run" in step] == ["bash .ci/docs"]
    assert jobs["publish"]["if"] == "github.ref == 'refs/heads/main'"
    assert jobs["publish"]["permissions"] == {"pages": "write", "id-token": "write"}
    assert "permissions" not in jobs["build"]
    # Another run of .ci/run, on a machine that publishes nothing, finds the same faults.
    assert "\nbash .ci/docs\n" in (ROOT / ".ci" / "run").read_text()
    # With --quiet, warnings do not reach --strict.
    assert "/mkdocs build --strict\n" in (ROOT / ".ci" / "docs").read_text()


def test_the_oldest_python_is_among_those_of_the_matrix() -> None:
    versions = parsed(GITHUB / "workflows" / "test.yml")["jobs"]["test"]["strategy"]["matrix"]
    oldest = re.search(r"python_requires = >=(\S+)", (ROOT / "setup.cfg").read_text())
    assert oldest is not None
    assert versions["python"][0] == oldest[1]


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_a_form_of_an_issue_is_one(path: Path) -> None:
    form = parsed(path)
    assert {"name", "description", "body"} <= set(form)
    asked = [one for one in form["body"] if one["type"] != "markdown"]
    assert asked
    assert len({one["id"] for one in asked}) == len(asked)
    for one in form["body"]:
        assert one["type"] in ("markdown", "textarea", "input", "dropdown", "checkboxes")
        assert set(one["attributes"]) & {"label", "value"}


def test_hooks_are_what_the_tests_run() -> None:
    (repo,) = parsed(ROOT / ".pre-commit-config.yaml")["repos"]
    assert repo["repo"] == "local"
    assert {hook["entry"].split()[0] for hook in repo["hooks"]} == {"ruff"}


@pytest.mark.slow
def test_an_sdist_has_documents_tests_and_changelog(tmp_path: Path) -> None:
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    tree = tmp_path / "tree"
    for name in filter(None, tracked.stdout.decode().split("\0")):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, tree / name, follow_symlinks=False)
    script = f"from setuptools.build_meta import build_sdist; print(build_sdist({str(tmp_path)!r}))"
    subprocess.run([sys.executable, "-c", script], cwd=tree, check=True, capture_output=True)
    (path,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for name in ("CHANGELOG.md", "CITATION.cff", "docs/tutorial.md", "tests/cache/test_store.py"):
        assert name in names
    assert {"src/frostline/cache/manifest.py", "examples/snakemake/Snakefile"} <= names
    assert not any(name.endswith(".pyc") for name in names)
