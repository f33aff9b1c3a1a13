"""Audit: leaks, conflicts and damage, which make results look better or worse than they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from frostline.cache import InputError, Manifest
from frostline.cache.errors import printable
from frostline.cache.manifest import SPLITS
from frostline.extract.audit.duplicates import duplicate_findings, duplicate_table
from frostline.extract.audit.findings import (
    Finding,
    blank_findings,
    class_findings,
    crossing_findings,
    faint_mask_findings,
    grey_level_findings,
    grouping_findings,
    spelling_findings,
    undecoded_findings,
    unreadable_findings,
    validation_findings,
)
from frostline.extract.audit.flow import (
    FLOW,
    flow_of_cases,
    left_out_findings,
    patient_findings,
)
from frostline.extract.audit.headers import (
    HeaderAccuracy,
    header_accuracy,
    header_findings,
    header_table,
)
from frostline.extract.audit.near_duplicates import (
    ALIKE,
    Embeddings,
    ImageHashes,
    alike_embeddings,
    near_duplicates,
    near_findings,
)
from frostline.extract.images.decode import decode, why_unreadable
from frostline.extract.images.geometry import Geometry
from frostline.extract.pixel_keys import blank, undecoded


@dataclass(frozen=True)
class Audit:
    """What was found.

    Attributes
    ----------
    counts : DataFrame
        `split`, `label`, `images`, `groups`: a row for each split and class, then one
        with the label `all` for each split, then one for everything.
    flow : DataFrame
        The flow of cases: see `frostline.extract.audit.flow`.
    crossing_groups : DataFrame
        `group_id`, `splits` (joined by a comma), `images`.
    crossing_images : DataFrame
        Their images: `group_id`, `image_id`, `split`, `label`.
    duplicates : DataFrame
        Equal images, the most harmful first: see `frostline.extract.audit.duplicates`.
    near_duplicates : DataFrame or None
        Pairs of other groups that look the same: see `frostline.extract.audit.near_duplicates`.
        None if no pixels were at hand.
    alike_embeddings : DataFrame or None
        Pairs of other groups whose embeddings are nearly the same; None if none were at hand.
    headers : DataFrame
        Sizes, formats and bit depths by split and class: see `frostline.extract.audit.headers`.
    header_accuracy : HeaderAccuracy or None
        How well these alone predict the class; None where there is nothing to tell it by.
    unreadable : DataFrame
        `image_id`, `reason`.
    findings : list of Finding
        Leaks first, then warnings, then notes.
    """

    dataset: str
    counts: pd.DataFrame
    flow: pd.DataFrame
    crossing_groups: pd.DataFrame
    crossing_images: pd.DataFrame
    duplicates: pd.DataFrame
    near_duplicates: pd.DataFrame | None
    alike_embeddings: pd.DataFrame | None
    headers: pd.DataFrame
    header_accuracy: HeaderAccuracy | None
    unreadable: pd.DataFrame
    findings: list[Finding]

    @property
    def leaks(self) -> list[Finding]:
        """The findings that put one thing on both sides of a split, or give the class away."""
        return [finding for finding in self.findings if finding.severity == "leak"]

    @property
    def test_leaks(self) -> list[Finding]:
        """The leaks into the test split."""
        return [finding for finding in self.leaks if finding.test]


def audit(
    manifest: Manifest,
    *,
    label: str = "label",
    split: str = "split",
    splits: Sequence[str] = SPLITS,
    hashes: ImageHashes | None = None,
    embeddings: Embeddings | None = None,
) -> Audit:
    """Look for leaks, conflicts and damage in a manifest.

    Parameters
    ----------
    label, split
        Columns to take labels and splits from.
    splits
        Those that there should be.
    hashes
        Content keys and perceptual hashes (`frostline.extract.audit.thumbnails.store_hashes`);
        without them near-duplicates are not looked for.
    embeddings
        Content keys and embeddings, to look for pairs that are alike, too.

    Notes
    -----
    Only files that were found unreadable when the data set was indexed are opened, to say why.
    """
    images = manifest.images(label=label, split=split)
    left_out = manifest.meta.get("left_out", {})  # which manifests of release 0.1 lack
    crossing = _crossing_groups(images)
    duplicates = duplicate_table(images)
    near = None if hashes is None else near_duplicates(images, hashes)
    alike = None if embeddings is None else alike_embeddings(images, embeddings)
    accuracy = header_accuracy(images)
    unreadable = _unreadable(manifest)
    findings = [
        *crossing_findings(crossing),
        *duplicate_findings(duplicates, manifest.meta.get("made_splits", [])),
        *near_findings(near),
        *near_findings(alike, ALIKE),
        *header_findings(accuracy),
        *unreadable_findings(unreadable, len(images)),
        *_findings_of_images(images, manifest, splits),
        *left_out_findings(left_out),
    ]
    order = ("leak", "warning", "note")
    return Audit(
        dataset=str(manifest.meta.get("dataset", "")),
        counts=_counts(images, manifest.in_order(images["label"])),
        flow=flow_of_cases(images, left_out),
        crossing_groups=crossing,
        crossing_images=_images_of(images, crossing["group_id"]),
        duplicates=duplicates,
        near_duplicates=near,
        alike_embeddings=alike,
        headers=header_table(images),
        header_accuracy=accuracy,
        unreadable=unreadable,
        findings=sorted(findings, key=lambda finding: order.index(finding.severity)),
    )


def _findings_of_images(
    images: pd.DataFrame, manifest: Manifest, splits: Sequence[str]
) -> list[Finding]:
    """Say what the table of images alone shows, and the notes of how it was made."""
    notes, made = manifest.meta.get("notes", {}), manifest.meta.get("made_splits", [])
    return [
        *blank_findings(images.loc[blank(images), "image_id"]),
        *undecoded_findings(_undecoded(manifest, images)),
        *grey_level_findings(notes.get("grey_levels")),
        *faint_mask_findings(images),
        *class_findings(images, splits),
        *validation_findings(images, made),
        *spelling_findings(images),
        *grouping_findings(images),
        *patient_findings(notes),
    ]


def render_audit(audit: Audit, rows: int = 10) -> str:
    """Write an audit as plain text; of long tables only the first rows."""
    counts, flow = (_plain(table, len(table)) for table in (audit.counts, audit.flow))
    pieces = [f"Data set {audit.dataset}", counts, f"{FLOW}\n{flow}"]
    tables = {
        "Groups in several splits": audit.crossing_groups,
        # Their harm says what the two columns say.
        "Equal images": audit.duplicates.drop(columns=["across_splits", "label_conflict"]),
        "Near-duplicates in several groups": audit.near_duplicates,
        "Nearly equal embeddings in several groups": audit.alike_embeddings,
        "Sizes, formats and bit depths": audit.headers if audit.header_accuracy else None,
        "Unreadable files": audit.unreadable,
    }
    for title, table in tables.items():
        if table is not None and len(table):
            pieces.append(f"{title}\n{_plain(table, rows)}")
    findings = [f"{finding.severity}: {finding.text}" for finding in audit.findings]
    text = "\n\n".join([*pieces, "\n".join(findings or ["No problem was found."])])
    return printable(text, keep="\n")


def table_of_splits(audit: Audit) -> pd.DataFrame:
    """Give patients and images of each split and the number of classes (the paper's Table I)."""
    counts = audit.counts
    whole = counts[counts["label"] == "all"].set_index("split")[["groups", "images"]]
    classes = counts.loc[~counts["label"].isin(["all", "no label"]), "label"].nunique()
    columns = {
        f"{what}_{part}": [int(whole[what].get(part, 0))]
        for what in ("groups", "images")
        for part in SPLITS
    }
    return pd.DataFrame({"dataset": [audit.dataset], **columns, "classes": [classes]})


def table_of_classes(audit: Audit) -> pd.DataFrame:
    """Give images and patients of each class by split (the paper's Table II)."""
    counts = audit.counts[audit.counts["label"] != "all"]
    wide = counts.pivot(index="label", columns="split", values=["images", "groups"])
    wide = wide.loc[counts["label"].unique()]
    wide.columns = ["_".join(pair) for pair in wide.columns.to_list()]
    order = [f"{what}_{part}" for what in ("images", "groups") for part in (*SPLITS, "none")]
    wide = wide.reindex(columns=[name for name in order if name in wide]).fillna(0).astype(int)
    return wide.reset_index()


def _counts(images: pd.DataFrame, classes: list[str]) -> pd.DataFrame:
    rows = []
    for part in [*SPLITS, None]:
        inside = images[images["split"] == part if part else images["split"].isna()]
        groups = {name: inside[inside["label"] == name] for name in classes}
        groups["no label"] = inside[inside["label"].isna()]
        rows += [(part or "none", name, group) for name, group in groups.items() if len(group)]
    for part in SPLITS:
        inside = images[images["split"] == part]
        if len(inside):
            rows.append((part, "all", inside))
    rows.append(("all", "all", images))
    return pd.DataFrame(
        [(part, name, len(group), group["group_id"].nunique()) for part, name, group in rows],
        columns=["split", "label", "images", "groups"],
    )


def _crossing_groups(images: pd.DataFrame) -> pd.DataFrame:
    parts = images.dropna(subset=["split"]).groupby("group_id")["split"]
    crossing = parts.agg(splits=_joined, images="size")[parts.nunique() > 1]
    return crossing.sort_index().reset_index()


def _images_of(images: pd.DataFrame, groups: pd.Series) -> pd.DataFrame:
    table = images.loc[images["group_id"].isin(groups), ["group_id", "image_id", "split", "label"]]
    return table.sort_values(["group_id", "split", "image_id"], ignore_index=True)


def _unreadable(manifest: Manifest) -> pd.DataFrame:
    table = manifest.table
    rows = []
    for row in map(int, table["mode"].isna().to_numpy().nonzero()[0]):
        rows.append((table["image_id"].iat[row], _reason(manifest.file(row))))
    return pd.DataFrame(rows, columns=["image_id", "reason"])


def _undecoded(manifest: Manifest, images: pd.DataFrame) -> pd.DataFrame:
    """Name images that the data set's options cannot decode; `reason` is of the first."""
    rows = np.flatnonzero(undecoded(images))
    reason = ""
    if len(rows):
        frame = list(images["frame"].astype(object).where(images["frame"].notna(), None))[rows[0]]
        geometry = Geometry().with_options(manifest.meta.get("options", {}))
        try:
            path = manifest.file(int(rows[0]))
            decode(path, frame, geometry, "grey")
        except InputError as error:
            reason = str(error).removeprefix(f"Cannot read image {path}: ").removesuffix(".")
    return pd.DataFrame({"image_id": images["image_id"].iloc[rows], "reason": reason})


def _reason(path: Path) -> str:
    reason = why_unreadable(path)
    if reason is None:
        return "it could not be read when it was indexed, and now it can; index again"
    return reason.removeprefix(f"Cannot read image {path}: ").removesuffix(".")


def _joined(parts: pd.Series) -> str:
    return ", ".join(sorted(set(parts), key=SPLITS.index))


def _plain(table: pd.DataFrame, rows: int) -> str:
    text = table.head(rows).to_string(index=False)
    return text if len(table) <= rows else f"{text}\n… and {len(table) - rows} more"
