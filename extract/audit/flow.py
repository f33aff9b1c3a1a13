"""The flow of cases: what was found, what was left out and why, what is kept, by split."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from frostline.cache.manifest import SPLITS
from frostline.extract.audit.findings import Finding, examples, many
from frostline.extract.readers.left_out import counted
from frostline.extract.readers.reading import HIDDEN

FLOW = "Flow of cases"
COLUMNS = ("step", "what", "count", "examples")
# Columns of a manifest whose different values are what is counted.
COUNTED = {"files": ["root", "path"], "patients": ["group_id"], "images": ["image_id"]}


def flow_of_cases(images: pd.DataFrame, left_out: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Count the cases on their way from the disk into the splits.

    Parameters
    ----------
    images
        Rows of a manifest.
    left_out
        What the reader left out, by reason: `left_out` of the manifest's facts.

    Returns
    -------
    `step` (`found`, `left out`, `in the manifest`, `unusable`, `kept`), `what`, `count`,
    `examples`.
    """
    units = list(dict.fromkeys(str(entry["of"]) for entry in left_out.values())) or ["images"]
    rows: list[tuple[str, str, int, str]] = []
    for unit in units:
        there = len(images.drop_duplicates(COUNTED[unit]))
        missing = sum(entry["count"] for entry in left_out.values() if entry["of"] == unit)
        rows.append(("found", unit, there + missing, ""))
    for reason, entry in left_out.items():
        rows.append(("left out", reason, entry["count"], _listed(entry)))
    rows.append(("in the manifest", "images", len(images), ""))
    unreadable = images["mode"].isna()
    unlabelled = ~unreadable & images["label"].isna()
    for what, mask in (("that cannot be read", unreadable), ("without a label", unlabelled)):
        if mask.any():
            names = examples(images.loc[mask, "image_id"])
            rows.append(("unusable", f"images {what}", int(mask.sum()), names))
    kept = images[~unreadable & ~unlabelled]
    rows.append(("kept", "images", len(kept), ""))
    rows += [
        ("kept", f"images in {part}", int((kept["split"] == part).sum()), "") for part in SPLITS
    ]
    return pd.DataFrame(rows, columns=[*COLUMNS])


def left_out_findings(left_out: Mapping[str, Mapping[str, Any]]) -> list[Finding]:
    """Put what was left out into one sentence; hidden files alone are not worth one."""
    said = {reason: entry for reason, entry in left_out.items() if reason != HIDDEN}
    if not said:
        return []
    parts = [
        f"{counted(entry['count'], reason)} ({_listed(entry)})" for reason, entry in said.items()
    ]
    return [Finding("note", f"Left out: {'; '.join(parts)}.")]


def patient_findings(notes: Mapping[str, Any]) -> list[Finding]:
    """Say how many DICOM images name no patient."""
    count = int(notes.get("without_patient", 0))
    if not count:
        return []
    one, several = "image has no PatientID: it is", "images have no PatientID: each is"
    return [Finding("warning", f"{many(count, one, several)} taken for a patient of its own.")]


def _listed(entry: Mapping[str, Any]) -> str:
    names = ", ".join(entry["examples"])
    return names + (", …" if entry["count"] > len(entry["examples"]) else "")
