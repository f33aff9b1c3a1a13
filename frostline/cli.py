"""The command line: all commands, and the sentences that they end with when they fail."""

from __future__ import annotations

import errno
import os
import re
import sys
import traceback
import warnings
from typing import Any, NoReturn

import typer

from frostline import __version__
from frostline.cache.errors import printable
from frostline.commands import (
    applying,
    cache,
    data,
    depth,
    doctor,
    probing,
    reporting,
    running,
    sweeping,
    training,
)
from frostline.commands.options import QuietOption, VerboseOption, speak, with_verbosity
from frostline.console import NORMAL, VERBOSE, set_verbosity, show_warning, verbosity, write_legibly
from frostline.usage import FIRST_CONTACT, usage_sentence

HELP = """Find out how deep a pretrained backbone should be frozen for your medical images.

First look: `frostline demo`. Your own images: `frostline index NAME --root DIR`, then
`frostline extract`, `probe`, `finetune` and `evaluate`, or all of it with
`frostline run STUDY.yaml`. FROSTLINE_WORKSPACE names the workspace for all commands.
"""

app = typer.Typer(
    help=HELP,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    reporting.demo,
    running.run,
    data.index,
    data.audit,
    training.extract,
    probing.probe,
    sweeping.sweep,
    training.finetune,
    depth.depth,
    reporting.evaluate,
    reporting.compare,
    reporting.report,
    applying.predict,
    applying.export,
    applying.track,
    data.backbones,
    doctor.doctor,
):
    app.command()(with_verbosity(command))
app.add_typer(applying.predictions_app, name="predictions")
app.add_typer(cache.cache_app, name="cache")

SYSTEM = {
    errno.ENOSPC: "The disk is full{where}: free some space and run the same command again; "
    "what is finished is kept.",
    errno.EDQUOT: "The disk quota is used up{where}: free some space and run the same command "
    "again; what is finished is kept.",
    errno.EFBIG: "A file would be larger than this process may write{where}: raise `ulimit -f` and "
    "run the same command again; what is finished is kept.",
    errno.EROFS: "Cannot write{where}: it is read-only; choose another --workspace.",
    errno.EACCES: "Permission denied{where}: change its permissions or choose another --workspace.",
}


INTERRUPTED = 130

# What a wrong option raises; typer shows this base class under no name of its own.
USAGE_ERROR: Any = typer.BadParameter.__mro__[2]


def _version(value: bool) -> None:
    if value:
        typer.echo(f"frostline {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    context: typer.Context,
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version."
    ),
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    speak(quiet=quiet, verbose=verbose)
    if context.invoked_subcommand is None:
        typer.echo(FIRST_CONTACT)


_main.__doc__ = HELP


def main() -> NoReturn:
    """Run the command line; a user's mistake ends in one sentence and a non-zero exit."""
    write_legibly()
    # Before Arrow is imported: its own pool took three to eight times as long for large tables.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    set_verbosity(NORMAL)
    warnings.showwarning = show_warning
    try:
        code = app(standalone_mode=False, prog_name="frostline") or 0
        if code == INTERRUPTED:  # typer has turned the interrupt into an exit code
            raise KeyboardInterrupt
        sys.exit(code)
    except (KeyboardInterrupt, typer.Abort):
        sentence = "Interrupted: run the same command again to go on from what is finished."
        _fail(sentence, INTERRUPTED)
    except USAGE_ERROR as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # a group: `frostline cache`
            typer.echo(error.ctx.get_help())
            sys.exit(0)
        _fail(usage_sentence(error, typer.main.get_command(app), sys.argv[1:]), error.exit_code)
    except BrokenPipeError:
        sys.exit(0)
    except OSError as error:
        _fail(printable(_system(error)), 1)
    except MemoryError:
        _fail("The memory is full: choose a smaller --batch, or fewer --jobs or --workers.", 1)
    except ValueError as error:
        from frostline.cache.errors import InputError

        if not isinstance(error, InputError):
            raise
        _fail(str(error), 2)


def _system(error: OSError) -> str:
    """Say what the operating system refused, and where."""
    where = f" ({error.filename})" if error.filename else ""
    if error.errno in SYSTEM:
        return SYSTEM[error.errno].format(where=where)
    reason = os.strerror(error.errno) if error.errno else str(error)
    return f"The system refused a file{where}: {reason}. Correct its path, and run it again."


def _fail(sentence: str, code: int) -> NoReturn:
    if verbosity() == VERBOSE and sys.exc_info()[0] is not None:
        traceback.print_exc()
    # A value is quoted to be found again, not to fill the screen.
    sentence = re.sub(r"\S{300,}", lambda long: f"{long[0][:60]}…{long[0][-2:]}", sentence)
    typer.echo(f"Error: {sentence}" if code != INTERRUPTED else sentence, err=True)
    sys.exit(code)
