"""All that an audit flagged, as one long table: a row an image of every set, pair and group."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from frostline.extract.audit.audit import Audit

COLUMNS = ["finding", "set", "harm", "image_id", "split", "label", "group_id", "measure", "detail"]
IMAGE = ["image_id", "split", "label", "group_id"]


def details(audit: Audit) -> pd.DataFrame:
    """List every image that a finding is about, the most harmful first within each finding.

    Returns
    -------
    `finding` (`group in several splits`, `equal images`, `near-duplicates`, `nearly equal
    embeddings`, `unreadable`, `left out`), `set` (a number: the images with the same belong
    together), `harm`, `image_id`, `split`, `label`, `group_id`, `measure` (bits in which hashes
    differ, or the cosine), `detail`.
    """
    pieces = [
        _equal(audit.duplicates),
        *_pairs(audit.near_duplicates, "near-duplicates", "distance"),
        *_pairs(audit.alike_embeddings, "nearly equal embeddings", "cosine"),
        _groups(audit.crossing_groups, audit.crossing_images),
        audit.unreadable.rename(columns={"reason": "detail"}).assign(finding="unreadable"),
        _left_out(audit.flow),
    ]
    there = [piece.reindex(columns=COLUMNS).astype(object) for piece in pieces if len(piece)]
    return pd.concat(there, ignore_index=True) if there else pd.DataFrame(columns=COLUMNS)


def harm_of(pairs: pd.DataFrame) -> pd.Series:
    """Say what each pair would do: as `harm` of equal images."""
    test = (pairs["split"] == "test") | (pairs["other_split"] == "test")
    harm = pd.Series("groups differ", index=pairs.index)
    harm[pairs["label_conflict"]] = "labels differ"
    harm[pairs["across_splits"]] = "leaks across splits"
    harm[pairs["across_splits"] & test] = "leaks into test"
    return harm


def worst_first(pairs: pd.DataFrame) -> pd.DataFrame:
    """Sort pairs by harm, and then as they were."""
    order = {"leaks into test": 0, "leaks across splits": 1, "labels differ": 2}
    return pairs.iloc[harm_of(pairs).map(order).fillna(3).argsort(kind="stable")]


def _equal(duplicates: pd.DataFrame) -> pd.DataFrame:
    same = duplicates["same"].map({"bytes": "the same bytes", "pixels": "the same pixels"})
    table = duplicates.rename(columns={"copy": "set"})
    return table.assign(finding="equal images", detail=same)


def _pairs(pairs: pd.DataFrame | None, finding: str, measure: str) -> Iterator[pd.DataFrame]:
    if pairs is None or not len(pairs):
        return
    pairs = worst_first(pairs).reset_index(drop=True)
    about = pd.DataFrame(
        {"set": pairs.index + 1, "harm": harm_of(pairs), "measure": pairs[measure]}
    )
    others = pairs[[f"other_{name}" for name in IMAGE]].set_axis(IMAGE, axis=1)
    both = [part.join(about) for part in (pairs[IMAGE], others)]
    yield pd.concat(both).sort_values("set", kind="stable").assign(finding=finding)


def _groups(crossing: pd.DataFrame, images: pd.DataFrame) -> pd.DataFrame:
    test = crossing["splits"].str.contains("test")
    harm = test.map({True: "leaks into test", False: "leaks across splits"})
    about = crossing[["group_id"]].assign(harm=harm, worst=~test)
    about = about.sort_values("worst", kind="stable", ignore_index=True)
    about["set"] = about.index + 1
    table = about.merge(images, on="group_id", how="left")
    return table.assign(finding="group in several splits")


def _left_out(flow: pd.DataFrame) -> pd.DataFrame:
    rows = flow[flow["step"] == "left out"]
    detail = rows["count"].astype(str) + " " + rows["what"] + ": " + rows["examples"]
    return pd.DataFrame({"finding": "left out", "detail": detail})
