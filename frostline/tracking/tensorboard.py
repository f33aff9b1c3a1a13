"""Runs in TensorBoard: a folder for each, called by its id."""

from __future__ import annotations

import html
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from frostline.tracking.tracker import (
    CURVES,
    FinishedRun,
    Rows,
    Setting,
    Tracker,
    as_texts,
    curves,
    installed,
)

SETTINGS = "settings"
# The last that is written of a run.
WHOLE = "frostline/finished"


class TensorBoard(Tracker):
    """Runs in a folder; curves of several learning rates or folds are folders in the run's own.

    Parameters
    ----------
    folder : Path
        `tensorboard` of a workspace.

    Raises
    ------
    InputError
        If TensorBoard is not installed.
    """

    title = "TensorBoard"

    def __init__(self, folder: Path) -> None:
        module = installed("torch.utils.tensorboard", "tensorboard", self.title)
        self._make = module.SummaryWriter
        self._folder = folder
        # By run and curve. Files are read by the second that they were begun in: of one process
        # each curve has one.
        self._writers: dict[tuple[str, str], Any] = {}
        self._written: dict[tuple[str, str], set[int]] = {}

    def has(self, run: str) -> bool:
        """Say whether the run's folder has all of it."""
        if not (self._folder / run).is_dir():
            return False
        return f"{WHOLE}/text_summary" in self._events(self._folder / run).Tags()["tensors"]

    def epochs(self, run: str, settings: Mapping[str, Setting], rows: Rows) -> None:
        """Write the epochs that this process has not written; those of an earlier one again."""
        for curve, epochs in curves(rows).items():
            done = self._written.setdefault((run, curve), set())
            new = [row for row in epochs if row["epoch"] not in done]
            if not new:
                continue
            # What an earlier process wrote from this epoch on is not shown.
            writer = self._writer(run, curve, purge_step=new[0]["epoch"])
            for row in new:
                for name in CURVES:
                    writer.add_scalar(name, row[name], row["epoch"])
            writer.flush()
            done.update(row["epoch"] for row in new)

    def finish(self, run: FinishedRun) -> None:
        """Write everything; files stay where they are, and are listed."""
        self.epochs(run.id, run.settings, run.epochs)
        writer = self._writer(run.id, "")
        for name, value in run.scores.items():
            writer.add_scalar(name, value, 0)
        writer.add_text(SETTINGS, _table(dict(as_texts(run.settings))))
        writer.add_text("tags", _table(run.tags))
        if run.files:
            paths = {name: str(path.absolute()) for name, path in run.files.items()}
            writer.add_text("files", _table(paths))
        writer.add_text(WHOLE, run.id)
        self.close()

    def close(self) -> None:
        """Write what is not written yet."""
        while self._writers:
            self._writers.popitem()[1].close()

    def _writer(self, run: str, curve: str, **how: Any) -> Any:
        if (run, curve) not in self._writers:
            folder = str(self._folder / run / curve)
            self._writers[run, curve] = self._make(folder, **how)
        return self._writers[run, curve]

    def _events(self, folder: Path) -> Any:
        module = installed(
            "tensorboard.backend.event_processing.event_accumulator", "tensorboard", self.title
        )
        events = module.EventAccumulator(str(folder))
        events.Reload()
        return events


def _table(values: Mapping[str, str]) -> str:
    """Write a table of Markdown, which TensorBoard shows."""
    rows = [(name, html.escape(value).replace("|", "\\|")) for name, value in values.items()]
    return "\n".join(["| name | value |", "|---|---|", *(f"| {a} | {b} |" for a, b in rows)])
