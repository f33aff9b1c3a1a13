"""Tasks of a large report on all cores."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

from frostline.cache.locks import own_cores
from frostline.report.statistics.metrics import OWN_METRICS

Task = Callable[[], Any]
# A process takes about three seconds of a core to start, as long as a few figures take.
LEAST_RUNS = 32


def on_all_cores(tasks: Sequence[Task], runs: int) -> list[Any]:
    """Do tasks and give what they return, in their order; what they warn of is said here.

    Parameters
    ----------
    tasks : sequence of callables
        Which can be pickled.
    runs : int
        Runs of the report: of fewer than `LEAST_RUNS` all is done in this process. So it is where
        there are metrics of a user's own, which other processes do not know.
    """
    jobs = min(own_cores(), len(tasks)) if runs >= LEAST_RUNS and not OWN_METRICS else 1
    if jobs <= 1:
        return [task() for task in tasks]
    import joblib

    with joblib.parallel_config("loky", n_jobs=jobs, inner_max_num_threads=1):
        done = joblib.Parallel(batch_size=1)(joblib.delayed(_noting)(task) for task in tasks)
    for _, said in done:
        for message, category in said:
            warnings.warn(message, category, stacklevel=2)
    return [value for value, _ in done]


def _noting(task: Task) -> tuple[Any, list[tuple[str, type[Warning]]]]:
    """Do a task in another process, and bring home what it warned of."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("default")
        value = task()
    return value, [(str(one.message), one.category) for one in said]
