"""Logs of a training that people can watch: a CSV file, and TensorBoard."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from frostline.cache import InputError, atomic_write

LOG = "log.csv"
# What TensorBoard draws.
SCALARS = ("train_loss", "val_loss", "val_accuracy", "score", "lr", "images_per_second")


def write_log(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write `log.csv`, a row an epoch, whole."""
    if not rows:
        return
    with atomic_write(folder / LOG) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


class TensorBoard:
    """Epochs for TensorBoard, a folder a learning rate.

    Parameters
    ----------
    folder : Path
        `models/<run>/tensorboard`.

    Raises
    ------
    InputError
        If TensorBoard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise InputError(
                "--tensorboard needs TensorBoard: run `pip install 'frostline[tensorboard]'`."
            ) from error
        self._writer: Any = SummaryWriter
        self._folder = folder
        self._written: dict[int, int] = {}

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write the new epochs; those of an earlier process are written again."""
        for number in sorted({row["candidate"] for row in rows}):
            epochs = [row for row in rows if row["candidate"] == number]
            done = self._written.get(number, 0)
            if len(epochs) == done:
                continue
            # What an earlier process wrote from this epoch on is not shown.
            folder = self._folder / f"candidate-{number}"
            with self._writer(str(folder), purge_step=epochs[done]["epoch"]) as writer:
                for row in epochs[done:]:
                    for name in SCALARS:
                        writer.add_scalar(name, row[name], row["epoch"])
            self._written[number] = len(epochs)
