"""Frozen against unfrozen, backbone by backbone: the question that Frostline was made for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from frostline.cache.errors import InputError
from frostline.report.notes import Note
from frostline.report.predictions import Predictions
from frostline.report.statistics.comparisons.comparison import check_options
from frostline.report.statistics.comparisons.differences import compare_methods, verdict
from frostline.report.statistics.comparisons.multiplicity import holm
from frostline.report.statistics.evaluation import MAJORITY_HEAD, Runs, Scored, as_scored
from frostline.report.statistics.seeds import group_seeds

DIFFERENCE_COLUMNS = (
    "dataset", "backbone", "protocol", "weights", "head", "unfreeze", "unfrozen_head", "metric",
    "estimate_frozen", "estimate_unfrozen", "difference", "low", "high", "p", "p_adjusted", "test",
    "equivalence_p", "verdict", "group_error", "seed_error", "seeds_frozen", "seeds_unfrozen",
    "n_units", "n_images", "unit", "notes",
)  # fmt: skip
NOT_COMPARED = "not compared"


def frozen_against_unfrozen(
    runs: Runs,
    primary: str = "accuracy",
    *,
    margin: float | None = None,
    permutations: int = 10_000,
    seed: int = 0,
    **options: Any,
) -> pd.DataFrame:
    """Every frozen method against every unfrozen one of its backbone, protocol and weights.

    Runs that differ in their seed alone are one method, scored by their mean (`compare_methods`).

    Parameters
    ----------
    runs : sequence of Predictions or paths, or of what `score` returned
    primary : str
        The one metric that decides.
    margin : float, optional
        Differences smaller than this do not matter; with it, methods can be equivalent.
    permutations, seed
        Of the swaps.
    **options
        `split`, `unit`, `aggregate` as in `evaluate`, where predictions or paths are given.

    Returns
    -------
    DataFrame
        Columns `DIFFERENCE_COLUMNS`, a row a pair; `difference` is frozen minus unfrozen, as a
        fraction; p is adjusted within a data set (Holm 1979). Where two methods cannot be paired
        the verdict is "not compared" and the first of `notes` says why. Empty where there is no
        such pair.
    """
    check_options(primary, "freezing", margin, permutations)
    records: list[dict[str, Any]] = []
    kin: dict[tuple[str, ...], list[Scored]] = {}
    for item in as_scored(runs, **options):
        if item[0].meta["head"] != MAJORITY_HEAD and item[0].meta["unfreeze"]:
            kin.setdefault(_kin(item[0]), []).append(item)
    for items in kin.values():
        methods = group_seeds(items)
        frozen = [one for one in methods if one[0][0].meta["unfreeze"] == "none"]
        tuned = [one for one in methods if one[0][0].meta["unfreeze"] != "none"]
        records += [
            _compare(one, other, primary, margin, permutations, seed)
            for one in frozen for other in tuned
        ]  # fmt: skip
    for dataset in {record["dataset"] for record in records}:
        _decide([r for r in records if r["dataset"] == dataset and r["verdict"] != NOT_COMPARED])
    return pd.DataFrame(records, columns=list(DIFFERENCE_COLUMNS))


def _kin(run: Predictions) -> tuple[str, ...]:
    meta = run.meta
    weights = "random" if str(meta["weights"]).startswith("random") else str(meta["weights"])
    known = [str(meta[name]) for name in ("dataset", "backbone", "protocol", "train_fraction")]
    return *known, weights


def _compare(
    frozen: Sequence[Scored],
    tuned: Sequence[Scored],
    metric: str,
    margin: float | None,
    permutations: int,
    seed: int,
) -> dict[str, Any]:
    one, other = frozen[0][0].meta, tuned[0][0].meta
    record: dict[str, Any] = {
        **{name: one[name] or "" for name in ("dataset", "backbone", "protocol", "weights")},
        "head": one["head"] or "", "unfreeze": str(other["unfreeze"]),
        "unfrozen_head": other["head"] or "", "metric": metric,
        "seeds_frozen": len(frozen), "seeds_unfrozen": len(tuned),
    }  # fmt: skip
    try:
        found = compare_methods(frozen, tuned, metric, margin=margin, permutations=permutations,
                                seed=seed)  # fmt: skip
    except InputError as error:
        return record | {"verdict": NOT_COMPARED, "notes": (Note(str(error)),), "p": np.nan}
    return record | vars(found) | {
        "estimate_frozen": found.estimate_a, "estimate_unfrozen": found.estimate_b, "verdict": "",
    }  # fmt: skip


def _decide(records: Sequence[dict[str, Any]]) -> None:
    """Adjust the p-values of a family and say the verdicts."""
    adjusted = holm([record["p"] for record in records])
    for record, p in zip(records, adjusted, strict=True):
        record["p_adjusted"] = p
        record["verdict"] = verdict(
            record["difference"], p, record["equivalence_p"], record["metric"]
        )
