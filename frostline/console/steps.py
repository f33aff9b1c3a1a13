"""Something that runs: what it is, and how far."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta

Progress = Callable[[int, int], None]


class Running:
    """Something that runs; called with how many are done, and of how many.

    Attributes
    ----------
    title : str
        What runs and on what: "Embedding chest with effnet-lite0".
    unit : str
        What is counted.
    done, total : int
        Both 0 until the first call.
    draw : callable, optional
        Called with this after every change.
    """

    def __init__(self, what: str, unit: str = "images", of: str = "") -> None:
        self.of = of
        self.draw: Callable[[Running], None] | None = None
        self.turn_to(what, unit)

    def turn_to(self, what: str, unit: str) -> None:
        """Let something else run from now on, on the same."""
        self.title, self.unit = f"{what} {self.of}".rstrip(), unit
        self.done = self.total = self.before = 0
        self.began = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        # What was done before says nothing of the speed; of folds each begins at 0.
        if not self.total or done < self.done:
            self.began, self.before = time.monotonic(), done
        self.done, self.total = done, total
        if self.draw is not None:
            self.draw(self)

    def sentence(self) -> str:
        """Say what runs, how far it is and how long it will take."""
        seconds = time.monotonic() - self.began
        if not self.total:
            return f"{self.title}: {_clock(seconds)} so far." if seconds >= 1 else f"{self.title}."
        now, left = self.done - self.before, self.total - self.done
        more = f", {_clock(seconds / now * left)} left" if now and left else ""
        return f"{self.title}: {self.done:,} of {self.total:,} {self.unit}{more}."


def called(progress: Progress | None, what: str, unit: str = "images") -> Progress | None:
    """Give a progress that says what runs: a bar has this word from the first call on."""
    if not isinstance(progress, Running):
        return progress
    named = Running(what, unit, progress.of).title

    def update(done: int, total: int) -> None:
        if progress.title != named:
            progress.turn_to(what, unit)
        progress(done, total)

    return update


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
