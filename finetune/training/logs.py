"""The log of a training that people can watch: a CSV file."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from frostline.cache import atomic_write

LOG = "log.csv"


def write_log(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write `log.csv`, a row an epoch, whole."""
    if not rows:
        return
    with atomic_write(folder / LOG) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
