"""Options in groups: a command takes a dataclass where the command line has its fields."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from inspect import Parameter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

import typer

from frostline.cache.tables.words import counted
from frostline.commands.options import (
    Command,
    DeviceOption,
    ImageSizeOption,
    LabelOption,
    OnErrorOption,
    PrecisionOption,
    ProtocolOption,
    SplitOption,
    WeightsOption,
    WorkersOption,
    option,
    parameters_of,
    parse_settings,
    rank_device,
    taking,
)
from frostline.tracking.session import TrackerName

if TYPE_CHECKING:
    from pandas import DataFrame

    from frostline.finetune.task import Execution
    from frostline.stages import Columns, Machine, Network
    from frostline.tracking.session import Session, Tracking


def grouped(command: Command) -> Command:
    """Make a command of a function some of whose parameters are dataclasses of options.

    Their fields, annotated as Typer's options, stand in the place of such a parameter.
    """
    parameters: list[Parameter] = []
    groups: dict[str, Any] = {}
    for parameter in parameters_of(command):
        if is_dataclass(parameter.annotation):
            groups[parameter.name] = parameter.annotation
            parameters += _options_of(parameter.annotation)
        else:
            parameters.append(parameter)

    def run(**given: Any) -> None:
        for name, kind in groups.items():
            given[name] = kind(**{field.name: given.pop(field.name) for field in fields(kind)})
        command(**given)

    return taking(run, command, parameters)


def _options_of(group: Any) -> Iterator[Parameter]:
    hints = get_type_hints(group, include_extras=True)
    for field in fields(group):
        default = Parameter.empty if field.default is MISSING else field.default
        yield option(field.name, hints[field.name], default)


@dataclass(frozen=True)
class NetworkOptions:
    """Which weights a backbone has, and what it sees."""

    protocol: ProtocolOption = "paper"
    weights: WeightsOption = "pretrained"
    weights_seed: Annotated[
        int | None, typer.Option(help="Seed of random weights; 0 if not given.", min=0)
    ] = None
    image_size: ImageSizeOption = None
    rehash: Annotated[
        bool,
        typer.Option(
            "--rehash", help="Read the file of weights again, whatever its size and time say."
        ),
    ] = False

    def network(
        self, backbone: str, feature: str | None = None, head_weights: str | None = None
    ) -> Network:
        """Give the network of the stages."""
        from frostline.stages import Network

        return Network(
            backbone,
            self.weights,
            self.weights_seed,
            feature,
            self.protocol,
            self.image_size,
            head_weights,
            rehash=self.rehash,
        )


@dataclass(frozen=True)
class MachineOptions:
    """Where and how to compute, and what to do with images that cannot be read."""

    device: DeviceOption = "auto"
    precision: PrecisionOption = "auto"
    workers: WorkersOption = 0
    on_error: OnErrorOption = "stop"

    def machine(self, **more: Any) -> Machine:
        """Give the machine of the stages; `more` are its further fields."""
        from frostline.stages import Machine

        return Machine(
            rank_device(self.device),
            self.precision,
            workers=self.workers,
            on_error=self.on_error,
            **more,
        )


@dataclass(frozen=True)
class ColumnOptions:
    """Which columns of the manifest hold the labels and the splits."""

    label: LabelOption = "label"
    split: SplitOption = "split"

    def columns(self) -> Columns:
        """Give the columns of the stages."""
        from frostline.stages import Columns

        return Columns(self.label, self.split)


ClassesOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAMES",
        help="All classes from the lowest to the highest, low,medium,high, or one each time; the "
        "last of two is positive.",
    ),
]


@dataclass(frozen=True)
class RecipeOptions:
    """Fields of the recipe of training."""

    epochs: Annotated[int | None, typer.Option(help="The protocol's if not given.", min=1)] = None
    batch_size: Annotated[
        str | None,
        typer.Option(
            "--batch-size",
            "--batch",
            help="Images a step; auto: the protocol's, in parts that fit into memory.",
        ),
    ] = None
    lr: Annotated[
        str | None,
        typer.Option(help="Learning rate; of several (1e-4,1e-3) validation chooses."),
    ] = None
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            help="Any field of the recipe, such as augmentation=horizontal_flip,random_crop, "
            "degrees=10, select=roc_auc or ema=0.999 (docs/finetuning.md); repeated.",
        ),
    ] = None

    def changes(self) -> dict[str, Any]:
        """Give what departs from the protocol's recipe, by the names of its fields.

        Raises
        ------
        InputError
            If a setting has no `=`, or a field is given twice.
        """
        size = "micro_batch" if self.batch_size == "auto" else "batch_size"
        given = {"epochs": self.epochs, "lr": self.lr, size: self.batch_size}
        found: dict[str, Any] = {name: v for name, v in given.items() if v is not None}
        return found | parse_settings(
            self.setting, found, "field", "FIELD=VALUE, such as ema=0.999"
        )


@dataclass(frozen=True)
class TrackingOptions:
    """Where runs are handed to, besides the workspace."""

    track: Annotated[
        TrackerName | None,
        typer.Option(
            help="Hand settings, epochs and scores to a tracker, too: docs/trackers.md.",
        ),
    ] = None
    track_files: Annotated[
        bool,
        typer.Option(
            "--track-files", help="With --track: predictions, model and model card as well."
        ),
    ] = False

    def tracking(self) -> Tracking:
        """Give what opens the tracker."""
        from frostline.tracking.session import Tracking

        return Tracking(self.track, self.track_files)

    def asked(self) -> dict[str, bool]:
        """Say which of the options are given."""
        return {"--track": self.track is not None, "--track-files": self.track_files}


@dataclass(frozen=True)
class ExecutionOptions(TrackingOptions):
    """How a training is carried out, which is no part of its recipe."""

    boundary: Annotated[
        Literal["auto", "on", "off"],
        typer.Option(
            help="Compute the output of frozen blocks once and keep it; auto: where reading it "
            "is faster and takes at most 20 GB and half of the free disk. The same numbers."
        ),
    ] = "auto"
    compiled: Annotated[bool, typer.Option("--compile", help="Train through torch.compile.")] = (
        False
    )

    def execution(self, session: Session) -> Execution:
        """Give the execution, which says its sentences on standard error."""
        from frostline.console import say
        from frostline.finetune.task import Execution

        return Execution(
            compiled=self.compiled,
            boundary=self.boundary,
            on_rows=session.on_rows,
            said=say,
        )

    def given(self) -> list[str]:
        """List the options that are not as they are by default."""
        given = {"--boundary": self.boundary != "auto", "--compile": self.compiled}
        return [name for name, is_given in given.items() if is_given]


@dataclass(frozen=True)
class OutputOptions:
    """The file that a command writes."""

    out: Annotated[
        Path | None, typer.Option(help="The file to write; named after the run if not given.")
    ] = None
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace that file if it is there.")
    ] = False

    def path(self, default: str, endings: tuple[str, ...]) -> Path:
        """Give the path to write to.

        Raises
        ------
        InputError
            If its name ends otherwise, or something is there that is to stay.
        """
        from frostline.cache.errors import InputError

        path = self.out or Path(default)
        if path.suffix not in endings:
            raise InputError(f"--out must end in {' or '.join(endings)}, not as in {str(path)!r}.")
        if path.exists() and not self.overwrite:
            raise InputError(f"{path} is there: give another --out, or --overwrite.")
        return path


def check_figure(path: Path | None) -> None:
    """Refuse a figure whose name ends in no format of figures.

    Raises
    ------
    InputError
        If it ends otherwise.
    """
    from frostline.cache.errors import InputError
    from frostline.report.figures import FILE_FORMATS

    endings = [f".{kind}" for kind in FILE_FORMATS]
    if path is not None and path.suffix not in endings:
        raise InputError(f"--figure must end in {' or '.join(endings)}, not as in {str(path)!r}.")


@dataclass(frozen=True)
class ComparisonOptions:
    """What is shown of a comparison."""

    ranks: Annotated[
        bool, typer.Option("--ranks", help="Mean ranks of methods over data sets instead.")
    ] = False
    plan: Annotated[
        bool,
        typer.Option(
            "--plan", help="How many test groups would decide each pair instead; see --margin."
        ),
    ] = False
    discordance: Annotated[
        float | None,
        typer.Option(
            help="With --plan and no predictions: the share of patients that one method alone gets "
            "right, assumed."
        ),
    ] = None
    groups: Annotated[
        int | None,
        typer.Option(help="With --discordance: test patients that there will be.", min=2),
    ] = None
    figure: Annotated[
        Path | None, typer.Option(help="Draw all pairs as a matrix: .pdf, .png or .svg.")
    ] = None

    def assumed(self, predictions: Sequence[Path], margin: float | None, format: str) -> str | None:
        """Write the plan from assumptions alone, if it is asked for.

        Raises
        ------
        InputError
            If there are neither predictions nor assumptions, or both.
        """
        from frostline.cache.errors import InputError

        if self.groups is not None and self.discordance is None:
            raise InputError("--groups is of a plan from assumptions: give --discordance too.")
        if self.discordance is None:
            if not predictions:
                raise InputError(
                    "There is nothing to compare: give the predictions of two runs or more."
                )
            return None
        if predictions or not self.plan:
            raise InputError(
                "--discordance plans from assumptions alone: give --plan, and no predictions."
            )
        from frostline.report.statistics.comparisons.planning import DECLARED, plan_assumed
        from frostline.report.tables.plans import render_assumed

        possible = [one for one in DECLARED if one < self.discordance]
        wanted = possible if margin is None else [margin]
        return render_assumed(plan_assumed(self.discordance, self.groups, wanted), format)

    def check(self) -> None:
        """Refuse a figure of another kind."""
        check_figure(self.figure)

    def draw(self, frame: DataFrame) -> None:
        """Draw what `compare` returned, if a figure is asked for.

        Raises
        ------
        InputError
            If it is of several data sets.
        """
        if self.figure is None:
            return
        from frostline.cache.errors import InputError
        from frostline.console import say
        from frostline.report.figures import pair_figure, save_figure

        datasets = list(frame["dataset"].unique())
        if len(datasets) > 1:
            raise InputError(
                f"--figure shows one data set, and these runs are of {', '.join(datasets)}: give "
                "the runs of one."
            )
        save_figure(pair_figure(frame), self.figure)
        say(f"Drew {counted(len(frame), 'pair')} in {self.figure}.")

    def render(self, frame: DataFrame, margin: float | None, format: str) -> str:
        """Write what `compare` returned, or the plan of it."""
        if not self.plan:
            from frostline.report import render_comparison

            return render_comparison(frame, format)
        from frostline.report.statistics.comparisons.planning import DECLARED, plan_groups
        from frostline.report.tables.plans import render_plan

        wanted = DECLARED if margin is None else (margin,)
        return render_plan(plan_groups(frame, wanted), format)
