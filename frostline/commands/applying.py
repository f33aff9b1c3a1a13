"""Commands that apply or pass on a trained run: predict, export, track; and predictions import."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from frostline.cache.tables.words import counted
from frostline.commands.groups import OutputOptions, grouped
from frostline.commands.options import (
    DEFAULT_WORKSPACE,
    ColumnsOption,
    DatasetOption,
    DeviceOption,
    LabelOption,
    OnErrorOption,
    SplitOption,
    WorkspaceOption,
    with_verbosity,
)
from frostline.tracking.session import TrackerName

if TYPE_CHECKING:
    from frostline.apply.load import Weights
    from frostline.apply.new_images import Slices
    from frostline.apply.predict import Predicted

predictions_app = typer.Typer(
    help="Take in predictions of other tools.", no_args_is_help=True, rich_markup_mode=None
)

RunOption = Annotated[
    str,
    typer.Option(
        "--run",
        help="A run's name or its beginning, the path of its predictions, or a folder with its "
        "model.",
    ),
]


CalibratedOption = Annotated[
    bool,
    typer.Option(
        "--calibrated",
        help="Scale probabilities by the temperature that fits the run's validation images best.",
    ),
]


@dataclass(frozen=True)
class SliceOptions:
    """Which slices of volumes are predicted."""

    slices: Annotated[
        str | None,
        typer.Option(help="Axial slices of volumes: 40:60, middle:20 or every:3; all by default."),
    ] = None
    mask: Annotated[
        Path | None, typer.Option(help="Volume that marks the slices of the one volume given.")
    ] = None
    min_roi: Annotated[
        int | None,
        typer.Option(
            help="With --mask: slices with more marked pixels than this; 30 if not given.", min=0
        ),
    ] = None

    def chosen(self, images: list[Path]) -> Slices:
        """Give the slices that are asked for.

        Raises
        ------
        InputError
            If the text is no range, or the options do not go together.
        """
        from frostline.apply.new_images import MIN_ROI, Slices
        from frostline.cache import InputError

        if self.min_roi is not None and self.mask is None:
            raise InputError("--min-roi is for --mask: give both, or neither.")
        if self.mask is not None and (len(images) != 1 or images[0].is_dir()):
            raise InputError("--mask is for one volume: give one file, and run again for others.")
        if self.slices and self.slices.partition(":")[0] in ("all", "middle", "every"):
            return Slices(mask=self.mask, rule=self.slices)
        first, colon, stop = (self.slices or ":").partition(":")
        numbers = [part for part in (first, stop) if part]
        if not colon or not all(part.isdecimal() for part in numbers):
            raise InputError(
                "--slices is FIRST:STOP, such as 40:60, :60 or 40:, or all, middle:N or every:N, "
                f"not {self.slices!r}."
            )
        return Slices(
            int(first) if first else None,
            int(stop) if stop else None,
            self.mask,
            MIN_ROI if self.min_roi is None else self.min_roi,
        )


@dataclass(frozen=True)
class FileOptions:
    """Files of a probe's backbone, where its weights came from files."""

    weights: Annotated[
        str | None, typer.Option("--weights", help="File of a probe's backbone, if it had one.")
    ] = None
    head_weights: Annotated[
        str | None, typer.Option(help="File of a linear head for imagenet-logits.")
    ] = None

    def files(self) -> Weights:
        """Give where the backbone is to come from."""
        from frostline.apply.load import Weights

        return Weights(self.weights, self.head_weights)


