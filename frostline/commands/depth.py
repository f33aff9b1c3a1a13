"""The command that finds the frost line."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

import typer

from frostline.commands.groups import (
    ColumnOptions,
    MachineOptions,
    NetworkOptions,
    RecipeOptions,
    TrackingOptions,
    grouped,
)
from frostline.commands.options import (
    DEFAULT_WORKSPACE,
    DatasetOption,
    DryRunOption,
    EngineOption,
    ProtocolOption,
    StudyJobsOption,
    WorkspaceOption,
)
from frostline.commands.running import end_with_failed, show_dry_run


@dataclass(frozen=True)
class DepthNetworkOptions(NetworkOptions):
    """As everywhere, by the recipe of today."""

    protocol: ProtocolOption = "standard"


@dataclass(frozen=True)
class DepthMachineOptions(MachineOptions):
    """As everywhere, and what embeds."""

    engine: EngineOption = "auto"


@dataclass(frozen=True)
class RoadOptions:
    """Which roads are walked, how often, and by what they are judged."""

    train: Annotated[
        str | None,
        typer.Option(
            help="What is trained too: numbers of last blocks, lora and lora:N (adapters), all, "
            "and scratch (all of it from random weights), such as 1,3,all; nothing if not given."
        ),
    ] = None
    seeds: Annotated[str, typer.Option(help="Random seeds of what is trained, such as 0,1,2.")] = (
        "0"
    )
    cv: Annotated[
        str,
        typer.Option(
            help="5x3: 5 folds of groups, 3 times, instead of splits; auto: where there are under "
            "100 groups; none: never."
        ),
    ] = "auto"
    metric: Annotated[str, typer.Option(help="Chooses the depth on validation, and is shown.")] = (
        "accuracy"
    )

    def numbers(self) -> list[int]:
        """Give the seeds.

        Raises
        ------
        InputError
            If they are no whole numbers.
        """
        from frostline.cache.errors import InputError

        words = [word.strip() for word in self.seeds.split(",")]
        if not all(re.fullmatch("[0-9]{1,9}", word) for word in words):
            raise InputError(
                f"--seeds takes different whole numbers, such as 0,1,2, not {self.seeds!r}."
            )
        return [int(word) for word in words]

    def trained(self) -> list[str]:
        """Give what is trained, as it was typed."""
        return [] if self.train is None else [word.strip() for word in self.train.split(",")]


@grouped
def depth(
    dataset: DatasetOption,
    backbone: Annotated[
        list[str],
        typer.Option("--backbone", "-b", help="A name of `frostline backbones`; repeated."),
    ],
    roads: RoadOptions,
    network: DepthNetworkOptions,
    recipe: RecipeOptions,
    machine: DepthMachineOptions,
    columns: ColumnOptions,
    feature: Annotated[
        str, typer.Option(help="How tokens are pooled at every depth: blocks or blocks:cls+mean.")
    ] = "blocks",
    dry_run: DryRunOption = False,
    jobs: StudyJobsOption = 1,
    *,
    tracking: TrackingOptions,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Read backbones at every depth, train them from some, and say where to stop.

    Everything that was done before, by whichever command, is not done again. Run it twice at once,
    and they share the work.

    Example: frostline depth --dataset chest --backbone effnet-lite0 --train 1,3,all
    """
    from frostline.cache import Workspace
    from frostline.study.depth import Question, depth_study
    from frostline.study.results import print_report
    from frostline.study.runner import run_study

    place = Workspace(workspace)
    question = Question(
        roads.trained(),
        roads.numbers(),
        roads.cv,
        roads.metric,
        columns.columns(),
        recipe.changes(),
    )
    networks = [network.network(name, feature) for name in backbone]
    study = depth_study(dataset, networks, question, machine.machine(engine=machine.engine))
    if dry_run:
        show_dry_run(place, study, [], {"--jobs": jobs > 1} | tracking.asked(), strict=True)
        return
    outcome = run_study(place, study, jobs=jobs, strict=True, tracking=tracking.tracking())
    if outcome.report is not None:
        print_report(outcome.report)
    if outcome.failed:
        end_with_failed(outcome.failed)
