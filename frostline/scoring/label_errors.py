"""Suspicious labels of a data set, each with its nearest training images: a table and a sheet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from frostline.cache.errors import InputError
from frostline.cache.tables.words import counted
from frostline.scoring.neighbours import NEAREST, nearest_training

if TYPE_CHECKING:
    from frostline.cache import Workspace
    from frostline.report import Predictions
    from frostline.report.tables.table import Table

SHOWN = 20  # rows in a terminal
MOST_ON_SHEET = 60
NO_NEIGHBOURS = "Nearest training images were not looked for: no embeddings of them are stored."


@dataclass(frozen=True)
class SuspiciousLabels:
    """Images whose label is probably wrong.

    Attributes
    ----------
    table : DataFrame
        The suspicious rows of `frostline.label_errors`; then for n of 1, 2, 3 the n-th nearest
        training image, `nearest_n`, with `nearest_n_label` and `nearest_n_distance`.
    sentences : list of str
        How many of how many are suspicious, which images were ranked, and by which embeddings
        others are near.
    """

    table: pd.DataFrame
    sentences: list[str]


def suspicious_labels(
    workspace: Workspace, dataset: str, predictions: Sequence[Predictions | Path | str]
) -> SuspiciousLabels:
    """Find labels of a data set that are probably wrong, as `frostline.label_errors` does.

    Raises
    ------
    InputError
        As there, or if the predictions are of another data set.
    """
    from frostline.cache import read_manifest
    from frostline.report import Predictions, read_predictions
    from frostline.report.clinical.labels import label_errors, suspicious_sentence

    manifest = read_manifest(workspace.manifest(dataset))
    runs = [one if isinstance(one, Predictions) else read_predictions(one) for one in predictions]
    ranked = label_errors(runs)
    strange = ranked.loc[~ranked["image_id"].isin(manifest.table["image_id"]), "image_id"]
    if len(strange):
        raise InputError(
            f"{runs[0].run} predicts images that data set {dataset!r} does not have, such as "
            f"{strange.iloc[0]!r}: give predictions of this data set."
        )
    table = ranked[ranked["suspicious"]].drop(columns="suspicious").reset_index(drop=True)
    sentences = [suspicious_sentence(ranked), ranked.attrs["ranked"]]
    near = nearest_training(workspace, dataset, runs, table["image_id"])
    if near is None:
        return SuspiciousLabels(table, [*sentences, NO_NEIGHBOURS])
    sentences.append(f"Nearest training images are by the embeddings of {near.backbone}.")
    for place in range(1, NEAREST + 1):
        part = near.table[near.table["place"] == place].set_index("image_id")
        for column, end in (("nearest", ""), ("label", "_label"), ("distance", "_distance")):
            table[f"nearest_{place}{end}"] = table["image_id"].map(part[column])
    return SuspiciousLabels(table, sentences)


def label_table(found: SuspiciousLabels) -> Table:
    """Lay out the first rows for a terminal."""
    from frostline.report.tables.table import Column, Row, Table, words

    names = ("Rank", "Image", "Label", "Looks like", "Label's probability", "Nearest in training")
    columns = tuple(Column(name, numbers=name in (names[0], names[4])) for name in names)
    rows = [
        Row(
            words(
                str(row["rank"]),
                row["image_id"],
                row["label"],
                row["looks_like"],
                f"{row['self_confidence']:.3f}",
                ", ".join(f"{label} ({far:.3f})" for _, label, far in _nearest(row)) or "none",
            )
        )
        for row in found.table.head(SHOWN).to_dict("records")
    ]
    caption = f"Suspicious labels: {counted(len(found.table), 'row')}"
    if len(found.table) > SHOWN:
        caption = f"Suspicious labels: the first {SHOWN} of {len(found.table):,}"
    return Table(columns, tuple(rows), (), caption)


def label_sheet(workspace: Workspace, dataset: str, found: SuspiciousLabels, path: Path) -> int:
    """Write a PNG with a row for each suspicious image, the first 60: the image, then its nearest.

    Returns
    -------
    How many it shows; nothing is written for none.
    """
    from frostline.cache import read_manifest
    from frostline.extract.audit.sheet import Picture, draw_rows, short_name

    rows = []
    for row in found.table.head(MOST_ON_SHEET).to_dict("records"):
        lines = [f"{row['rank']}. labelled {row['label']}", f"looks like {row['looks_like']}"]
        pictures = [Picture(row["image_id"], [*lines, short_name(row["image_id"])])]
        for name, label, far in _nearest(row):
            lines = [f"near: {label}", f"distance {far:.3f}", short_name(name)]
            pictures.append(Picture(name, lines))
        rows.append(pictures)
    if rows:
        draw_rows(rows, read_manifest(workspace.manifest(dataset)), path)
    return len(rows)


def _nearest(row: Mapping[Any, Any]) -> list[tuple[str, str, float]]:
    """List the nearest images of a row of the table: name, label, distance."""
    names = [f"nearest_{place}" for place in range(1, NEAREST + 1)]
    return [
        (str(row[name]), str(row[f"{name}_label"]), float(row[f"{name}_distance"]))
        for name in names
        if not pd.isna(row.get(name))
    ]
