"""Tasks of a large report on all cores."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Any

from frostline.cache.errors import InputError
from frostline.cache.locks import end_with, own_cores
from frostline.report.statistics.metrics import OWN_METRICS

Task = Callable[[], Any]
Noted = tuple[Any, list[tuple[str, type[Warning]]]]  # what it returned and warned of
# A process takes about three seconds of a core to start, as long as a few figures take.
LEAST_RUNS = 32
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


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
    from joblib.externals.loky.process_executor import BrokenProcessPool

    try:
        done = _shared(tasks, jobs)
    except BrokenProcessPool as error:
        raise InputError(
            "A process that made the report was ended from outside, as where memory is short: run "
            "the command again, on fewer cores (`taskset -c 0`), or where there is more."
        ) from error
    for _, said in done:
        for message, category in said:
            warnings.warn(message, category, stacklevel=2)
    return [value for value, _ in done]


def _shared(tasks: Sequence[Task], jobs: int) -> list[Noted]:
    """Do tasks in this process, which need not start, and in others; give what `_noting` does.

    Each takes the next task when it is done with one.
    """
    from joblib.externals.loky import get_reusable_executor

    pool = get_reusable_executor(jobs - 1, env=ONE_THREAD)
    remote = partial(_noting_elsewhere, os.getpid())
    left = iter(list(enumerate(tasks)))

    def take(do: Callable[[Task], Noted]) -> list[tuple[int, Noted]]:
        try:
            return [(place, do(task)) for place, task in left]
        finally:
            list(left)  # after an error nobody begins another

    def elsewhere(task: Task) -> Noted:
        return pool.submit(remote, task).result()

    with ThreadPoolExecutor(jobs - 1) as threads, warnings.catch_warnings():
        # A worker whose memory has grown is replaced by another, which is no matter of the user's.
        warnings.filterwarnings("ignore", "A worker stopped while some jobs")
        others = [threads.submit(take, elsewhere) for _ in range(jobs - 1)]
        done = dict(take(_noting))
        for one in others:
            done.update(one.result())
    return [done[place] for place in range(len(tasks))]


def _noting(task: Task) -> Noted:
    """Do a task, and bring home what it warned of."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("default")
        value = task()
    return value, [(str(one.message), one.category) for one in said]


def _noting_elsewhere(parent: int, task: Task) -> Noted:
    """Do so in another process."""
    _watch(parent)
    return _noting(task)


@cache
def _watch(parent: int) -> None:
    """Let this process end with its parent, were it killed: once is enough."""
    threading.Thread(target=end_with, args=(parent,), daemon=True).start()
