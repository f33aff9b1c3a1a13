"""Costs of heads, timed on a few made-up rows."""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np
from pydantic import BaseModel

from frostline.cache import Workspace
from frostline.cache.stores.measured import measure_once

TIMED_ROWS = 512  # rows that heads are timed on
CLOSE = 0.2  # distance of neighbouring classes in standard deviations: they overlap, as real ones


def row_seconds(
    workspace: Workspace, head: str, grid: BaseModel, dim: int, classes: int
) -> tuple[float, float]:
    """Measure the seconds for each training row: all of a grid's candidates scored, one fitted.

    Passes over the rows are as many as the made-up data need; real ones may need more or fewer.
    """
    import torch

    what = {
        "head": head,
        "grid": grid.model_dump(),
        "dim": dim,
        "classes": classes,
        "rows": TIMED_ROWS,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }

    def timed() -> dict[str, Any]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # made-up rows say nothing of real ones
            return {"seconds": _timed(head, grid, dim, classes)}

    scored, fitted = measure_once(workspace, what, timed)["seconds"]
    return float(scored), float(fitted)


def _timed(head: str, grid: BaseModel, dim: int, classes: int) -> list[float]:
    from frostline.probe.heads.grids import candidates
    from frostline.probe.heads.registry import find_head
    from frostline.probe.heads.training import Fit, Part, Pool

    rng, rows = np.random.default_rng(0), np.arange(TIMED_ROWS)
    codes = rows % classes
    X = rng.normal(size=(TIMED_ROWS, dim)) + CLOSE * rng.normal(size=(classes, dim))[codes]
    pool = Pool(X.astype(np.float32), codes, [str(code) for code in range(classes)], rows)
    tried, shared = candidates(grid)
    if find_head(head).ordinal:
        shared["classes"] = pool.classes
    held_out, trainer = rows[: TIMED_ROWS // 4], find_head(head).load_trainer()
    # Once without a clock: the first call of a library pays for its start.
    trainer.score(pool, [Part(held_out, (held_out,))], tried[:1], shared, 0)
    start = time.perf_counter()
    trainer.score(pool, [Part(rows, (held_out,))], tried, shared, 0)
    scored = time.perf_counter()
    # What is selected lies in the middle of a grid, as a rule; after one epoch, of heads that have.
    trainer.fit(pool, [Fit(rows, tried[len(tried) // 2], 1)], shared, 0)
    return [(scored - start) / TIMED_ROWS, (time.perf_counter() - scored) / TIMED_ROWS]
