"""Runs in Weights & Biases, by their ids; offline, unless WANDB_MODE says otherwise."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from frostline.cache.errors import InputError
from frostline.tracking.tracker import (
    CURVES,
    FinishedRun,
    Rows,
    Setting,
    Tracker,
    curves,
    installed,
    within,
)

MODE, PROJECT, FOLDER = "WANDB_MODE", "WANDB_PROJECT", "WANDB_DIR"
LONGEST_ID = 128
# In W&B's own folder of a run, once it has all of it.
WHOLE = "frostline-finished"
# Neither statistics of the machine, nor what it is called, nor what the terminal says.
QUIETLY = {
    "console": "off",
    "silent": True,
    "save_code": False,
    "disable_git": True,
    "x_disable_stats": True,
    "x_disable_meta": True,
    "x_disable_machine_info": True,
    "init_timeout": 30,
}


@dataclass
class _Open:
    """A run that W&B has begun, with the settings and the epochs that it has."""

    run: Any
    settings: dict[str, Setting] = field(default_factory=dict)
    written: set[tuple[str, int]] = field(default_factory=set)


class WeightsAndBiases(Tracker):
    """Runs in the folder of WANDB_DIR (by default `wandb`), in the project of WANDB_PROJECT.

    With WANDB_MODE=online they are sent as they are written; else `wandb sync` sends them.

    Raises
    ------
    InputError
        If wandb is not installed, or is to be online and has no key.
    """

    title = "W&B"

    def __init__(self) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # to W&B, read on import
        self._wandb = installed("wandb", "wandb", self.title)
        self._mode = os.environ.get(MODE) or "offline"
        if self._mode == "online" and not self._wandb.login(prompt=False):
            raise InputError(
                f"{MODE} is online, and W&B has no API key here: run `wandb login`, or unset "
                f"{MODE} and send runs later by `wandb sync`."
            )
        # W&B remembers the folder that it was first used in; this is the one of now.
        self._folder = Path(os.environ.get(FOLDER) or ".").absolute()
        self._open: dict[str, _Open] = {}  # by id: repeats of a cross-validation train in turn

    def has(self, run: str) -> bool:
        """Say whether the runs that W&B keeps on this machine have it, finished."""
        kept = (path.parent.name for path in self._folder.glob(f"*wandb/*run-*/{WHOLE}"))
        return as_id(run) in {re.sub(r"^(offline-)?run-[0-9_]+-", "", name) for name in kept}

    def epochs(self, run: str, settings: Mapping[str, Setting], rows: Rows) -> None:
        """Log the epochs that this process has not logged; those of an earlier one again."""
        own = self._begin(run, settings)
        for curve, epochs in curves(rows).items():
            axis = within("epoch", curve)
            for row in epochs:
                if (curve, row["epoch"]) in own.written:
                    continue
                values = {within(name, curve): row[name] for name in CURVES}
                for name in values if (curve, 0) not in own.written else ():
                    own.run.define_metric(name, step_metric=axis)
                own.run.log({axis: row["epoch"], **values})
                own.written |= {(curve, 0), (curve, row["epoch"])}

    def finish(self, run: FinishedRun) -> None:
        """Log everything, and note in W&B's folder that it has the run."""
        self.epochs(run.id, {**run.settings, **run.tags}, run.epochs)
        own = self._open.pop(as_id(run.id)).run
        own.summary.update(dict(run.scores))
        if run.files:
            artifact = self._wandb.Artifact(as_id(run.id), type="run")
            for name, path in run.files.items():
                artifact.add_file(str(path), name=name)
            own.log_artifact(artifact)
        folder = Path(own.dir).parent
        own.finish(exit_code=0)
        if folder.is_dir():  # there is none in mode disabled
            (folder / WHOLE).touch()

    def close(self) -> None:
        """End runs that did not finish as failed; they are taken up again by their ids."""
        while self._open:
            self._open.popitem()[1].run.finish(exit_code=1)

    def _begin(self, run: str, settings: Mapping[str, Setting]) -> _Open:
        own = self._open.get(as_id(run))
        if own is None:
            begun = self._wandb.init(
                id=as_id(run),
                name=run,
                project=os.environ.get(PROJECT) or "frostline",
                dir=str(self._folder),
                mode=self._mode,
                resume="allow",
                reinit="create_new",
                settings=self._wandb.Settings(**QUIETLY),
            )
            own = self._open[as_id(run)] = _Open(begun)
        if dict(settings) != own.settings:
            own.settings = dict(settings)
            own.run.config.update(own.settings, allow_val_change=True)
        return own


def as_id(run: str) -> str:
    """Give the id in W&B, which takes fewer characters; the digest at its end stays."""
    return re.sub(r"[^A-Za-z0-9_.-]", "-", run)[-LONGEST_ID:]
