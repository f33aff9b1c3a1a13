"""Commands that show: evaluate, report, run, demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from frostline.commands.options import DEFAULT_WORKSPACE, WorkspaceOption


def evaluate(
    predictions: Annotated[list[Path], typer.Argument(help="Predictions files; anyone's CSV too.")],
    split: Annotated[str, typer.Option(help="Which split is scored; all for every row.")] = "test",
    ci: Annotated[str, typer.Option(help="Interval: auto, percentile or replicate-mean.")] = "auto",
    replicates: Annotated[
        int | None, typer.Option(help="Bootstrap replicates: 10,000; 5,000 for replicate-mean.")
    ] = None,
    unit: Annotated[str, typer.Option(help="What is resampled: group or image.")] = "group",
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
    format: Annotated[
        str, typer.Option("--format", help="table, csv, json, markdown or latex.")
    ] = "table",
) -> None:
    """Score predictions with 95% intervals, beside the majority class.

    Example: frostline evaluate frostline-workspace/predictions/*.parquet --format csv
    """
    from frostline.report import evaluate as score
    from frostline.report import render

    frame = score(predictions, split=split, ci=ci, replicates=replicates, unit=unit, seed=seed)
    typer.echo(render(frame, format), nl=False)


def report(
    study: Annotated[str, typer.Argument(help="A study file, or the name of a built-in study.")],
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Write tables, figures and page from predictions at hand.

    Example: frostline report study.yaml
    """
    from frostline.cache import Workspace
    from frostline.runner import report_study
    from frostline.study import read_study

    report_study(Workspace(workspace), read_study(study))


def run(
    study: Annotated[str, typer.Argument(help="A study file, or the name of a built-in study.")],
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Do all that a study needs and is not done; show the answer.

    Example: frostline run study.yaml
    """
    from frostline.cache import Workspace
    from frostline.runner import run_study
    from frostline.study import read_study

    run_study(Workspace(workspace), read_study(study))


def demo(workspace: WorkspaceOption = Path("frostline-demo")) -> None:
    """Run the whole pipeline offline, in minutes, on made-up data.

    Example: frostline demo
    """
    from frostline.cache import Workspace
    from frostline.demo import run_demo

    run_demo(Workspace(workspace))
