"""Commands that show: evaluate, compare, report, demo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from frostline.cache.errors import printable
from frostline.commands.clinical import IDLE_IN_MODES, ClinicalOptions
from frostline.commands.groups import ClassesOption, ComparisonOptions, grouped
from frostline.commands.options import (
    DEFAULT_WORKSPACE,
    ColumnsOption,
    FormatOption,
    Idle,
    SettingOption,
    WorkspaceOption,
    refuse_idle,
)
from frostline.report.statistics.choices import Aggregate, Family, IntervalKind, Unit

if TYPE_CHECKING:
    from frostline.cache import Workspace
    from frostline.report import Predictions
    from frostline.study.file import Study

Over = Literal["seeds", "folds"]
PredictionsArgument = Annotated[
    list[Path], typer.Argument(help="Predictions files; anyone's CSV too.")
]
ComparedArgument = Annotated[
    list[Path] | None,
    typer.Argument(help="Predictions files; anyone's CSV too. With --plan --discordance none."),
]
SeedOption = Annotated[int, typer.Option(help="Seed of the random draws.", min=0)]
ImagesOption = Annotated[
    bool,
    typer.Option("--with-images", help="Show the images that were most confidently wrong."),
]


@dataclass(frozen=True)
class ScoringOptions:
    """What is scored: which rows, in which units, and what the order of their classes is."""

    split: Annotated[str, typer.Option(help="Which split is scored; or all.")] = "test"
    unit: Annotated[Unit, typer.Option(help="What is resampled.")] = "group"
    aggregate: Annotated[
        Aggregate, typer.Option(help="How images become one row a group; auto: mean for volumes.")
    ] = "auto"
    classes: ClassesOption = None
    positive: Annotated[
        str | None,
        typer.Option(
            help="Which of two classes is positive; of more, with --threshold, --net-benefit, "
            "--calibration or --by, the one against the others."
        ),
    ] = None
    columns: ColumnsOption = None

    def scoring(self) -> dict[str, Any]:
        """Give the arguments of `evaluate` and `compare`."""
        from frostline.cache.tables.class_order import class_names

        own = {name: value for name, value in vars(self).items() if name != "columns"}
        return {**own, "classes": class_names(self.classes)}

    def read(self, paths: Sequence[Path]) -> list[Predictions]:
        """Read the files of predictions, those of others by `--columns`."""
        from frostline.cache.tables.columns import parse_columns
        from frostline.cache.tables.words import counted
        from frostline.console import detail
        from frostline.report.predictions import check_mapped, read_predictions

        columns = parse_columns(self.columns)
        runs = [read_predictions(path, columns) for path in paths]
        for path, run in zip(paths, runs, strict=True):
            detail(f"Read {path}: {counted(len(run.table), 'row')}.")
        if columns is not None:
            check_mapped(runs)
        return runs


# What does not act: means over seeds and folds have an interval of their own, folds are scored
# whole, the jackknife draws nothing, and the paper's interval resamples images whatever they are.
DRAWS = ("replicates", "seed", "stratified")
IDLE_IN_EVALUATE: Idle = {
    ("over", "seeds"): ("ci", *DRAWS, "against"),
    ("over", "folds"): ("ci", *DRAWS, "against", "split"),
    ("ci", "jackknife-t"): DRAWS,
    ("ci", "replicate-mean"): ("unit",),
    **IDLE_IN_MODES,
}
# Ranks are of patients, over all data sets.
IDLE_IN_COMPARE: Idle = {
    ("ranks", True): ("family", "margin", "unit", "intersection", "plan", "figure"),
    ("discordance", bool): (
        *("ranks", "figure", "metric", "family", "split", "unit", "aggregate", "classes"),
        *("positive", "columns", "replicates", "seed", "intersection"),
    ),
}


@refuse_idle(IDLE_IN_EVALUATE)
@grouped
def evaluate(
    predictions: PredictionsArgument,
    ci: Annotated[IntervalKind, typer.Option(help="Kind of interval.")] = "auto",
    replicates: Annotated[
        int | None, typer.Option(help="Bootstrap replicates: 10,000; 5,000 for replicate-mean.")
    ] = None,
    seed: SeedOption = 0,
    metric: Annotated[
        list[str] | None,
        typer.Option(help="A metric by scikit-learn's name; again for more. f1_per_class too."),
    ] = None,
    *,
    scored: ScoringOptions,
    stratified: Annotated[
        bool, typer.Option("--stratified", help="Resample within classes; needs a bootstrap --ci.")
    ] = False,
    against: Annotated[
        Literal["paper"] | None,
        typer.Option(help="Put the published rows next to ours, untested."),
    ] = None,
    over: Annotated[
        Over | None,
        typer.Option(help="One row a method: its mean over seeds, or over folds of sweep --cv."),
    ] = None,
    clinical: ClinicalOptions,
    format: FormatOption = "table",
) -> None:
    """Score predictions with 95% intervals, next to the majority class.

    Example: frostline evaluate frostline-workspace/predictions/*.parquet --format csv
    """
    scoring = scored.scoring()
    mode = clinical.mode()
    runs = scored.read(predictions)
    if mode is not None:
        drawing: dict[str, Any] = {"replicates": replicates, "seed": seed, "metrics": metric}
        typer.echo(clinical.render(mode, runs, scoring, format, **drawing), nl=False)
        return
    if over is not None:
        typer.echo(_over(runs, over, format, scoring, metric or None), nl=False)
        return
    from frostline.report import render
    from frostline.report.statistics.evaluation import score, tabulate

    rows = score(runs, **scoring)
    options: dict[str, Any] = {"ci": ci, "replicates": replicates, "seed": seed}
    frame, _ = tabulate(rows, metrics=metric or None, stratified=stratified, **options)
    if against is None:
        text = render(frame, format)
    else:
        from frostline.report.paper.against import render_against

        text = render_against(frame, rows, against, format)
    typer.echo(text, nl=False)


def _over(
    predictions: list[Predictions],
    over: Over,
    format: str,
    scoring: dict[str, Any],
    metrics: list[str] | None,
) -> str:
    from frostline.report.statistics.seeds import over_folds, over_seeds
    from frostline.report.tables.methods import render_over

    if over == "seeds":
        return render_over(over_seeds(predictions, metrics=metrics, **scoring), over, format)
    # Every fold is scored, whatever its split.
    del scoring["split"]
    return render_over(over_folds(predictions, metrics=metrics, **scoring), over, format)


@refuse_idle(IDLE_IN_COMPARE)
@grouped
def compare(
    predictions: ComparedArgument = None,
    *,
    shown: ComparisonOptions,
    metric: Annotated[str, typer.Option(help="The one metric that decides.")] = "accuracy",
    family: Annotated[
        Family, typer.Option(help="Tested together: all pairs, or frozen against unfrozen.")
    ] = "pairs",
    margin: Annotated[
        float | None, typer.Option(help="Differences below this fraction do not matter: 0.02.")
    ] = None,
    scored: ScoringOptions,
    replicates: Annotated[
        int | None,
        typer.Option(
            help="Sign arrangements that are drawn: 10,000; replicates for --ranks: 2,000."
        ),
    ] = None,
    seed: SeedOption = 0,
    intersection: Annotated[
        bool, typer.Option("--intersection", help="Compare on the images that all runs have.")
    ] = False,
    format: FormatOption = "table",
) -> None:
    """Say which method is better, and whether that is more than luck.

    Runs that differ in their seed alone are one method.

    Example: frostline compare frozen.parquet finetuned.parquet --margin 0.02
    """
    plan = shown.assumed(predictions or [], margin, format)
    if plan is not None:
        typer.echo(plan, nl=False)
        return
    runs = scored.read(predictions or [])
    drawn: dict[str, Any] = {} if replicates is None else {"replicates": replicates}
    scoring = scored.scoring()
    if shown.ranks:
        from frostline.report import rank_methods
        from frostline.report.tables.methods import render_ranks

        del scoring["unit"]
        ranks = rank_methods(runs, metric=metric, seed=seed, **drawn, **scoring)
        typer.echo(render_ranks(ranks, metric, format), nl=False)
        return
    from frostline.console import progress
    from frostline.report.statistics.comparisons.compare import compare_predictions
    from frostline.report.statistics.comparisons.differences import Options

    shown.check()
    options = Options(metric, family, margin, seed=seed, **drawn)
    with progress("Comparing", "runs and pairs") as update:
        frame = compare_predictions(
            runs, options, scoring, intersection=intersection, progress=update
        )
    shown.draw(frame)
    typer.echo(shown.render(frame, margin, format), nl=False)


def report(
    study: Annotated[
        str | None,
        typer.Argument(
            help="A study: its file or name. Or a data set, a run, predictions or a folder: what "
            "there is of it. Without any: what there is to report on."
        ),
    ] = None,
    setting: SettingOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    with_images: ImagesOption = False,
) -> None:
    """Write tables, figures and page of a study again; of anything else, show what there is.

    Examples: frostline report study.yaml

    frostline report chest
    """
    from frostline.cache import InputError, Workspace
    from frostline.inventory import same_workspace, shown
    from frostline.study.results import print_report, report_study

    place = Workspace(workspace)
    chosen = None if study is None else _study(place, study, setting or [])
    if chosen is not None:
        print_report(report_study(place, chosen, with_images=with_images))
        return
    for option, is_given in (("--set", setting), ("--with-images", with_images)):
        if is_given:
            raise InputError(f"{option} is for a study: name one, or leave it out.")
    typer.echo("\n".join(map(printable, shown(place, study, same_workspace(workspace)))))


def _study(place: Workspace, name: str, settings: Sequence[str]) -> Study | None:
    """Read a study from a file or its report, or a built-in one; give None for other names."""
    from frostline.inventory import studies
    from frostline.study.file import builtin_studies, parse_study, read_study
    from frostline.study.results import read_state
    from frostline.study.settings import replace_fields

    path, tables = Path(name), (".parquet", ".csv", ".tsv")
    is_file = path.suffix in (".yaml", ".yml") or (path.is_file() and path.suffix not in tables)
    if is_file or name in builtin_studies():
        return read_study(name, settings=settings)
    if name not in studies(place):
        return None
    ran = read_state(place.report(name))["study"]
    return parse_study(replace_fields(ran, settings), f"The study {name} as it was run")


def demo(
    on: Annotated[
        str | None,
        typer.Option(
            help="A set of MedMNIST instead, such as pneumoniamnist, fetched by the package "
            "medmnist."
        ),
    ] = None,
    workspace: WorkspaceOption = Path("frostline-demo"),
) -> None:
    """Run the whole pipeline offline, in a minute or two, on made-up data.

    Example: frostline demo
    """
    from frostline.cache import Workspace
    from frostline.study.demo import run_demo

    run_demo(Workspace(workspace), on)
