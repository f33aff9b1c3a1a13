"""Kinds `ham10000` and `isic2018`: dermoscopic images of seven kinds of lesions.

The 10,015 images of HAM10000 (Tschandl et al. 2018) are the training set of task 3 of the ISIC 2018
challenge, which has test and validation sets, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from frostline.cache import InputError, Manifest
from frostline.extract.readers.reading import Listing, OtherKindError, Reading, image_id
from frostline.extract.readers.table_file import TableFile

OPTIONS: dict[str, Any] = {
    "table": None,
    "test_table": None,
    "val_table": None,
    "lesion_table": None,
    "keep_val": False,
    "window": None,
}
CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
METADATA = ("HAM10000_metadata.csv", "HAM10000_metadata.tab", "HAM10000_metadata")
TRUTH = "ISIC2018_Task3_{}_GroundTruth"
LESIONS = "ISIC2018_Task3_Training_LesionGroupings.csv"


def read(roots: list[Path], options: Mapping[str, Any], previous: Manifest | None) -> Reading:
    """Read the tables that are at hand, and the images that they name, in whatever folders.

    Tables that no option names are looked for under the roots by the names that they were
    published with. Lesions are the groups where they are known, else each image is one. With a
    test table the data's own test set is used, else the split is made by lesion. The
    challenge's 193 validation images are left out, as the paper does, unless `keep_val`.

    Raises
    ------
    InputError
        If there is no table, an image is not there or there twice, or a row has not one class.
    """
    listing = Listing(roots)
    training = _table(listing, options["table"], *METADATA, *_truth("Training"))
    if training is None:
        raise OtherKindError(
            f"There is neither {METADATA[0]} nor {_truth('Training')[0]} under "
            f"{', '.join(map(str, roots))}; put it there, or name it with the option table."
        )
    sources: dict[str, TableFile | None] = {"train": training}
    if options["keep_val"]:
        sources["val"] = _table(listing, options["val_table"], *_truth("Validation"))
    sources["test"] = _table(listing, options["test_table"], *_truth("Test"))
    if options["keep_val"] and sources["val"] is None:
        raise InputError(
            f"There is no {_truth('Validation')[0]}, which --keep-val needs: add it, or leave the "
            "option out."
        )
    lesions = _lesions(listing, options["lesion_table"])
    tables = [
        _rows(listing, source, part, lesions)
        for part, source in sources.items()
        if source is not None
    ]
    table = pd.concat(tables, ignore_index=True)
    notes = {
        "tables": [source.path.name for source in sources.values() if source is not None],
        "images_without_lesion": int(table["group_id"].isna().sum()),
    }
    taken = set(zip(table["root"], table["path"], strict=True))
    listing.leave_out(taken, "images in no table that is read")
    return Reading(table, listing.left_out, notes)


def _truth(part: str) -> tuple[str, ...]:
    stem = TRUTH.format(part)
    return f"{stem}.csv", f"{stem}.tab"


def _table(listing: Listing, given: str | None, *names: str) -> TableFile | None:
    path = given or listing.find(*names)
    return None if path is None else TableFile.read(path, listing.roots)


def _lesions(listing: Listing, given: str | None) -> dict[str, str]:
    source = _table(listing, given, *METADATA, LESIONS)
    if source is None:
        return {}
    images, lesions = (
        source.column(_image_column(source), "image"),
        source.optional("lesion_id", "lesion"),
    )
    return {image: lesion for image, lesion in zip(images, lesions, strict=True) if lesion}


def _image_column(source: TableFile) -> str:
    return "image_id" if "image_id" in source.table else "image"


def _rows(
    listing: Listing, source: TableFile, split: str, lesions: Mapping[str, str]
) -> pd.DataFrame:
    column = _image_column(source)
    names = source.column(column, "image")
    files = [listing.image(name, source.where(row)) for row, name in enumerate(names)]
    own_lesions = source.optional("lesion_id", "lesion") if "lesion_id" in source.table else []
    known = {name: lesion for name, lesion in zip(names, own_lesions, strict=False) if lesion}
    own = pd.DataFrame(
        {
            "image_id": [image_id(*file) for file in files],
            "path": [path for _, path in files],
            "root": [root for root, _ in files],
            "frame": None,
            "label": _labels(source),
            "group_id": [known.get(name, lesions.get(name)) for name in names],
            "split": split,
        }
    )
    extra = source.extra_columns({"image_id": column})
    taken = {*CLASSES, "dx", "lesion_id", "image"}
    extra = extra.drop(columns=[name for name in extra if str(name).lower() in taken])
    return pd.concat([own, extra], axis=1)


def _labels(source: TableFile) -> list[str]:
    """Give the class of every row, from a column `dx` or one column a class."""
    columns = {str(name).lower(): str(name) for name in source.table}
    if "dx" in columns:
        labels = [label.lower() for label in source.column(columns["dx"], "label")]
    elif set(CLASSES) <= set(columns):
        hot = source.table[[columns[name] for name in CLASSES]].apply(
            pd.to_numeric, errors="coerce"
        )
        not_one = (hot.eq(1).sum(axis=1).ne(1) | hot.sum(axis=1).ne(1)).to_numpy()
        if not_one.any():
            raise InputError(f"{source.where(int(not_one.argmax()))}: exactly one class must be 1.")
        labels = [CLASSES[number] for number in hot.to_numpy().argmax(axis=1)]
    else:
        raise InputError(
            f"{source.path} has neither a column 'dx' nor one for each of {', '.join(CLASSES)}."
        )
    for row, label in enumerate(labels):
        if label not in CLASSES:
            raise InputError(
                f"{source.where(row)}: there is no class {label!r}; write one of "
                f"{', '.join(CLASSES)}."
            )
    return labels
