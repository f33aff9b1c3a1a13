"""Long lists of options in groups: a command takes a dataclass, its user sees every field."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command's parameters be dataclasses whose fields are its options.

    Parameters
    ----------
    command : callable
        Its parameters are options of Typer, or dataclasses of such options, all with defaults.

    Returns
    -------
    callable
        What Typer takes: one parameter for each option, in the order of the fields.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, type] = {}
    shown: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        kind = hints[name]
        if is_dataclass(kind) and isinstance(kind, type):
            groups[name] = kind
            shown += _options(kind)
        else:
            shown.append(parameter.replace(annotation=kind))

    @functools.wraps(command)
    def flat(**given: Any) -> None:
        for name, kind in groups.items():
            given[name] = kind(**{field.name: given.pop(field.name) for field in fields(kind)})
        command(**given)

    flat.__dict__["__signature__"] = inspect.Signature(shown)
    flat.__annotations__ = {parameter.name: parameter.annotation for parameter in shown}
    return flat


def _options(group: type) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=field.default,
            annotation=hints[field.name],
        )
        for field in fields(group)
    ]
