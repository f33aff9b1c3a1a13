"""Checkpoints: one folder an epoch, whole or not there, and a pointer to the last."""

from __future__ import annotations

import os
import pickle
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from frostline.cache import InputError, lock_file, write_text
from frostline.cache.atomic import TEMPORARY, flush_to_disk, system_errors
from frostline.cache.errors import READ_ERRORS
from frostline.cache.stamped import (
    check_files,
    damaged,
    file_digests,
    read_json,
    write_json,
)

FORMAT, VERSION = "frostline-checkpoint", 3
OLDEST = 2
POINTER, STATE, LOCK = "latest", "state.json", "lock"
UNREADABLE = (*READ_ERRORS, SafetensorError, pickle.UnpicklingError)


@dataclass
class Checkpoint:
    """Where training stands after an epoch.

    Attributes
    ----------
    epoch : int
        Epochs that are done.
    history : list of dict
        What each of them measured.
    weights, best : dict of str to Tensor
        What training changes: as it is now, and after the best epoch.
    best_epoch : int
        Counted from 1.
    optimizer : dict
        State of the optimizer, and of the gradient scaler where there is one.
    average : dict of str to Tensor
        The moving average of the weights; empty if there is none.
    micro_batch : int
        Images computed at a time.

    Notes
    -----
    No generator's state is among them: the random numbers of an epoch follow from the seed and the
    epoch's number alone.
    """

    epoch: int
    history: list[dict[str, Any]]
    weights: dict[str, Tensor]
    best: dict[str, Tensor]
    best_epoch: int
    optimizer: dict[str, Any]
    average: dict[str, Tensor] = field(default_factory=dict)
    micro_batch: int = 0


class Checkpoints:
    """The checkpoints of one run.

    Parameters
    ----------
    folder : Path
        `models/<run>/checkpoints`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def candidate(self, number: int) -> Checkpoints:
        """Give the checkpoints of one of several learning rates."""
        return Checkpoints(self.folder / f"candidate-{number}")

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes from training the same run; the lock dies with the process.

        Raises
        ------
        InputError
            If another process is training it.
        """
        with lock_file(self.folder / LOCK) as mine:
            if not mine:
                raise InputError(
                    f"Run {self.folder.parent.name} is being trained by another process: "
                    "wait for it, or stop it and run this again."
                )
            self._clear_temporary()
            yield

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint, point to it, then remove the ones before it."""
        before = self._latest()
        name = _name(checkpoint.epoch)
        temporary = self.folder / f"{TEMPORARY}{name}"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        try:
            with system_errors(temporary):
                self._write(temporary, checkpoint, before)
            for path in [*temporary.iterdir(), temporary]:
                flush_to_disk(path)
            final = self.folder / name
            if final.exists():
                shutil.rmtree(final)  # not pointed to: a writer died between rename and pointer
            temporary.rename(final)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        flush_to_disk(self.folder)
        write_text(self.folder / POINTER, name)
        self._remove_all_but(name)

    def load(self) -> Checkpoint | None:
        """Load the last whole checkpoint; None without one.

        Raises
        ------
        InputError
            If it is damaged, or of a newer format.
        """
        folder = self._latest()
        if folder is None:
            return None
        remedy = _remedy(self.folder)
        if not (folder / STATE).is_file():
            raise damaged(folder, f"it has no {STATE}", remedy)
        state = read_json(folder / STATE, FORMAT, VERSION, remedy=remedy)
        if state["format_version"] < OLDEST:
            raise InputError(
                f"Checkpoint {folder} has format version {state['format_version']} of an older "
                f"release: finish with that one, or {remedy}."
            )
        check_files(folder / STATE, state, remedy)
        average = folder / "average.safetensors"
        try:
            return Checkpoint(
                epoch=state["epoch"],
                history=state["history"],
                weights=load_file(folder / "weights.safetensors"),
                best=load_file(folder / "best.safetensors"),
                best_epoch=state["best_epoch"],
                optimizer=torch.load(
                    folder / "optimizer.pt", map_location="cpu", weights_only=True
                ),
                average=load_file(average) if average.exists() else {},
                micro_batch=state["micro_batch"],
            )
        except UNREADABLE as error:
            raise damaged(folder, str(error), remedy) from error

    def clear(self) -> None:
        """Remove all checkpoints."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _latest(self) -> Path | None:
        pointer = self.folder / POINTER
        if not pointer.is_file():
            return None
        name = pointer.read_bytes().decode(errors="replace")
        if not re.fullmatch(r"[0-9]{6}", name):
            raise damaged(pointer, "it names no checkpoint", _remedy(self.folder))
        return self.folder / name

    def _write(self, folder: Path, checkpoint: Checkpoint, before: Path | None) -> None:
        save_file(checkpoint.weights, folder / "weights.safetensors")
        if checkpoint.average:
            save_file(checkpoint.average, folder / "average.safetensors")
        # The best weights are those of now, of the checkpoint before, or (the file system knows no
        # links) written again.
        if checkpoint.best_epoch == checkpoint.epoch:
            now = folder / ("average.safetensors" if checkpoint.average else "weights.safetensors")
            linked = _link(now, folder / "best.safetensors")
        else:
            linked = (
                before is not None
                and before.name == _name(checkpoint.epoch - 1)
                and _link(before / "best.safetensors", folder / "best.safetensors")
            )
        if not linked:
            save_file(checkpoint.best, folder / "best.safetensors")
        # Through a file of Python's, whose errors torch passes on; its own writer's say nothing.
        with (folder / "optimizer.pt").open("wb") as file:
            torch.save(checkpoint.optimizer, file)
        state = {
            "epoch": checkpoint.epoch,
            "best_epoch": checkpoint.best_epoch,
            "micro_batch": checkpoint.micro_batch,
            "history": checkpoint.history,
            "files": file_digests(folder, sorted(path.name for path in folder.iterdir())),
        }
        write_json(folder / STATE, FORMAT, VERSION, state)

    def _remove_all_but(self, name: str) -> None:
        for path in self.folder.iterdir():
            if path.is_dir() and path.name != name:
                shutil.rmtree(path)

    def _clear_temporary(self) -> None:
        for path in self.folder.rglob(f"{TEMPORARY}*"):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def _remedy(folder: Path) -> str:
    return f"delete {folder} to train again from the start"


def _name(epoch: int) -> str:
    return f"{epoch:06d}"


def _link(existing: Path, new: Path) -> bool:
    try:
        os.link(existing, new)
    except OSError:
        return False
    return True
