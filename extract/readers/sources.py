"""Where a data set's images come from: the public sets that its kind or its user names."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from frostline.cache import InputError, Manifest
from frostline.extract.backbones.facts.table import Facts, facts, key_of

NO_SOURCE = "none"


def declared_source(given: Any, previous: Manifest | None) -> list[str] | None:
    """Give the declared keys: those that are given, or else those declared before.

    Parameters
    ----------
    given : str, sequence of str or None
        The option `source`; `none` takes back what was declared.

    Raises
    ------
    InputError
        If a name is empty, or `none` stands among others.
    """
    if given is None:
        return None if previous is None else previous.meta.get("options", {}).get("source")
    keys = [key_of(str(name)) for name in ([given] if isinstance(given, str) else given)]
    if not all(keys) or (NO_SOURCE in keys and len(keys) > 1):
        raise InputError(
            "Each source is the name of a public set of images, such as mimic-cxr; `none` stands "
            "alone: correct --source."
        )
    return None if keys == [NO_SOURCE] else list(dict.fromkeys(keys))


def image_sources(kind: str, options: Mapping[str, Any], root: Path) -> list[str]:
    """List the keys of the public sets where images come from, and of those that these hold.

    Warns of a declared key that neither the table of backbones nor the workspace's own has.

    Parameters
    ----------
    options : mapping
        Resolved options of the kind: `source`, and of `medmnist` the set's name.
    root : Path
        Folder of the workspace.
    """
    table = facts(root)
    keys = [key for key, known in table.images.items() if known.kind == kind]
    if kind == "medmnist":
        name = str(options["data"]).removesuffix(".npz").partition("_")[0].lower()
        keys += [name] if name in table.images else []
    declared = options["source"] or []
    _warn_of_strange(declared, table)
    return list(table.held([*keys, *declared]))


def _warn_of_strange(declared: Iterable[str], table: Facts) -> None:
    known = {*table.images, *(key for row in table.own for key in row.pretrained_on)}
    for key in declared:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            hint = f"; the nearest is {near[0]}" if near else ""
            warnings.warn(
                f"No backbone that Frostline knows was pretrained on {key!r}{hint}: it is kept, "
                "and meets backbones that declare the same name (docs/backbones.md).",
                stacklevel=4,
            )
