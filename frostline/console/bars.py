"""Bars on a terminal and in a notebook, and the line that stands there until something is said."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from io import StringIO
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any, TextIO

from frostline.console.speech import console
from frostline.console.steps import Running

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

REDRAW = 0.2  # seconds, in a notebook
WIDTH = 90  # of a notebook's line


@contextmanager
def terminal_bar(running: Running) -> Iterator[None]:
    """Show a bar with rate and time left on standard error, and take it away at the end."""
    # Standard output may be a file, where it must go on going.
    bar = _bar(console=console("err"), transient=True, redirect_stdout=sys.stdout.isatty())
    with bar:
        _draw(bar, running)
        running.draw = partial(_draw, bar)
        yield


@contextmanager
def notebook_bar(running: Running) -> Iterator[None]:
    """Show the same bar as a line of a notebook's cell, which keeps the last."""
    from rich.console import Console

    line = Console(file=StringIO(), width=WIDTH, force_jupyter=False, color_system=None)
    bar, handle, shown = _bar(console=line, auto_refresh=False), _cell_line(), 0.0

    def draw(now: Running) -> None:
        nonlocal shown
        _draw(bar, now)
        if time.monotonic() - shown >= REDRAW or now.done == now.total:
            with line.capture() as text:
                line.print(bar.get_renderable())
            handle.update({"text/plain": text.get().rstrip()}, raw=True)
            shown = time.monotonic()

    draw(running)
    running.draw = draw
    yield


def in_notebook() -> bool:
    """Say whether this is the kernel of a notebook."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None


_lines: dict[int, Any] = {}  # of the cell that runs


def _cell_line() -> Any:
    """Give the line of the cell that runs: what comes one after another shares it."""
    from IPython import display, get_ipython

    cell = get_ipython().execution_count
    if cell not in _lines:
        _lines.clear()
        shown: Any = display.display
        _lines[cell] = shown({"text/plain": ""}, raw=True, display_id=True)
    return _lines[cell]


def _bar(**how: Any) -> Bar:
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    title, rate = TextColumn("{task.description}", markup=False), TextColumn("{task.fields[rate]}")
    bar = Bar(title, BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn(), **how)
    bar.add_task("", total=None, rate="")
    return bar


def _draw(bar: Bar, running: Running) -> None:
    (task,) = bar.tasks
    fresh = task.total is None and running.total
    if fresh or task.description != running.title or running.done < task.completed:
        # What was done before says nothing of the speed.
        total = running.total or None
        bar.reset(task.id, description=running.title, total=total, completed=running.done, rate="")
    speed = task.finished_speed or task.speed
    rate = f"{speed:.3g} {running.unit}/s" if speed else ""
    bar.update(task.id, completed=running.done, total=running.total or None, rate=rate)


class _Clearing:
    """A stream that takes the line of the start away before it writes anything."""

    def __init__(self, stream: TextIO, clear: Callable[[], None]) -> None:
        self._stream, self._clear = stream, clear

    def write(self, text: str) -> int:
        """Clear, then write."""
        self._clear()
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        if name == "buffer":
            self._clear()
        return getattr(self._stream, name)


@contextmanager
def starting(sentence: str) -> Iterator[None]:
    """Show a line on the terminal that is gone when anything is written: imports take seconds."""
    out, err, shown = sys.stdout, sys.stderr, True
    err.write(f"{sentence[: get_terminal_size().columns - 1]}\r")
    err.flush()

    def clear() -> None:
        nonlocal shown
        if shown:
            shown = False
            err.write("\x1b[2K\r")
            err.flush()
        sys.stdout = out if sys.stdout is watched[0] else sys.stdout
        sys.stderr = err if sys.stderr is watched[1] else sys.stderr

    watched = _Clearing(out, clear), _Clearing(err, clear)
    sys.stdout, sys.stderr = watched
    try:
        yield
    finally:
        clear()
