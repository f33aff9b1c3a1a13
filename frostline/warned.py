"""Warnings as a person reads them; apart, as the command line starts with it."""

from __future__ import annotations

import warnings
from typing import TextIO

import typer


def show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """A sentence to the user as it is; what libraries tell programmers, with its place."""
    if category is UserWarning:
        typer.echo(f"Warning: {message}", err=True)
        return
    typer.echo(warnings.formatwarning(message, category, filename, lineno), err=True, nl=False)
