"""Records of every step of a study: done or failed, from which inputs, when and where."""

from __future__ import annotations

import hashlib
import json
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frostline.cache import InputError, Manifest, Workspace, atomic_write, spec_difference

if TYPE_CHECKING:
    from frostline.study.plan import Step

FORMAT, VERSION = "frostline-step", 1
COLUMNS = ("image_id", "content_key", "label", "group_id", "split")
# Inputs that are digests, and what a person calls them.
DIGESTS = {
    "manifest.image_id": "the images",
    "manifest.content_key": "the contents of images",
    "manifest.label": "the labels",
    "manifest.group_id": "the groups",
    "manifest.split": "the splits",
    "weights": "the weights",
}


def read_record(workspace: Workspace, key: str) -> dict[str, Any] | None:
    """Read the record of a step, if there is one.

    Raises
    ------
    InputError
        If a newer release wrote it, or it is not one.
    """
    return read_json(workspace.record(key), FORMAT, VERSION)


def write_record(
    workspace: Workspace, step: Step, state: str, started: float, **facts: Any
) -> dict[str, Any]:
    """Write that a step is `done` or `failed`, with further facts about it."""
    record = {
        "format": FORMAT,
        "format_version": VERSION,
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
    write_json(workspace.record(step.key), record)
    return record


def record_done(workspace: Workspace, key: str) -> dict[str, Any] | None:
    """Read the record of a run or sweep that is done and whose predictions are there."""
    record = read_record(workspace, key)
    if record is None or record["state"] != "done":
        return None
    files = [workspace.root / "predictions" / name for name in record.get("predictions", [])]
    return record if all(path.is_file() for path in files) else None


def changed_runs(workspace: Workspace, study: str, planned: Sequence[Step]) -> list[str]:
    """Say in a sentence which runs this study made from other inputs before; then record these."""
    path = workspace.report(study) / "plan.json"
    found = read_json(path, "frostline-plan", 1)
    before = dict((found or {}).get("steps", {}))
    now = {step.name: step for step in planned}
    sentences = []
    for name, step in now.items():
        old = read_record(workspace, before[name]) if name in before else None
        if old is not None and old["key"] != step.key:
            reason = _reason(old["inputs"], step.inputs)
            sentences.append(f"{name} is trained again because {reason}.")
    keys = before | {name: step.key for name, step in now.items()}
    write_json(path, {"format": "frostline-plan", "format_version": 1, "steps": keys})
    return sentences


def _reason(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Say which fields changed, in words where their values are digests."""
    found = []
    for text in spec_difference(old, new):
        name, _, values = text.partition(": ")
        before, _, now = values.partition(" / ")
        found.append(
            f"{DIGESTS[name]} changed"
            if name in DIGESTS
            else f"{name} changed from {before} to {now}"
        )
    return " and ".join(found)


def manifest_digests(manifest: Manifest) -> dict[str, str]:
    """Digest each column that runs depend on, whatever the order of the rows."""
    table = manifest.table.sort_values("image_id")
    names = "\n".join(table["image_id"])
    digests = {}
    for column in COLUMNS:
        values = [v.hex() if isinstance(v, bytes) else v for v in table[column].astype(object)]
        texts = [v if isinstance(v, str) else None for v in values]
        digest = hashlib.blake2b(json.dumps(texts).encode(), digest_size=8)
        digest.update(names.encode())
        digests[column] = digest.hexdigest()
    return digests


def read_json(path: Path, format: str, version: int) -> dict[str, Any] | None:
    """Read a JSON file of Frostline; return None if it does not exist.

    Raises
    ------
    InputError
        If it is not of that format, or of a newer version.
    """
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        known = found["format"] == format
        newer = found["format_version"] > version
    except (ValueError, KeyError, TypeError):
        known, newer = False, False
    if not known:
        raise InputError(f"{path} is not what Frostline wrote there: delete it and run again.")
    if newer:
        raise InputError(f"{path} was written by a newer Frostline: install that release.")
    return dict(found)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON file, whole or not at all."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
