"""Provenance of a study's results: code, weights, and every step's record with its machine."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from frostline.cache import Workspace
from frostline.cache.stamped import write_json
from frostline.cache.versions import versions
from frostline.study.file import Study
from frostline.study.plan import Plan
from frostline.study.records import read_record

FORMAT, FORMAT_VERSION = "frostline-provenance", 3


def write_provenance(
    workspace: Workspace, study: Study, plan: Plan, failed: Mapping[str, str]
) -> Path:
    """Write `provenance.json` next to the report of a study; return its path."""
    path = workspace.report(study.name) / "provenance.json"
    records = [read_record(workspace, step.key) for step in plan.steps]
    dropped = ("format", "format_version", "traceback")
    known = [record for record in records if record]
    found = {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "study": study.model_dump(mode="json"),
        "seeds": study.seeds,
        "versions": versions() | {"system": platform.platform()},
        "git": {"frostline": git_state(Path(__file__).parent), "here": git_state(Path.cwd())},
        "weights": _weights(known),
        "steps": [
            {name: value for name, value in record.items() if name not in dropped}
            for record in known
        ],
        "failed": dict(failed),
        "left_out": plan.left_out,
    }
    write_json(path, FORMAT, FORMAT_VERSION, found)
    return path


def git_state(folder: Path) -> dict[str, Any] | None:
    """Find the commit of the checkout that a folder is in, if any, and whether files differ."""
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return None
    return {"commit": commit, "changed": bool(changed)}


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _weights(records: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Collect the digests of the weights of each backbone."""
    found: dict[str, set[str]] = {}
    for record in records:
        inputs = record["inputs"]
        if "weights" in inputs:
            found.setdefault(inputs["backbone"], set()).add(inputs["weights"])
    return {name: sorted(digests) for name, digests in found.items()}
