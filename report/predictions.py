"""The predictions format: one row an image, and what made them; from our runs or from anyone.

`docs/format.md` specifies it. Files that Frostline wrote carry a format name and version; any other
table with true labels and predictions is read too, and what it does not say is None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from frostline.cache.atomic import write_text
from frostline.cache.errors import InputError
from frostline.cache.stamped import (
    DIGEST,
    bytes_digest,
    check_files,
    check_stamp,
    read_any_json,
    read_any_parquet,
    write_json,
    write_parquet,
)
from frostline.report.check import Source, check_meta, check_table
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
    "class_counts",
    "store_key",
    "manifest_digest",
    "candidates",
    "seconds",
    "versions",
    "created",
)
TEXT_COLUMNS = ("image_id", "group_id", "split", "label", "prediction")
LABEL_NAMES = ("label", "true_label", "target")
IMAGE_NAMES = ("image_id", "image_name")


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
    """

    table: pd.DataFrame
    meta: dict[str, Any]
    notes: Notes = ()

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


def predictions_from(table: pd.DataFrame, name: str) -> Predictions:
    """Take anyone's table of labels and predictions, as `read_predictions` takes their files.

    Parameters
    ----------
    table : DataFrame
        With `prediction` and one of `label`, `true_label`, `target`.
    name : str
        What to call the run.

    Raises
    ------
    InputError
        If a column is missing, or the table contradicts itself.
    """
    notes: list[Note] = []
    source = Source(name)
    found, meta = _foreign(table, Path(name), source, notes)
    check_table(found, meta["classes"], source, needs_ids=False)
    return Predictions(found, meta | {"run": name}, tuple(notes))


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
    table = _tidy(table, source)
    check_table(table, full["classes"], source, needs_ids=True)
    if path.suffix == ".csv":
        # The JSON goes first: predictions that are there always have what made them next to them.
        text = table.to_csv(index=False, lineterminator="\n")
        full["files"] = {path.name: bytes_digest(text.encode())}
        write_json(path.with_suffix(".json"), FORMAT, FORMAT_VERSION, full)
        write_text(path, text)
    else:
        _write_parquet(path, table, full)


