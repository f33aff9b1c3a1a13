"""What a finished run hands over, read from its predictions and its model's folder."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from frostline.cache.errors import InputError
from frostline.report import Predictions, evaluate, read_predictions
from frostline.tracking.tracker import FinishedRun, Setting

# Of the metadata of predictions, what was chosen, and what it was made with.
SETTINGS = (
    *("dataset", "backbone", "weights", "protocol", "unfreeze", "feature", "head", "level", "pool"),
    *("seed", "train_fraction", "label", "split", "cv", "trained_run"),
)
TAGS = ("created", "device", "store_key", "manifest_digest", "weights_digest")


def finished_run(path: Path, models: Path, *, files: bool = False) -> FinishedRun:
    """Read what a finished run hands over.

    Parameters
    ----------
    path : Path
        The predictions of the run.
    models : Path
        The folder of its model.
    files : bool
        Whether its files are handed over, too.

    Raises
    ------
    InputError
        If there are no predictions, or they cannot be read.
    """
    found = read_predictions(path)
    versions = found.meta["versions"] or {}
    tags = {"frostline.run_id": found.run}
    tags |= {name: str(found.meta[name]) for name in TAGS if found.meta.get(name) is not None}
    tags |= {f"version.{name}": str(version) for name, version in versions.items()}
    return FinishedRun(
        found.run,
        flat_settings(found.meta),
        tags,
        list(_epochs(found.meta)),
        _costs(found.meta) | _scores(found),
        dict(_files(path, models)) if files else {},
    )


def flat_settings(meta: Mapping[str, Any]) -> dict[str, Setting]:
    """Give the settings in metadata of predictions by flat names.

    A hyper-parameter that is called like a setting is `head.NAME`; what differs between folds is
    listed in their order.
    """
    found = {name: meta[name] for name in SETTINGS if meta.get(name) is not None}
    views = meta.get("views")
    if isinstance(views, Mapping):
        told = {name: value for name, value in views.items() if name not in ("stores", "crop")}
        found |= {f"views.{name}": value for name, value in told.items()}
    fields = meta.get("hyperparameters") or {}
    folds = fields.get("folds") if meta.get("cv") else None
    if folds:
        fields = {name: _of_folds([fold.get(name) for fold in folds]) for name in folds[0]}
    own = {f"head.{name}" if name in SETTINGS else name: value for name, value in fields.items()}
    return {name: _plain(value) for name, value in {**found, **own}.items()}


def _of_folds(values: list[Any]) -> Any:
    return values[0] if all(value == values[0] for value in values) else values


def _plain(value: Any) -> Setting:
    """Give a setting as one value: lists with commas, mappings as JSON."""
    if isinstance(value, str | int | float):
        return value
    if isinstance(value, list | tuple):
        return ", ".join(str(_plain(one)) for one in value) or "none"
    return "none" if value is None else json.dumps(value, sort_keys=True, default=str)


def _epochs(meta: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """List the epochs of the training that was kept, or of every fold's."""
    yield from meta.get("history") or []
    for number, fold in enumerate(meta.get("folds") or []):
        yield from ({**row, "fold": number} for row in fold.get("history") or [])


def _costs(meta: Mapping[str, Any]) -> dict[str, float]:
    """Give how long the training took, and the epoch that validation chose."""
    names = ("seconds", "best_epoch")
    return {name: float(meta[name]) for name in names if meta.get(name) is not None}


def _scores(found: Predictions) -> dict[str, float]:
    """Score the test images, with intervals and the majority class; nothing without any."""
    try:
        frame = evaluate([found])
    except InputError:  # no labelled test images
        return {}
    scores: dict[str, float] = {}
    for row in frame.to_dict("records"):
        name = f"test/{row['metric']}"
        if row["run"] != found.run:
            scores[f"{name}_majority"] = row["estimate"]
        else:
            scores |= {name: row["estimate"], f"{name}_low": row["low"]}
            scores[f"{name}_high"] = row["high"]
    return {name: float(value) for name, value in scores.items() if math.isfinite(value)}


def _files(path: Path, models: Path) -> Iterator[tuple[str, Path]]:
    yield f"predictions/{path.name}", path
    for file in sorted(models.glob("[!.]*")):
        if file.is_file():
            yield f"model/{file.name}", file
