"""Findings of an audit: sentences, and how bad they are."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from frostline.cache.manifest import SPLITS
from frostline.cache.tables.labels import spelling_warnings

FAINT_VOXELS = 0.05  # of those that mark
DARK = 64  # of 256 grey levels


@dataclass(frozen=True)
class Finding:
    """One sentence, and how bad it is.

    Attributes
    ----------
    severity : str
        `leak`, `warning` or `note`.
    text : str
        The sentence.
    test : bool
        Whether it is a leak into the test split, so that test scores are not what they seem.
    """

    severity: str
    text: str
    test: bool = False


def many(count: int, one: str, several: str) -> str:
    """Put a number before one of two forms.

    >>> many(1, "image is", "images are"), many(2, "image is", "images are")
    ('1 image is', '2 images are')
    """
    return f"{count} {one if count == 1 else several}"


def examples(names: pd.Series) -> str:
    """Name the first three that differ."""
    shown = list(dict.fromkeys(names))[:3]
    return ", ".join(shown) + (", …" if names.nunique() > len(shown) else "")


def crossing_findings(crossing: pd.DataFrame) -> list[Finding]:
    """Say which groups are in several splits."""
    return [
        Finding(
            "leak",
            f"{many(len(part), 'group is', 'groups are')} in {str(splits).replace(', ', ' and ')} "
            f"({examples(part['group_id'])}).",
            test="test" in str(splits),
        )
        for splits, part in crossing.groupby("splits")
    ]


def unreadable_findings(unreadable: pd.DataFrame, images: int) -> list[Finding]:
    """Say which images cannot be read."""
    if not len(unreadable):
        return []
    return [
        Finding(
            "warning",
            f"{len(unreadable)} of {images} images cannot be read "
            f"({examples(unreadable['image_id'])}): mend or remove them, or leave them out with "
            "--on-error skip.",
        )
    ]


def blank_findings(blank: pd.Series) -> list[Finding]:
    """Say which images are of one brightness everywhere, given their ids."""
    if not len(blank):
        return []
    count = many(len(blank), "image is", "images are")
    return [Finding("warning", f"{count} of one brightness everywhere ({examples(blank)}).")]


def faint_mask_findings(images: pd.DataFrame) -> list[Finding]:
    """Say which patients' masks mark faint voxels, as a background that is not quite zero."""
    if "mask_faint" not in images:
        return []
    faint = images.loc[images["mask_faint"] > FAINT_VOXELS, "group_id"].drop_duplicates()
    if not len(faint):
        return []
    masks = many(len(faint), "mask has", "masks have")
    return [
        Finding(
            "warning",
            f"{masks} a faint background that counts as marked ({examples(faint)}): index again "
            "with --option mask_threshold=0.5, or what the background does not reach.",
        )
    ]


def grey_level_findings(levels: Mapping[str, int] | None) -> list[Finding]:
    """Say so where images of more than 8 bits become nearly black; `levels` are in the notes."""
    if levels is None or levels["highest"] >= DARK:
        return []
    # Rounding may have lifted 12 bits to the 17th level.
    top = 2 ** math.ceil(math.log2(256 * (levels["highest"] + 1)) - 0.1) - 1
    return [
        Finding(
            "warning",
            f"Of 256 grey levels {levels['highest'] + 1} are left (in {levels['images']} images of "
            f"more than 8 bits): they use less than their range. Index again with --option "
            f"'window={{range: [0, {top}]}}', or percentiles: [0.5, 99.5] of each image.",
        )
    ]


def undecoded_findings(undecoded: pd.DataFrame) -> list[Finding]:
    """Say which images are whole, and cannot be decoded with the data set's window."""
    if not len(undecoded):
        return []
    names, reason = examples(undecoded["image_id"]), undecoded["reason"].iat[0]
    count = many(len(undecoded), "image", "images")
    return [Finding("warning", f"{count}, though whole, cannot be decoded ({names}): {reason}.")]


def validation_findings(images: pd.DataFrame, made: Collection[str]) -> list[Finding]:
    """Say so where validation has one class and can choose nothing."""
    labels = images.loc[images["split"] == "val", "label"].dropna().unique()
    if len(labels) != 1 or images["label"].nunique() < 2:
        return []
    remedy = (
        "index again with --resplit and a larger --val-fraction or another --seed"
        if "val" in made
        else "cross-validate (`frostline sweep --cv`), or name another split with --split"
    )
    text = f"val has images of {labels[0]} only, by which nothing can be chosen: {remedy}."
    return [Finding("warning", text)]


def class_findings(images: pd.DataFrame, splits: Sequence[str] = SPLITS) -> list[Finding]:
    """Say which of the splits that there should be lack classes, and which images a label."""
    labels = set(images["label"].dropna())
    findings = []
    for part in splits:
        there = images.loc[images["split"] == part, "label"]
        missing = sorted(labels - set(there))
        if len(there) == 0:
            findings.append(Finding("warning", f"There are no images in {part}."))
        elif missing:
            findings.append(Finding("warning", f"{part} has no image of {', '.join(missing)}."))
    if len(labels) == 1:
        findings.append(Finding("warning", f"All images have the one label {labels.pop()}."))
    unlabelled = int(images["label"].isna().sum())
    if unlabelled:
        findings.append(
            Finding("warning", f"{many(unlabelled, 'image has', 'images have')} no label.")
        )
    return findings


def spelling_findings(images: pd.DataFrame) -> list[Finding]:
    """Say which labels and groups are probably one, written in several ways."""
    known = (("label", "labels"), ("group_id", "groups"))
    texts = [text for name, what in known for text in spelling_warnings(images[name], what)]
    return [Finding("warning", text) for text in texts]


def grouping_findings(images: pd.DataFrame) -> list[Finding]:
    """Say so where every image is its own group."""
    if (images["group_id"] == images["image_id"]).all():
        return [
            Finding(
                "note",
                "Every image is its own group: if a patient has several, say so with a group "
                "column or pattern, or they may be on both sides of a split.",
            )
        ]
    return []
