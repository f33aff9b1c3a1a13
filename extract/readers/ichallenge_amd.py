"""Kind `ichallenge-amd`: fundus images with and without macular degeneration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from frostline.cache import InputError, Manifest
from frostline.cache.workspace import as_path
from frostline.extract.readers.reading import Listing, Reading, image_id
from frostline.extract.readers.table_file import TableFile

OPTIONS: dict[str, Any] = {
    "table": None,
    "image_column": "imgName",
    "label_column": "Label",
    "test_names": None,
    "window": None,
}
TEST_FRACTION = 155 / 400  # the paper's
CLASSES = ("AMD", "Non-AMD")
MEANING = {"1": "AMD", "0": "Non-AMD"}

File = tuple[int, str]


def read(roots: list[Path], options: Mapping[str, Any], previous: Manifest | None) -> Reading:
    """Read `Training400/{AMD,Non-AMD}`, or the images that a table of labels names.

    In a table, 1 means AMD and 0 Non-AMD. `test_names` is a text file with the name of a test
    image in each line; without it, 155 of 400 are drawn, stratified and seeded. The data do not
    say which images are of one patient: each is its own group.

    Raises
    ------
    InputError
        For another folder tree, a name that does not fit its folder, a name that is not there.
    """
    listing = Listing(roots)
    if options["table"] is None:
        labels = {file: _label_of_folder(roots, file) for file in listing.images()}
    else:
        labels = _labels_of_table(listing, options)
    if not labels:
        raise InputError(
            f"There is no image under {', '.join(map(str, roots))}: "
            "give the folder with Training400, which holds AMD and Non-AMD."
        )
    test = _test_files(listing, labels, options["test_names"])
    rows = [
        {
            "image_id": image_id(*file),
            "path": file[1],
            "root": file[0],
            "frame": None,
            "label": label,
            "group_id": None,
            "split": None if test is None else ("test" if file in test else "train"),
        }
        for file, label in labels.items()
    ]
    listing.leave_out(labels.keys(), "images in no table")
    return Reading(pd.DataFrame(rows), listing.left_out)


def _label_of_folder(roots: list[Path], file: File) -> str:
    path = PurePosixPath(file[1])
    label = next((name for name in reversed(path.parts[:-1]) if name in CLASSES), None)
    where = roots[file[0]] / path
    if label is None:
        raise InputError(
            f"{where} lies in neither of the folders {' and '.join(CLASSES)}: move it."
        )
    if path.name[0] in "AN" and (path.name[0] == "A") != (label == "AMD"):
        raise InputError(f"{where} has a name of the other class: move it or rename it.")
    return label


def _labels_of_table(listing: Listing, options: Mapping[str, Any]) -> dict[File, str]:
    source = TableFile.read(options["table"], listing.roots)
    names = source.column(options["image_column"], "image")
    labels: dict[File, str] = {}
    for row, text in enumerate(source.column(options["label_column"], "label")):
        label = MEANING.get(text, text)
        if label not in CLASSES:
            raise InputError(f"{source.where(row)}: {text!r} is neither 1 (AMD) nor 0 (Non-AMD).")
        file = listing.image(names[row], source.where(row))
        if file in labels:
            raise InputError(f"{source.where(row)}: {names[row]} is named twice; remove one row.")
        labels[file] = label
    return labels


def _test_files(
    listing: Listing, labels: Mapping[File, str], given: str | None
) -> set[File] | None:
    if given is None:
        return None
    path = next((p for p in (as_path(given), listing.roots[0] / given) if p.is_file()), None)
    if path is None:
        raise InputError(
            f"There is no file {given}, neither here nor under {listing.roots[0]}: correct the "
            "option test_names."
        )
    files = set()
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        if line.strip():
            file = listing.image(line.strip(), f"{path}, line {number}")
            if file not in labels:
                raise InputError(f"{path}, line {number}: {line.strip()} has no label.")
            files.add(file)
    if not files:
        raise InputError(f"{path} names no image: write one name a line.")
    return files
