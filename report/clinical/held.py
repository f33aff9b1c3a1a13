"""What a model finds and misses at a threshold that is held, with intervals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from frostline.report.notes import Note
from frostline.report.statistics.intervals.bounds import AT_BOUND, jackknife_bounds
from frostline.report.statistics.intervals.estimates import LeftOut, df_factor
from frostline.report.statistics.intervals.flags import flag
from frostline.report.statistics.intervals.interval import Interval
from frostline.report.statistics.intervals.intervals import compute_intervals
from frostline.report.statistics.metrics import Array
from frostline.report.statistics.resampling.weights import unit_weights
from frostline.report.statistics.sample import Sample

RATIOS = ("lr_positive", "lr_negative")
# Likelihood ratios hang on both classes alike, as balanced accuracy does.
LIKE_RATIOS = "balanced_accuracy"
NAMES = ("sensitivity", "specificity", "ppv", "npv", *RATIOS)


def point_values(confusion: npt.NDArray[np.generic]) -> dict[str, Array]:
    """Compute every number of `NAMES` from confusion matrices [..., 2, 2], the positive class last.

    ppv and npv are the predictive values of a positive and of a negative call at the prevalence of
    the rows; `lr_positive` is sensitivity / (1 - specificity), `lr_negative` (1 - sensitivity) /
    specificity. NaN where there is nothing to divide by, infinite where nothing is called wrongly.
    """
    values = np.asarray(confusion, dtype=np.float64)
    (tn, fp), (fn, tp) = values[..., 0, :].T, values[..., 1, :].T
    with np.errstate(invalid="ignore", divide="ignore"):
        sensitivity, specificity = tp / (tp + fn), tn / (tn + fp)
        # Counts of the class alone, so that no error is 0 by rounding or fails to be.
        found = {
            "sensitivity": sensitivity,
            "specificity": specificity,
            "ppv": tp / (tp + fp),
            "npv": tn / (tn + fn),
            "lr_positive": sensitivity / (fp / (tn + fp)),
            "lr_negative": (fn / (tp + fn)) / specificity,
        }
    return {name: value.T for name, value in found.items()}


def held_intervals(sample: Sample, seed: int = 0) -> dict[str, Interval]:
    """Compute the intervals of every number of `NAMES`, the threshold held.

    Shares are those of `compute_intervals`. Of the logarithm of a likelihood ratio it is Student's
    t with the error of a jackknife that leaves out one unit at a time; where units are single
    images, about the interval of Simel, Samsa and Matchar (1991).

    Parameters
    ----------
    sample : Sample
        Of two classes, the positive one last, predicted at the threshold.
    seed : int
        Of the percentile bootstrap, which is taken of many units.
    """
    rest, positive = sample.classes
    metrics = {
        "sensitivity": f"recall[{positive}]",
        "specificity": f"recall[{rest}]",
        "ppv": f"precision[{positive}]",
        "npv": f"precision[{rest}]",
    }
    given = compute_intervals(sample, list(metrics.values()), seed=seed)
    found = {name: given[metric] for name, metric in metrics.items()} | _ratio_intervals(sample)
    values = {name: float(value) for name, value in point_values(sample.confusion).items()}
    return {name: _defined(one, values[name]) for name, one in found.items()}


def _ratio_intervals(sample: Sample) -> dict[str, Interval]:
    matrices, counts = sample.kinds.matrices, sample.kinds.counts
    images = matrices.sum(-1), matrices.sum(-2)
    weights = unit_weights(LIKE_RATIOS, sample.classes, images, counts)
    factor = df_factor(LIKE_RATIOS, sample)
    values, left = point_values(sample.confusion), point_values(sample.confusion - matrices)
    out, nan = {}, float("nan")
    for name in RATIOS:
        ratio = float(values[name])
        one = Interval(ratio, nan, nan, "jackknife-t", 0, sample.unit, sample.n_units)
        if not 0 < ratio < np.inf:
            out[name] = replace(one, notes=(Note(AT_BOUND),))
            continue
        with np.errstate(divide="ignore"):
            without = np.log(left[name])
        without = np.where(np.isfinite(without), without, nan)
        rest = LeftOut(without, weights, counts, factor)
        low, high, note = jackknife_bounds(float(np.log(ratio)), rest, None)
        notes = (Note(note.format(unit=sample.unit)),) if note else flag(LIKE_RATIOS, sample)
        out[name] = replace(one, low=float(np.exp(low)), high=float(np.exp(high)), notes=notes)
    return out


def _defined(interval: Interval, value: float) -> Interval:
    """Say that a number with nothing to divide by has no value, where a metric would be 0."""
    if not np.isnan(value):
        return interval
    none = (Note("No value: there is nothing to divide by."),)
    return replace(interval, estimate=value, low=value, high=value, notes=none)


def at_prevalence(ratio: Interval, prevalence: float, *, negative: bool = False) -> Interval:
    """Turn a likelihood ratio into the predictive value of a call at a prevalence.

    Bayes' theorem in odds: logit PPV = logit π + log LR+ and logit NPV = logit (1 - π) - log LR-
    (Altman and Bland 1994). The value rises with the one and falls with the other, so that its
    interval is theirs, on the logit scale (Mercaldo, Lau and Zhou 2007).

    Parameters
    ----------
    ratio : Interval
        That of `lr_positive`, or of `lr_negative` for the value of a `negative` call.
    prevalence : float
        Above 0 and below 1.
    """
    odds = prevalence / (1 - prevalence)

    def value(ratio: float) -> float:
        if negative:
            return 1 / (1 + odds * ratio)
        return 1.0 if np.isinf(ratio) else odds * ratio / (1 + odds * ratio)

    ends = [value(end) for end in (ratio.low, ratio.high)]
    low, high = sorted(ends) if not np.isnan(ends).any() else (float("nan"),) * 2
    return replace(ratio, estimate=value(ratio.estimate), low=low, high=high)
