"""The command that trains many heads on cached embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from frostline.cache.tables.words import counted
from frostline.commands.groups import TrackingOptions, grouped
from frostline.commands.options import MOST_PROCESSES
from frostline.commands.probing import SourceOptions, one_or_many, parse_values
from frostline.probe.choices import HeadName, Protocol, SelectionMetric

if TYPE_CHECKING:
    from frostline.cache import Workspace
    from frostline.probe.sweep.results import Results
    from frostline.probe.sweep.settings import Sweep


# The keys of a sweep and the options that give them: sentences name what was typed.
OPTIONS = {
    "name": "--name",
    "datasets": "--dataset",
    "backbones": "--backbone",
    "features": "--feature",
    "heads": "--head",
    "protocol": "--protocol",
    "seeds": "--seed",
    "metric": "--metric",
    "train_groups": "--train-groups",
    "draws": "--draws",
    "cv": "--cv",
    "test_dataset": "--test-dataset",
    "key": "--key",
    "label": "--label",
    "split": "--split",
    "on_missing": "--on-error",
    "level": "--level",
    "pool": "--pool",
    "views": "--views",
    "views_key": "--views-key",
}


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
            metavar="HEAD.NAME=VALUES",
            help="Values to try, such as logistic.C=0.01,1,100; repeated.",
        ),
    ] = None
    protocol: Annotated[
        Protocol | None,
        typer.Option(help="Named recipe that its predictions name; paper if not given."),
    ] = None
    seed: Annotated[
        list[int] | None, typer.Option(help="Random seed of heads that have one; repeated.", min=0)
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
        typer.Option(help="Sizes of the training part, such as 10,50,0.5,all: label efficiency."),
    ] = None
    draws: Annotated[
        int | None,
        typer.Option(
            help="Random draws of every size; 10 if not given. Small sizes need many.", min=1
        ),
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

    jobs: Annotated[
        int | None,
        typer.Option(help="Processes; one a core if not given.", min=1, max=MOST_PROCESSES),
    ] = None
    scheduler: Annotated[
        str | None, typer.Option(help="Address of a Dask scheduler instead: tcp://HOST:PORT.")
    ] = None
    figures: Annotated[Path | None, typer.Option(help="Folder for curves and heat maps.")] = None


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
    tracking: TrackingOptions,
) -> None:
    """Train many heads on cached embeddings; say which is best on validation, and its score.

    Examples: frostline sweep sweep.yaml

    frostline sweep -d chest -b effnet-lite0 --head logistic --head knn --train-groups 20,100,all
    """
    from frostline.cache import InputError, Workspace
    from frostline.commands.scores import say_heads
    from frostline.console import progress, say
    from frostline.probe.sweep.run import run_sweep

    if computing.jobs is not None and computing.scheduler is not None:
        raise InputError("--jobs is for this machine and --scheduler for a cluster: give one.")
    chosen = _read(file, _given(heads, training, source, defaults=file is None))
    place = Workspace(source.workspace)
    session = tracking.tracking().open(place)
    with session, progress(f"Sweep {chosen.name}", "heads") as update:
        results = run_sweep(
            place,
            chosen,
            jobs=computing.jobs,
            scheduler=computing.scheduler,
            progress=update,
            said=say,
        )
        session.hand_over(path.stem for path in results.predictions)
    say_heads(place, results.predictions)
    _print_best(place, results)
    if computing.figures is not None:
        from frostline.probe.sweep.figures import write_figures

        files = write_figures(results, chosen.metric, computing.figures)
        typer.echo(f"{counted(len(files), 'file')} of curves and heat maps in {computing.figures}.")
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
        "train_groups": None
        if training.train_groups is None
        else parse_values(training.train_groups),
        "draws": training.draws,
        "cv": training.cv,
        "test_dataset": training.test_dataset,
        "key": source.key,
        "label": source.label if source.label != "label" else None,
        "split": source.split if source.split != "split" else None,
        "on_missing": source.on_missing if source.on_missing != "error" else None,
        "level": source.level,
        "pool": source.pool,
        "views": source.views,
        "views_key": source.views_key,
    }
    return {name: value for name, value in keys.items() if value is not None}


def _read(path: Path | None, keys: Mapping[str, Any]) -> Sweep:
    from frostline.probe.sweep.settings import parse_sweep, read_sweep

    if path is not None:
        return read_sweep(path, keys, _typed(keys, {name: OPTIONS[name] for name in keys}))
    for name, option in (("datasets", "--dataset"), ("backbones", "--backbone")):
        if name not in keys:
            raise typer.BadParameter("give it, or a sweep file.", param_hint=option)
    return parse_sweep(keys, "The options", options=_typed(keys, OPTIONS))


def _typed(keys: Mapping[str, Any], options: Mapping[str, str]) -> dict[str, str]:
    """Options by the keys that they give, hyper-parameters of `--grid` among them."""
    grids = {
        f"heads.{head}.{name}": f"--grid {head}.{name}"
        for head, grid in keys.get("heads", {}).items()
        for name in grid
    }
    return {**options, **grids}


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
        grids.setdefault(name, {})[parameter] = one_or_many(values)
    if grids or not defaults:
        return grids or None
    return {PROTOCOL_HEADS[options.protocol or "paper"]: {}}


def _print_best(place: Workspace, results: Results) -> None:
    from frostline.console import show_table
    from frostline.probe.sweep.results import results_path
    from frostline.report.tables.data import frame_table

    title = "Best head of every backbone, chosen on validation"
    if results.table["cv"].notna().all():  # the line at the end averages folds instead
        title += "; test scores are of all folds' answers together, averaged over repeats"
    typer.echo(title)
    best = results.best.drop(columns="run")
    texts = best.map(lambda value: f"{value:.4f}" if isinstance(value, float) else value)
    show_table(replace(frame_table(texts, ""), columns=frame_table(best, "").columns))
    count = len(results.predictions)
    typer.echo(
        f"{counted(count, 'file', 'predictions')} in {place.root / 'predictions'}, "
        f"every score in {results_path(place, results.path.parent.name)}."
    )


def _say_scores(place: Workspace, results: Results) -> None:
    """Say the test score of the best head of every backbone: of its first seed, or of all folds."""
    from frostline.commands.scores import say_folds, say_score

    same = ["dataset", "backbone", "feature", "head"]
    for row in results.best.to_dict("records"):
        title = " · ".join(str(row[name]) for name in same)
        mine = results.table[(results.table[same] == [row[name] for name in same]).all(axis=1)]
        if mine["cv"].notna().all():  # of one size: its runs are the repeats
            say_folds([place.predictions(run) for run in mine["run"].unique()], title)
        else:
            say_score(place.predictions(str(row["run"])), title)
