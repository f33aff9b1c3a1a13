"""The stores of augmented views, found by the store of the images themselves (docs/format.md)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from frostline.cache.errors import InputError
from frostline.cache.keys import canonical_json, spec_key, spec_values
from frostline.cache.stores.store import LISTED, Store, find_stores, store_spec


def plain_spec(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Give the spec of the store of images as they are, for the spec of a store of their views."""
    plain = {name: value for name, value in spec.items() if name != "view"}
    if crop := spec["view"].get("crop"):
        geometry = {**spec["pixels"]["geometry"], "crop": crop}
        plain["pixels"] = {**spec["pixels"], "geometry": geometry}
    return plain


def find_views(folder: Path, store: Store, count: int, key: str | None = None) -> list[Store]:
    """Open the stores of views 1 to `count` of the images of a store.

    Parameters
    ----------
    folder : Path
        With the stores of views of the same data set and backbone.
    key : str, optional
        First digits of the key of any view, where there are views of several seeds or changes.

    Raises
    ------
    InputError
        If there are none, too few, or those of several that `key` does not choose from.
    """
    sets: dict[str, dict[int, Path]] = {}
    for path in find_stores(folder):
        spec = store_spec(path)
        if spec_key(plain_spec(spec)) == store.key:
            number, how = int(spec["view"]["number"]), {**spec["view"], "number": 0}
            sets.setdefault(canonical_json(how), {})[number] = path
    if not sets:
        raise InputError(
            f"The embeddings in {store.folder} have no views: run `frostline extract` with their "
            f"options and --views {count} --set augmentation=NAMES."
        )
    matching = [
        views
        for views in sets.values()
        if any(path.name.startswith(key or "") for path in views.values())
    ]
    if not matching:
        raise InputError(
            f"No view in {folder} has a key that starts with {key!r}: choose one of these.",
            *_lines([*sets.values()]),
        )
    if len(matching) > 1:
        raise InputError(
            f"Views of {len(matching)} kinds lie in {folder}: choose one by --views-key.",
            *_lines(matching),
        )
    views = matching[0]
    lacking = [number for number in range(1, count + 1) if number not in views]
    if lacking:
        raise InputError(
            f"The embeddings in {store.folder} have {len(views)} views, and view {lacking[0]} of "
            f"{count} is not there: run the same `frostline extract` again with --views {count}."
        )
    return [Store.open(views[number]) for number in range(1, count + 1)]


def _lines(sets: list[dict[int, Path]]) -> list[str]:
    """Describe views, a line a kind: the key of the first, and by what they differ."""
    firsts = [views[min(views)] for views in sets]
    values = spec_values([{**store_spec(path)["view"], "number": 0} for path in firsts])
    lines = [
        f"  {path.name[:12]}  {', '.join(f'{name} {of[place]}' for name, of in values.items())}"
        for place, path in enumerate(firsts)
    ]
    more = f"  and {len(lines) - LISTED} more: `frostline cache ls` lists all."
    return [*lines[:LISTED], *([more] if len(lines) > LISTED else [])]
