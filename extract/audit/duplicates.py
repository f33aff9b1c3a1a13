"""Equal images of a data set: the same bytes, or the same pixels in other bytes."""

from __future__ import annotations

from collections.abc import Collection

import pandas as pd

from frostline.cache.tables.units import equality
from frostline.extract.audit.findings import Finding, examples, many

COLUMNS = ["image_id", "split", "label", "group_id"]
# The most harmful first.
HARMS = ("leaks into test", "leaks across splits", "labels differ", "groups differ", "copies")
RESPLIT = " Index again with --resplit to keep them together."


def duplicate_table(images: pd.DataFrame) -> pd.DataFrame:
    """List equal images, the most harmful sets first.

    Returns
    -------
    `copy` (number of the set of equal images), `same` (`bytes` or `pixels`), `harm` (one of
    `HARMS`), `image_id`, `split`, `label`, `group_id`, and whether the set lies `across_splits` and
    has a `label_conflict`.
    """
    table = images.assign(copy=equality(images))
    table = table[table["copy"].notna() & table.duplicated("copy", keep=False)]
    table["copy"] = table.groupby("copy", sort=False).ngroup()
    counts = table.groupby("copy")[["content_key", "split", "label", "group_id"]].nunique()
    in_test = table["copy"].isin(table.loc[table["split"] == "test", "copy"])
    counts = counts.loc[table["copy"]].set_axis(table.index)
    across, conflict = counts["split"] > 1, counts["label"] > 1
    kinds = (across & in_test, across, conflict, counts["group_id"] > 1)
    harm = pd.Series(len(kinds), index=table.index)
    for number, kind in reversed(list(enumerate(kinds))):
        harm[kind] = number
    table = table[[*COLUMNS, "copy"]].assign(
        same=counts["content_key"].gt(1).map({True: "pixels", False: "bytes"}),
        harm=harm,
        across_splits=across,
        label_conflict=conflict,
    )
    table = table.sort_values(["harm", "copy", "image_id"], ignore_index=True)
    table["copy"] = table.groupby("copy", sort=False).ngroup() + 1
    table["harm"] = table["harm"].map(dict(enumerate(HARMS)))
    front = ["copy", "same", "harm"]
    return table[[*front, *COLUMNS, "across_splits", "label_conflict"]]


def duplicate_findings(duplicates: pd.DataFrame, made: Collection[str] = ()) -> list[Finding]:
    """Put equal images into sentences.

    `made` are the parts of the split that Frostline made: making them again keeps equals together.
    """
    findings = []
    across = duplicates[duplicates["across_splits"]]
    for keys, part in across.groupby(["harm", "same"], sort=False):
        harm, same = map(str, keys)
        count = many(part["copy"].nunique(), "image occurs", "images occur")
        where = "in test and another split" if harm == HARMS[0] else "in more than one split"
        remedy = RESPLIT if made and _all_in(part, {"train", *made}) else ""
        findings.append(
            Finding(
                "leak",
                f"{count} {where}, {_in_words(same)} ({examples(part['image_id'])}).{remedy}",
                test=harm == HARMS[0],
            )
        )
    conflicts = duplicates[duplicates["label_conflict"]]
    for how, part in conflicts.groupby("same", sort=False):
        count = many(part["copy"].nunique(), "image has", "images have")
        names = examples(part["image_id"])
        findings.append(
            Finding("warning", f"{count} {_copies(str(how))} with another label ({names}).")
        )
    within = duplicates[~duplicates["across_splits"]]
    for how, part in within.groupby("same", sort=False):
        count = many(part["copy"].nunique(), "image has", "images have")
        findings.append(Finding("note", f"{count} {_copies(str(how))} within one split."))
    return findings


def _all_in(sets: pd.DataFrame, parts: Collection[str]) -> bool:
    """Whether all images of a set are in these parts, for at least one set."""
    return bool(sets["split"].isin(list(parts)).groupby(sets["copy"]).all().any())


def _in_words(same: str) -> str:
    return "byte for byte" if same == "bytes" else "pixel for pixel"


def _copies(same: str) -> str:
    return "byte-identical copies" if same == "bytes" else "copies of the same pixels"
