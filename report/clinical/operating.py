"""Operating points: what a model finds and misses at one threshold, with two intervals each."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from frostline.cache.errors import InputError
from frostline.report.class_order import GIVEN_POSITIVE
from frostline.report.clinical.choice import Choice, rows_of
from frostline.report.clinical.held import RATIOS, at_prevalence, held_intervals
from frostline.report.clinical.repeated import choice_notes, repeated_bounds
from frostline.report.clinical.temperature import validation_notes
from frostline.report.clinical.thresholds import YOUDEN, Rule, parse_rule
from frostline.report.notes import Note, Notes
from frostline.report.predictions import Predictions
from frostline.report.statistics.comparisons.methods import Method
from frostline.report.statistics.evaluation import RUN_COLUMNS, about_run, score
from frostline.report.statistics.intervals.interval import Interval
from frostline.report.statistics.sample import WHICH_IS_POSITIVE, Sample, Scored, make_sample
from frostline.report.statistics.seeds import fold_of_rows

VALIDATION = "val"
REPLICATES, PAGE_REPLICATES = 2_000, 500
# Predictive values at the stated prevalence, and the likelihood ratios that they are made of.
STATED = {"ppv_at_prevalence": RATIOS[0], "npv_at_prevalence": RATIOS[1]}
COLUMNS = (
    *("run", *RUN_COLUMNS, "run_seed", "split", "positive", "rule", "threshold"),
    *("highest_threshold", "metric", "prevalence", "estimate", "low", "high", "low_repeated"),
    *("high_repeated", "n_units", "n_images", "unit", "n_positive", "method", "replicates"),
    *("seed", "notes"),
)


@dataclass(frozen=True)
class Asked:
    """What is asked of every run.

    Attributes
    ----------
    rule : Rule
    prevalence : float or None
        The stated one.
    positive : str or None
    scoring : dict
        `unit` and `aggregate`.
    replicates, seed : int
        Of the repeated choice, and of percentile intervals.
    """

    rule: Rule
    prevalence: float | None = None
    positive: str | None = None
    scoring: dict[str, Any] | None = None
    replicates: int = REPLICATES
    seed: int = 0


def operating_points(
    predictions: Sequence[Predictions | Path | str],
    *,
    threshold: str | float = "youden",
    prevalence: float | None = None,
    positive: str | None = None,
    split: str = "test",
    unit: str = "group",
    aggregate: str = "auto",
    classes: Sequence[str] | None = None,
    replicates: int | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Choose a threshold on validation and score it on test, one row a run and number.

    Predictions on validation are held out, so that a threshold can be chosen on them. Those of a
    cross-validation have no such rows: the threshold of each fold is chosen on the out-of-fold
    predictions of all other folds.

    Parameters
    ----------
    predictions : sequence of Predictions or paths
        One a run, with probabilities.
    threshold : str or float
        A rule of `parse_rule`. Of a cost c the least is taken of c π (1 - sensitivity) + (1 - π)
        (1 - specificity), where π is the stated prevalence, or that of validation.
    prevalence : float, optional
        Above 0 and below 1: predictive values at this prevalence, too.
    positive : str, optional
        The positive class, against all others; needed for more than two.
    split, unit, aggregate, classes
        As of `evaluate`; rows of validation are aggregated as those that are scored.
    replicates : int, optional
        2,000 unless said: how often units are drawn again.
    seed : int

    Returns
    -------
    DataFrame
        Columns `COLUMNS`; metrics are `sensitivity`, `specificity`, `ppv`, `npv`, `lr_positive`,
        `lr_negative`, and with a stated prevalence `ppv_at_prevalence`, `npv_at_prevalence`.
        `low` and `high` hold the threshold: they are of the model with this very threshold.
        `low_repeated` and `high_repeated` repeat its choice (`repeated_bounds`): they are of the
        model with a threshold chosen in this way. NaN where the threshold is fixed.
        `threshold` and `highest_threshold` are those of folds that have their own. `prevalence` is
        the share of positives in what is scored, or the stated one.

    Raises
    ------
    InputError
        If a run has no probabilities, or no rows to choose on; or a value cannot be.
    """
    rule = parse_rule(threshold)
    check_prevalence(prevalence)
    if replicates is not None and replicates < 100:
        raise InputError(f"--replicates {replicates} are too few to repeat a choice: ask for 2000.")
    scoring: dict[str, Any] = {"unit": unit, "aggregate": aggregate}
    order: dict[str, Any] = {"classes": classes, "positive": positive, "against_rest": True}
    asked = Asked(rule, prevalence, positive, scoring, replicates or REPLICATES, seed)
    return tabulate_points(score(predictions, split=split, **scoring, **order), asked)


