"""The command that says what works here."""

from __future__ import annotations

from typing import Annotated

import typer

from frostline.commands.options import DEFAULT_WORKSPACE, WorkspaceOption


def doctor(
    check: Annotated[
        int,
        typer.Option(help="Images of each store to embed again and compare; 0 for none.", min=0),
    ] = 4,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Say what works here and what to install: GPU, memory, disk, weights, packages, stores.

    Embeds a few images of every embedding store again, and compares.
    Exits with 1 if something that should work does not.

    Example: frostline doctor --check 16
    """
    import json
    from dataclasses import asdict

    from frostline.cache import Workspace
    from frostline.cache.errors import printable
    from frostline.doctor.doctor import run_doctor

    found = []
    for one in run_doctor(Workspace(workspace), check):
        found.append(one)
        if not as_json:
            typer.echo(printable(one.line()))
    if as_json:
        typer.echo(json.dumps([asdict(one) for one in found], indent=1, ensure_ascii=False))
    if any(one.state == "problem" for one in found):
        raise typer.Exit(1)
