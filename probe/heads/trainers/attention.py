"""Attention heads, fitted one by one on bags."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from frostline.probe.heads.attention import AttentionProbe
from frostline.probe.heads.trainers.one_by_one import one_by_one
from frostline.probe.heads.training import Candidate, Fit, Pool


def _fit(pool: Pool, fits: Sequence[Fit], shared: Candidate, seed: int) -> list[Any]:
    return [
        AttentionProbe(**one.candidate, **shared, random_state=seed).fit(
            pool.X[one.rows], pool.names(one.rows), standard=pool.standard
        )
        for one in fits
    ]


ATTENTION = one_by_one(_fit)
