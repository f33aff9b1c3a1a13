"""Near-duplicates of a data set: which images of other patients look the same."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from frostline.extract.audit.findings import Finding, examples, many
from frostline.extract.audit.thumbnails import MIN_COSINE, Pairs, cosine_pairs, near_pairs

ImageHashes = tuple[NDArray[np.uint8], NDArray[np.bool_]]
Embeddings = tuple[NDArray[np.uint8], NDArray[np.floating]]
MOST_PAIRS = 100_000  # of embeddings, for memory
ALIKE = f"have nearly the same embedding (cosine {MIN_COSINE} or more from the mean)"
COLUMNS = ("image_id", "split", "label", "group_id")


def near_duplicates(images: pd.DataFrame, hashes: ImageHashes) -> pd.DataFrame:
    """Find pairs of different groups whose perceptual hashes hardly differ.

    Parameters
    ----------
    images
        Rows of a manifest.
    hashes
        uint8 `[n, 16]` content keys and bool `[n, bits]` hashes, of any images.

    Returns
    -------
    `image_id`, `split`, `label`, `group_id` of both (the second with `other_` before
    it), `distance` in bits, `across_splits`, `label_conflict`; the nearest first.
    """
    keys, bits = hashes
    rows, hashed = _matched(images, keys)
    return describe_pairs(rows, near_pairs(bits[hashed]))


def alike_embeddings(images: pd.DataFrame, embeddings: Embeddings) -> pd.DataFrame:
    """Find pairs of different groups whose embeddings point nearly the same way from their mean.

    The mean is taken off first: without it, some networks have all images at a cosine of 0.99.

    Parameters
    ----------
    images
        Rows of a manifest.
    embeddings
        uint8 `[n, 16]` content keys and float `[n, dim]` embeddings, of any images.

    Returns
    -------
    As `near_duplicates`, with `cosine` instead of `distance`; at most `MOST_PAIRS` pairs.
    """
    keys, values = embeddings
    rows, embedded = _matched(images, keys)
    centred = values[embedded] - values[embedded].mean(axis=0) if len(rows) else values[embedded]
    return describe_pairs(rows, cosine_pairs(centred, most=MOST_PAIRS), "cosine")


def describe_pairs(rows: pd.DataFrame, pairs: Pairs, measure: str = "distance") -> pd.DataFrame:
    """Name the images of pairs, of those that are in different groups.

    `measure` names what the pairs come with: `distance`, or `cosine` for the pairs of
    `frostline.extract.audit.thumbnails.cosine_pairs`.
    """
    first, second = (rows.iloc[column][[*COLUMNS]].reset_index(drop=True) for column in pairs[0].T)
    table = first.join(second.add_prefix("other_"))
    table[measure] = pairs[1]
    table["across_splits"] = _differ(table, "split")
    table["label_conflict"] = _differ(table, "label")
    table = table[table["group_id"] != table["other_group_id"]]
    order = [measure, "image_id", "other_image_id"]
    return table.sort_values(order, ascending=[measure != "cosine", True, True], ignore_index=True)


def near_findings(near: pd.DataFrame | None, alike: str = "look the same") -> list[Finding]:
    """Put near-duplicates into sentences. They look the same; whether they are, a person sees."""
    findings: list[Finding] = []
    if near is None:
        return findings
    for column, text in (
        ("across_splits", f"in different splits and groups {alike}"),
        ("label_conflict", f"with different labels {alike}"),
    ):
        part = near[near[column]]
        if len(part):
            pairs = many(len(part), "pair of images", "pairs of images")
            findings.append(Finding("warning", f"{pairs} {text} ({examples(part['image_id'])})."))
    return findings


def _matched(images: pd.DataFrame, keys: NDArray[np.uint8]) -> tuple[pd.DataFrame, NDArray]:
    """Give the first row of every content that has a hash, and the number of that hash.

    Images of equal pixels count as one: those are the duplicates.
    """
    number = {key.tobytes(): row for row, key in reversed(list(enumerate(keys)))}
    rows = images.drop_duplicates("content_key")
    if "pixel_key" in rows:
        rows = rows[rows["pixel_key"].isna() | ~rows.duplicated("pixel_key")]
    hashed = rows["content_key"].map(lambda key: number.get(bytes(key), -1)).to_numpy(int)
    return rows[hashed >= 0], hashed[hashed >= 0]


def _differ(table: pd.DataFrame, name: str) -> pd.Series:
    one, other = table[name], table[f"other_{name}"]
    return (one != other).fillna(False).astype(bool) & one.notna() & other.notna()
