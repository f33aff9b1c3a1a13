"""The command that trains heads on cached embeddings: one, or a sweep of many."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from frostline.commands.options import (
    DEFAULT_WORKSPACE,
    LabelOption,
    OnErrorOption,
    ProtocolOption,
    SplitOption,
    WorkspaceOption,
    check_on_error,
)

if TYPE_CHECKING:
    from frostline.cache import Workspace
    from frostline.probe.sweep.settings import Sweep


def probe(
    dataset: Annotated[
        list[str] | None, typer.Option("--dataset", "-d", help="Name given to `index`; repeated.")
    ] = None,
    backbone: Annotated[
        list[str] | None,
        typer.Option("--backbone", "-b", help="A name of `frostline backbones`; repeated."),
    ] = None,
    head: Annotated[
        list[str] | None,
        typer.Option(
            help="logistic, adam, knn, centroid or majority; repeated. The protocol's if not given."
        ),
    ] = None,
    protocol: ProtocolOption = "paper",
    key: Annotated[
        str | None, typer.Option(help="First digits of the embedding store's key.")
    ] = None,
    seed: Annotated[list[int] | None, typer.Option(help="Random seed; repeated.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs of head adam.", min=1)] = None,
    sweep: Annotated[
        Path | None, typer.Option(help="YAML file of a sweep; options here go before it.")
    ] = None,
    feature: Annotated[
        list[str] | None, typer.Option(help="Embeddings by feature; repeated. A sweep.")
    ] = None,
    grid: Annotated[
        list[str] | None,
        typer.Option(help="Values to try, as logistic.C=0.01,1,100; repeated. A sweep."),
    ] = None,
    train_groups: Annotated[
        str | None,
        typer.Option(help="Sizes of the training part, as 10,50,0.5,all: label efficiency."),
    ] = None,
    draws: Annotated[int | None, typer.Option(help="Random draws of every size.", min=1)] = None,
    cv: Annotated[
        str | None, typer.Option(help="5x3: 5 folds of groups, 3 times, instead of the splits.")
    ] = None,
    test_dataset: Annotated[
        str | None, typer.Option(help="Score selected heads on this data set, too. A sweep.")
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="What validation selects by. A sweep; log_loss if not given.")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(help="Processes of a sweep; one a core if not given.", min=1)
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="Address of a Dask scheduler for a sweep: tcp://HOST:PORT.")
    ] = None,
    figures: Annotated[
        Path | None, typer.Option(help="Folder for a sweep's curves and heat maps.")
    ] = None,
    on_error: OnErrorOption = "stop",
    label: LabelOption = "label",
    split: SplitOption = "split",
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Train a head on cached embeddings, or a sweep of heads; write predictions.

    Examples: frostline probe --dataset chest --backbone effnet-lite0 --head logistic

    frostline probe -d chest -b effnet-lite0 --head logistic --head knn --train-groups 20,100,all
    """
    from frostline.cache import Workspace
    from frostline.probe.run import probe_run
    from frostline.protocols import HEADS, check_protocol

    place = Workspace(workspace)
    names = {"datasets": dataset, "backbones": backbone, "heads": head, "seeds": seed}
    many = {
        "features": feature,
        "train_groups": None if train_groups is None else _values(train_groups),
        "draws": draws,
        "cv": cv,
        "test_dataset": test_dataset,
        "metric": metric,
    }
    missing = "skip" if check_on_error(on_error) == "skip" else "error"
    chosen = head or [HEADS[check_protocol(protocol)]]
    if (
        sweep is not None
        or grid
        or any(value is not None for value in many.values())
        or any(len(value or []) > 1 for value in names.values())
        or jobs
        or scheduler
        or figures
    ):
        # A sweep file has its own heads, unless the options name some.
        heads = None if sweep is not None and not head and not grid else chosen
        given = {**names, **many, "heads": _with_grid(heads, grid or [], epochs), "key": key}
        flags = {name: value for name, value in given.items() if value is not None}
        changed = {"label": label, "split": split, "on_missing": missing}
        defaults = {"label": "label", "split": "split", "on_missing": "error"}
        flags.update({name: v for name, v in changed.items() if v != defaults[name]})
        _sweep(place, _read(sweep, flags), jobs, scheduler, figures)
        return
    _need(dataset, "--dataset")
    _need(backbone, "--backbone")
    assert dataset is not None
    assert backbone is not None
    run, _ = probe_run(
        place,
        dataset[0],
        backbone[0],
        head=chosen[0],
        protocol=protocol,
        seed=seed[0] if seed else 0,
        key=key,
        label=label,
        split=split,
        hyperparameters={} if epochs is None else {"epochs": epochs},
        on_missing="skip" if missing == "skip" else "error",
    )
    typer.echo(place.predictions(run))


def _need(values: list[str] | None, option: str) -> None:
    if not values:
        raise typer.BadParameter("give it, or a sweep file by --sweep.", param_hint=option)


def _read(path: Path | None, flags: dict[str, Any]) -> Sweep:
    from frostline.probe.sweep.settings import parse_sweep, read_sweep

    if path is not None:
        return read_sweep(path, flags)
    _need(flags.get("datasets"), "--dataset")
    _need(flags.get("backbones"), "--backbone")
    return parse_sweep(flags, "The options")


def _with_grid(
    heads: list[str] | None, grid: list[str], epochs: int | None
) -> dict[str, dict[str, Any]] | None:
    """Heads by name, with what `--grid head.name=v,v` and `--epochs` say."""
    from frostline.cache import InputError

    if heads is None:
        return None
    grids: dict[str, dict[str, Any]] = {name: {} for name in heads}
    for text in grid:
        place, equals, values = text.partition("=")
        name, dot, parameter = place.partition(".")
        if not (equals and dot and values):
            raise InputError(
                f"--grid is HEAD.NAME=VALUE,VALUE, such as knn.n_neighbors=1,5, not {text!r}."
            )
        found = _values(values)
        grids.setdefault(name, {})[parameter] = found if len(found) > 1 else found[0]
    if epochs is not None and "adam" in grids:
        grids["adam"]["epochs"] = epochs
    return grids


def _values(text: str) -> list[Any]:
    """Comma-separated numbers and words; `none` is no value."""
    found: list[Any] = []
    for word in text.split(","):
        word = word.strip()
        try:
            found.append(int(word))
        except ValueError:
            try:
                found.append(float(word))
            except ValueError:
                found.append(None if word.lower() == "none" else word)
    return found


def _sweep(
    place: Workspace, sweep: Sweep, jobs: int | None, scheduler: str | None, figures: Path | None
) -> None:
    from frostline.console import out, progress, say
    from frostline.probe.sweep.sweep import run_sweep

    with progress(f"Sweep {sweep.name}", "heads") as update:
        results = run_sweep(place, sweep, jobs=jobs, scheduler=scheduler, progress=update, said=say)
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    best = results.best
    table = Table(title="Best head of every backbone, chosen on validation", box=SIMPLE)
    for name in best.columns:
        table.add_column(str(name).replace("_", " "))
    for row in best.itertuples(index=False):
        table.add_row(*(f"{v:.4f}" if isinstance(v, float) else str(v) for v in row))
    # A pipe has no width: nothing is cut off there.
    (out if out.is_terminal else Console(width=160)).print(table)
    typer.echo(
        f"{len(results.predictions)} predictions files in {place.root / 'predictions'}, every "
        f"score in {results.path}."
    )
    if figures is not None:
        from frostline.probe.sweep.figures import write_figures

        files = write_figures(results, sweep.metric, figures)
        typer.echo(f"{len(files)} files of curves and heat maps in {figures}.")
