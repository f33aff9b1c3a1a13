"""How far something is: a bar where somebody looks, elsewhere a line now and then."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from threading import Event, Thread

from frostline.console import speech
from frostline.console.bars import in_notebook, notebook_bar, starting, terminal_bar
from frostline.console.speech import LOG, NORMAL, QUIET, detail, say, verbosity
from frostline.console.steps import Running

# Seconds until a command that has said nothing says what it does, and between lines after that.
FIRST, EVERY = 2.0, 30.0
# Whether it is to be shown; None: a bar where somebody looks, and lines to the log.
_wanted: ContextVar[bool | None] = ContextVar("wanted", default=None)
_shared = False  # whether processes share the terminal: their bars would overwrite their lines
_stack: list[Running] = []  # what runs, in what runs


@contextmanager
def progress(what: str, unit: str = "images", of: str = "") -> Iterator[Running]:
    """Show how far something is; what it gives is called with how many are done, of how many.

    Parameters
    ----------
    what, of : str
        What runs, and on what.
    unit : str
        What is counted.
    """
    running, began = Running(what, unit, of), time.perf_counter()
    with _shown(running):
        yield running
    detail(f"{running.title} took {time.perf_counter() - began:.1f} s.")


@contextmanager
def commanding(command: str) -> Iterator[None]:
    """Say within seconds that a command has started, and go on saying so."""
    running = Running(f"{command} is at work")
    show = _way()
    if show is terminal_bar:
        with starting(f"{running.title} …"):
            yield
    elif show is _lines:
        with _lines(running):
            yield
    else:
        yield


@contextmanager
def showing(wanted: bool | None) -> Iterator[None]:
    """Show progress, or do not; if None, where somebody looks."""
    token = _wanted.set(wanted)
    try:
        yield
    finally:
        _wanted.reset(token)


@contextmanager
def sharing_the_terminal() -> Iterator[None]:
    """Write lines and no bars while several processes write to one terminal."""
    global _shared
    before, _shared = _shared, True
    try:
        yield
    finally:
        _shared = before


def in_helper(level: int | None, every: float) -> None:
    """Speak in a process that helps another as that one does."""
    global _shared, EVERY
    _shared, EVERY = True, every
    if level is not None:
        speech.set_verbosity(level)


def _shown(running: Running) -> AbstractContextManager[None]:
    show = _way()
    return nullcontext() if show is None else show(running)


def _way() -> Callable[[Running], AbstractContextManager[None]] | None:
    """Choose how to show what runs: not at all, in a notebook, on a terminal, or by lines."""
    first = os.environ.get("RANK", "0") == "0"  # of torchrun's processes one speaks
    if verbosity() == QUIET or _wanted.get() is False or not first:
        return None
    if in_notebook():
        return notebook_bar
    return terminal_bar if sys.stderr.isatty() and not _shared else _lines


@contextmanager
def _lines(running: Running) -> Iterator[None]:
    """Log a line with how far something is, every half minute that nothing else is said."""
    _stack.append(running)
    ended = Event()
    if len(_stack) == 1:
        Thread(target=_speak_up, args=(running, ended, _wanted.get()), daemon=True).start()
    try:
        yield
    finally:
        ended.set()
        _stack.remove(running)


def _speak_up(running: Running, ended: Event, wanted: bool | None) -> None:
    began = time.monotonic()
    due = began + (EVERY if _shared else FIRST)
    while not ended.wait(max(0.0, due - time.monotonic())):
        if speech.last_said() > began:
            due = max(due, speech.last_said() + EVERY)
        if time.monotonic() < due:
            continue
        now = next(reversed(_stack), running)
        sentence = now.sentence()
        due = time.monotonic() + EVERY
        if wanted and not LOG.isEnabledFor(NORMAL):
            print(sentence, file=sys.stderr)  # in Python it was asked for, and nobody hears the log
        else:
            say(sentence)
