"""Kind `chest-xray`: pneumonia in children's chest X-rays (Kermany et al. 2018)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from frostline.cache import InputError, Manifest
from frostline.extract.readers import folder
from frostline.extract.readers.reading import Reading

OPTIONS: dict[str, Any] = {"keep_val": False, "window": None}
CLASSES = ("NORMAL", "PNEUMONIA")
PATIENT = re.compile(r"(?P<patient>person\d+|(?:NORMAL2-)?IM-\d+)(?:_(?P<cause>bacteria|virus))?")


def read(roots: list[Path], options: Mapping[str, Any], previous: Manifest | None) -> Reading:
    """Read `{train,val,test}/{NORMAL,PNEUMONIA}`; the patient is in the name.

    The 16 images of `val` are left out and counted, as the paper does, unless `keep_val`. The
    further column `cause` (bacteria, virus, none) can be the label, for three classes.

    Raises
    ------
    InputError
        For another folder tree, or a name without a patient.
    """
    reading = folder.read(roots, {**folder.OPTIONS, "window": options["window"]}, previous)
    table = reading.table
    for path, split, label in zip(table["path"], table["split"], table["label"], strict=True):
        if split is None or label not in CLASSES:
            raise InputError(
                f"{path} lies outside of train, val and test with {' and '.join(CLASSES)} in "
                "them: give the folder that holds these three."
            )
    matches = [PATIENT.match(Path(path).name) for path in table["path"]]
    for path, match in zip(table["path"], matches, strict=True):
        if match is None:
            raise InputError(
                f"The name of {path} holds no patient, such as person63_… or IM-0115-…: "
                "read other images by --kind folder."
            )
    found = [match for match in matches if match]
    table = table.assign(
        group_id=[match["patient"] for match in found],
        cause=[match["cause"] or "none" for match in found],
    )
    outside = (table["split"] == "val") & (not options["keep_val"])
    for path in table.loc[outside, "path"]:
        reading.left_out.add("images of val, which --keep-val keeps", path, of="images")
    return Reading(table[~outside].reset_index(drop=True), reading.left_out)
