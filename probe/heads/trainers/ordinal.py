"""Ordinal heads, many at a time: as logistic ones, by the order of the classes."""

from __future__ import annotations

from typing import Any

import numpy as np

from frostline.probe.heads.ordinal import OrdinalProbe, in_classes
from frostline.probe.heads.trainers.logistic import StrengthTrainer, strength_trainer
from frostline.probe.heads.training import Candidate, Index, Pool
from frostline.probe.solver.ordinal import class_shares, solve_ordinal
from frostline.probe.solver.solve import Heads


class _Ordinal(StrengthTrainer):
    def codes(self, pool: Pool, shared: Candidate) -> Index:
        # A row without a class, -1, is in no part: what it is taken for does not matter.
        return np.argsort(_order(pool, shared))[pool.codes]

    def solve(self, *data: Any, **options: Any) -> Heads:
        return solve_ordinal(*data, **options)

    def probabilities(
        self, pool: Pool, coef: Any, intercept: Any, shared: Candidate, rows: Index
    ) -> Any:
        along = (pool.X[rows] @ coef[:, 0].T).T
        return in_classes(class_shares(along, -intercept), _order(pool, shared))

    def head(self, pool: Pool, coef: Any, intercept: Any, how: Candidate) -> Any:
        head = OrdinalProbe(**how)
        head.order_ = _order(pool, how)
        head.coef_, head.thresholds_ = coef[0], -intercept
        return head


def _order(pool: Pool, shared: Candidate) -> Index:
    """Positions in the pool's classes, from the lowest to the highest."""
    return np.array(
        [pool.classes.index(name) for name in shared["classes"] if name in pool.classes]
    )


ORDINAL = strength_trainer(_Ordinal())
