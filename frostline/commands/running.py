"""The command that runs studies."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from frostline.commands.groups import TrackingOptions, grouped
from frostline.commands.options import (
    DEFAULT_WORKSPACE,
    DryRunOption,
    SettingOption,
    StudyJobsOption,
    WorkspaceOption,
    parse_shard,
)

if TYPE_CHECKING:
    from frostline.cache import Workspace
    from frostline.study.file import Study


@grouped
def run(
    study: Annotated[str, typer.Argument(help="A study file, or the name of a built-in study.")],
    data: Annotated[
        Path | None, typer.Option(help="Folder that the study's roots are relative to.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            help="Only these runs: DATASET/BACKBONE/PROTOCOL, such as 'chest/*/frozen'; repeated."
        ),
    ] = None,
    setting: SettingOption = None,
    dry_run: DryRunOption = False,
    jobs: StudyJobsOption = 1,
    shard: Annotated[
        str | None, typer.Option(help="i/n: only this share of the runs, for a job array.")
    ] = None,
    with_images: Annotated[
        bool,
        typer.Option("--with-images", help="Show the images that were most confidently wrong."),
    ] = False,
    *,
    tracking: TrackingOptions,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Run a study: do every step that is not done yet, and show the answer.

    Run it twice at once, on one machine or many that share the workspace: they share the work.

    Examples: frostline run study.yaml

    frostline run paper-public --data DATA --only 'chest/*/frozen' --dry-run
    """
    from frostline.cache import Workspace
    from frostline.study.demo import study_data
    from frostline.study.file import read_study
    from frostline.study.results import print_report
    from frostline.study.runner import run_study

    place = Workspace(workspace)
    chosen = read_study(study, data=study_data(study, data, place), settings=setting or [])
    if dry_run:
        given = {"--jobs": jobs > 1, "--shard": shard is not None, "--with-images": with_images}
        show_dry_run(place, chosen, only or [], given | tracking.asked())
        return
    # Shards of runs are asked for by name: a rank of torchrun is none.
    share = None if shard is None else parse_shard(shard)
    outcome = run_study(
        place,
        chosen,
        with_images=with_images,
        only=only or [],
        jobs=jobs,
        shard=share,
        tracking=tracking.tracking(),
    )
    if outcome.report is not None:
        print_report(outcome.report)
    if outcome.failed:
        end_with_failed(outcome.failed)


def end_with_failed(failed: Mapping[str, str]) -> NoReturn:
    """Say what failed of runs and sweeps, and exit with 1."""
    from frostline.cache.tables.words import counted

    typer.echo(f"\n{counted(len(failed), 'run')} failed:")
    for name, sentence in failed.items():
        typer.echo(f"  {name}: {sentence}")
    raise typer.Exit(1)


def show_dry_run(
    place: Workspace,
    study: Study,
    only: list[str],
    given: Mapping[str, bool],
    *,
    strict: bool = False,
) -> None:
    """Show what would be done; refuse the options that only a run has."""
    from frostline.cache import InputError
    from frostline.study.costs.dry_run import show_plan
    from frostline.study.runner import plan_study

    for option in (name for name, is_given in given.items() if is_given):
        raise InputError(f"--dry-run shows the plan and runs nothing: leave {option} out.")
    # Manifests are brought up to date; weights are not fetched.
    plan = plan_study(place, study, only, fetch=False, strict=strict)
    if not show_plan(place, study, plan):
        raise typer.Exit(1)
