"""Logs: whole files, and nothing twice after a restart."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from frostline.finetune.training.logs import SCALARS, TensorBoard, write_log


def row(epoch: int, candidate: int = 1) -> dict[str, Any]:
    return {"epoch": epoch, "candidate": candidate, **dict.fromkeys(SCALARS, epoch / candidate)}


def test_the_log_is_written_whole(tmp_path: Path) -> None:
    write_log(tmp_path, [])
    assert not list(tmp_path.iterdir())
    for epochs in (1, 2, 3):
        write_log(tmp_path, [row(n + 1) for n in range(epochs)])
    with (tmp_path / "log.csv").open() as file:
        assert [int(line["epoch"]) for line in csv.DictReader(file)] == [1, 2, 3]
    assert [path.name for path in tmp_path.iterdir()] == ["log.csv"]


def test_tensorboard_shows_every_epoch_once_after_a_restart(tmp_path: Path) -> None:
    before = [row(1), row(2), row(3), row(1, 2)]
    first = TensorBoard(tmp_path)
    for upto in range(1, 5):
        first.write(before[:upto])
    again = TensorBoard(tmp_path)  # the process died
    again.write(before)
    again.write([*before, row(2, 2)])
    for candidate, epochs in ((1, [1, 2, 3]), (2, [1, 2])):
        events = EventAccumulator(str(tmp_path / f"candidate-{candidate}"))
        events.Reload()
        for name in SCALARS:
            assert [event.step for event in events.Scalars(name)] == epochs
            values = [event.value for event in events.Scalars(name)]
            assert values == [epoch / candidate for epoch in epochs]
