"""Tracking: runs are handed over while they train and when they are finished.

A tracker that fails neither stops a run nor loses it: what went wrong is one sentence at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeAlias, get_args

from frostline.cache.errors import InputError
from frostline.cache.workspace import Workspace, begun_by
from frostline.console import alert
from frostline.tracking.tracker import Rows, Tracker

TrackerName = Literal["mlflow", "wandb", "tensorboard"]
Track: TypeAlias = TrackerName | Tracker
NAMES: tuple[str, ...] = get_args(TrackerName)
LONGEST_REASON = 200  # of an error's text, of which some hold a whole request


@dataclass(frozen=True)
class Tracking:
    """Where runs are handed to.

    Attributes
    ----------
    track : str or Tracker, optional
        `mlflow`, `wandb`, `tensorboard`, or one of your own; None for nowhere.
    files : bool
        Whether predictions, model and model card are handed over, too.
    """

    track: Track | None = None
    files: bool = False

    def open(self, workspace: Workspace, *, quiet: bool = False) -> Session:
        """Begin to hand over, before anything is computed.

        Parameters
        ----------
        quiet : bool
            Do not say at the end which runs the tracker did not take.

        Raises
        ------
        InputError
            If there is no such tracker, its package is not installed, or it refuses its settings.
        """
        if self.files and self.track is None:
            raise InputError("--track-files is for --track: give both, or neither.")
        tracker = None if self.track is None else make_tracker(self.track, workspace)
        return Session(workspace, tracker, files=self.files, quiet=quiet)


def make_tracker(track: Track, workspace: Workspace) -> Tracker:
    """Make a tracker by its name; one that is given is itself.

    Raises
    ------
    InputError
        As of `Tracking.open`.
    """
    if isinstance(track, Tracker):
        return track
    if track == "mlflow":
        from frostline.tracking.mlflow import MLflow

        return MLflow()
    if track == "wandb":
        from frostline.tracking.wandb import WeightsAndBiases

        return WeightsAndBiases()
    if track == "tensorboard":
        from frostline.tracking.tensorboard import TensorBoard

        return TensorBoard(workspace.root / "tensorboard")
    raise InputError(
        f"--track is {', '.join(NAMES)} or a frostline.Tracker, not {track!r}: choose one."
    )


def hand_over(workspace: Workspace, runs: Iterable[str], tracking: Tracking) -> list[str]:
    """Hand over finished runs that a tracker has not; give those that it took now.

    Parameters
    ----------
    runs : iterable of str
        Ids, beginnings of ids that no other has, or paths of predictions of the workspace.

    Raises
    ------
    InputError
        If there is no such run, no tracker is named, or it does not take a run.
    """
    if tracking.track is None:
        raise InputError(f"No tracker is named: give --to, {', '.join(NAMES)}.")
    names = list(dict.fromkeys(find_predictions(workspace, run) for run in runs))
    if not names:
        raise InputError("There is no run to hand over: name one at least.")
    with tracking.open(workspace, quiet=True) as session:
        taken = session.hand_over(names)
    if failed := session.failed():
        raise InputError(f"{failed} Correct that, and run the same command again.")
    return taken


def find_predictions(workspace: Workspace, run: str) -> str:
    """Find a run by its id, the beginning of it, or the path of its predictions; give its id.

    Raises
    ------
    InputError
        If the workspace has none, or several.
    """
    folder, path = workspace.root / "predictions", Path(run)
    if path.suffix == ".parquet" and path.is_file():
        if path.resolve().parent != folder.resolve():
            raise InputError(
                f"{run} is no run of {workspace.root}: give the --workspace of its own."
            )
        return path.stem
    found = begun_by(run, (one.stem for one in folder.glob("[!.]*.parquet")))
    if not found:
        raise InputError(f"There is no run {run!r} in {folder}: name one of those that lie there.")
    return found


class Session:
    """The tracker of one command, in a `with` block; nothing that it raises comes through.

    At the end of the block it says which runs the tracker did not take, if any.

    Attributes
    ----------
    error : Exception, optional
        The last that the tracker raised.
    left : list of str
        Runs that it did not take.
    """

    def __init__(
        self, workspace: Workspace, tracker: Tracker | None, *, files: bool, quiet: bool
    ) -> None:
        self.workspace, self.tracker = workspace, tracker
        self.files, self.quiet = files, quiet
        self.error: Exception | None = None
        self.left: list[str] = []
        self._down = False

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.tracker is not None:
            self._attempt(self.tracker.close)
        if kind is None and not self.quiet and (failed := self.failed()):
            several = len(self.left) > 1
            alert(
                f"Warning: {failed} {'They are' if several else 'It is'} whole in "
                f"{self.workspace.root / 'predictions'}; `frostline track` hands "
                f"{'them' if several else 'it'} over later."
            )

    @property
    def on_rows(self) -> Callable[[str, Mapping[str, Any], Rows], None] | None:
        """What a training calls with its epochs; None where nobody tracks it."""
        return None if self.tracker is None else self._take_epochs

    def _take_epochs(self, run: str, meta: Mapping[str, Any], rows: Rows) -> None:
        """Hand over epochs, until that failed once: a training does not wait for it again."""
        from frostline.tracking.record import flat_settings

        tracker = self.tracker
        if tracker is not None and self.error is None:
            self._attempt(lambda: tracker.epochs(run, flat_settings(meta), rows))

    def hand_over(self, runs: Iterable[str]) -> list[str]:
        """Hand over finished runs that the tracker has not.

        After one that it did not take, others are not tried, unless that run cannot be read.

        Returns
        -------
        list of str
            The runs that were handed over now.
        """
        taken: list[str] = []
        for run in runs if self.tracker is not None else ():
            if self._down or not self._attempt(partial(self._take, run, taken)):
                self.left.append(run)
                self._down = not isinstance(self.error, InputError)
        return taken

    def _take(self, run: str, taken: list[str]) -> None:
        from frostline.tracking.record import finished_run

        if self.tracker is None or self.tracker.has(run):
            return
        paths = self.workspace.predictions(run), self.workspace.model(run)
        self.tracker.finish(finished_run(*paths, files=self.files))
        taken.append(run)

    def _attempt(self, action: Callable[[], Any]) -> bool:
        try:
            action()
        except Exception as error:
            self.error = error
            return False
        return True

    def failed(self) -> str:
        """Say what the tracker did not take, and why; "" if it took everything."""
        if not self.left or self.tracker is None or self.error is None:
            return ""
        reason = " ".join(str(self.error).split()).rstrip(".") or "no reason"
        if not isinstance(self.error, InputError):
            reason = f"{type(self.error).__name__}: {reason}"
        runs = self.left[0] if len(self.left) == 1 else f"{len(self.left)} runs"
        return f"{self.tracker.title} did not take {runs}: {_shortened(reason)}."


def _shortened(reason: str) -> str:
    return reason if len(reason) <= LONGEST_REASON else f"{reason[:LONGEST_REASON]}…"
