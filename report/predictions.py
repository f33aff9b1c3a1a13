"""The predictions format: one row an image, and what made them; from our runs or from anyone.

`docs/format.md` specifies it. Files that Frostline wrote carry a format name and version; any other
table with true labels and predictions is read too, and what it does not say is None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from frostline.cache.atomic import write_text
from frostline.cache.errors import InputError
from frostline.cache.manifest import declared_classes, declared_sources
from frostline.cache.stamped import (
    DIGEST,
    bytes_digest,
    check_files,
    check_stamp,
    read_any_frame,
    read_any_json,
    write_json,
    write_parquet,
)
from frostline.cache.tables.class_order import ordered
from frostline.cache.tables.delimited import read_delimited
from frostline.cache.workspace import Workspace
from frostline.report.check import Source, check_meta, check_table, tidy_table
from frostline.report.foreign import rounding_note, take_table
from frostline.report.notes import Note, Notes

FORMAT = "frostline-predictions"
FORMAT_VERSION = 2
REMEDY = "make it again"

META_KEYS = (
    "run",
    "dataset",
    "backbone",
    "weights",
    "protocol",
    "unfreeze",
    "feature",
    "head",
    "hyperparameters",
    "seed",
    "train_fraction",
    "classes",
    "classes_declared",
    "class_counts",
    "store_key",
    "manifest_digest",
    "candidates",
    "seconds",
    "versions",
    "created",
)
TEXT_SUFFIXES = (".csv", ".tsv")
# Of tables of others, whose scores need not be thrown away.
OF_SCORES = (
    "give probabilities, or take the class of the greatest score by --columns prediction=PATTERN"
)


@dataclass
class Predictions:
    """The predictions of one run.

    Attributes
    ----------
    table : DataFrame
        One row an image: `image_id`, `group_id`, `split`, `label` (text, null where not known),
        `prediction` (text), `prob_<class>` (float) for every class if the run gave them, then any
        further columns.
    meta : dict
        Every key of `META_KEYS`, None where not known, and any further keys.
    notes : tuple of Note
        What a reader of results should know about this file.
    folder : Path or None
        The folder of the file that they were read from: `predictions` of a workspace, which has
        the manifest of their data set.
    """

    table: pd.DataFrame
    meta: dict[str, Any]
    notes: Notes = ()
    folder: Path | None = None

    def __post_init__(self) -> None:
        self.meta = {**dict.fromkeys(META_KEYS), **self.meta}

    @property
    def run(self) -> str:
        """The run's name."""
        return str(self.meta["run"])

    @property
    def classes(self) -> list[str]:
        """The class list of training, in its order."""
        return list(self.meta["classes"])

    @property
    def declared(self) -> bool:
        """Whether a person declared that order, so that the last of two classes is positive."""
        return bool(self.meta["classes_declared"])

    @property
    def validated(self) -> Predictions:
        """The run whose validation rows a threshold or a temperature is chosen on.

        It is this run, or where this one scores an external data set, the run that was trained: its
        file, if that lies next to this one's.
        """
        if not self.is_external or self.folder is None:
            return self
        path = self.folder / f"{self.meta['trained_run']}.parquet"
        if not path.is_file():
            return self
        trained = read_predictions(path)
        meta = {**trained.meta, "classes": self.classes}
        return replace(trained, meta=meta) if set(trained.classes) == set(self.classes) else self

    @property
    def is_external(self) -> bool:
        """Whether it scores another data set than that of its training."""
        return bool(self.meta.get("trained_run"))

    @property
    def is_foreign(self) -> bool:
        """Whether they are of a table that Frostline did not write."""
        return "format_version" not in self.meta

    @property
    def has_validation(self) -> bool:
        """Whether there are labelled rows of split val, on which something can be chosen."""
        table = self.validated.table
        return bool((table["split"].eq("val").fillna(False) & table["label"].notna()).any())

    def in_order(self, declared: Sequence[str] | None) -> Predictions:
        """Give the same with class list and columns in a declared order (`in_class_order`)."""
        table, meta = in_class_order(self.table, self.meta, declared)
        return replace(self, table=table, meta=meta)

    def _repr_html_(self) -> str:
        """Show the table in a notebook."""
        return str(self.table.to_html(max_rows=10, border=0))


