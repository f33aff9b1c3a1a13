"""The log of a training: a whole file after every epoch."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from frostline.finetune.training.logs import write_log


def row(epoch: int) -> dict[str, Any]:
    return {"epoch": epoch, "candidate": 1, "train_loss": 1 / epoch}


def test_the_log_is_written_whole(tmp_path: Path) -> None:
    write_log(tmp_path, [])
    assert not list(tmp_path.iterdir())
    for epochs in (1, 2, 3):
        write_log(tmp_path, [row(n + 1) for n in range(epochs)])
    with (tmp_path / "log.csv").open() as file:
        assert [int(line["epoch"]) for line in csv.DictReader(file)] == [1, 2, 3]
    assert [path.name for path in tmp_path.iterdir()] == ["log.csv"]
