"""Are the probabilities true, and does one temperature mend them?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from frostline.cache.errors import InputError
from frostline.report.class_order import GIVEN_POSITIVE
from frostline.report.clinical.temperature import (
    NO_ROWS,
    Temperature,
    fit_temperature,
    fold_temperatures,
    scale,
    validation_notes,
    validation_sample,
)
from frostline.report.notes import Note, Notes
from frostline.report.predictions import Predictions
from frostline.report.statistics.calibration import reliability
from frostline.report.statistics.comparisons.methods import Method
from frostline.report.statistics.evaluation import about_run, as_scored, place_notes
from frostline.report.statistics.intervals.intervals import compute_intervals
from frostline.report.statistics.metrics import Array
from frostline.report.statistics.names import OUT_OF_FOLD
from frostline.report.statistics.sample import Runs, Sample, Scored

TEMPERATURE = "temperature"
METRICS = (
    "calibration_slope",
    "calibration_intercept",
    "calibration_error",
    "log_loss",
    "brier_score_loss",
)
BEFORE, AFTER = "before", "after"
WITH_VALIDATION = ("val", "all")
HELD = Note(
    "After: probabilities scaled by a temperature fitted on validation (Guo et al. 2017), which "
    "the intervals hold as it is."
)
OF_OTHER_FOLDS = Note(
    "After: each fold is scaled by the temperature of the predictions of the other folds, which "
    "the intervals hold as it is; the temperature shown is that of all folds together."
)
AGAINST_REST = (
    "The temperature is of all classes; all else is of the positive class against the others."
)
COLUMNS = ("when", "metric", "estimate", "low", "high", "n_units", "n_images", "unit", "method")


@dataclass(frozen=True)
class Scaled:
    """Rows of a run before and after scaling.

    `after` is None without a temperature, and `temperature.notes` say why.
    """

    before: Sample
    after: Sample | None
    temperature: Temperature


def calibration(
    predictions: Runs,
    *,
    split: str = "test",
    unit: str = "group",
    aggregate: str = "auto",
    classes: Sequence[str] | None = None,
    positive: str | None = None,
) -> pd.DataFrame:
    """Measure calibration before and after temperature scaling, with 95% intervals over units.

    The temperature is that of validation rows alone, whatever the rows scored; of a file of a
    cross-validation each fold's is that of the other folds. The intervals are of jackknife-t and
    hold the temperature; that of the temperature itself is over the units of validation.
    `calibration_error` has none: a squared gap cut off at 0 is misjudged by resampling.

    Parameters
    ----------
    predictions, unit, aggregate, classes
        As in `evaluate`.
    positive : str, optional
        The positive class; of more than two it is set against all others, after scaling.
    split : str
        Which rows are scored: none of validation may be among them.

    Returns
    -------
    DataFrame
        For each run a row with its temperature (`when` is "after"), and for each of `METRICS` one
        "before" and one "after", unless there is no temperature. Columns are those that say which
        run it is, as in `evaluate`, and `COLUMNS`, `positive`, `notes`.

    Raises
    ------
    InputError
        If a run has no probabilities or no validation rows, or those would be scored.
    """
    order: dict[str, Any] = {"classes": classes, "positive": positive, "against_rest": True}
    scored = as_scored(predictions, split=split, unit=unit, aggregate=aggregate, **order)
    for run, sample in scored:
        if sample.probs is None:
            raise InputError(f"{run.run} has no probabilities to calibrate: give prob_ columns.")
        if _is_scored(run, sample) and run.has_validation:
            raise InputError(
                f"{run.run}: the temperature is fitted on rows of split {sample.split}: score "
                "another, such as --split test."
            )
        if not (run.has_validation or _is_cv(run)):
            raise InputError(
                f"{run.run}: no row of split 'val' has a label, so that there is nothing to fit a "
                "temperature on: for calibration as it is give --metric calibration_slope."
            )
    return calibration_frame(scored, unit=unit, aggregate=aggregate, positive=positive)


def calibration_frame(
    scored: Sequence[Scored],
    *,
    unit: str = "group",
    aggregate: str = "auto",
    positive: str | None = None,
) -> pd.DataFrame:
    """Make what `calibration` returns, of the runs that have probabilities.

    Without rows to fit a temperature on there is no "after".
    """
    records: list[dict[str, Any]] = []
    for item in scored:
        if item[1].probs is not None:
            records += _records(item, unit, aggregate, positive)
    return pd.DataFrame(records)


def reliability_of(
    method: Method, *, unit: str = "group", aggregate: str = "auto", seed: int = 0
) -> pd.DataFrame:
    """Take `reliability` of the first seed, before and after scaling (column `when`).

    A trained model is calibrated or not, no method is. No rows without probabilities.
    """
    run, sample = method.runs[0]
    if sample.probs is None:
        return pd.DataFrame()
    scaled = scale_run(run, sample, unit=unit, aggregate=aggregate)
    states = {BEFORE: scaled.before, AFTER: scaled.after}
    parts = [
        reliability(rows, replicates=1_000, seed=seed).assign(run=method.name, when=when)
        for when, rows in states.items()
        if rows is not None
    ]
    return pd.concat(parts)


def scale_run(
    run: Predictions, sample: Sample, *, unit: str = "group", aggregate: str = "auto"
) -> Scaled:
    """Scale the scored rows of a run, which has probabilities.

    There is no temperature where rows of validation are among them.
    """
    assert sample.probs is not None
    folds: Array | None = None
    if _is_cv(run) and sample.split == OUT_OF_FOLD:
        found = fit_temperature(sample)
        folds, why = fold_temperatures(run, sample)
        found = replace(found, notes=(*found.notes, *why))
        known = not np.isnan([*folds, found.value]).any()
    elif _is_scored(run, sample) or not run.has_validation:
        nan = float("nan")
        found = Temperature(nan, nan, nan, sample.unit, 0, 0, (Note(NO_ROWS),))
        known = False
    else:
        found = fit_temperature(validation_sample(run, unit=unit, aggregate=aggregate))
        found = replace(found, notes=(*validation_notes(run, sample.split), *found.notes))
        known = not np.isnan(found.value)
    if not known:
        return Scaled(sample, None, found)
    probs = scale(sample.probs, found.value if folds is None else folds)
    return Scaled(sample, replace(sample, probs=probs), found)


def _is_scored(run: Predictions, sample: Sample) -> bool:
    """Say whether rows of validation are scored; those of an external run are elsewhere."""
    return sample.split in WITH_VALIDATION and run.validated is run


def _is_cv(run: Predictions) -> bool:
    return bool(run.meta.get("cv")) and "fold" in run.table


def _records(item: Scored, unit: str, aggregate: str, positive: str | None) -> list[dict[str, Any]]:
    run, sample = item
    scaled = scale_run(run, sample, unit=unit, aggregate=aggregate)
    found, dataset = scaled.temperature, str(run.meta.get("dataset") or "")
    how = OF_OTHER_FOLDS if sample.split == OUT_OF_FOLD else HELD
    # The positive class stands in a column, and in the table's own words.
    own_notes = (note for note in sample.notes if note.text != GIVEN_POSITIVE.text)
    against = positive is not None and len(sample.classes) > 2
    rest = [Note(AGAINST_REST, classes=(str(positive),))] if against else []
    notes: Notes = (*rest, *([how] if scaled.after is not None else ()), *found.notes, *own_notes)
    about = about_run(run, sample)
    temperature = {
        **about,
        "split": OUT_OF_FOLD if sample.split == OUT_OF_FOLD else "val",
        "when": AFTER,
        "metric": TEMPERATURE,
        **{name: getattr(found, name) for name in ("n_units", "n_images", "unit")},
        "estimate": found.value,
        "low": found.low,
        "high": found.high,
        "method": "jackknife-t",
        "positive": "",
        "notes": place_notes(notes, TEMPERATURE, dataset, {run.run: [run.run]}),
    }
    records = [temperature]
    for when, rows in ((BEFORE, scaled.before), (AFTER, scaled.after)):
        if rows is None:
            continue
        if against:
            rows = rows.against_rest(str(positive))
        for name, one in compute_intervals(rows, METRICS, ci="jackknife-t").items():
            said = place_notes((*notes, *one.notes), name, dataset, {run.run: [run.run]})
            shown = {name: getattr(one, name) for name in COLUMNS[2:] if name != "n_images"}
            own = {"when": when, "metric": name, "positive": rows.positive_of(name)}
            records.append(about | shown | own | {"notes": said})
    return records
