"""Which run is better, and is that more than luck: differences, tests and verdicts.

`docs/statistics.md` says what is tested and why. One primary metric decides; what is tested
together is declared as a family and adjusted for its size.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from frostline.cache.errors import InputError
from frostline.report.notes import Note
from frostline.report.predictions import Predictions
from frostline.report.statistics.comparisons.align import Aligned, align
from frostline.report.statistics.comparisons.multiplicity import holm, max_t
from frostline.report.statistics.comparisons.paired import (
    Swaps,
    difference_error,
    replicate_values,
    swap_p_values,
    swap_units,
)
from frostline.report.statistics.evaluation import Scored, place_notes, score
from frostline.report.statistics.intervals import MANY_UNITS, NO_INTERVAL, TAIL, percentile_bounds
from frostline.report.statistics.metrics import find_metric

FAMILIES = ("pairs", "freezing")
ALPHA = 0.05
# From so many on the jackknife's error tells whether two runs are equivalent.
FEWEST_DIFFERING = 10
COMPARISON_COLUMNS = (
    "dataset", "a", "b", "metric", "estimate_a", "estimate_b", "difference", "low", "high",
    "method", "p", "smallest_p", "p_adjusted", "adjustment", "family_size", "mcnemar_p", "margin",
    "equivalence_p", "verdict", "n_units", "n_images", "unit", "replicates", "seed", "notes",
)  # fmt: skip


@dataclass(frozen=True)
class Options:
    """How runs are compared; the fields are those of `compare`."""

    metric: str
    family: str
    margin: float | None
    replicates: int
    seed: int


def compare(
    predictions: Sequence[Predictions | Path | str],
    *,
    metric: str = "accuracy",
    family: str = "pairs",
    margin: float | None = None,
    split: str = "test",
    unit: str = "group",
    aggregate: str = "auto",
    replicates: int = 10_000,
    seed: int = 0,
    intersection: bool = False,
) -> pd.DataFrame:
    """Compare runs on the same images, data set by data set.

    Parameters
    ----------
    predictions : sequence of Predictions or paths
        At least two runs of a data set.
    metric : str
        The one primary metric, of the confusion matrix or of probabilities. `recall_weighted` is
        refused: it is the same number as accuracy.
    family : "pairs" or "freezing"
        What is tested together within a data set: all pairs (adjusted by max-T), or every frozen
        run against the unfrozen ones of its backbone (adjusted by Holm).
    margin : float, optional
        Differences smaller than this do not matter, as a fraction; with it, runs can be found
        equivalent (two one-sided tests).
    split, unit, aggregate
        As in `evaluate`.
    replicates : int
        Of the bootstrap, and arrangements drawn where there are too many to visit.
    seed : int
        Of both.
    intersection : bool
        Compare runs with different test sets on the images that all have.

    Returns
    -------
    DataFrame
        Columns `COMPARISON_COLUMNS`, a row a pair; `difference` is a minus b.

    Raises
    ------
    InputError
        If there is nothing to compare, or runs cannot be paired.
    """
    check_options(metric, family, margin, replicates)
    scored = score(predictions, split=split, unit=unit, aggregate=aggregate)
    if len(scored) < 2:
        raise InputError("one run alone cannot be compared; give at least two.")
    options = Options(metric, family, margin, replicates, seed)
    records: list[dict[str, Any]] = []
    for dataset in dict.fromkeys(_dataset(run) for run, _ in scored):
        part = [item for item in scored if _dataset(item[0]) == dataset]
        pairs = _pairs([run for run, _ in part], family)
        if pairs:
            records += _compare_dataset(part, pairs, dataset, options, intersection)
    if not records:
        what = {
            "pairs": "no two of these runs are of one data set",
            "freezing": "of no backbone is there a frozen and an unfrozen run of one data set",
        }[family]
        raise InputError(f"nothing to compare: {what}; give such runs.")
    return pd.DataFrame(records, columns=list(COMPARISON_COLUMNS))


def mcnemar_p(a_only: int, b_only: int) -> float:
    """McNemar's (1947) test, exact: are those that one run alone got right evenly split?"""
    from scipy.stats import binomtest

    total = a_only + b_only
    return float(binomtest(a_only, total).pvalue) if total else 1.0


def equivalence_p(difference: float, error: float, margin: float, df: float) -> float:
    """Two one-sided t-tests (Schuirmann 1987): is the difference inside -margin … margin?"""
    from scipy.special import stdtr

    if error == 0:
        return 0.0 if abs(difference) < margin else 1.0
    return float(1 - stdtr(df, (margin - abs(difference)) / error))


def few_differ_p(differing: int, units: int, margin: float) -> float:
    """What equivalence needs besides where fewer than 10 units differ, so that t knows too little.

    Accuracies differ by no more than the share of units that differ: p is the chance of so few, if
    that share were the margin (Clopper and Pearson 1934).
    """
    from scipy.stats import binom

    if differing >= FEWEST_DIFFERING:
        return 0.0
    return float(binom.cdf(differing, units, min(margin, 1.0)))


def check_options(metric: str, family: str, margin: float | None, replicates: int) -> None:
    if family not in FAMILIES:
        raise InputError(f"there is no family {family!r}; choose from {', '.join(FAMILIES)}.")
    if metric == "recall_weighted":
        raise InputError("recall_weighted is the same number as accuracy; compare by accuracy.")
    find_metric(metric)
    if metric in NO_INTERVAL:
        raise InputError(f"{metric} is not compared: it has no interval; compare by log_loss.")
    if margin is not None and margin <= 0:
        raise InputError(f"the margin {margin} is not above 0; give a fraction such as 0.02.")
    if replicates < 100:
        raise InputError(f"{replicates} replicates are too few to test by; ask for 1000 or more.")


