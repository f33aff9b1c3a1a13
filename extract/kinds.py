"""Kinds of data sets: the table of readers and of their options."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frostline.cache import InputError, Manifest
from frostline.extract.geometry import Geometry
from frostline.extract.readers import folder, mri_slices, table
from frostline.extract.readers.reading import REQUIRED, Reading

Reader = Callable[[list[Path], Mapping[str, Any], Manifest | None], Reading]


@dataclass(frozen=True)
class Kind:
    """A kind of data set.

    Attributes
    ----------
    summary : str
        One line for lists and help.
    read : callable
        ``read(roots, options, previous) -> Reading``; ``previous`` is the manifest of an
        earlier run, so that unchanged files need not be read again.
    options : dict
        Every option with its default, or `REQUIRED`.
    """

    summary: str
    read: Reader
    options: Mapping[str, Any]

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
    "table": Kind("a CSV, TSV or Parquet file with one row an image", table.read, table.OPTIONS),
    "mri-slices": Kind(
        "axial slices of NIfTI volumes inside a mask", mri_slices.read, mri_slices.OPTIONS
    ),
}


def find_kind(name: str) -> Kind:
    """Look up a kind.

    Raises
    ------
    InputError
        If there is none of that name; the message lists those there are.
    """
    if name not in KINDS:
        raise InputError(f"there is no kind {name!r}; the kinds are {', '.join(KINDS)}")
    return KINDS[name]


def resolve_options(kind: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Check options of a kind and fill in its defaults; None counts as not given.

    Raises
    ------
    InputError
        For an option that the kind does not have, or lacks.
    """
    known = find_kind(kind).options
    given = {name: value for name, value in options.items() if value is not None}
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise InputError(
                f"kind {kind} has no option {name!r}; {hint}its options are {', '.join(known)}"
            )
    resolved = {name: given.get(name, default) for name, default in known.items()}
    missing = [name for name, value in resolved.items() if value is REQUIRED]
    if missing:
        raise InputError(f"kind {kind} needs the option {', '.join(missing)}")
    # A geometry checks these two; better now than when the images are decoded.
    checked = Geometry(window=resolved["window"], spacing=resolved.get("spacing")).to_spec()
    return {name: checked.get(name, value) for name, value in resolved.items()}