def predictions_table(
    images: pd.DataFrame, classes: Sequence[str], probabilities: npt.NDArray[np.floating]
) -> pd.DataFrame:
    """Build the table of the predictions format from the images and their probabilities.

    Parameters
    ----------
    images : DataFrame
        One row an image, with `image_id`, `group_id`, `split` and `label`.
    classes : sequence of str
        The class list of training, K of them, in its order.
    probabilities : float [n, K]
        One row an image, in the order of `images`.

    Returns
    -------
    DataFrame
        Those columns, `prediction` (the class of the greatest probability; of equals the first),
        and `prob_<class>` for every class.
    """
    table = images[["image_id", "group_id", "split", "label"]].reset_index(drop=True)
    table["prediction"] = np.asarray(classes, dtype=object)[probabilities.argmax(axis=1)]
    for name, column in zip(classes, probabilities.T, strict=True):
        table[f"prob_{name}"] = column
    return table


def in_class_order(
    table: pd.DataFrame, meta: Mapping[str, Any], declared: Sequence[str] | None
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Put class list, counts of classes and columns of probabilities in a declared order.

    Without one the order that the metadata declare stays; where they declare none, it is that of
    the numbers in the names, or as it was.
    """
    known = list(meta["classes"])
    kept = known if meta.get("classes_declared") else None
    classes, is_declared = ordered(known, declared)
    if not is_declared:
        classes, is_declared = ordered(known, kept)
    counts = meta.get("class_counts")
    full = {**meta, "classes": classes}
    full["classes_declared"] = is_declared or meta.get("classes_declared")
    full["class_counts"] = counts and {name: counts[name] for name in classes if name in counts}
    columns = [f"prob_{name}" for name in classes]
    there = [name for name in table.columns if name in columns]
    if there == columns or len(there) < len(columns):
        return table, full
    places = iter(columns)
    return table[[next(places) if name in columns else name for name in table.columns]], full


def predictions_from(
    table: pd.DataFrame,
    name: str,
    columns: Mapping[str, str] | None = None,
    *,
    labelled: bool = True,
) -> Predictions:
    """Take anyone's table of labels and predictions, as `read_predictions` takes their files.

    Parameters
    ----------
    table : DataFrame
        With one of `label`, `true_label`, `target`, and `prediction` or `prob_<class>`.
    name : str
        What to call the run.
    columns : mapping of str to str, optional
        Our names of columns and theirs, as in `read_predictions`.
    labelled : bool
        Whether it must have labels.

    Raises
    ------
    InputError
        If a column is missing, or the table contradicts itself.
    """
    notes: list[Note] = []
    source = Source(name, of_scores=OF_SCORES)
    found, meta = take_table(table, name, source, notes, columns, labelled)
    check_table(found, meta["classes"], source, needs_ids=False)
    notes += rounding_note(found, meta["classes"])
    return Predictions(found, meta | {"run": name}, tuple(notes)).in_order(None)


def write_predictions(path: Path | str, table: pd.DataFrame, meta: Mapping[str, Any]) -> None:
    """Write predictions to `path`, atomically: Parquet, or for `.csv` CSV with a JSON next to it.

    Parameters
    ----------
    path : Path
        Ends in `.parquet` or `.csv`.
    table : DataFrame
        Columns as in `Predictions.table`; `image_id` and `prediction` in full.
    meta : mapping
        Keys of `META_KEYS`; `run` and `classes` must be there. Must be expressible as JSON.

    Raises
    ------
    InputError
        If the table contradicts itself or the class list, or the name ends otherwise.
    """
    path = Path(path)
    if path.suffix not in (".parquet", ".csv"):
        raise InputError(f"{path}: predictions are written as .parquet or .csv; choose one.")
    source = Source(str(path))
    full = {**dict.fromkeys(META_KEYS), **meta}
    check_meta(full, source)
    table = tidy_table(table, source)
    check_table(table, full["classes"], source, needs_ids=True)
    if path.suffix == ".csv":
        # The JSON goes first: predictions that are there always have what made them next to them.
        text = table.to_csv(index=False, lineterminator="\n")
        full["files"] = {path.name: bytes_digest(text.encode())}
        write_json(path.with_suffix(".json"), FORMAT, FORMAT_VERSION, full)
        write_text(path, text)
    else:
        _write_parquet(path, table, full)


def read_predictions(
    path: Path | str, columns: Mapping[str, str] | None = None, *, labelled: bool = True
) -> Predictions:
    """Read a predictions file of Frostline, or anyone's CSV or Parquet with labels and predictions.

    `docs/format.md` ("Tables of others") says what tables of others may look like.

    A foreign table needs one of `label`, `true_label`, `target`, and `prediction` or
    `prob_<class>`; `image_id` (or `image_name`), `group_id` and `split` are used where they are
    there. Its class list is that of its probabilities, or all labels and predictions, sorted.

    Where the file lies in a workspace that has a manifest of the data set that was trained on, the
    order of classes is the one that the manifest declares now; and so is where its images come
    from, `sources`.

    Parameters
    ----------
    path : path
    columns : mapping of str to str, optional
        Of a foreign table, our names of columns and theirs, `{"prediction": "predicted_lesion",
        "prob": "p_*"}`, where a star stands for the name of a class. A file of Frostline is read as
        it is.
    labelled : bool
        Whether a foreign table must have labels.

    Raises
    ------
    InputError
        In one sentence, with file, row and remedy.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; give the path of a predictions file.")
    is_text = path.suffix in TEXT_SUFFIXES
    source = Source(str(path), int(is_text), OF_SCORES)
    if path.suffix == ".parquet":
        table, meta = read_any_frame(path, remedy=REMEDY)
    elif is_text:
        # The metadata first: they tell whether the bytes are those that were written.
        meta, table = _read_json(path), read_delimited(path)
    else:
        raise InputError(f"{path}: predictions are read from .parquet or .csv; convert it to one.")
    notes: list[Note] = []
    if meta is None:
        table, meta = take_table(table, path.stem, source, notes, columns, labelled)
    else:
        stamped = path.with_suffix(".json") if is_text else path
        check_stamp(meta, stamped, FORMAT, FORMAT_VERSION, remedy="give a predictions file")
        meta = {name: value for name, value in meta.items() if name not in (DIGEST, "files")}
        check_meta(meta, source)
        table = tidy_table(table, source)
    check_table(table, meta["classes"], source, needs_ids=False)
    notes += rounding_note(table, meta["classes"])
    folder = path.resolve().parent
    meta = {**meta, **_sources_now(path, meta)}
    return Predictions(table, meta, tuple(notes), folder).in_order(_declared_now(path, meta))


def check_mapped(runs: Sequence[Predictions]) -> None:
    """Refuse a mapping of columns for files that Frostline wrote, all of them.

    Raises
    ------
    InputError
        If there is no table of others among them.
    """
    if runs and not any(run.is_foreign for run in runs):
        raise InputError(
            "--columns is for tables of others, and Frostline wrote all of these: leave it out."
        )


def _declared_now(path: Path, meta: Mapping[str, Any]) -> list[str] | None:
    """Read the order that the manifest of a run's workspace declares; None outside of one."""
    folder = path.resolve().parent
    if folder.name != "predictions":
        return None
    # Classes are those of training, wherever the images come from.
    trained_on = meta.get("trained_on") or meta.get("dataset")
    return declared_classes(Workspace(folder.parent), trained_on)


def _sources_now(path: Path, meta: Mapping[str, Any]) -> dict[str, Any]:
    """Read where the manifest of the images says now that they come from; nothing outside of one.

    What the run recorded counts where there is no manifest.
    """
    folder = path.resolve().parent
    if folder.name != "predictions":
        return {}
    sources = declared_sources(Workspace(folder.parent), meta.get("dataset"))
    return {} if sources is None else {"sources": sources}


def _write_parquet(path: Path, table: pd.DataFrame, meta: Mapping[str, Any]) -> None:
    import pyarrow as pa

    data = pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata(None)
    write_parquet(path, data, FORMAT, FORMAT_VERSION, meta)


def _read_json(table: Path) -> dict[str, Any] | None:
    """Read metadata next to a CSV; None without one, or if it is not about predictions."""
    path = table.with_suffix(".json")
    if not path.is_file():
        return None
    meta = read_any_json(path, remedy=REMEDY)
    if meta.get("format") != FORMAT:
        return None
    check_files(path, meta, f"delete {path.name} to read the table as it is now")
    return meta
