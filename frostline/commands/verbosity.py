"""`--quiet` and `--verbose`, which every command has."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import wraps
from inspect import Parameter, signature
from typing import Annotated, Any

import typer

from frostline.console import NORMAL, QUIET, VERBOSE, detail, set_verbosity

QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print results and errors, nothing else.")
]
VerboseOption = Annotated[
    bool, typer.Option("--verbose", "-v", help="Print details and times, and where errors rise.")
]
OPTIONS = {"quiet": QuietOption, "verbose": VerboseOption}


def with_verbosity(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options `--quiet` and `--verbose`, behind its own."""

    @wraps(command)
    def speaking(*, quiet: bool, verbose: bool, **given: Any) -> None:
        if quiet and verbose:
            raise typer.BadParameter("give --quiet or --verbose, not both.")
        set_verbosity(QUIET if quiet else VERBOSE if verbose else NORMAL)
        start = time.perf_counter()
        command(**given)
        detail(f"Finished after {time.perf_counter() - start:.1f} s.")

    own = signature(command, eval_str=True)
    more = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=False, annotation=option)
        for name, option in OPTIONS.items()
    ]
    kept = [each.replace(kind=Parameter.KEYWORD_ONLY) for each in own.parameters.values()]
    both = own.replace(parameters=[*kept, *more])
    speaking.__dict__["__signature__"] = both
    speaking.__annotations__ = {each.name: each.annotation for each in both.parameters.values()}
    return speaking
