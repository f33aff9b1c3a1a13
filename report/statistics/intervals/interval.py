"""An estimate with its interval."""

from __future__ import annotations

from dataclasses import dataclass

from frostline.report.notes import Notes


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95% interval; `low` and `high` are NaN where there is none, see `notes`.

    `n_units` counts the units that were resampled, `unit` says which they were.
    """

    estimate: float
    low: float
    high: float
    method: str
    replicates: int
    unit: str
    n_units: int
    notes: Notes = ()
