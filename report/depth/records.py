"""The curves of depth as JSON: all that a picture shows, and the sentences."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from frostline.report.depth.curve import Curves
from frostline.report.depth.sentences import depth_sentences
from frostline.report.notes import Note

FORMAT, FORMAT_VERSION = "frostline-depth", 2


def depth_json(depths: Sequence[Curves]) -> str:
    """Write `tables/depth.json` (docs/depth.md): an entry for each data set."""
    said = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "datasets": [_record(curves) for curves in depths],
    }
    return json.dumps(said, indent=1, ensure_ascii=False) + "\n"


def _record(curves: Curves) -> dict[str, Any]:
    return {
        "dataset": curves.dataset,
        "sentences": depth_sentences(curves),
        "metric": curves.metric,
        "majority": _plain(curves.majority),
        "points": _records(curves.table),
        "differences": _records(curves.differences),
        "places": {name: [one._asdict() for one in own] for name, own in curves.places.items()},
    }


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {
            str(name): _said(value) if name == "notes" else _plain(value)
            for name, value in row.items()
        }
        for row in frame.to_dict("records")
    ]


def _said(notes: Sequence[Note]) -> list[str]:
    """Give the texts of notes, each with the runs that it is about, if it is not about all."""
    said = [
        f"{note.text.removesuffix('.')} ({', '.join(note.runs)})." if note.runs else note.text
        for note in notes
    ]
    return list(dict.fromkeys(said))


def _plain(value: Any) -> Any:
    """Give what JSON can say: no numbers of NumPy, null for what is unknown or endless."""
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not np.isfinite(value) else value
