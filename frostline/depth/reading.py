"""Reading: a head on the frozen output of every block, from the cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from frostline.cache import Workspace, run_id
from frostline.cache.errors import InputError
from frostline.cache.workspace import file_safe
from frostline.console import Progress
from frostline.probe.choices import OnMissing
from frostline.probe.heads.registry import HEADS
from frostline.probe.heads.scoring import METRICS
from frostline.probe.sweep.head_run import HeadRun
from frostline.probe.sweep.planning import plan_sweep
from frostline.probe.sweep.run import compute_runs
from frostline.probe.sweep.selection import inner_scores
from frostline.probe.sweep.settings import Sweep, parse_sweep
from frostline.probe.sweep.validation_scores import read_scores
from frostline.report import Predictions, read_predictions, write_predictions
from frostline.report.depth.curve import Place, Point, Validation
from frostline.report.depth.folds import choose_by_folds, chosen_run
from frostline.stages import Columns


@dataclass(frozen=True)
class Heads:
    """What is trained on each depth.

    Attributes
    ----------
    head, protocol : str
    seeds : sequence of int
        For a head that depends on one.
    cv : str, optional
        `KxR`, instead of the data set's splits.
    columns : Columns
    on_missing : {"error", "skip"}
    settings : mapping
        Hyper-parameters, instead of the defaults of the head's grid.
    rows : mapping
        `level`, `pool`, `views` and `views_key` of a sweep, where they are given.
    """

    head: str = "logistic"
    protocol: Any = "standard"
    seeds: Sequence[int] = (0,)
    cv: str | None = None
    columns: Columns = field(default_factory=Columns)
    on_missing: OnMissing = "error"
    settings: Mapping[str, Any] = field(default_factory=dict)
    rows: Mapping[str, Any] = field(default_factory=dict)

    def sweep(self, dataset: str, backbone: str) -> Sweep:
        """Give the sweep that trains them, checked.

        Raises
        ------
        InputError
            If the cross-validation cannot be.
        """
        seeded = HEADS[self.head].seeded and self.cv is None
        fields = {
            "datasets": [dataset],
            "backbones": [backbone],
            "heads": {self.head: dict(self.settings)},
            "protocol": self.protocol,
            "seeds": list(self.seeds) if seeded else [0],
            "cv": self.cv,
            "label": self.columns.label,
            "split": self.columns.split,
            "on_missing": self.on_missing,
            **self.rows,
        }
        return parse_sweep(fields, "Reading", options={"cv": "--cv", "split": "--split"})

    def check(self, dataset: str, backbone: str, metric: str) -> Sweep:
        """Give the sweep; refuse folds that cannot be, or a metric that they do not choose by."""
        sweep = self.sweep(dataset, backbone)
        if self.cv and metric not in METRICS:
            raise InputError(
                f"With --cv the depth is chosen by one of {', '.join(METRICS)}, not {metric}: take "
                "one of them, or --cv none."
            )
        return sweep


@dataclass(frozen=True)
class Read:
    """Points of the reading curve; `nested` are the runs of the choice that every fold repeated."""

    points: list[Point]
    nested: list[Predictions]
    said: list[str]


def read_depths(
    workspace: Workspace,
    dataset: str,
    backbone: str,
    stores: Sequence[tuple[Place, str]],
    heads: Heads,
    metric: str,
    progress: Progress | None = None,
) -> Read:
    """Train a head on each store, all of them together, unless that is done.

    Parameters
    ----------
    stores : sequence of (Place, str)
        From input to output: where it is read, and the key of the store.
    metric : str
        Which chooses the depth; in a cross-validation one of a sweep's.
    """
    sweep = heads.sweep(dataset, backbone)
    runs = plan_sweep(workspace, sweep, [key for _, key in stores]).runs
    said = compute_runs(workspace, runs, jobs=1, progress=progress)
    points, inner = [], []
    for place, key in stores:
        mine = [run for run in runs if run.data.store_key == key]
        read = [read_predictions(workspace.predictions(run.run())) for run in mine]
        points.append(Point("read", place, read))
        if heads.cv:
            inner.append([_inner(workspace, run, metric) for run in mine])
    if not heads.cv:
        return Read(points, [], said)
    return _nested(points, np.array(inner), metric, said)


def read_one(
    workspace: Workspace,
    dataset: str,
    backbone: str,
    store: str,
    heads: Heads,
    progress: Progress | None = None,
) -> list[str]:
    """Train heads on one store by cross-validation, unless that is done: a run id a repeat."""
    runs = plan_sweep(workspace, heads.sweep(dataset, backbone), [store]).runs
    compute_runs(workspace, runs, jobs=1, progress=progress)
    return [run.run() for run in runs]


def write_nested(workspace: Workspace, runs: Sequence[Predictions]) -> list[str]:
    """Write the predictions of each fold's own choice, one file a repeat; return their run ids."""
    return [_write_nested(workspace, run) for run in runs]


def _write_nested(workspace: Workspace, run: Predictions) -> str:
    slug = f"{run.meta['dataset']}-{file_safe(run.meta['backbone'])}-chosen-depth"
    # The first depth's run says the repeat and all else, the choice says of which depths it is.
    name = run_id(slug, {"run": run.run, "depths": run.meta["depths"]})
    if not workspace.has_predictions(name):
        write_predictions(workspace.predictions(name), run.table, {**run.meta, "run": name})
    return name


def _inner(workspace: Workspace, run: HeadRun, metric: str) -> Any:
    scores = read_scores(workspace, run)
    assert scores is not None  # it is done
    return inner_scores(run, scores, metric)


def _nested(points: list[Point], inner: Any, metric: str, said: list[str]) -> Read:
    """Choose in every fold, and score every depth by its inner folds: inner [D, R, F, F - 1]."""
    higher, folds = METRICS[metric], inner.shape[2]
    costs = np.array([point.place.cost for point in points if point.place is not None])
    nested = [
        chosen_run(
            [point.runs[repeat] for point in points],
            choose_by_folds(inner[:, repeat], costs, higher=higher),
        )
        for repeat in range(inner.shape[1])
    ]
    units = int(points[0].runs[0].table["group_id"].nunique())
    scored = [
        replace(point, validation=Validation(mine.ravel().tolist(), folds, units))
        for point, mine in zip(points, inner, strict=True)
    ]
    return Read(scored, nested, said)