def read_predictions(path: Path | str) -> Predictions:
    """Read a predictions file of Frostline, or anyone's CSV or Parquet with labels and predictions.

    A foreign table needs `prediction` and one of `label`, `true_label`, `target`; `image_id` (or
    `image_name`), `group_id`, `split` and `prob_<class>` are used where they are there. Its class
    list is that of its probabilities, or all labels and predictions, sorted.

    Raises
    ------
    InputError
        In one sentence, with file, row and remedy.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; give the path of a predictions file.")
    source = Source(str(path), header_lines=1 if path.suffix == ".csv" else 0)
    if path.suffix == ".parquet":
        table, meta = _read_parquet(path)
    elif path.suffix == ".csv":
        # The metadata first: they tell whether the bytes are those that were written.
        meta, table = _read_json(path), _read_csv(path)
    else:
        raise InputError(f"{path}: predictions are read from .parquet or .csv; convert it to one.")
    notes: list[Note] = []
    if meta is None:
        table, meta = _foreign(table, path, source, notes)
    else:
        check_stamp(meta, path, FORMAT, FORMAT_VERSION, remedy="give a predictions file")
        meta = {name: value for name, value in meta.items() if name not in (DIGEST, "files")}
        check_meta(meta, source)
        table = _tidy(table, source)
    check_table(table, meta["classes"], source, needs_ids=False)
    return Predictions(table, meta, tuple(notes))


def _write_parquet(path: Path, table: pd.DataFrame, meta: Mapping[str, Any]) -> None:
    import pyarrow as pa

    data = pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata(None)
    write_parquet(path, data, FORMAT, FORMAT_VERSION, meta)


def _read_parquet(path: Path) -> tuple[pd.DataFrame, dict[str, Any] | None]:
    data, meta = read_any_parquet(path, remedy=REMEDY)
    return data.to_pandas(), meta


def _read_csv(path: Path) -> pd.DataFrame:
    try:
        # A class may be called "NA" or "None": only an empty field is missing.
        return pd.read_csv(
            path, dtype=str, keep_default_na=False, na_values=[""], encoding="utf-8-sig"
        )
    except pd.errors.EmptyDataError:
        raise InputError(f"{path}: the file is empty; it needs a header and rows.") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: not UTF-8 text; save it as UTF-8.") from None
    except pd.errors.ParserError as error:
        detail = " ".join(str(error).split())
        raise InputError(f"{path}: not a readable CSV ({detail}); correct that line.") from error


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


def _tidy(table: pd.DataFrame, source: Source) -> pd.DataFrame:
    """Make text columns text (missing ones null) and probabilities numbers, in canonical order."""
    text = {
        name: table[name].astype("string")
        if name in table
        else pd.Series(pd.NA, index=table.index, dtype="string")
        for name in TEXT_COLUMNS
    }
    probs = {}
    for name in table.columns:
        if name.startswith("prob_"):
            column = table[name]
            numbers = pd.to_numeric(column, errors="coerce")
            wrong = numbers.isna() & column.notna()
            if wrong.any():
                raise source.error(f"{name} is not a number", "write a number", wrong)
            probs[name] = numbers
    rest = {name: table[name] for name in table.columns if name not in text and name not in probs}
    return pd.DataFrame({**text, **probs, **rest}).reset_index(drop=True)


def _foreign(
    table: pd.DataFrame, path: Path, source: Source, notes: list[Note]
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Put someone else's table into our columns, with the class list it implies."""
    label = _pick(table, LABEL_NAMES)
    missing = ["label (or true_label)"] if label is None else []
    missing += [] if "prediction" in table else ["prediction"]
    if missing:
        has = ", ".join(map(str, table.columns))
        raise InputError(
            f"{path}: no column {' and no column '.join(missing)}; it has {has}: rename or add one."
        )
    ours = {label: "label"}
    image = _pick(table, IMAGE_NAMES)
    if image is not None:
        ours[image] = "image_id"
    dropped = [name for name in (*LABEL_NAMES, *IMAGE_NAMES) if name not in ours]
    table = table.drop(columns=dropped, errors="ignore").rename(columns=ours)
    table = _drop_overall(table, notes)
    table = _tidy(table, source)
    for name in ("label", "prediction"):
        table[name] = table[name].str.strip()
    _whole_numbers(table)
    names = [str(name) for name in table.columns]
    classes = [name.removeprefix("prob_") for name in names if name.startswith("prob_")]
    if not classes:
        found = set(table["label"].dropna()) | set(table["prediction"].dropna())
        classes = sorted(found, key=_class_order)
    meta: dict[str, Any] = {"run": path.stem, "classes": classes}
    if "split" in table:
        train = table.loc[table["split"] == "train", "label"].value_counts()
        if len(train):
            meta["class_counts"] = {name: int(train.get(name, 0)) for name in classes}
    return table, meta


def _pick(table: pd.DataFrame, names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in table), None)


def _drop_overall(table: pd.DataFrame, notes: list[Note]) -> pd.DataFrame:
    """Leave out the last row of the paper's own CSVs: totals under the name "Overall"."""
    first = table["image_id"] if "image_id" in table else table.iloc[:, 0]
    if len(table) and str(first.iloc[-1]).strip().lower() == "overall":
        notes.append(Note('The last row, "Overall", is no image and was left out.'))
        return table.iloc[:-1]
    return table


def _whole_numbers(table: pd.DataFrame) -> None:
    """Write labels 0.0, 1.0, 2.0 as 0, 1, 2, where a program wrote one of the columns so."""
    values = pd.concat([table["label"], table["prediction"]]).dropna()
    if len(values) and values.str.fullmatch(r"-?\d+(\.0+)?").all():
        for name in ("label", "prediction"):
            table[name] = table[name].str.replace(r"\.0+$", "", regex=True)


def _class_order(name: str) -> tuple[int, int, str]:
    """Order whole numbers by value before names by alphabet."""
    digits = name.removeprefix("-")
    return (0, int(name), name) if digits.isascii() and digits.isdigit() else (1, 0, name)
