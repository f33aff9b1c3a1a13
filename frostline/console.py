"""What a person sees in a terminal: progress on a terminal alone, sentences, tables."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from frostline.finetune.training.epochs import Epoch

Progress = Callable[[int, int], None]

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def say(sentence: str) -> None:
    """Print a line to standard error, so that standard output stays data."""
    err.print(sentence, markup=False)


@contextmanager
def progress(what: str, unit: str = "images") -> Iterator[Progress]:
    """Show a bar with rate and time left on a terminal; nothing in a pipe."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    rate = TextColumn("{task.fields[rate]}")
    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn())
    with Bar(*columns, console=err, transient=True) as bar:
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
