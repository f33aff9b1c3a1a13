"""Kind `dicom`: DICOM files, in folders of series or any others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from frostline.cache import InputError, Manifest
from frostline.cache.tables.labels import split_name
from frostline.extract.images.decode import DICOM_SUFFIXES, has_dicom_prefix
from frostline.extract.images.dicom import PIXEL_KEYWORDS, frame_count, read_dataset
from frostline.extract.readers.left_out import LeftOut
from frostline.extract.readers.reading import (
    OtherKindError,
    Reading,
    check_classes,
    files_under,
    image_id,
)
from frostline.extract.readers.table_file import TableFile

OPTIONS: dict[str, Any] = {
    "label": "folder",
    "table": None,
    "key": "PatientID",
    "key_column": None,
    "label_column": None,
    "window": None,
}
PRIVATE = ("group_id", "series")


def read(roots: list[Path], options: Mapping[str, Any], previous: Manifest | None) -> Reading:
    """Read every DICOM file under the roots that holds an image; each frame is an image.

    The label is the class folder (`label: folder`), the value of an attribute such as
    `Modality`, or, with `table`, `key_column` and `label_column`, what a table says for
    the value of `key` (an attribute, or `path`). The patient is the group; patient and series
    are written as keyed hashes only. Only headers are read here.

    Raises
    ------
    InputError
        If there is no image, or one without a label.
    """
    left_out = LeftOut()
    labels = None if options["table"] is None else _labels(roots, options)
    rows = [
        row
        for number, root in enumerate(roots)
        for path in _files(root, left_out)
        for row in _rows(number, root, path, options, labels, left_out)
    ]
    if not rows:
        raise OtherKindError(
            f"There is no DICOM image under {', '.join(map(str, roots))}: correct --root."
        )
    table = pd.DataFrame(rows)
    if labels is None and options["label"] == "folder":
        check_classes(table, roots)
    return Reading(table, left_out, {"without_patient": int(table["group_id"].isna().sum())})


def _files(root: Path, left_out: LeftOut) -> Iterator[Path]:
    for path in files_under(root, left_out):
        if path.suffix.lower() in DICOM_SUFFIXES or has_dicom_prefix(path):
            yield path
        else:
            left_out.add_suffix(path.relative_to(root).as_posix())


def _rows(
    number: int,
    root: Path,
    path: Path,
    options: Mapping[str, Any],
    labels: Mapping[str, str] | None,
    left_out: LeftOut,
) -> Iterator[dict[str, Any]]:
    relative = path.relative_to(root)
    try:
        header = read_dataset(path, pixels=False)
    except InputError as error:
        if "pydicom" in str(error):
            raise
        header = None  # it stays in the table: a file that cannot be read
    if header is not None and not _has_image(path, header):
        left_out.add("files of DICOM without an image", relative.as_posix())
        return
    patient = _text(header, "PatientID")
    frames = 1 if header is None else frame_count(header)
    folders = relative.parts[:-1]
    row = {
        "path": relative.as_posix(),
        "root": number,
        "label": _label(path, relative, header, options, labels),
        "group_id": patient,
        "split": split_name(folders[0]) if folders else None,
        "series": _text(header, "SeriesInstanceUID"),
        "modality": _text(header, "Modality"),
    }
    for frame in range(frames):
        which = frame if frames > 1 else None
        yield {"image_id": image_id(number, relative.as_posix(), which), "frame": which, **row}


def _has_image(path: Path, header: Any) -> bool:
    # The header was read up to the pixels: rows and columns say that there are any.
    return "Rows" in header or any(name in header for name in PIXEL_KEYWORDS)


def _label(
    path: Path,
    relative: Path,
    header: Any,
    options: Mapping[str, Any],
    labels: Mapping[str, str] | None,
) -> str | None:
    if labels is not None:
        by_path = options["key"] == "path"
        key = relative.as_posix() if by_path else _text(header, options["key"])
        if header is not None and key not in labels:
            raise InputError(
                f"{path}: {options['table']} has no row for its {options['key']} in column "
                f"{options['key_column']!r}; add one."
            )
        return labels.get(key or "")
    if options["label"] != "folder":
        text = _text(header, options["label"])
        if header is not None and text is None:
            raise InputError(
                f"{path} has no attribute {options['label']} for the label: name another one."
            )
        return text
    folders = [*relative.parts[:-1]]
    if folders and split_name(folders[0]):
        folders = folders[1:]
    if not folders:
        raise InputError(
            f"{path} is in no class folder: move it, or say where labels are with the options "
            "label (an attribute) or table."
        )
    return folders[0]


def _labels(roots: list[Path], options: Mapping[str, Any]) -> dict[str, str]:
    if options["key_column"] is None or options["label_column"] is None:
        raise InputError("With a table, kind dicom needs the options key_column and label_column.")
    source = TableFile.read(options["table"], roots)
    keys = source.column(options["key_column"], "key")
    labels: dict[str, str] = {}
    for row, label in enumerate(source.column(options["label_column"], "label")):
        if labels.setdefault(keys[row], label) != label:
            raise InputError(
                f"{source.where(row)}: the label is {label!r}, but {labels[keys[row]]!r} in an "
                "earlier row with this key; a key has one label."
            )
    return labels


def _text(header: Any, name: str) -> str | None:
    text = "" if header is None else str(header.get(name, "") or "").strip()
    return text or None