def check_prevalence(prevalence: float | None) -> None:
    """Refuse a prevalence that is no share between 0 and 1."""
    if prevalence is not None and not 0 < prevalence < 1:
        raise InputError(
            f"--prevalence is a share above 0 and below 1, such as 0.02, not {prevalence:g}: "
            "correct it."
        )


def tabulate_points(scored: Sequence[Scored], asked: Asked) -> pd.DataFrame:
    """Give what `operating_points` returns for runs already read."""
    records = [record for one in scored for record in _records(one, asked)]
    return pd.DataFrame(records, columns=list(COLUMNS))


def points_of_methods(methods: Sequence[Method], asked: Mapping[str, Any]) -> pd.DataFrame:
    """Tabulate the first seed of each method of a data set, for its page.

    A threshold is of a trained model, so that no mean over seeds has one. A data set has no rows
    where there is nothing to choose a threshold on, no probabilities, or more than two classes and
    none of them the positive one that is asked for; `evaluate` says which.

    Parameters
    ----------
    asked : mapping
        `threshold`, `prevalence` and `positive` of `operating_points` (a positive class that the
        data set does not have is none), `seed`, and `scoring` (`split`, `unit`, `aggregate`).
    """
    first, positive = methods[0].sample, asked.get("positive")
    scoring = dict(asked.get("scoring") or {})
    split, rule = scoring.pop("split", "test"), parse_rule(asked.get("threshold") or YOUDEN)
    named = positive if positive in first.classes else None
    prevalence = asked.get("prevalence")
    own = Asked(rule, prevalence, named, scoring, PAGE_REPLICATES, int(asked.get("seed", 0)))
    scored = [
        one.runs[0]
        for one in methods
        if one.sample.probs is not None and (rule.is_fixed or can_choose(*one.runs[0]))
    ]
    chosen_on = not rule.is_fixed and split in (VALIDATION, "all")
    if chosen_on or (named is None and len(first.classes) != 2):
        scored = []
    return tabulate_points(scored, own)


def positive_class(run: Predictions, positive: str | None) -> str:
    """Name the positive class of a run: the given one, or the last of two.

    Raises
    ------
    InputError
        If it has more than two and none is given.
    """
    if positive is not None:
        return positive
    if len(run.classes) != 2:
        raise InputError(
            f"{run.run} has {len(run.classes)} classes ({', '.join(run.classes)}): say by "
            "--positive which of them is set against the others."
        )
    return run.classes[1]


def can_choose(run: Predictions, sample: Sample) -> bool:
    """Say whether a run has probabilities, and labelled rows to choose a threshold on."""
    return sample.probs is not None and (_is_cv(run) or run.has_validation)


def make_choice(run: Predictions, sample: Sample, asked: Asked) -> Choice:
    """Take the rows to choose on, and those to score.

    Parameters
    ----------
    sample : Sample
        Of two classes: `Sample.against_rest`.
    """
    prevalence = asked.prevalence
    if asked.rule.is_fixed:
        return Choice(asked.rule, prevalence, None, rows_of(sample))
    if _is_cv(run):
        rows = rows_of(sample, fold_of_rows(run, sample))
        return Choice(asked.rule, prevalence, rows, rows)
    if not can_choose(run, sample):
        raise InputError(
            f"{run.run}: no row of split 'val' has a label, so that there is nothing to choose a "
            "threshold on: give one that was fixed beforehand, such as --threshold 0.5."
        )
    if sample.split in (VALIDATION, "all") and run.validated is run:
        raise InputError(
            f"--split {sample.split} scores the rows that the threshold is chosen on: leave it "
            "out, or give a threshold that was fixed beforehand, such as --threshold 0.5."
        )
    scoring = dict(asked.scoring or {})
    if scoring.get("aggregate", "auto") == "auto":
        # As what is scored, or the threshold would be that of something else.
        scoring["aggregate"] = "mean" if sample.n_images > len(sample.truth) else "none"
    chosen_on = make_sample(run.validated, split=VALIDATION, **scoring)
    rows = rows_of(chosen_on.against_rest(sample.classes[1]))
    return Choice(asked.rule, prevalence, rows, rows_of(sample))


