"""Commands that apply a trained run: predict, export."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from frostline.commands.options import (
    DEFAULT_WORKSPACE,
    DeviceOption,
    OnErrorOption,
    WorkspaceOption,
    check_on_error,
)

if TYPE_CHECKING:
    from frostline.apply.new_images import Slices

RunOption = Annotated[
    str,
    typer.Option("--run", help="A run's name or its beginning, or a folder with its model."),
]
FileOption = Annotated[
    str | None, typer.Option("--weights", help="File of a probe's backbone, if it had one.")
]
HeadFileOption = Annotated[
    str | None, typer.Option(help="File of a linear head for imagenet-logits.")
]


def predict(
    images: Annotated[list[Path], typer.Argument(help="Images, folders, NIfTI or DICOM files.")],
    run: RunOption,
    out: Annotated[
        Path | None, typer.Option(help="A .csv or .parquet file; predict-RUN.csv if not given.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace that file if it is there.")
    ] = False,
    slices: Annotated[
        str | None, typer.Option(help="Axial slices of volumes, as 40:60; all if not given.")
    ] = None,
    mask: Annotated[
        Path | None, typer.Option(help="Volume that marks the slices of the one volume given.")
    ] = None,
    min_roi: Annotated[
        int, typer.Option(help="Slices with more marked pixels than this are taken.", min=0)
    ] = 30,
    aggregate: Annotated[
        str, typer.Option(help="none, or mean: one row a file, by its slices' mean probabilities.")
    ] = "none",
    weights: FileOption = None,
    head_weights: HeadFileOption = None,
    device: DeviceOption = "auto",
    on_error: OnErrorOption = "stop",
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Apply a fine-tuned model or a probe to new images; write predictions.

    Example: frostline predict --run chest-effnet-lite0-paper new_images/
    """
    from frostline import stages as steps
    from frostline.apply.load import Weights, load_run
    from frostline.apply.predict import counts_of, predict_images
    from frostline.cache import InputError, Workspace
    from frostline.console import progress, say
    from frostline.report import write_predictions

    check_on_error(on_error)
    wanted = _slices(images, slices, mask, min_roi)
    found, _ = steps.Machine(device).resolve()
    applied = load_run(
        Workspace(workspace), run, device=found, weights=Weights(weights, head_weights)
    )
    path = out or Path(f"predict-{applied.run}.csv")
    if path.exists() and not overwrite:
        raise InputError(f"{path} is there: give another --out, or --overwrite.")
    with progress("Predicting") as update:
        done = predict_images(
            applied, images, slices=wanted, aggregate=aggregate, on_error=on_error, progress=update
        )
    write_predictions(path, done.table, done.meta)
    for sentence in done.skipped:
        say(f"Skipped: {sentence}")
    if done.ignored:
        say(f"{done.ignored} files in folders are no images and were left out.")
    counts = ", ".join(f"{count} {name}" for name, count in counts_of(done.table).items())
    say(f"{len(done.table)} predictions: {counts}.")
    typer.echo(path)


def export(
    run: RunOption,
    to: Annotated[str, typer.Option("--to", help="The format: onnx.")] = "onnx",
    out: Annotated[Path | None, typer.Option(help="RUN.onnx if not given.")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace that file if it is there.")
    ] = False,
    weights: FileOption = None,
    head_weights: HeadFileOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Write a run as one ONNX file, from pixels to probabilities, and compare it with PyTorch.

    Example: frostline export --run chest-effnet-lite0-paper --to onnx
    """
    from frostline.apply.load import Weights, load_run
    from frostline.apply.onnx import export_onnx
    from frostline.cache import InputError, Workspace
    from frostline.console import say

    if to != "onnx":
        raise InputError(f"--to is onnx, not {to!r}.")
    applied = load_run(Workspace(workspace), run, weights=Weights(weights, head_weights))
    path = out or Path(f"{applied.run}.onnx")
    if path.exists() and not overwrite:
        raise InputError(f"{path} is there: give another --out, or --overwrite.")
    worst = export_onnx(applied, path)
    say(f"Probabilities agree with PyTorch's to {worst:.1g}.")
    typer.echo(path)


def _slices(images: list[Path], text: str | None, mask: Path | None, min_roi: int) -> Slices:
    from frostline.apply.new_images import Slices
    from frostline.cache import InputError

    if mask is not None and (len(images) != 1 or images[0].is_dir()):
        raise InputError("--mask is for one volume: give one file, and run again for others.")
    if text is None:
        return Slices(mask=mask, min_roi=min_roi)
    first, colon, stop = text.partition(":")
    numbers = [part for part in (first, stop) if part]
    if not colon or not all(part.isdecimal() for part in numbers):
        raise InputError(f"--slices is FIRST:STOP, such as 40:60, :60 or 40:, not {text!r}.")
    return Slices(int(first) if first else None, int(stop) if stop else None, mask, min_roi)
