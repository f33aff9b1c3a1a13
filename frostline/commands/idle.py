"""Options that do not act in a mode of a command: giving one is refused, never ignored."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_type_hints

import typer

# For a mode, which is an option with a value, the parameters that do not act in it.
Idle = Mapping[tuple[str, object], Sequence[str]]
CONTEXT = "context_of_idle"


def refuse_idle(idle: Idle) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorate a command so that it refuses options that do not act in the mode it is given.

    Parameters
    ----------
    idle : mapping
        By parameter and value, such as `("over", "seeds")`, the parameters that do not act then.

    Raises
    ------
    InputError
        When the command is called, with both options: "`--ci` does not act with `--over seeds`:
        leave one out."
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def checked(**values: Any) -> None:
            _check(values.pop(CONTEXT), values, idle)
            command(**values)

        # typer reads what a command takes from its signature, and gives the context by its type.
        hints = get_type_hints(command, include_extras=True)
        own = inspect.signature(command).parameters.values()
        parameters = [one.replace(annotation=hints[one.name]) for one in own]
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        context = inspect.Parameter(CONTEXT, kind, annotation=typer.Context)
        checked.__signature__ = inspect.Signature([context, *parameters])  # type: ignore[attr-defined]
        checked.__annotations__ = {CONTEXT: typer.Context, **hints}
        return checked

    return decorate


def _check(context: typer.Context, values: Mapping[str, object], idle: Idle) -> None:
    from frostline.cache import InputError

    names = {one.name: one.opts[0] for one in context.command.params}
    for (mode, value), parameters in idle.items():
        if values[mode] != value:
            continue
        for name in parameters:
            if _is_given(context, name):
                said = names[mode] if value is True else f"{names[mode]} {value}"
                raise InputError(
                    f"`{names[name]}` does not act with `{said}`: leave one of them out."
                )


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name in ("COMMANDLINE", "ENVIRONMENT")
