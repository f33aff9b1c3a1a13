"""The terminal: sentences, progress bars, tables and warnings, quieter or louder if asked."""

from __future__ import annotations

import codecs
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from io import TextIOWrapper
from typing import TYPE_CHECKING, Any, TextIO

from frostline.cache.errors import printable

if TYPE_CHECKING:
    from rich.console import Console

    from frostline.finetune.training.epochs import Epoch
    from frostline.report.tables.table import Table

    out: Console
    err: Console

Progress = Callable[[int, int], None]

QUIET, NORMAL, VERBOSE = -1, 0, 1
_level = NORMAL
PIPE_WIDTH = 160  # names are copied from tables: none is broken there
# What an encoding may lack of what is written here; other letters are those of names.
IN_ASCII = dict(zip("−–─├┤│●◆■□◈·◀’", "---|||o+#=x.<'", strict=True)) | {
    "…": "...",
    "×": "x",
    "→": "->",
    "±": "+-",
    "≥": ">=",
    "≤": "<=",
}
LINES = "\n\t"  # what a text of several lines may hold


def __getattr__(name: str) -> Any:
    """Give the consoles `out` and `err`, made on first use: a command starts without rich."""
    if name in ("out", "err"):
        return _console(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@cache
def _console(name: str) -> Console:
    from rich.console import Console

    return Console(stderr=name == "err", highlight=False, soft_wrap=True)


def verbosity() -> int:
    """Return `QUIET`, `NORMAL` or `VERBOSE`."""
    return _level


def set_verbosity(level: int) -> None:
    """Show nothing but results and errors (`QUIET`), or details too (`VERBOSE`)."""
    global _level
    _level = level


def write_legibly() -> None:
    """Write to standard output and error what their encoding has not in ASCII, never fail at it."""
    codecs.register_error("legible", _in_ascii)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="legible")


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    return "".join(IN_ASCII.get(letter, "?") for letter in letters), error.end


def say(sentence: str) -> None:
    """Print a sentence to standard error, so that standard output stays data."""
    if _level > QUIET:
        _console("err").print(printable(sentence, LINES), markup=False)


def detail(sentence: str) -> None:
    """Print a sentence to standard error for those who asked for details."""
    if _level >= VERBOSE:
        say(sentence)


def text_width(widest: int = 100) -> int:
    """Give how many characters a line of output may have: the terminal's, or 80 in a pipe."""
    out = _console("out")
    return min(out.width, widest) if out.is_terminal else 80


def show_table(table: Table) -> None:
    """Print a table to standard output: as wide as the terminal, or wide enough for a pipe."""
    from frostline.report.tables.writers.terminal import to_terminal

    out = _console("out")
    print(to_terminal(table, out.width if out.is_terminal else PIPE_WIDTH), end="")


def summary(sentence: str) -> None:
    """Print what a command did to standard output, unless it should be quiet."""
    if _level > QUIET:
        print(printable(sentence, LINES))


@contextmanager
def progress(what: str, unit: str = "images") -> Iterator[Progress]:
    """Show a bar with rate and time left on a terminal; nothing in a pipe or if quiet."""
    if _level == QUIET or not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    rate = TextColumn("{task.fields[rate]}")
    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn())
    with Bar(*columns, console=_console("err"), transient=True) as bar:
        task = bar.add_task(what, total=None, rate="")

        def update(done: int, total: int) -> None:
            speed = bar.tasks[task].finished_speed or bar.tasks[task].speed
            text = f"{speed:.3g} {unit}/s" if speed else ""
            bar.update(task, completed=done, total=total, rate=text)

        yield update


def say_epoch(epoch: Epoch) -> None:
    """Print a line of the table of epochs to standard error."""
    best = "  best" if epoch.best else ""
    which = f"lr {epoch.candidate}/{epoch.candidates}  " if epoch.candidates > 1 else ""
    epochs = epoch.epochs - epoch.epoch + (epoch.candidates - epoch.candidate) * epoch.epochs
    left = timedelta(seconds=round(epochs * epoch.seconds))
    width = len(str(epoch.epochs))
    say(
        f"{which}epoch {epoch.epoch:{width}d}/{epoch.epochs}  train loss {epoch.train_loss:.4f}  "
        f"val loss {epoch.val_loss:.4f}  val accuracy {epoch.val_accuracy:.4f}  "
        f"score {epoch.score:.4f}  {epoch.images_per_second:5.0f} images/s  {left} left{best}"
    )


def show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a warning for users as a sentence, and one for programmers with its place."""
    if _level == QUIET:
        return
    if category is UserWarning:
        print(f"Warning: {printable(str(message), LINES)}", file=sys.stderr)
    else:
        sys.stderr.write(warnings.formatwarning(message, category, filename, lineno))
