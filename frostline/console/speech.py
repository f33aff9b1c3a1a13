"""Sentences, tables and warnings: what Frostline says goes to the log `frostline`.

A library is silent: who wants to hear it configures `logging`, or asks a `Workspace` to be verbose.
The command line writes the log to standard error as plain sentences, quieter or louder if asked.
"""

from __future__ import annotations

import codecs
import logging
import sys
import time
import warnings
from datetime import timedelta
from functools import cache
from io import TextIOWrapper
from typing import TYPE_CHECKING, TextIO

from frostline.cache.errors import printable

if TYPE_CHECKING:
    from rich.console import Console

    from frostline.finetune.training.epochs import Epoch
    from frostline.report.tables.table import Table

LOG = logging.getLogger("frostline")
LOG.addHandler(logging.NullHandler())
# What the log lets through: errors, sentences, details.
QUIET, NORMAL, VERBOSE = logging.ERROR, logging.INFO, logging.DEBUG
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
_said = 0.0  # when something was printed last, on the monotonic clock


class _Sentences(logging.Handler):
    """Writes the log to standard error, above a bar if there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record as its sentence; that of a warning says so."""
        global _said
        _said = time.monotonic()
        sentence = printable(record.getMessage(), LINES)
        if record.levelno == logging.WARNING:
            sentence = f"Warning: {sentence}"
        console("err").print(sentence, markup=False)


SENTENCES = _Sentences()


@cache
def console(name: str) -> Console:
    """Give the console `out` or `err`, made on first use: a command starts without rich."""
    from rich.console import Console

    return Console(stderr=name == "err", highlight=False, soft_wrap=True)


def verbosity() -> int | None:
    """Return `QUIET`, `NORMAL` or `VERBOSE`; None in Python, where logging decides."""
    return LOG.level if SENTENCES in LOG.handlers else None


def set_verbosity(level: int) -> None:
    """Speak as a command does: results and errors (`QUIET`), or details too (`VERBOSE`)."""
    LOG.setLevel(level)
    if SENTENCES not in LOG.handlers:
        LOG.addHandler(SENTENCES)
    LOG.propagate = False  # a package that sets up logging would say all of it twice


def speak_in_python() -> None:
    """Let sentences be heard: by the handlers that are there, else on standard error."""
    if LOG.hasHandlers() and any(
        not isinstance(one, logging.NullHandler) for one in (*LOG.handlers, *LOG.root.handlers)
    ):
        LOG.setLevel(min(LOG.getEffectiveLevel(), NORMAL))
    else:
        set_verbosity(NORMAL)


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
    """Log a sentence; the command line prints it to standard error: standard output stays data."""
    LOG.info("%s", sentence)


def alert(sentence: str) -> None:
    """Say what nobody should miss: in Python, where the log may go nowhere, as a warning."""
    if verbosity() is None:
        warnings.warn(sentence, stacklevel=3)
    else:
        say(sentence)


def last_said() -> float:
    """Return when the command line said something last, on the monotonic clock."""
    return _said


def detail(sentence: str) -> None:
    """Log a sentence for those who ask for details."""
    LOG.debug("%s", sentence)


def text_width(widest: int = 100) -> int:
    """Give how many characters a line of output may have: the terminal's, or 80 in a pipe."""
    out = console("out")
    return min(out.width, widest) if out.is_terminal else 80


def show_table(table: Table) -> None:
    """Print a table to standard output: as wide as the terminal, or wide enough for a pipe."""
    from frostline.report.tables.writers.terminal import to_terminal

    out = console("out")
    print(to_terminal(table, out.width if out.is_terminal else PIPE_WIDTH), end="")


def summary(sentence: str) -> None:
    """Print what a command did to standard output, unless it should be quiet."""
    if verbosity() != QUIET:
        print(printable(sentence, LINES))


def say_epoch(epoch: Epoch) -> None:
    """Log a line of the table of epochs."""
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
    """Log a warning for users as a sentence; print one for programmers with its place."""
    if category is UserWarning:
        LOG.warning("%s", message)
    elif verbosity() != QUIET:
        sys.stderr.write(warnings.formatwarning(message, category, filename, lineno))
