"""Tasks of a large report on all cores."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

from frostline.cache.errors import InputError
from frostline.cache.locks import end_with, own_cores
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
    from joblib.externals.loky.process_executor import BrokenProcessPool

    run = joblib.delayed(partial(_noting, os.getpid()))
    try:
        # A worker whose memory has grown is replaced by another, which is no matter of the user's.
        with (
            warnings.catch_warnings(),
            joblib.parallel_config("loky", n_jobs=jobs, inner_max_num_threads=1),
        ):
            warnings.filterwarnings("ignore", "A worker stopped while some jobs")
            done = joblib.Parallel(batch_size=1)(run(task) for task in tasks)
    except BrokenProcessPool as error:
        raise InputError(
            "A process that made the report was ended from outside, as where memory is short: run "
            "the command again, on fewer cores (`taskset -c 0`), or where there is more."
        ) from error
    for _, said in done:
        for message, category in said:
            warnings.warn(message, category, stacklevel=2)
    return [value for value, _ in done]


def _noting(parent: int, task: Task) -> tuple[Any, list[tuple[str, type[Warning]]]]:
    """Do a task in another process, and bring home what it warned of."""
    _watch(parent)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("default")
        value = task()
    return value, [(str(one.message), one.category) for one in said]


@cache
def _watch(parent: int) -> None:
    """Let this process end with its parent, were it killed: once is enough."""
    threading.Thread(target=end_with, args=(parent,), daemon=True).start()
