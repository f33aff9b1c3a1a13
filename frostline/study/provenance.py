"""Provenance of a study's results: code, machine, weights, and every step's record."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from frostline.cache import Workspace
from frostline.cache.errors import READ_ERRORS
from frostline.cache.stamped import read_json, write_json
from frostline.cache.versions import versions
from frostline.study.file import Study
from frostline.study.plan import Plan
from frostline.study.records import read_record

FORMAT, FORMAT_VERSION = "frostline-provenance", 2


def write_provenance(
    workspace: Workspace, study: Study, plan: Plan, failed: Mapping[str, str]
) -> Path:
    """Write `provenance.json` next to the report of a study; return its path."""
    path = workspace.report(study.name) / "provenance.json"
    records = [read_record(workspace, step.key) for step in plan.steps]
    dropped = ("format", "format_version", "traceback")
    known = [record for record in records if record]
    installed = versions() | {"system": platform.platform()}
    found = {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "study": study.model_dump(mode="json"),
        "seeds": study.seeds,
        "versions": installed,
        "git": {"frostline": git_state(Path(__file__).parent), "here": git_state(Path.cwd())},
        "hardware": _hardware_before(path, installed) or hardware(),
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


def hardware() -> dict[str, Any]:
    """Describe processor, the widest instructions that torch uses, cores, memory and GPUs."""
    import torch

    gpus = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    return {
        **_computer(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "gpus": [{"name": gpu.name, "memory_bytes": gpu.total_memory} for gpu in gpus],
        "cuda": torch.version.cuda,
    }


def _hardware_before(path: Path, installed: Mapping[str, str]) -> dict[str, Any] | None:
    """Read it where it was written before by this computer with these versions.

    To ask torch takes seconds, which a finished study should not.
    """
    if "torch" in sys.modules or not path.exists():
        return None
    try:
        before = read_json(path, FORMAT, FORMAT_VERSION)
        same = before["versions"] == installed and _computer().items() <= before["hardware"].items()
    except READ_ERRORS:
        return None
    return dict(before["hardware"]) if same else None


def _computer() -> dict[str, Any]:
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {"processor": _processor(), "cores": os.cpu_count(), "memory_bytes": pages}


def _processor() -> str:
    """Name the processor: Linux has the name in a file, other systems give it to Python."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _weights(records: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Collect the digests of the weights of each backbone."""
    found: dict[str, set[str]] = {}
    for record in records:
        inputs = record["inputs"]
        if "weights" in inputs:
            found.setdefault(inputs["backbone"], set()).add(inputs["weights"])
    return {name: sorted(digests) for name, digests in found.items()}
