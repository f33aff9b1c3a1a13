"""The command that trains heads on cached embeddings."""

from __future__ import annotations

from typing import Annotated

import typer

from frostline.commands.options import (
    DEFAULT_WORKSPACE,
    BackboneOption,
    DatasetOption,
    LabelOption,
    OnErrorOption,
    ProtocolOption,
    SplitOption,
    WorkspaceOption,
    check_on_error,
)


def probe(
    dataset: DatasetOption,
    backbone: BackboneOption,
    head: Annotated[
        str | None,
        typer.Option(
            help="logistic, adam, knn, centroid or majority; the protocol's if not given."
        ),
    ] = None,
    protocol: ProtocolOption = "paper",
    key: Annotated[
        str | None, typer.Option(help="First digits of the embedding store's key.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
    epochs: Annotated[int | None, typer.Option(help="Epochs of head adam.", min=1)] = None,
    on_error: OnErrorOption = "stop",
    label: LabelOption = "label",
    split: SplitOption = "split",
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Train a head on cached embeddings; write predictions.

    Example: frostline probe --dataset chest --backbone effnet-lite0 --head logistic
    """
    from frostline.cache import Workspace
    from frostline.probe.run import probe_run
    from frostline.protocols import HEADS, check_protocol

    place = Workspace(workspace)
    run, _ = probe_run(
        place,
        dataset,
        backbone,
        head=head or HEADS[check_protocol(protocol)],
        protocol=protocol,
        seed=seed,
        key=key,
        label=label,
        split=split,
        hyperparameters={} if epochs is None else {"epochs": epochs},
        on_missing="skip" if check_on_error(on_error) == "skip" else "error",
    )
    typer.echo(place.predictions(run))
