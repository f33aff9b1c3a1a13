"""Options that several commands share, each defined once, and those that all have."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import update_wrapper
from inspect import Parameter, Signature, signature
from math import isfinite
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.models import ArgumentInfo

from frostline.cache.errors import InputError, printable
from frostline.cache.workspace import DEFAULT, VARIABLE
from frostline.console import NORMAL, QUIET, VERBOSE, commanding, detail, set_verbosity, verbosity
from frostline.extract.engine import Engine
from frostline.ranks import rank_and_ranks, refuse_ranks

Command = Callable[..., None]
# For a mode, which is an option with a value, or with values that a function says yes to, the
# parameters that do not act in it.
Idle = Mapping[tuple[str, object], Sequence[str]]
CONTEXT = "context_of_idle"
DEFAULT_WORKSPACE = Path(DEFAULT)


def complete_dataset(context: typer.Context, incomplete: str) -> list[str]:
    """Complete the name of a data set of the workspace."""
    from frostline.cache.workspace import Workspace

    given = context.params.get("workspace") or os.environ.get(VARIABLE) or DEFAULT_WORKSPACE
    return [name for name in Workspace(Path(given)).datasets() if name.startswith(incomplete)]


def complete_backbone(incomplete: str) -> list[str]:
    """Complete the short name of a backbone."""
    from frostline.extract.backbones.catalog import NAMED

    return [name for name in NAMED if name.startswith(incomplete)]


# More than any name, pattern or setting needs, and the largest number of any option; seeds of NumPy
# end there, too.
MOST_CHARACTERS, MOST = 1000, 2**32 - 1
# Memory ends far below these. The last is as in `frostline.extract.images.geometry`, which help
# must not import; a test compares them.
MOST_PROCESSES, MOST_IMAGES, MOST_PIXELS = 1024, 65_536, 4096

WorkspaceOption = Annotated[
    Path,
    typer.Option("--workspace", envvar=VARIABLE, help="Folder of manifests, caches and results."),
]
Format = Literal["table", "csv", "json", "markdown", "latex"]
FormatOption = Annotated[Format, typer.Option("--format", help="How results are written.")]
DatasetOption = Annotated[
    str,
    typer.Option("--dataset", "-d", help="Name given to `index`.", autocompletion=complete_dataset),
]
BackboneOption = Annotated[
    str,
    typer.Option(
        "--backbone",
        "-b",
        help="A name of `frostline backbones`, or timm:NAME.",
        autocompletion=complete_backbone,
    ),
]
EngineOption = Annotated[
    Engine,
    typer.Option(
        help="What embeds; on a CPU, auto is OpenVINO or ONNX Runtime where they are installed."
    ),
]
BatchOption = Annotated[
    int | None,
    typer.Option(help="Images a forward pass: 256 on a GPU, 32 on a CPU.", min=1, max=MOST_IMAGES),
]
KeepPixelsOption = Annotated[
    Literal["yes", "no"],
    typer.Option(help="Whether decoded images are kept for the next backbone."),
]
DryRunOption = Annotated[
    bool,
    typer.Option("--dry-run", help="Only show what is done, what is missing, and its cost."),
]
StudyJobsOption = Annotated[
    int,
    typer.Option(
        help="Processes that share the work; of several GPUs, each has one.",
        min=1,
        max=MOST_PROCESSES,
    ),
]
ProtocolOption = Annotated[Literal["paper", "standard"], typer.Option(help="Named recipe.")]
FeatureOption = Annotated[
    str | None, typer.Option(help="What is taken as the embedding, such as cls or cls+mean.")
]
WeightsOption = Annotated[
    str, typer.Option(help="pretrained, random, or a .pth or .safetensors file.")
]
ImageSizeOption = Annotated[
    int | None,
    typer.Option(help="Side of what the backbone sees, in pixels.", min=1, max=MOST_PIXELS),
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
PrecisionOption = Annotated[
    Literal["auto", "float32", "bfloat16", "float16"],
    typer.Option(help="Of computing; auto: of what is there, else float32 on a CPU."),
]
WorkersOption = Annotated[
    int, typer.Option(help="Threads that decode; 0: one a core.", min=0, max=MOST_PROCESSES)
]
OnErrorOption = Annotated[
    Literal["stop", "skip"],
    typer.Option(help="At an image that cannot be read: stop, or skip and list it."),
]
LabelOption = Annotated[str, typer.Option("--label", help="Column of the manifest with labels.")]
SplitOption = Annotated[str, typer.Option("--split", help="Column of the manifest with splits.")]
ColumnsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--columns",
        metavar="NEW=THEIRS",
        help="Columns of tables of others, prediction=predicted_lesion,prob=p_* (a star is the "
        "name of a class), or one each time.",
    ),
]
SettingOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="FIELD=VALUE",
        help="Replace a field of the study, such as seeds=[0,1] or protocols.*.epochs=5; repeated.",
    ),
]


def parse_settings(
    texts: Sequence[str] | None, given: Collection[str], what: str, form: str
) -> dict[str, str]:
    """Read what `--set NAME=VALUE` says, repeated.

    Parameters
    ----------
    texts : sequence of str, optional
    given : collection of str
        Names that other options gave.
    what, form : str
        What a name is of, and how a setting looks, for sentences.

    Raises
    ------
    InputError
        If a text has no name, `=` and value, or a name is given twice.
    """
    from frostline.cache import InputError

    found: dict[str, str] = {}
    for text in texts or ():
        name, _, value = text.partition("=")
        if not (name and value):
            raise InputError(f"--set is {form}, not {text!r}.")
        if name in given or name in found:
            raise InputError(f"The {what} {name!r} is given twice: give it once.")
        found[name] = value
    return found


def parse_shard(text: str | None) -> tuple[int, int] | None:
    """Read `i/n`, counted from 0; if it is not given, a rank of torchrun is a shard."""
    from frostline.cache import InputError

    rank, ranks = rank_and_ranks()
    if text is None:
        return (rank, ranks) if ranks > 1 else None
    if ranks > 1:
        raise InputError(
            "--shard is not for torchrun, whose processes are the shards: leave it out."
        )
    found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    if found is None or not int(found[1]) < int(found[2]):
        raise InputError(f"--shard is i/n with i from 0 to n - 1, such as 0/4, not {text!r}.")
    return int(found[1]), int(found[2])


def rank_device(device: str) -> str:
    """`auto` and `cuda` under torchrun: each process of a machine takes a GPU of its own."""
    local = os.environ.get("LOCAL_RANK")
    if device not in ("auto", "cuda") or local is None or not local.isdecimal():
        return device
    import torch

    count = torch.cuda.device_count()
    if not count:
        return "cpu" if device == "auto" else device
    return f"cuda:{int(local) % count}"


def is_first_rank() -> bool:
    """Whether this is the process of torchrun that speaks, or the only one."""
    return os.environ.get("RANK", "0") == "0"


def check_values(parameters: Sequence[Parameter], given: Mapping[str, Any]) -> None:
    """Check what holds for every value of every option.

    Raises
    ------
    InputError
        If a text is too long or holds what cannot be printed, or a number is too large or none.
    """
    for parameter in parameters:
        value = given.get(parameter.name)
        for one in value if isinstance(value, list | tuple) else [value]:
            rule = _broken_rule(one)
            if rule is not None:
                raise InputError(f"{_typed(parameter)} must {rule}, not {_shortened(one)}.")


def _broken_rule(value: object) -> str | None:
    if isinstance(value, str | Path):
        text = str(value)
        if len(text) > MOST_CHARACTERS:
            return f"have at most {MOST_CHARACTERS} characters"
        if printable(text) != text:
            return "be text without control characters that is UTF-8"
    if isinstance(value, float) and not isfinite(value):
        return "be a finite number"
    if isinstance(value, int) and abs(value) > MOST:
        return f"be from {-MOST} to {MOST}"
    return None


def _typed(parameter: Parameter) -> str:
    """Name a parameter the way it is typed: `--image-size`, NAME."""
    declared = getattr(parameter.annotation, "__metadata__", (None,))[0]
    if isinstance(declared, ArgumentInfo):
        return parameter.name.upper()
    names: Sequence[str] = getattr(declared, "param_decls", None) or ()
    return names[0] if names else f"--{parameter.name.replace('_', '-')}"


def _shortened(value: object) -> str:
    text = repr(str(value)) if isinstance(value, str | Path) else str(value)
    return text if len(text) <= 60 else f"{text[:60]}… ({len(text)} characters)"


def option(name: str, annotation: Any, default: Any = Parameter.empty) -> Parameter:
    """Make a parameter of a command."""
    return Parameter(name, Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


def parameters_of(command: Command) -> list[Parameter]:
    """List what a command takes, its annotations as they are and not as text."""
    own = signature(command, eval_str=True).parameters.values()
    return [option(one.name, one.annotation, one.default) for one in own]


def taking(run: Command, command: Command, parameters: Sequence[Parameter]) -> Command:
    """Let `run` stand for a command, with parameters of its own: typer reads the signature."""
    update_wrapper(run, command)
    run.__dict__["__signature__"] = Signature(parameters)
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run


def refuse_idle(idle: Idle) -> Callable[[Command], Command]:
    """Decorate a command so that it refuses options that do not act in the mode it is given.

    Parameters
    ----------
    idle : mapping
        By parameter and value, such as `("over", "seeds")`, the parameters that do not act then;
        instead of a value, a function that says whether it is meant.

    Raises
    ------
    InputError
        When the command is called, with both options: "`--ci` does not act with `--over seeds`:
        leave one out."
    """

    def decorate(command: Command) -> Command:
        def checked(**values: Any) -> None:
            _check(values.pop(CONTEXT), values, idle)
            command(**values)

        # typer gives the context by its type.
        return taking(checked, command, [option(CONTEXT, typer.Context), *parameters_of(command)])

    return decorate


def _check(context: typer.Context, values: Mapping[str, object], idle: Idle) -> None:
    from frostline.cache import InputError

    names = {one.name: one.opts[0] for one in context.command.params}
    for (mode, value), parameters in idle.items():
        if not (value(values[mode]) if callable(value) else values[mode] == value):
            continue
        for name in parameters:
            if _is_given(context, name):
                said = names[mode] if values[mode] is True else f"{names[mode]} {values[mode]}"
                raise InputError(
                    f"`{names[name]}` does not act with `{said}`: leave one of them out."
                )


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name in ("COMMANDLINE", "ENVIRONMENT")


QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print results and errors, nothing else.")
]
VerboseOption = Annotated[
    bool, typer.Option("--verbose", "-v", help="Print details and times, and where errors arise.")
]
VERBOSITY = {"quiet": QuietOption, "verbose": VerboseOption}


def speak(*, quiet: bool, verbose: bool) -> None:
    """Say as much as is asked for.

    Raises
    ------
    InputError
        If both are given.
    """
    if quiet and verbose:
        raise InputError("Give --quiet or --verbose, not both.")
    set_verbosity(QUIET if quiet else VERBOSE if verbose else NORMAL)


def with_verbosity(command: Command) -> Command:
    """Give a command the options `--quiet` and `--verbose`, behind its own.

    What no option of any command can be is refused here, once for all of them.
    """
    own = parameters_of(command)

    name = command.__name__.strip("_")

    def speaking(*, quiet: bool, verbose: bool, **given: Any) -> None:
        before = verbosity()  # as asked for in front of the command's name
        speak(quiet=quiet or before == QUIET, verbose=verbose or before == VERBOSE)
        refuse_ranks(name)
        check_values(own, given)
        start = time.perf_counter()
        with commanding(f"frostline {name}"):
            command(**given)
        detail(f"Finished after {time.perf_counter() - start:.1f} s.")

    more = [option(name, annotation, False) for name, annotation in VERBOSITY.items()]
    return taking(speaking, command, [*own, *more])
