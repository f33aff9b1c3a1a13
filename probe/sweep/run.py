"""A sweep from its settings to its results: plan, compute what is missing, gather."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from frostline.cache import Workspace
from frostline.probe.sweep.head_run import HeadRun
from frostline.probe.sweep.planning import plan_sweep
from frostline.probe.sweep.results import Results, check_name, gather
from frostline.probe.sweep.settings import Sweep
from frostline.probe.sweep.validation_scores import is_done
from frostline.probe.sweep.workers import workers

if TYPE_CHECKING:
    from frostline.probe.sweep.engine import SweepTask

# Heads that one task solves together: enough to fill the matrix products, and few enough that an
# interrupt loses little.
HEADS_A_TASK = 600

Progress = Callable[[int, int], None]


def run_sweep(
    workspace: Workspace,
    sweep: Sweep,
    *,
    jobs: int | None = None,
    scheduler: str | None = None,
    progress: Progress | None = None,
    said: Callable[[str], None] | None = None,
) -> Results:
    """Compute what is not done of a sweep, and gather its results.

    Parameters
    ----------
    workspace : Workspace
    sweep : Sweep
    jobs : int, optional
        Processes; one a core if None.
    scheduler : str, optional
        Address of a Dask scheduler, instead. Its workers must see the workspace at the same path.
    progress : callable, optional
        Gets heads done and heads in all.
    said : callable, optional
        Gets every sentence that a person should read, once.

    Returns
    -------
    Results
        Also written to `sweeps/<name>/results.parquet` in the workspace.

    Raises
    ------
    InputError
        If something is not there or cannot be trained on, or another sweep has the name.
    """
    workspace = Workspace(workspace.root.resolve())
    check_name(workspace, sweep)
    plan = plan_sweep(workspace, sweep)
    heard = dict.fromkeys(plan.skipped)
    found = compute_runs(workspace, plan.runs, jobs=jobs, scheduler=scheduler, progress=progress)
    heard.update(dict.fromkeys(found))
    results = gather(workspace, sweep, plan.runs)
    heard.update(dict.fromkeys(results.warnings))
    for sentence in heard:
        (said or (lambda text: None))(sentence)
    return results


def compute_runs(
    workspace: Workspace,
    runs: Sequence[HeadRun],
    *,
    jobs: int | None = None,
    scheduler: str | None = None,
    progress: Progress | None = None,
) -> list[str]:
    """Compute what is not done of some runs; give sentences that a person should read.

    Parameters are those of `run_sweep`.
    """
    todo = [run for run in runs if not is_done(workspace, run)]
    tasks = make_tasks(workspace, todo)
    total = sum(run.heads() for run in runs)
    done = total - sum(run.heads() for run in todo)
    tell = progress or (lambda done, total: None)
    tell(done, total)
    if not todo:
        return []
    heard: dict[str, None] = {}
    with workers(jobs, scheduler, len(tasks)) as parallel:
        for result in parallel(tasks):
            done += result.heads
            tell(done, total)
            heard.update(dict.fromkeys(result.said))
    return list(heard)


def make_tasks(workspace: Workspace, runs: list[HeadRun]) -> list[SweepTask]:
    """Put runs that can be computed together into tasks of at most `HEADS_A_TASK` heads."""
    # Here, and not above: what is done is known without what trains.
    from frostline.probe.sweep.engine import SweepTask

    together: dict[tuple[Any, ...], list[list[HeadRun]]] = {}
    for run in runs:
        key = (run.data, run.head, run.seed)
        chunks = together.setdefault(key, [[]])
        if chunks[-1] and sum(one.heads() for one in [*chunks[-1], run]) > HEADS_A_TASK:
            chunks.append([])
        chunks[-1].append(run)
    return [
        SweepTask(workspace.root, tuple(chunk)) for chunks in together.values() for chunk in chunks
    ]
