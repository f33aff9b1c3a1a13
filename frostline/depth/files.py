"""The answer at rest: a table, all of it as JSON, and the picture in three formats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from frostline.cache.atomic import write_text
from frostline.report.depth.curve import Curves
from frostline.report.depth.sentences import depth_sentences
from frostline.report.figures import save_figure
from frostline.report.figures.depth import depth_figure
from frostline.report.notes import in_words, texts

FORMAT, FORMAT_VERSION = "frostline-depth", 1
PNG_DPI = 300


def write_depth(folder: Path, curves: Curves) -> None:
    """Write `depth.csv`, `.json`, `.png`, `.pdf` and `.svg` into a folder (docs/depth.md)."""
    folder.mkdir(parents=True, exist_ok=True)
    table = in_words(curves.table)
    write_text(folder / "depth.csv", table.to_csv(index=False, lineterminator="\n"))
    said = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "sentences": depth_sentences(curves),
        "metric": curves.metric,
        "majority": _plain(curves.majority),
        "points": _records(curves.table),
        "differences": _records(curves.differences),
        "places": {name: [one._asdict() for one in own] for name, own in curves.places.items()},
    }
    write_text(folder / "depth.json", json.dumps(said, indent=1, ensure_ascii=False) + "\n")
    figure = depth_figure(curves.table, curves.places, curves.majority)
    for kind in ("png", "pdf", "svg"):
        save_figure(figure, folder / f"depth.{kind}", dpi=PNG_DPI)


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {
            str(name): texts(value) if name == "notes" else _plain(value)
            for name, value in row.items()
        }
        for row in frame.to_dict("records")
    ]


def _plain(value: Any) -> Any:
    """Give what JSON can say: no numbers of NumPy, null for what is unknown or endless."""
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not np.isfinite(value) else value
