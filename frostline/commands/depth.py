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
    grouped,
)
from frostline.commands.options import (
    DEFAULT_WORKSPACE,
    MOST_PROCESSES,
    DatasetOption,
    ProtocolOption,
    WorkspaceOption,
)


@dataclass(frozen=True)
class DepthNetworkOptions(NetworkOptions):
    """As everywhere, by the recipe of today."""

    protocol: ProtocolOption = "standard"


@dataclass(frozen=True)
class RoadOptions:
    """Which roads are walked, how often, and by what they are judged."""

    train: Annotated[
        str | None,
        typer.Option(
            help="What is trained too: numbers of last blocks, all, and scratch (all of it from "
            "random weights), such as 1,3,all; nothing if not given."
        ),
    ] = None
    seeds: Annotated[str, typer.Option(help="Random seeds of what is trained, such as 0,1,2.")] = (
        "0"
    )
    cv: Annotated[
        str,
        typer.Option(
            help="5x3: read by 5 folds of groups, 3 times, instead of the splits; auto: where "
            "there are under 100 groups and nothing is trained; none: never."
        ),
    ] = "auto"
    metric: Annotated[str, typer.Option(help="Chooses the depth on validation, and is shown.")] = (
        "accuracy"
    )
    jobs: Annotated[
        int | None,
        typer.Option(
            help="Processes that train heads; one a core if not given.", min=1, max=MOST_PROCESSES
        ),
    ] = None

    def numbers(self) -> list[int]:
        """Give the seeds.

        Raises
        ------
        InputError
            If they are no whole numbers, or one is given twice.
        """
        from frostline.cache.errors import InputError

        words = [word.strip() for word in self.seeds.split(",")]
        whole = all(re.fullmatch("[0-9]{1,9}", word) for word in words)
        numbers = [int(word) for word in words] if whole else []
        if not whole or len(set(numbers)) < len(numbers):
            raise InputError(
                f"--seeds takes different whole numbers, such as 0,1,2, not {self.seeds!r}."
            )
        return numbers

    def trained(self) -> list[str]:
        """Give what is trained, each once."""
        words = (self.train or "").split(",")
        return list(dict.fromkeys(word.strip() for word in words if word.strip()))


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
    machine: MachineOptions,
    columns: ColumnOptions,
    feature: Annotated[
        str, typer.Option(help="How tokens are pooled at every depth: blocks or blocks:cls+mean.")
    ] = "blocks",
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Read backbones at every depth, train them from some, and say where to stop.

    Everything that was done before, by whichever command, is not done again.

    Example: frostline depth --dataset chest --backbone effnet-lite0 --train 1,3,all
    """
    from frostline.cache import InputError, Workspace
    from frostline.cache.keys import is_blocks
    from frostline.console import say_epoch, summary, text_width
    from frostline.depth.find import Question, find_depth
    from frostline.report.depth.chart import depth_chart
    from frostline.report.depth.sentences import depth_sentences

    if not is_blocks(feature):
        raise InputError(f"--feature is blocks or blocks:POOLING here, not {feature!r}.")
    place = Workspace(workspace)
    curves = find_depth(
        place,
        dataset,
        [network.network(name, feature) for name in backbone],
        Question(
            roads.trained(),
            roads.numbers(),
            None if roads.cv == "none" else roads.cv,
            roads.metric,
            changes=recipe.changes(),
            columns=columns.columns(),
            jobs=roads.jobs,
        ),
        machine=machine.machine(),
        on_epoch=say_epoch,
    )
    for sentence in depth_sentences(curves):
        typer.echo(sentence)
    typer.echo()
    typer.echo(depth_chart(curves, text_width()))
    folder = place.root / "reports" / f"depth-{dataset}"
    summary(f"The picture is {folder / 'depth.png'}; the numbers are next to it.")
