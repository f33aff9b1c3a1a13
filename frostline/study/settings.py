"""`--set FIELD=VALUE`: fields of a study file replaced from the command line."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

from frostline.cache import InputError
from frostline.cache.validation import parse_yaml


def replace_fields(study: Any, settings: Sequence[str]) -> Any:
    """Copy a study that was read from YAML, with fields replaced.

    Parameters
    ----------
    study : Any
        Only a mapping can be changed.
    settings : sequence of str
        `FIELD=VALUE`: a path with dots and a value in YAML. Backbones are named as in the study,
        and `*` stands for every name at its place: `protocols.*.epochs=1`.

    Raises
    ------
    InputError
        If a setting has no `=`, its value is not YAML, or its path leads nowhere.
    """
    if not settings or not isinstance(study, dict):
        return study
    study = copy.deepcopy(study)
    backbones = study.get("backbones")
    if isinstance(backbones, list):
        entries = [{"name": each} if isinstance(each, str) else each for each in backbones]
        study["backbones"] = entries
    for text in settings:
        path, sign, value = text.partition("=")
        if not sign or not path:
            raise InputError(f"--set is FIELD=VALUE, such as seeds=[0,1,2], not {text!r}.")
        try:
            parsed = parse_yaml(value)
        except ValueError as error:
            raise InputError(f"--set {path}: {value!r} is not YAML: {error}.") from None
        *places, last = path.split(".")
        for holder in _holders(study, places, path):
            holder[last] = copy.deepcopy(parsed)
    return study


def _holders(value: Any, places: Sequence[str], path: str) -> Iterator[dict[str, Any]]:
    """Find the mappings that a path leads to."""
    if not places:
        if not isinstance(value, dict):
            raise InputError(f"--set {path}: there are no fields to set in {value!r}.")
        yield value
        return
    first, *rest = places
    named = _named(value)
    if first != "*" and first not in named:
        there = ", ".join(named) or "there is nothing"
        raise InputError(f"--set {path}: there is no {first!r}; there are {there}.")
    for name in named if first == "*" else [first]:
        yield from _holders(named[name], rest, path)


def _named(value: Any) -> dict[str, Any]:
    """Give the items of a mapping, or those of a list that are mappings with a name."""
    if isinstance(value, dict):
        return {str(name): item for name, item in value.items()}
    if isinstance(value, list):
        return {
            str(item["name"]): item for item in value if isinstance(item, dict) and "name" in item
        }
    return {}