@grouped
def predict(
    images: Annotated[list[Path], typer.Argument(help="Images, folders, NIfTI or DICOM files.")],
    run: RunOption,
    output: OutputOptions,
    slices: SliceOptions,
    files: FileOptions,
    aggregate: Annotated[
        Literal["none", "mean"],
        typer.Option(help="mean: one row a file, by its slices' mean probabilities."),
    ] = "none",
    calibrated: CalibratedOption = False,
    device: DeviceOption = "auto",
    on_error: OnErrorOption = "stop",
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Apply a fine-tuned model or a probe to new images; write predictions.

    The predictions are a .csv or .parquet file, predict-RUN.csv if --out does not say otherwise.

    Example: frostline predict --run chest-effnet-lite0-paper new_images/
    """
    from frostline import stages
    from frostline.apply.calibrated import run_temperature
    from frostline.apply.load import load_run
    from frostline.apply.predict import predict_images
    from frostline.cache import Workspace
    from frostline.console import progress
    from frostline.report import write_predictions

    chosen = slices.chosen(images)
    where, _ = stages.Machine(device).resolve()
    loaded = load_run(Workspace(workspace), run, device=where, weights=files.files())
    path = output.path(f"predict-{loaded.run}.csv", (".csv", ".parquet"))
    temperature = run_temperature(loaded, aggregate) if calibrated else None
    with progress("Predicting") as update:
        done = predict_images(
            loaded,
            images,
            slices=chosen,
            aggregate=aggregate,
            on_error=on_error,
            temperature=temperature,
            progress=update,
        )
    write_predictions(path, done.table, done.meta)
    _say_predicted(done)
    typer.echo(path)


def _say_predicted(done: Predicted) -> None:
    from frostline.console import say

    for sentence in done.skipped:
        say(f"Skipped: {sentence}")
    if done.ignored:
        say(f"{done.ignored} files in folders are no images and were left out.")
    classes = Counter(done.table["prediction"]).most_common()
    counts = ", ".join(f"{count} {name}" for name, count in classes)
    say(f"{len(done.table)} predictions: {counts}.")


@grouped
def export(
    run: RunOption,
    output: OutputOptions,
    files: FileOptions,
    to: Annotated[Literal["onnx"], typer.Option("--to", help="The format.")] = "onnx",
    calibrated: CalibratedOption = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Write a run as an ONNX file, and beside it what one needs to apply it without Frostline.

    The file is RUN.onnx if --out does not say otherwise. Beside it are predict.py, which needs
    ONNX Runtime, Pillow and NumPy alone, and a JSON file and a model card of its name.

    Example: frostline export --run chest-effnet-lite0-paper --to onnx
    """
    from frostline.apply.calibrated import run_temperature
    from frostline.apply.handover import SCRIPT
    from frostline.apply.load import load_run
    from frostline.apply.onnx import export_onnx
    from frostline.cache import Workspace
    from frostline.console import say

    loaded = load_run(Workspace(workspace), run, weights=files.files())
    path = output.path(f"{loaded.run}.{to}", (f".{to}",))
    temperature = run_temperature(loaded) if calibrated else None
    worst = export_onnx(loaded, path, temperature, overwrite=output.overwrite)
    say(f"Probabilities agree with PyTorch's to {worst:.1g}.")
    say(f"Without Frostline: python {path.with_name(SCRIPT)} {path} IMAGE …")
    typer.echo(path)


@predictions_app.command(name="import")
@with_verbosity
def import_(
    file: Annotated[Path, typer.Argument(help="CSV or Parquet, a row an image.")],
    dataset: DatasetOption,
    name: Annotated[str, typer.Option("--name", help="A name for what made them.")],
    columns: ColumnsOption = None,
    label: LabelOption = "label",
    split: SplitOption = "split",
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Import predictions that another tool made, for the images of a data set, and say the score.

    Labels, patients and splits are the data set's. It prints the path of the predictions, which go
    wherever those of a run go.

    Example: frostline predictions import x.csv -d skin --name cnn --columns 'image_id=image,prob=*'
    """
    from frostline.apply.imports import import_predictions
    from frostline.cache import Workspace
    from frostline.cache.tables.columns import parse_columns
    from frostline.commands.scores import say_score
    from frostline.console import say

    place = Workspace(workspace)
    done = import_predictions(
        place, dataset, name, file, columns=parse_columns(columns), label=label, split=split
    )
    say(str(done))
    typer.echo(place.predictions(done.run))
    say_score(place.predictions(done.run))


def track(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN", help="Paths of predictions, or runs by name or its beginning."
        ),
    ],
    to: Annotated[TrackerName, typer.Option("--to", help="The tracker: docs/trackers.md.")],
    files: Annotated[
        bool, typer.Option("--files", help="Hand over predictions, model and model card, too.")
    ] = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Hand finished runs to a tracker: settings, epochs and test scores of those that it has not.

    Example: frostline track frostline-workspace/predictions/*.parquet --to mlflow
    """
    from frostline.cache import Workspace
    from frostline.console import summary
    from frostline.tracking.session import Tracking, hand_over

    taken = hand_over(Workspace(workspace), runs, Tracking(to, files))
    for run in taken:
        typer.echo(run)
    before = len(set(runs)) - len(taken)
    more = f", {before} it had before" if before else ""
    summary(f"{counted(len(taken), 'run')} handed over to {to}{more}.")
