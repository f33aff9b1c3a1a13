"""Kinds of data sets: the table of readers and of their options."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frostline.cache import InputError, Manifest
from frostline.cache.validation import parse_yaml
from frostline.extract.images.geometry import READ_WITH, Geometry
from frostline.extract.readers import (
    chest_xray,
    dicom,
    folder,
    ichallenge_amd,
    isic,
    medmnist,
    mri_slices,
    table,
)
from frostline.extract.readers.reading import REQUIRED, OtherKindError, Reading

Reader = Callable[[list[Path], Mapping[str, Any], Manifest | None], Reading]


@dataclass(frozen=True)
class Kind:
    """A kind of data set.

    Attributes
    ----------
    summary : str
        One line for lists and help.
    read : callable
        `read(roots, options, previous) -> Reading`; `previous` is the manifest of an
        earlier run, so that unchanged files need not be read again.
    options : dict
        Every option of its own with its default, or `REQUIRED`. All kinds have `COMMON` too.
    private : tuple of str
        Columns that name patients: only keyed hashes of them are kept.
    test_fraction : float
        Of the groups, where the user does not say.
    check : callable
        `check(options)` raises an InputError where options do not go together.
    """

    summary: str
    read: Reader
    options: Mapping[str, Any]
    private: tuple[str, ...] = ()
    test_fraction: float = 0.3
    check: Callable[[Mapping[str, Any]], None] = lambda options: None

    @property
    def required(self) -> list[str]:
        """Names of the options that have no default."""
        return [name for name, default in self.options.items() if default is REQUIRED]


KINDS: dict[str, Kind] = {
    "folder": Kind(
        "one folder a class, optionally inside train, val and test folders",
        folder.read,
        folder.OPTIONS,
    ),
    "table": Kind(
        "a CSV, TSV, XLSX or Parquet file with one row an image", table.read, table.OPTIONS
    ),
    "mri-slices": Kind(
        "axial slices of NIfTI volumes, inside a mask or by number",
        mri_slices.read,
        mri_slices.OPTIONS,
        check=mri_slices.check,
    ),
    "dicom": Kind(
        "DICOM files, in class folders or with a table of labels",
        dicom.read,
        dicom.OPTIONS,
        private=dicom.PRIVATE,
    ),
    "medmnist": Kind("an .npz file of MedMNIST", medmnist.read, medmnist.OPTIONS),
    "chest-xray": Kind(
        "children's chest X-rays (Kermany 2018)", chest_xray.read, chest_xray.OPTIONS
    ),
    "ham10000": Kind("dermoscopic images with HAM10000_metadata.csv", isic.read, isic.OPTIONS),
    "isic2018": Kind("the same, as task 3 of the ISIC 2018 challenge", isic.read, isic.OPTIONS),
    "ichallenge-amd": Kind(
        "fundus images with and without macular degeneration",
        ichallenge_amd.read,
        ichallenge_amd.OPTIONS,
        test_fraction=ichallenge_amd.TEST_FRACTION,
    ),
}

# Options of every kind. `follow`: data sets of the workspace whose groups keep their split here;
# `source`: public sets where the images come from, besides what the kind says.
COMMON: dict[str, Any] = {"follow": None, "source": None}


def find_kind(name: str) -> Kind:
    """Look up a kind.

    Raises
    ------
    InputError
        If there is none of that name; the message lists those there are.
    """
    if name not in KINDS:
        raise InputError(f"There is no kind {name!r}: the kinds are {', '.join(KINDS)}.")
    return KINDS[name]


def parse_option(kind: str, text: str) -> tuple[str, Any]:
    """Read `name=value` as a command line has it: numbers and true or false where they belong.

    `window` and `spacing` are read as YAML: `window={range: [-100, 300]}`.

    Raises
    ------
    InputError
        If there is no `=`, or the value is not of the type that the option has.
    """
    name, equals, value = text.partition("=")
    if not equals:
        raise InputError(f"{text!r} is no option: write --option NAME=VALUE.")
    default = find_kind(kind).options.get(name)
    if name not in ("window", "spacing") and not isinstance(default, bool | int | float):
        return name, value
    try:
        parsed = parse_yaml(value)
    except ValueError:
        parsed = None
    if isinstance(default, float) and type(parsed) is int:
        parsed = float(parsed)
    if parsed is None or (default is not None and type(parsed) is not type(default)):
        raise InputError(f"The option {name} of kind {kind} cannot be {value!r}.")
    return name, parsed


def resolve_options(kind: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Check options of a kind and fill in its defaults; None counts as not given.

    Raises
    ------
    InputError
        For an option that the kind does not have, or lacks, and for options that do not go
        together.
    """
    known = {**find_kind(kind).options, **COMMON}
    given = {name: value for name, value in options.items() if value is not None}
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise OtherKindError(
                f"Kind {kind} has no option {name!r}: its options are {', '.join(known)}.{hint}"
            )
    resolved = {name: given.get(name, default) for name, default in known.items()}
    missing = [name for name, value in resolved.items() if value is REQUIRED]
    if missing:
        raise OtherKindError(f"Kind {kind} needs the option {', '.join(missing)}.")
    find_kind(kind).check(resolved)
    # A geometry checks these; better now than when the images are decoded.
    read_with = {name: resolved[name] for name in READ_WITH if name in resolved}
    checked = Geometry(**read_with).to_spec()
    return {name: checked.get(name, value) for name, value in resolved.items()}