def _dataset(run: Predictions) -> str:
    return str(run.meta.get("dataset") or "")


def _pairs(runs: Sequence[Predictions], family: str) -> list[tuple[int, int]]:
    """Positions of the runs to compare: all pairs, or frozen first and unfrozen second."""
    everything = list(itertools.combinations(range(len(runs)), 2))
    if family == "pairs":
        return everything
    kin = ("backbone", "protocol", "weights", "seed", "train_fraction")
    out = []
    for a, b in [*everything, *((b, a) for a, b in everything)]:
        one, other = runs[a].meta, runs[b].meta
        alike = all(one.get(name) == other.get(name) for name in kin) and one.get("backbone")
        tuned = other.get("unfreeze") not in ("none", None)
        if alike and one.get("unfreeze") == "none" and tuned:
            out.append((a, b))
    return sorted(out)


def _compare_dataset(
    part: Sequence[Scored],
    pairs: Sequence[tuple[int, int]],
    dataset: str,
    options: Options,
    intersection: bool,
) -> list[dict[str, Any]]:
    used = sorted({run for pair in pairs for run in pair})
    aligned = align([part[i] for i in used], intersection=intersection)
    place = {run: i for i, run in enumerate(used)}
    pairs = [(place[a], place[b]) for a, b in pairs]
    paired = aligned.paired
    rng = np.random.default_rng(options.seed)
    swaps = swap_units(paired, options.metric, pairs, options.replicates, rng)
    p, smallest = swap_p_values(swaps)
    adjusted = max_t(swaps) if options.family == "pairs" else holm(p)
    names = [part[i][0].run for i in used]
    values = paired.estimates(options.metric)
    bounds = _intervals(aligned, pairs, options, values)
    records = []
    for row, (a, b) in enumerate(pairs):
        record = {
            "dataset": dataset, "a": names[a], "b": names[b], "metric": options.metric,
            "estimate_a": float(values[a]), "estimate_b": float(values[b]),
            "difference": float(values[a] - values[b]), **bounds[row],
            "p": p[row], "smallest_p": smallest[row], "p_adjusted": adjusted[row],
            "adjustment": {"pairs": "max-T", "freezing": "Holm"}[options.family],
            "family_size": len(pairs), "n_units": paired.n_units, "n_images": aligned.n_images,
            "unit": aligned.unit, "replicates": options.replicates, "seed": options.seed,
            "mcnemar_p": _mcnemar(aligned, options.metric, a, b), "margin": options.margin,
            "notes": place_notes(
                [*aligned.notes, *_notes(aligned, swaps, row, smallest[row])],
                options.metric, part[used[a]][0], part[used[b]][0]),
        }  # fmt: skip
        record["equivalence_p"] = None
        if options.margin is not None:
            by_t = equivalence_p(
                record["difference"], difference_error(paired, options.metric, a, b),
                options.margin, paired.n_units - 1,
            )  # fmt: skip
            bound = few_differ_p(int(swaps.n_differing[row]), paired.n_units, options.margin)
            record["equivalence_p"] = max(by_t, bound)
        record["verdict"] = _verdict(record)
        records.append(record)
    return records


def _intervals(
    aligned: Aligned, pairs: Sequence[tuple[int, int]], options: Options, values: Any
) -> list[dict[str, Any]]:
    """Paired intervals: jackknife-t with few units, as `auto` of single runs; else percentile."""
    from scipy.special import stdtrit

    paired, out = aligned.paired, []
    units = paired.n_units
    if units < MANY_UNITS:
        for a, b in pairs:
            error = difference_error(paired, options.metric, a, b) if units > 1 else np.nan
            reach = float(stdtrit(units - 1, 1 - TAIL)) * error if units > 1 else np.nan
            centre = float(values[a] - values[b])
            bounds = {"low": centre - reach, "high": centre + reach}
            out.append(bounds | {"method": "paired jackknife-t"})
        return out
    rng = np.random.default_rng(options.seed)
    drawn = replicate_values(paired, options.metric, options.replicates, rng)
    for a, b in pairs:
        low, high, _ = percentile_bounds(drawn[a] - drawn[b])
        out.append({"low": low, "high": high, "method": "paired percentile"})
    return out


def _mcnemar(aligned: Aligned, metric: str, a: int, b: int) -> float | None:
    if not aligned.alone or metric != "accuracy":
        return None
    paired = aligned.paired
    right = np.trace(paired.matrices, axis1=-2, axis2=-1)
    a_only = int(paired.counts @ ((right[:, a] == 1) & (right[:, b] == 0)))
    b_only = int(paired.counts @ ((right[:, a] == 0) & (right[:, b] == 1)))
    return mcnemar_p(a_only, b_only)


def _verdict(record: dict[str, Any]) -> str:
    """Better or worse if the adjusted test says so, else equivalent within the margin, or not."""
    if record["p_adjusted"] < ALPHA:
        higher = find_metric(record["metric"]).higher
        return "better" if (record["difference"] > 0) == higher else "worse"
    within = record["equivalence_p"] is not None and record["equivalence_p"] < ALPHA
    return "equivalent" if within else "undecided"


def _notes(aligned: Aligned, swaps: Swaps, row: int, smallest: float) -> list[Note]:
    if swaps.n_differing[row] == 0:
        return [Note("The two runs never differ.")]
    if smallest < ALPHA:
        return []
    few = f"Too few {aligned.unit}s differ for p to fall below {smallest:.2g}"
    return [Note(f"{few}: no test can decide.")]
