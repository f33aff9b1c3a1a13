"""Commands that show: evaluate, compare, report, demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from frostline.commands.options import DEFAULT_WORKSPACE, SettingOption, WorkspaceOption

PredictionsArgument = Annotated[
    list[Path], typer.Argument(help="Predictions files; anyone's CSV too.")
]
SplitScored = Annotated[str, typer.Option("--split", help="Which split is scored; or all.")]
UnitOption = Annotated[str, typer.Option(help="What is resampled: group or image.")]
AggregateOption = Annotated[
    str,
    typer.Option(help="One row a group first: mean, vote or none; auto: mean for volumes."),
]
SeedOption = Annotated[int, typer.Option(help="Seed of the random draws.")]
ImagesOption = Annotated[
    bool,
    typer.Option("--with-images", help="Show the images that were most confidently wrong."),
]
FormatOption = Annotated[str, typer.Option("--format", help="table, csv, json, markdown or latex.")]


def evaluate(
    predictions: PredictionsArgument,
    split: SplitScored = "test",
    ci: Annotated[
        str,
        typer.Option(help="Interval: auto, percentile, bca, jackknife-t or replicate-mean."),
    ] = "auto",
    replicates: Annotated[
        int | None, typer.Option(help="Bootstrap replicates: 10,000; 5,000 for replicate-mean.")
    ] = None,
    unit: UnitOption = "group",
    seed: SeedOption = 0,
    metric: Annotated[
        list[str] | None,
        typer.Option(help="A metric by scikit-learn's name; again for more. f1_per_class too."),
    ] = None,
    aggregate: AggregateOption = "auto",
    stratified: Annotated[
        bool, typer.Option("--stratified", help="Resample within classes.")
    ] = False,
    against: Annotated[
        str | None, typer.Option(help="paper: put the published rows beside ours, untested.")
    ] = None,
    over: Annotated[
        str | None,
        typer.Option(help="One row a method: its mean over seeds, or over folds of probe --cv."),
    ] = None,
    format: FormatOption = "table",
) -> None:
    """Score predictions with 95% intervals, beside the majority class.

    Example: frostline evaluate frostline-workspace/predictions/*.parquet --format csv
    """
    if over is not None:
        options = {"metrics": metric or None, "unit": unit, "aggregate": aggregate}
        typer.echo(_over(predictions, over, split, format, options), nl=False)
        return
    from frostline.report import evaluate as score
    from frostline.report import render

    frame = score(
        predictions,
        split=split,
        ci=ci,
        replicates=replicates,
        unit=unit,
        seed=seed,
        metrics=metric or None,
        aggregate=aggregate,
        stratified=stratified,
    )
    if against is None:
        typer.echo(render(frame, format), nl=False)
    else:
        from frostline.report.paper.published import render_against
        from frostline.report.statistics.evaluation import score as scored

        rows = scored(predictions, split=split, unit=unit, aggregate=aggregate)
        typer.echo(render_against(frame, rows, against, format), nl=False)


def _over(
    predictions: list[Path], over: str, split: str, format: str, options: dict[str, Any]
) -> str:
    from frostline.cache import InputError
    from frostline.report.statistics.seeds import over_folds, over_seeds
    from frostline.report.tables.methods import render_over

    if over == "folds":
        return render_over(over_folds(predictions, **options), over, format)
    if over == "seeds":
        return render_over(over_seeds(predictions, split=split, **options), over, format)
    raise InputError(f"there is no --over {over!r}; choose from seeds, folds.")


def compare(
    predictions: PredictionsArgument,
    metric: Annotated[str, typer.Option(help="The one metric that decides.")] = "accuracy",
    family: Annotated[
        str, typer.Option(help="Tested together: pairs, or freezing (frozen against unfrozen).")
    ] = "pairs",
    margin: Annotated[
        float | None, typer.Option(help="Differences below this fraction do not matter: 0.02.")
    ] = None,
    split: SplitScored = "test",
    replicates: Annotated[int, typer.Option(help="Replicates and swaps that are drawn.")] = 10_000,
    unit: UnitOption = "group",
    aggregate: AggregateOption = "auto",
    seed: SeedOption = 0,
    intersection: Annotated[
        bool, typer.Option("--intersection", help="Compare on the images that all runs have.")
    ] = False,
    ranks: Annotated[
        bool, typer.Option("--ranks", help="Mean ranks of methods over data sets instead.")
    ] = False,
    format: FormatOption = "table",
) -> None:
    """Say which run is better, and whether that is more than luck.

    Example: frostline compare frozen.parquet finetuned.parquet --margin 0.02
    """
    if ranks:
        from frostline.report import rank_methods
        from frostline.report.tables.methods import render_ranks

        frame = rank_methods(
            predictions, metric=metric, split=split, unit=unit, aggregate=aggregate, seed=seed
        )
        typer.echo(render_ranks(frame, metric, format), nl=False)
        return
    from frostline.report import compare as compare_runs
    from frostline.report import render_comparison

    frame = compare_runs(
        predictions,
        metric=metric,
        family=family,
        margin=margin,
        split=split,
        unit=unit,
        aggregate=aggregate,
        replicates=replicates,
        seed=seed,
        intersection=intersection,
    )
    typer.echo(render_comparison(frame, format), nl=False)


def report(
    study: Annotated[str, typer.Argument(help="A study file, or the name of a built-in study.")],
    setting: SettingOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    with_images: ImagesOption = False,
) -> None:
    """Write tables, figures and page of a study again.

    Example: frostline report study.yaml
    """
    from frostline.cache import Workspace
    from frostline.study.file import read_study
    from frostline.study.results import print_report, report_study

    chosen = read_study(study, settings=setting or [])
    print_report(report_study(Workspace(workspace), chosen, with_images=with_images))


def demo(workspace: WorkspaceOption = Path("frostline-demo")) -> None:
    """Run the whole pipeline offline, in minutes, on made-up data.

    Example: frostline demo
    """
    from frostline.cache import Workspace
    from frostline.study.demo import run_demo

    run_demo(Workspace(workspace))
