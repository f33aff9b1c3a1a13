"""Commands that train heads on cached embeddings: one head, or a sweep of many."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from frostline.commands.groups import grouped
from frostline.commands.options import (
    DEFAULT_WORKSPACE,
    BackboneOption,
    DatasetOption,
    FeatureOption,
    LabelOption,
    SplitOption,
    WorkspaceOption,
)
from frostline.probe.choices import HeadName, OnMissing, Protocol, SelectionMetric

if TYPE_CHECKING:
    from frostline.cache import Workspace
    from frostline.probe.sweep.results import Results
    from frostline.probe.sweep.settings import Sweep

KeyOption = Annotated[
    str | None,
    typer.Option(help="First digits of the embedding store's key, where there are several."),
]
MissingOption = Annotated[
    Literal["stop", "skip"],
    typer.Option(help="At an image that has no embedding: stop, or skip it."),
]


@dataclass(frozen=True)
class SourceOptions:
    """Which embeddings, labels and splits, and where."""

    key: KeyOption = None
    on_error: MissingOption = "stop"
    label: LabelOption = "label"
    split: SplitOption = "split"
    workspace: WorkspaceOption = DEFAULT_WORKSPACE

    @property
    def on_missing(self) -> OnMissing:
        """What to do about images that the store lacks."""
        return "skip" if self.on_error == "skip" else "error"


@dataclass(frozen=True)
class HeadOptions:
    """What a sweep tries: each of it may be given several times."""

    name: Annotated[
        str | None,
        typer.Option(help="Name of the results; made from what is swept if not given."),
    ] = None
    dataset: Annotated[
        list[str] | None, typer.Option("--dataset", "-d", help="Name given to `index`; repeated.")
    ] = None
    backbone: Annotated[
        list[str] | None,
        typer.Option("--backbone", "-b", help="A name of `frostline backbones`; repeated."),
    ] = None
    feature: Annotated[
        list[str] | None, typer.Option(help="Embeddings by feature, such as cls; repeated.")
    ] = None
    head: Annotated[
        list[HeadName] | None, typer.Option(help="Repeated. The protocol's if not given.")
    ] = None
    grid: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HEAD.NAME=VALUES", help="Values to try, as logistic.C=0.01,1,100; repeated."
        ),
    ] = None
    protocol: Annotated[
        Protocol | None,
        typer.Option(help="Named recipe, as predictions say it; paper if not given."),
    ] = None
    seed: Annotated[
        list[int] | None, typer.Option(help="Random seed of heads that have one; repeated.")
    ] = None
    metric: Annotated[
        SelectionMetric | None,
        typer.Option(help="What validation selects by; log_loss if not given."),
    ] = None


@dataclass(frozen=True)
class TrainingOptions:
    """What a sweep trains and tests on."""

    train_groups: Annotated[
        str | None,
        typer.Option(help="Sizes of the training part, as 10,50,0.5,all: label efficiency."),
    ] = None
    draws: Annotated[
        int | None, typer.Option(help="Random draws of every size; 10 if not given.", min=1)
    ] = None
    cv: Annotated[
        str | None, typer.Option(help="5x3: 5 folds of groups, 3 times, instead of the splits.")
    ] = None
    test_dataset: Annotated[
        str | None, typer.Option(help="Score selected heads on this data set, too.")
    ] = None


@dataclass(frozen=True)
class ComputingOptions:
    """Where a sweep is computed, and what is drawn of it."""

    jobs: Annotated[int | None, typer.Option(help="Processes; one a core if not given.", min=1)] = (
        None
    )
    scheduler: Annotated[
        str | None, typer.Option(help="Address of a Dask scheduler instead: tcp://HOST:PORT.")
    ] = None
    figures: Annotated[Path | None, typer.Option(help="Folder for curves and heat maps.")] = None


@grouped
def probe(
    dataset: DatasetOption,
    backbone: BackboneOption,
    head: Annotated[HeadName | None, typer.Option(help="The protocol's if not given.")] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUES",
            help="A hyper-parameter of the head, as C=0.01,1,100; repeated. Of several values "
            "validation chooses.",
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs of head adam.", min=1)] = None,
    seed: Annotated[int | None, typer.Option(help="Random seed of head adam.")] = None,
    feature: FeatureOption = None,
    protocol: Annotated[Protocol, typer.Option(help="Named recipe, as predictions say.")] = "paper",
    *,
    source: SourceOptions,
) -> None:
    """Train one head on cached embeddings, write predictions, and say the score.

    Many heads are a sweep: frostline sweep.

    Example: frostline probe --dataset chest --backbone effnet-lite0 --head logistic
    """
    from frostline.cache import InputError, Workspace
    from frostline.commands.scores import say_score
    from frostline.probe.heads.registry import find_head
    from frostline.probe.run import Source, probe_head
    from frostline.protocols import PROTOCOL_HEADS

    chosen = head.value if head else PROTOCOL_HEADS[protocol]
    if seed is not None and not find_head(chosen).seeded:
        raise InputError(f"Head {chosen!r} does not depend on a seed: leave --seed out.")
    place = Workspace(source.workspace)
    run, _ = probe_head(
        place,
        dataset,
        backbone,
        head=chosen,
        hyperparameters=_hyperparameters(setting or [], epochs),
        seed=seed or 0,
        protocol=protocol,
        source=Source(feature, source.key, source.label, source.split, source.on_missing),
    )
    typer.echo(place.predictions(run))
    say_score(place.predictions(run))


@grouped
def sweep(
    file: Annotated[
        Path | None, typer.Argument(help="YAML file of a sweep; options replace its keys.")
    ] = None,
    *,
    heads: HeadOptions,
    training: TrainingOptions,
    computing: ComputingOptions,
    source: SourceOptions,
) -> None:
    """Train many heads on cached embeddings; say which is best on validation, and its score.

    Examples: frostline sweep sweep.yaml

    frostline sweep -d chest -b effnet-lite0 --head logistic --head knn --train-groups 20,100,all
    """
    from frostline.cache import InputError, Workspace
    from frostline.console import progress, say
    from frostline.probe.sweep.run import run_sweep

    if computing.jobs is not None and computing.scheduler is not None:
        raise InputError("--jobs is for this machine and --scheduler for a cluster: give one.")
    chosen = _read(file, _given(heads, training, source, defaults=file is None))
    place = Workspace(source.workspace)
    with progress(f"Sweep {chosen.name}", "heads") as update:
        results = run_sweep(
            place,
            chosen,
            jobs=computing.jobs,
            scheduler=computing.scheduler,
            progress=update,
            said=say,
        )
    _print_best(place, results)
    if computing.figures is not None:
        from frostline.probe.sweep.figures import write_figures

        files = write_figures(results, chosen.metric, computing.figures)
        typer.echo(f"{len(files)} files of curves and heat maps in {computing.figures}.")
    _say_scores(place, results)


def _given(
    heads: HeadOptions, training: TrainingOptions, source: SourceOptions, *, defaults: bool
) -> dict[str, Any]:
    """The keys of a sweep that options give; with `defaults`, its heads in any case."""
    keys = {
        "name": heads.name,
        "datasets": heads.dataset,
        "backbones": heads.backbone,
        "features": heads.feature,
        "heads": _grids(heads, defaults=defaults),
        "protocol": heads.protocol,
        "seeds": heads.seed,
        "metric": heads.metric,
        "train_groups": None if training.train_groups is None else _values(training.train_groups),
        "draws": training.draws,
        "cv": training.cv,
        "test_dataset": training.test_dataset,
        "key": source.key,
        "label": source.label if source.label != "label" else None,
        "split": source.split if source.split != "split" else None,
        "on_missing": source.on_missing if source.on_missing != "error" else None,
    }
    return {name: value for name, value in keys.items() if value is not None}


def _read(path: Path | None, keys: Mapping[str, Any]) -> Sweep:
    from frostline.probe.sweep.settings import parse_sweep, read_sweep

    if path is not None:
        return read_sweep(path, keys)
    for name, option in (("datasets", "--dataset"), ("backbones", "--backbone")):
        if name not in keys:
            raise typer.BadParameter("give it, or a sweep file.", param_hint=option)
    return parse_sweep(keys, "The options")


def _grids(options: HeadOptions, *, defaults: bool) -> dict[str, dict[str, Any]] | None:
    """Heads with what `--grid HEAD.NAME=VALUES` says; those that grids name, if none are named."""
    from frostline.cache import InputError
    from frostline.protocols import PROTOCOL_HEADS

    grids: dict[str, dict[str, Any]] = {head.value: {} for head in options.head or []}
    for text in options.grid or []:
        place, equals, values = text.partition("=")
        name, dot, parameter = place.partition(".")
        if not (equals and dot and values):
            raise InputError(
                f"--grid is HEAD.NAME=VALUE,VALUE, such as knn.n_neighbors=1,5, not {text!r}."
            )
        if options.head and name not in grids:
            raise InputError(f"--grid {text} is for head {name!r}: add --head {name}.")
        grids.setdefault(name, {})[parameter] = _one_or_many(values)
    if grids or not defaults:
        return grids or None
    return {PROTOCOL_HEADS[options.protocol or "paper"]: {}}


def _hyperparameters(settings: list[str], epochs: int | None) -> dict[str, Any]:
    """What `--set NAME=VALUES` and `--epochs` say."""
    from frostline.cache import InputError

    found: dict[str, Any] = {} if epochs is None else {"epochs": epochs}
    for text in settings:
        name, equals, values = text.partition("=")
        if not (equals and values):
            raise InputError(f"--set is NAME=VALUE,VALUE, such as C=0.01,1, not {text!r}.")
        if name in found:
            raise InputError(f"The hyper-parameter {name!r} is given twice: give it once.")
        found[name] = _one_or_many(values)
    return found


def _one_or_many(text: str) -> Any:
    found = _values(text)
    return found if len(found) > 1 else found[0]


def _values(text: str) -> list[Any]:
    """Comma-separated numbers and words; `none` is no value."""
    found: list[Any] = []
    for word in map(str.strip, text.split(",")):
        for kind in (int, float):
            try:
                found.append(kind(word))
                break
            except ValueError:
                continue
        else:
            found.append(None if word.lower() == "none" else word)
    return found


def _print_best(place: Workspace, results: Results) -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    from frostline.console import out

    best = results.best.drop(columns="run")
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


def _say_scores(place: Workspace, results: Results) -> None:
    """Say the test score of the best head of every backbone, of its first seed."""
    from frostline.commands.scores import say_score

    for row in results.best.to_dict("records"):
        title = " · ".join(str(row[name]) for name in ("dataset", "backbone", "feature", "head"))
        say_score(place.predictions(str(row["run"])), title)
