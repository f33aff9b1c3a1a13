"""Predictions of another tool for the images of a data set, written as a run of the workspace."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from frostline.cache.errors import InputError
from frostline.cache.keys import canonical_json, run_id
from frostline.cache.manifest import Manifest, read_manifest
from frostline.cache.tables.matching import match_images
from frostline.cache.tables.words import counted
from frostline.cache.versions import versions
from frostline.cache.workspace import Workspace, file_safe
from frostline.report import Predictions, read_predictions, write_predictions
from frostline.report.check import some
from frostline.report.predictions import in_class_order, predictions_from


@dataclass(frozen=True)
class ImportedRun:
    """What became of a table of predictions.

    Attributes
    ----------
    run : str
        Its id.
    count, strangers, lacking : int
        Images with a prediction, rows of no image of the data set, and images without a row.
    matched : str
        By what images were found, if not by their `image_id`; else "".
    renamed : dict of str to str
        Classes that the table writes in another case, and the data set's.
    """

    run: str
    count: int
    strangers: int
    lacking: int
    matched: str
    renamed: Mapping[str, str]

    def __str__(self) -> str:
        """Say it in sentences."""
        found = f" Images were found by {self.matched}." if self.matched else ""
        if self.renamed:
            same = ", ".join(f"{theirs} is {ours}" for theirs, ours in self.renamed.items())
            found += f" Classes were found whatever their case: {same}."
        return (
            f"Imported {counted(self.count, 'prediction')}; skipped "
            f"{counted(self.strangers, 'row')} of no image of the data set; images without a "
            f"prediction: {self.lacking:,}.{found}"
        )


def import_predictions(
    workspace: Workspace,
    dataset: str,
    name: str,
    predictions: Path | pd.DataFrame,
    *,
    columns: Mapping[str, str] | None = None,
    label: str = "label",
    split: str = "split",
) -> ImportedRun:
    """Write anyone's predictions for the images of a data set as a run of the workspace.

    Labels, groups, splits and the order of the classes are the data set's. Classes that the table
    writes in another case are the data set's, too. The same table again gives the same run. Class
    counts are of the data set's training images.

    Parameters
    ----------
    name : str
        What to call the model that made them; the run's `backbone`.
    predictions : path or DataFrame
        A table as docs/format.md describes it ("Tables of others"), labels not needed.
    columns : mapping of str to str, optional
        Our names of its columns and theirs.
    label, split : str
        Columns of the manifest.

    Raises
    ------
    InputError
        If the table is no such table, none or several of its rows are of an image, or its labels
        or classes are not those of the data set.
    """
    manifest = read_manifest(workspace.manifest(dataset))
    file_safe(name)
    theirs, where = _read(predictions, columns)
    images = manifest.images(label, split)
    if theirs.table["image_id"].isna().all():
        raise InputError(
            f"{where}: no column image_id, and which images these are is not clear; map it by "
            "--columns."
        )
    theirs, renamed = _in_their_case(theirs, images["label"])
    matched = match_images(theirs.table["image_id"], images["image_id"], where, dataset)
    known = matched.ids.notna().to_numpy()
    answers = theirs.table[known].reset_index(drop=True)
    mine = images.set_index("image_id").loc[matched.ids[known]].reset_index()
    _check_labels(answers["label"], mine, where, dataset)
    classes = _classes(theirs, images["label"], where, dataset)
    about = mine[["image_id", "group_id", "split", "label"]]
    table = about.join(answers[["prediction", *_probabilities(theirs)]])
    meta = _describe(manifest, dataset, name, table, classes, (label, split))
    write_predictions(
        workspace.predictions(meta["run"]), *in_class_order(table, meta, manifest.classes)
    )
    lacking = int((~images["image_id"].isin(matched.ids)).sum())
    return ImportedRun(meta["run"], len(table), int((~known).sum()), lacking, matched.how, renamed)


def _read(
    predictions: Path | pd.DataFrame, columns: Mapping[str, str] | None
) -> tuple[Predictions, str]:
    if isinstance(predictions, pd.DataFrame):
        return predictions_from(predictions, "The table", columns, labelled=False), "The table"
    if not isinstance(predictions, Path):
        raise InputError(f"Predictions are a path or a DataFrame, not {predictions!r}.")
    theirs = read_predictions(predictions, columns, labelled=False)
    if not theirs.is_foreign:
        raise InputError(
            f"{predictions} was written by Frostline: give it to `frostline evaluate` as it is."
        )
    return theirs, str(predictions)


def _in_their_case(theirs: Predictions, labels: pd.Series) -> tuple[Predictions, dict[str, str]]:
    """Write classes as the data set does, where they differ from a label of it in case alone."""
    known = set(labels.dropna())
    folded: dict[str, list[str]] = {}
    for name in known:
        folded.setdefault(name.casefold(), []).append(name)
    unknown = [name for name in theirs.classes if name not in known]
    found = {name: folded.get(name.casefold(), []) for name in unknown}
    new = {name: ours[0] for name, ours in found.items() if len(ours) == 1}
    # Two classes of the table are never made one.
    ours = [new.get(name, name) for name in theirs.classes]
    if len(set(ours)) < len(ours):
        return theirs, {}
    table = theirs.table.rename(columns={f"prob_{a}": f"prob_{b}" for a, b in new.items()})
    for name in ("label", "prediction"):
        table[name] = table[name].replace(new)
    return replace(theirs, table=table, meta={**theirs.meta, "classes": ours}), new


def _check_labels(theirs: pd.Series, mine: pd.DataFrame, where: str, dataset: str) -> None:
    """Refuse labels that contradict those of the data set: the images may be others."""
    both = theirs.notna() & mine["label"].notna()
    wrong = both & (theirs != mine["label"]).fillna(False)
    if wrong.any():
        at = int(wrong.to_numpy().argmax())
        raise InputError(
            f"{where}: the label of {mine['image_id'][at]!r} is {theirs[at]!r} there and "
            f"{mine['label'][at]!r} in data set {dataset!r}, and {int(wrong.sum()) - 1:,} more "
            "differ; write both alike, or import the table without its labels."
        )


def _probabilities(theirs: Predictions) -> list[str]:
    names = [f"prob_{name}" for name in theirs.classes]
    return names if set(names) <= set(theirs.table) else []


def _classes(theirs: Predictions, labels: pd.Series, where: str, dataset: str) -> list[str]:
    """Give the classes of the probabilities, else the labels of the data set."""
    known = sorted(labels.dropna().unique())
    if not _probabilities(theirs):
        strange = sorted(set(theirs.table["prediction"]) - set(known))
        if strange:
            raise InputError(
                f"{where}: the prediction {strange[0]!r} is no label of data set {dataset!r} "
                f"({some(known)}); write both alike."
            )
        return known
    lacking = sorted(set(known) - set(theirs.classes))
    if lacking:
        raise InputError(
            f"{where}: there are probabilities of {some(theirs.classes)}, and none of "
            f"{lacking[0]!r}, a label of data set {dataset!r}; name its column by --columns "
            f"prob_{lacking[0]}=COLUMN."
        )
    return theirs.classes


def _describe(
    manifest: Manifest,
    dataset: str,
    name: str,
    table: pd.DataFrame,
    classes: list[str],
    columns: tuple[str, str],
) -> dict[str, Any]:
    digest = manifest.digest(*columns)
    rows = table.astype(object).where(table.notna(), None).to_dict("split")["data"]
    content = hashlib.blake2b(canonical_json([list(table), *rows]).encode(), digest_size=16)
    config = {"imported": content.hexdigest(), "classes": classes, "manifest": digest}
    images = manifest.images(*columns)
    counts = images.loc[(images["split"] == "train").fillna(False), "label"].value_counts()
    return {
        "run": run_id(f"{dataset}-{file_safe(name)}-imported", {**config, "name": name}),
        "dataset": dataset,
        "backbone": name,
        "classes": classes,
        "class_counts": {one: int(counts.get(one, 0)) for one in classes} if len(counts) else None,
        "manifest_digest": digest,
        "label": columns[0],
        "split": columns[1],
        "imported": content.hexdigest(),
        "sources": manifest.sources,
        "versions": versions(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
