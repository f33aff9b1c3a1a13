"""Runs in MLflow: one of its runs for each, found again by the tag `frostline.run_id`."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any

from frostline.cache.errors import InputError
from frostline.tracking.tracker import (
    CURVES,
    FinishedRun,
    Rows,
    Setting,
    Tracker,
    as_texts,
    curves,
    installed,
    within,
)

EXPERIMENT = "MLFLOW_EXPERIMENT_NAME"
RUN_ID, WHOLE = "frostline.run_id", "frostline.finished"
NOT_IN_NAMES = r"[^\w.\- :/]"
# What one request may hold.
MOST_METRICS, MOST_SETTINGS = 1000, 100
# Only where the environment says nothing else: no statistics on usage leave this machine, and a
# server that is away is given up after seconds, not minutes.
DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}


class MLflow(Tracker):
    """Runs in the store or on the server of MLFLOW_TRACKING_URI; by default where MLflow has it.

    The experiment is that of MLFLOW_EXPERIMENT_NAME, else `frostline`.

    Raises
    ------
    InputError
        If MLflow is not installed, or refuses the address.
    """

    title = "MLflow"

    def __init__(self) -> None:
        for name, value in DEFAULTS.items():
            os.environ.setdefault(name, value)
        tracking = installed("mlflow.tracking", "mlflow", self.title)
        for name in ("mlflow", "alembic"):  # which say that they make a database
            logging.getLogger(name).setLevel(logging.WARNING)
        self._entities = installed("mlflow.entities", "mlflow", self.title)
        try:
            self._client = tracking.MlflowClient()
        except Exception as error:
            sentence = " ".join(str(error).split())
            raise InputError(f"MLflow cannot be used: {sentence.rstrip('.')}.") from error
        self._experiment = ""
        # Ids of MLflow, by run, of what is open; and the epochs that it has, by run and curve.
        self._open: dict[str, str] = {}
        self._steps: dict[tuple[str, str], set[int]] = {}

    def has(self, run: str) -> bool:
        """Say whether MLflow has the run, finished."""
        found = self._find(run)
        return found is not None and WHOLE in found.data.tags

    def epochs(self, run: str, settings: Mapping[str, Setting], rows: Rows) -> None:
        """Log the epochs that MLflow has not."""
        if run not in self._open:
            self._log(self._begin(run), settings, {})
        self._log_epochs(self._open[run], rows)

    def finish(self, run: FinishedRun) -> None:
        """Log everything; what says that the run is whole comes last."""
        own = self._begin(run.id)
        self._log(own, run.settings, run.tags)
        self._log_epochs(own, run.epochs)
        self._log_metrics(own, ((name, value, 0) for name, value in run.scores.items()))
        for name, path in run.files.items():
            self._client.log_artifact(own, str(path), str(PurePosixPath(name).parent))
        self._client.set_tag(own, WHOLE, "true")
        self._client.set_terminated(own)
        del self._open[run.id]

    def close(self) -> None:
        """Mark what did not end as failed; it goes on where it was when the command runs again."""
        while self._open:
            self._client.set_terminated(self._open.popitem()[1], status="FAILED")

    def _find(self, run: str) -> Any:
        """Find the run of MLflow that is this one, if there is one."""
        quote = '"' if "'" in run else "'"
        found = self._client.search_runs(
            [self._experiment_id()], f"tags.`{RUN_ID}` = {quote}{run}{quote}", max_results=1
        )
        return found[0] if found else None

    def _begin(self, run: str) -> str:
        """Open a run, new or of before; give its id in MLflow."""
        if run not in self._open:
            found, tags = self._find(run), {RUN_ID: run}
            if found is None:
                found = self._client.create_run(self._experiment_id(), tags=tags, run_name=run)
            else:
                self._client.update_run(found.info.run_id, status="RUNNING")
            self._open[run] = found.info.run_id
        return self._open[run]

    def _experiment_id(self) -> str:
        if not self._experiment:
            name = os.environ.get(EXPERIMENT) or "frostline"
            found = self._client.get_experiment_by_name(name)
            self._experiment = (
                found.experiment_id if found else str(self._client.create_experiment(name))
            )
        return self._experiment

    def _log(self, own: str, settings: Mapping[str, Setting], tags: Mapping[str, str]) -> None:
        """Log settings, which MLflow takes once, and tags."""
        known = self._client.get_run(own).data.params
        texts = {re.sub(NOT_IN_NAMES, "_", name): value for name, value in as_texts(settings)}
        params = [
            self._entities.Param(name, text) for name, text in texts.items() if name not in known
        ]
        marks = [self._entities.RunTag(name, value) for name, value in tags.items()]
        for first in range(0, max(len(params), len(marks)), MOST_SETTINGS):
            part = slice(first, first + MOST_SETTINGS)
            self._client.log_batch(own, params=params[part], tags=marks[part])

    def _log_epochs(self, own: str, rows: Rows) -> None:
        for curve, epochs in curves(rows).items():
            done = self._steps.get((own, curve))
            if done is None:
                known = self._client.get_metric_history(own, within(CURVES[0], curve))
                done = self._steps[own, curve] = {metric.step for metric in known}
            new = [row for row in epochs if row["epoch"] not in done]
            self._log_metrics(
                own,
                [(within(name, curve), row[name], row["epoch"]) for row in new for name in CURVES],
            )
            done.update(row["epoch"] for row in new)

    def _log_metrics(self, own: str, values: Iterable[tuple[str, float, int]]) -> None:
        now = int(time.time() * 1000)
        metrics = [
            self._entities.Metric(name, float(value), now, step) for name, value, step in values
        ]
        for first in range(0, len(metrics), MOST_METRICS):
            self._client.log_batch(own, metrics=metrics[first : first + MOST_METRICS])
