"""Processes that compute tasks: of this machine, or of a Dask cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from frostline.cache.errors import InputError
from frostline.cache.locks import own_cores

if TYPE_CHECKING:
    from frostline.probe.sweep.engine import Done, SweepTask

    Parallel = Callable[[list[SweepTask]], Iterator[Done]]


@contextmanager
def workers(jobs: int | None, scheduler: str | None, tasks: int) -> Iterator[Parallel]:
    """Give what runs tasks and yields them as they are done.

    Parameters
    ----------
    jobs : int, optional
        Processes; one a core if None.
    scheduler : str, optional
        Address of a Dask scheduler, instead.
    tasks : int
        So many processes at most.
    """
    import joblib

    from frostline.probe.sweep.engine import run_task

    if scheduler is not None:
        with _dask(scheduler):
            yield _spread(joblib.Parallel(n_jobs=-1, return_as="generator_unordered"))
        return
    cores = own_cores()
    wanted = min(jobs or cores, max(tasks, 1))
    if wanted == 1:
        yield lambda todo: map(run_task, todo)
        return
    threads = max(1, cores // wanted)
    with joblib.parallel_config("loky", n_jobs=wanted, inner_max_num_threads=threads):
        yield _spread(joblib.Parallel(return_as="generator_unordered"))


def _spread(pool: Any) -> Parallel:
    import joblib

    from frostline.probe.sweep.engine import run_task

    return lambda todo: pool(joblib.delayed(run_task)(task) for task in todo)


@contextmanager
def _dask(scheduler: str) -> Iterator[None]:
    import joblib

    try:
        from distributed import Client
    except ImportError:
        raise InputError(
            "--scheduler needs the packages of the extra `dask`: pip install 'frostline[dask]'."
        ) from None
    try:
        client: Any = Client(scheduler, set_as_default=True)  # type: ignore[no-untyped-call]
    except (OSError, TimeoutError, ValueError) as error:
        raise InputError(
            f"No Dask scheduler answers at {scheduler} ({type(error).__name__}): start one, or "
            "correct --scheduler."
        ) from None
    with client, joblib.parallel_config("dask"):
        yield