def _is_cv(run: Predictions) -> bool:
    return bool(run.meta.get("cv")) and "fold" in run.table


def _records(scored: Scored, asked: Asked) -> Iterator[dict[str, Any]]:
    run, whole = scored
    positive = positive_class(run, asked.positive)
    if whole.probs is None:
        raise InputError(
            f"{run.run}: there are no probabilities to set a threshold on: give prob_ columns (a "
            "vote leaves none: use --aggregate mean)."
        )
    sample = whole.against_rest(positive)
    choice = make_choice(run, sample, asked)
    thresholds = choice.thresholds
    held, repeated, notes = compute_points(choice, sample, asked)
    share = float((sample.truth == 1).mean())
    about = about_run(run, sample) | {
        "positive": positive,
        "rule": asked.rule.text,
        "threshold": float(thresholds.min()),
        "highest_threshold": float(thresholds.max()),
        "n_positive": int((sample.truth == 1).sum()),
        "replicates": 0 if choice.choosing is None else asked.replicates,
        "seed": asked.seed,
    }
    if choice.choosing is not None and not choice.is_cv:
        notes = (*validation_notes(run, sample.split), *notes)
    said = (*_sample_notes(sample), *notes)
    for metric, one in held.items():
        ends = repeated.get(metric, (math.nan, math.nan))
        yield {
            **about,
            "metric": metric,
            "prevalence": asked.prevalence if metric in STATED else share,
            **{name: getattr(one, name) for name in ("estimate", "low", "high", "method")},
            **{"n_units": one.n_units, "unit": one.unit},
            **{"low_repeated": ends[0], "high_repeated": ends[1]},
            "notes": _placed((*one.notes, *said), run),
        }


def compute_points(
    choice: Choice, sample: Sample, asked: Asked
) -> tuple[dict[str, Interval], dict[str, tuple[float, float]], Notes]:
    """Give every number with its held interval, the bounds with the choice repeated, and notes.

    Parameters
    ----------
    choice : Choice
        `make_choice` of the sample.
    sample : Sample
        What is scored, of two classes: `Sample.against_rest`.
    """
    notes = choice_notes(choice, sample.unit, sample.classes)
    called = replace(sample, prediction=choice.calls())
    held = held_intervals(called, asked.seed)
    if np.isnan(choice.thresholds).any():
        nan = math.nan
        held = {
            name: replace(one, estimate=nan, low=nan, high=nan, method="none", notes=())
            for name, one in held.items()
        }
    repeated = {}
    if choice.choosing is not None:
        repeated = repeated_bounds(choice, held, asked.replicates, asked.seed)
    if asked.prevalence is not None:
        for name, ratio in STATED.items():
            negative = ratio == RATIOS[1]
            held[name] = at_prevalence(held[ratio], asked.prevalence, negative=negative)
            if ratio in repeated:
                low, high = repeated[ratio]
                ends = replace(held[ratio], low=low, high=high)
                stated = at_prevalence(ends, asked.prevalence, negative=negative)
                repeated[name] = stated.low, stated.high
    return held, repeated, notes


def _sample_notes(sample: Sample) -> Iterator[Note]:
    """Keep what a sample's notes say of its rows; of metrics only which class is positive."""
    for note in sample.notes:
        if not note.metrics and note.text != GIVEN_POSITIVE.text:
            yield note
        elif note.text == WHICH_IS_POSITIVE.text:
            yield replace(note, metrics=())


def _placed(notes: Sequence[Note], run: Predictions) -> Notes:
    """Name run and data set in notes; which number they are about is the row's."""
    dataset = str(run.meta.get("dataset") or "")
    placed = (replace(one, metrics=(), runs=(run.run,), dataset=dataset) for one in notes)
    return tuple(dict.fromkeys(placed))
