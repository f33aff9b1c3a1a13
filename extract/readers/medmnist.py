"""Kind `medmnist`: the small standard data sets of MedMNIST, with their official splits."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from frostline.cache import InputError, Manifest
from frostline.cache.manifest import SPLITS
from frostline.extract.images import arrays
from frostline.extract.images.decode import unreadable
from frostline.extract.images.opened import local_copy
from frostline.extract.readers.reading import REQUIRED, OtherKindError, Reading, image_id

OPTIONS: dict[str, Any] = {
    "data": REQUIRED,
    "size": 28,
    "label_names": False,
    "download": False,
    "window": None,
}
SIZES = (28, 64, 128, 224)


def read(roots: list[Path], options: Mapping[str, Any], previous: Manifest | None) -> Reading:
    """Read an archive such as `pneumoniamnist.npz` or `pneumoniamnist_224.npz`.

    `data` is the set's name, or that of an `.npz` file of the same layout. Labels are the
    numbers in the file, or with `label_names` the words of the package `medmnist`, which with
    `download` also fetches the file into the first root. `frame` counts through train, val
    and test.

    Raises
    ------
    InputError
        If the file or package is not there, or the set has volumes or several labels an image.
    """
    root, path = _find(roots, options)
    try:
        with local_copy(path) as file, zipfile.ZipFile(file) as archive:
            tables = [_part(path, archive, part) for part in SPLITS]
    except arrays.UNREADABLE as error:
        if isinstance(error, InputError):
            raise
        raise unreadable(path, error) from error
    table = pd.concat(tables, ignore_index=True)
    relative = path.relative_to(roots[root]).as_posix()
    labels = table["label"].astype(str)
    own = pd.DataFrame(
        {
            "image_id": [image_id(root, relative, number, "i") for number in range(len(table))],
            "path": relative,
            "root": root,
            "frame": pd.array(range(len(table)), dtype="Int64"),
            "label": labels.map(_names(options)) if options["label_names"] else labels,
            "group_id": None,
            "split": table["split"],
        }
    )
    return Reading(own)


def _find(roots: list[Path], options: Mapping[str, Any]) -> tuple[int, Path]:
    if options["size"] not in SIZES:
        raise InputError(
            f"The option size must be one of {', '.join(map(str, SIZES))}, not {options['size']}."
        )
    name = str(options["data"])
    if not name.endswith(".npz"):
        name += ".npz" if options["size"] == 28 else f"_{options['size']}.npz"
    for number, root in enumerate(roots):
        if (root / name).is_file():
            return number, root / name
    if not options["download"]:
        raise OtherKindError(
            f"There is no {name} under {', '.join(map(str, roots))}: fetch it from "
            "https://medmnist.com, or with --option download=true."
        )
    class_name = _info(options["data"])["python_class"]
    fetch = getattr(import_module("medmnist"), class_name)
    try:
        fetch(split="train", root=str(roots[0]), size=options["size"], download=True)
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"{name} could not be fetched ({str(error).splitlines()[0]}): get it from "
            "https://medmnist.com."
        ) from error
    return 0, roots[0] / name


def _part(path: Path, archive: zipfile.ZipFile, part: str) -> pd.DataFrame:
    shape, _ = arrays.image_header(path, archive, part)
    if not arrays.is_flat(shape):
        raise InputError(f"{path} holds volumes {shape}: only images of two dimensions are read.")
    with archive.open(f"{part}_labels.npy") as member:
        labels = np.lib.format.read_array(member, allow_pickle=False)
    labels = labels.reshape(len(labels), -1)
    if labels.shape[1] != 1:
        raise InputError(
            f"{path} has {labels.shape[1]} labels for each image: Frostline is for one label an "
            "image."
        )
    if len(labels) != shape[0]:
        raise InputError(
            f"{path} has {shape[0]} images but {len(labels)} labels in {part}: fetch it again."
        )
    return pd.DataFrame({"label": labels[:, 0], "split": part})


def _names(options: Mapping[str, Any]) -> dict[str, str]:
    return dict(_info(options["data"])["label"])


def _info(name: str) -> Mapping[str, Any]:
    try:
        known = import_module("medmnist").INFO
    except ImportError:
        raise InputError(
            "The options label_names and download need the package medmnist: run "
            "`pip install 'frostline[medmnist]'`."
        ) from None
    stem = name.removesuffix(".npz").split("_")[0]
    if stem not in known:
        raise InputError(f"MedMNIST has no data set {stem!r}; it has {', '.join(known)}.")
    return known[stem]
