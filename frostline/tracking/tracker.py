"""Trackers in general: what one takes, and what a finished run hands over."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

from frostline.cache.errors import InputError

Setting: TypeAlias = str | int | float | bool
Rows: TypeAlias = Sequence[Mapping[str, Any]]
# What is drawn of an epoch.
CURVES = ("train_loss", "val_loss", "val_accuracy", "score", "lr", "images_per_second")


@dataclass(frozen=True)
class FinishedRun:
    """All that a finished run hands over.

    Attributes
    ----------
    id : str
        The run's id, by which a tracker knows it again.
    settings : dict
        What was chosen, by flat names: `backbone`, `head`, `epochs`, ….
    tags : dict of str to str
        What it was made with: versions of libraries, device, time.
    epochs : sequence of mapping
        A row for each epoch of the training that was kept, as in `log.csv`; empty for heads.
    scores : dict of str to float
        Test scores as fractions: `test/accuracy`, `test/accuracy_low`, `test/accuracy_high` (the
        95% interval) and `test/accuracy_majority` (the majority class), for every metric of
        `frostline evaluate`; `seconds` of training, and `best_epoch`, where there are epochs.
    files : dict of str to Path
        Files by the names that they should have: predictions, model and its card; empty unless
        they were asked for.
    """

    id: str
    settings: Mapping[str, Setting]
    tags: Mapping[str, str]
    epochs: Rows
    scores: Mapping[str, float]
    files: Mapping[str, Path] = field(default_factory=dict)


class Tracker:
    """A place that runs are handed to; subclass it for another than the three that come along.

    `finish` is all that a tracker needs. Whatever a method raises is said in a sentence behind the
    run, which goes on.

    Attributes
    ----------
    title : str
        Its name in sentences.
    """

    title = "The tracker"

    def has(self, run: str) -> bool:
        """Say whether the run was handed over whole before; it is not handed over again then."""
        return False

    def epochs(self, run: str, settings: Mapping[str, Setting], rows: Rows) -> None:
        """Take the epochs of a training that is under way.

        Parameters
        ----------
        run : str
            The id of the run that it will be.
        settings : mapping
            Those of `FinishedRun.settings` that are known before it ends.
        rows : sequence of mapping
            Every epoch so far, of an earlier process too; of a cross-validation those of one fold.
        """

    def finish(self, run: FinishedRun) -> None:
        """Take a finished run; what `epochs` was given is among it again."""
        raise NotImplementedError

    def close(self) -> None:
        """End what is still open: the command ends, or a training was interrupted."""


def curves(rows: Rows) -> dict[str, list[Mapping[str, Any]]]:
    """Sort epochs by their curve.

    Returns
    -------
    dict
        Rows by the name of their curve: "" for the only one; `candidate-2` of several learning
        rates, `fold-0` of a cross-validation, or `fold-0/candidate-2`.
    """
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        parts = [f"fold-{row['fold']}"] if "fold" in row else []
        parts += [f"candidate-{row['candidate']}"] if row["candidates"] > 1 else []
        found.setdefault("/".join(parts), []).append(row)
    return found


def installed(module: str, extra: str, title: str) -> Any:
    """Import a module of an optional package.

    Raises
    ------
    InputError
        If it is not installed, or is broken.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise InputError(
            f"Tracking by {title} needs a package that cannot be imported ({error}): run "
            f"`pip install 'frostline[{extra}]'`."
        ) from error


def within(name: str, curve: str) -> str:
    """Name a number of an epoch by its curve: `train_loss`, `fold-0/train_loss`."""
    return f"{curve}/{name}" if curve else name


def as_texts(settings: Mapping[str, Setting]) -> Iterable[tuple[str, str]]:
    """Give settings as text."""
    return ((name, str(value)) for name, value in settings.items())
