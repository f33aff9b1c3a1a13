"""Records of every step of a study: done or failed, from which inputs, when and where."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frostline.cache import Manifest, Workspace, spec_difference
from frostline.cache.locks import system_memory
from frostline.cache.stamped import is_whole_parquet, read_json, write_json

if TYPE_CHECKING:
    from frostline.study.plan import Plan, Step

FORMAT, VERSION = "frostline-step", 2
PLAN = ("frostline-plan", 2)
COLUMNS = ("image_id", "content_key", "label", "group_id", "split")
# What goes with a cause is none of its own: other images have other contents, labels, …
CAUSES = {
    "manifest.image_id": ("manifest.",),
    "external.image_id": ("external.",),
    "cv": ("metric", "seeds"),
}
# What an input stands for where it is not among them.
ABSENT = {
    "cv": "the data set's splits",
    "columns": ["label", "split"],
    "on_error": "stop",
    "validated": "images",
}
# Inputs that are digests, and what a person calls them.
DIGESTS = {
    "manifest.image_id": "the images",
    "manifest.content_key": "the contents of images",
    "manifest.label": "the labels",
    "manifest.group_id": "the groups",
    "manifest.split": "the splits",
    "weights": "the weights",
    "run": "the trained run",
    "external.image_id": "the images",
    "external.content_key": "the contents of images",
    "external.label": "the labels",
    "external.group_id": "the groups",
}


def read_record(workspace: Workspace, key: str) -> dict[str, Any] | None:
    """Read the record of a step, if there is one.

    Raises
    ------
    InputError
        If a newer release wrote it, or it is not one.
    """
    path = workspace.record(key)
    return read_json(path, FORMAT, VERSION) if path.is_file() else None


def write_record(
    workspace: Workspace, step: Step, state: str, started: float, **facts: Any
) -> dict[str, Any]:
    """Write that a step is `done` or `failed`, with further facts about it."""
    record = {
        "kind": step.kind,
        "name": step.name,
        "key": step.key,
        "inputs": step.inputs,
        "state": state,
        "started": started,
        "ended": time.time(),
        "host": socket.gethostname(),
        **facts,
    }
    write_json(workspace.record(step.key), FORMAT, VERSION, record)
    return record


def hardware() -> dict[str, Any]:
    """Describe processor, cores and memory; where torch has computed, what it computes on too.

    That is the widest instructions that it uses, its GPUs, and its CUDA.
    """
    memory = system_memory()[0]
    computer = {"processor": _processor(), "cores": os.cpu_count(), "memory_bytes": memory}
    if "torch" not in sys.modules:
        return computer
    import torch

    gpus = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    return {
        **computer,
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "gpus": [{"name": gpu.name, "memory_bytes": gpu.total_memory} for gpu in gpus],
        "cuda": torch.version.cuda,
    }


def _processor() -> str:
    """Name the processor: Linux has the name in a file, other systems give it to Python."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def failures(workspace: Workspace, plan: Plan) -> dict[str, float]:
    """List the steps of a plan that failed, by key, and when each had ended."""
    records = [read_record(workspace, step.key) for step in plan.steps]
    failed = [record for record in records if record and record["state"] == "failed"]
    return {record["key"]: record["ended"] for record in failed}


def record_done(workspace: Workspace, key: str) -> dict[str, Any] | None:
    """Read the record of a run or sweep that is done and whose predictions are there."""
    record = read_record(workspace, key)
    if record is None or record["state"] != "done":
        return None
    files = [workspace.root / "predictions" / name for name in record.get("predictions", [])]
    return record if all(map(is_whole_parquet, files)) else None


def changed_runs(workspace: Workspace, study: str, planned: Sequence[Step]) -> list[str]:
    """Say in a sentence which runs this study made from other inputs before; then record these."""
    path = workspace.report(study) / "plan.json"
    before = dict(read_json(path, *PLAN)["steps"]) if path.is_file() else {}
    now = {step.name: step for step in planned}
    sentences = []
    for name, step in now.items():
        old = read_record(workspace, before[name]) if name in before else None
        if old is not None and old["key"] != step.key:
            reason = _reason(old["inputs"], step.inputs)
            again = reason or "this release computes it by other formulas"
            done = "scored" if step.cell.of else "trained"
            sentences.append(f"{name} is {done} again because {again}.")
    keys = before | {name: step.key for name, step in now.items()}
    write_json(path, *PLAN, {"steps": keys})
    return sentences


def _reason(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Say which fields changed, in words where their values are digests."""
    differences = spec_difference({**ABSENT, **old}, {**ABSENT, **new})
    changed, found = dict(one.split(": ", 1) for one in differences), []
    for name, values in changed.items():
        causes = [cause for cause, others in CAUSES.items() if name.startswith(others)]
        if any(cause in changed for cause in causes if cause != name):
            continue
        before, now = ("none" if one == "-" else one for one in values.split(" / ", 1))
        found.append(
            f"{DIGESTS[name]} changed"
            if name in DIGESTS
            else f"{name} changed from {before} to {now}"
        )
    return " and ".join(found)


def manifest_digests(
    manifest: Manifest, label: str = "label", split: str = "split"
) -> dict[str, str]:
    """Digest each column that runs depend on, whatever the order of the rows.

    Parameters
    ----------
    label, split : str
        Columns that hold labels and splits.
    """
    table = manifest.images(label, split).sort_values("image_id")
    names = "\n".join(table["image_id"])
    digests = {}
    for column in COLUMNS:
        values = [v.hex() if isinstance(v, bytes) else v for v in table[column].astype(object)]
        texts = [v if isinstance(v, str) else None for v in values]
        digest = hashlib.blake2b(json.dumps(texts).encode(), digest_size=8)
        digest.update(names.encode())
        digests[column] = digest.hexdigest()
    return digests
