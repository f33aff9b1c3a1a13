"""Reliability: how often what was said with some confidence is so, with consistency bars."""

from __future__ import annotations

import numpy as np
import pandas as pd

from frostline.cache.errors import InputError
from frostline.report.statistics.metrics import Array, Codes
from frostline.report.statistics.sample import Sample
from frostline.report.statistics.scores import (
    CALIBRATION_BINS,
    calibration_fit,
    logit_of,
)


def reliability(
    sample: Sample, *, bins: int = CALIBRATION_BINS, replicates: int = 2_000, seed: int = 0
) -> pd.DataFrame:
    """Count how often it is right by bins of confidence, fixed beforehand as equal steps.

    A consistency bar is where a bin's frequency would lie, 95% of times, if the probabilities were
    true: outcomes are drawn from the probabilities themselves (Bröcker and Smith 2007). It does
    not widen with the error of the frequency, as an interval would.

    Where units are groups, the outcomes of a group within a bin are drawn with one correlation:
    with the chance of its root each takes the draw that its group shares, else one of its own (Lunn
    and Davies 1998). `within_units` estimates it, from 0, which is images that are independent, to
    1, one outcome a group. An interval over groups would not do: of a bin that is always right it
    has no width, though a confidence of 98% is so most times.

    Returns
    -------
    DataFrame
        A row a bin that has images: `low_edge`, `high_edge`, `images`, `confidence` (mean),
        `frequency`, `bar_low`, `bar_high`.
    """
    if sample.probs is None:
        raise InputError("There is no reliability without probabilities: give prob_ columns.")
    # An order of their own contents, so that the draws do not depend on the order of rows.
    confidence, outcome = sample.units.scores.called
    order = np.lexsort((sample.units.member, outcome, confidence))
    confidence, outcome, member = confidence[order], outcome[order], sample.units.member[order]
    place = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    shared = within_units(sample, place, order) if sample.groups is not None else 0.0
    rng = np.random.default_rng(seed)
    rows = []
    for number in np.unique(place):
        said, right = confidence[place == number], outcome[place == number]
        drawn = _draw(said, member[place == number], shared, replicates, rng)
        low, high = np.quantile(drawn, [0.025, 0.975])
        rows.append(
            (number / bins, (number + 1) / bins, len(said), said.mean(), right.mean(), low, high)
        )
    names = ["low_edge", "high_edge", "images", "confidence", "frequency", "bar_low", "bar_high"]
    return pd.DataFrame(rows, columns=names)


def within_units(sample: Sample, place: Codes, order: Codes) -> float:
    """Estimate the correlation of outcomes within a unit and bin: 0 to 1.

    By moments (Liang and Zeger 1986): the products of residuals of all pairs of images
    of a unit in a bin, over those of their standard deviations. Residuals are from the
    recalibrated probabilities (`calibration_fit`), so that miscalibration is no correlation.

    Parameters
    ----------
    place : int64 [n]
        The bin of each row of the sample's units, in the order of `order`.
    order : int64 [n]
        An order of those rows.
    """
    from scipy.special import expit

    scores = sample.units.scores
    (confidence, outcome), member = scores.called, sample.units.member
    (slope,), (intercept,) = calibration_fit(scores, np.ones((len(member), 1)))
    fitted = expit(slope * logit_of(confidence) + intercept) if np.isfinite(slope) else confidence
    cell = np.unique(np.stack([member[order], place]), axis=1, return_inverse=True)[1].ravel()
    spread = np.sqrt(fitted * (1 - fitted))[order]
    pairs = [_pairs(cell, values) for values in ((outcome - fitted)[order], spread)]
    return float(np.clip(pairs[0] / pairs[1], 0, 1)) if pairs[1] > 0 else 0.0


def _pairs(cell: Codes, values: Array) -> float:
    """Add up the products of all pairs of values in a cell."""
    return float((np.bincount(cell, values) ** 2 - np.bincount(cell, values**2)).sum())


def _draw(
    said: Array, member: Codes, shared: float, replicates: int, rng: np.random.Generator
) -> Array:
    """Draw frequencies of a bin whose probabilities are true: [replicates]."""
    drawn = rng.random((replicates, len(said)))
    units, unit, images = np.unique(member, return_inverse=True, return_counts=True)
    several = np.flatnonzero(images[unit] > 1)
    if shared > 0 and len(several):
        own = rng.random((replicates, len(several))) >= np.sqrt(shared)
        common = rng.random((replicates, len(units)))[:, unit[several]]
        drawn[:, several] = np.where(own, drawn[:, several], common)
    return np.asarray((drawn < said).mean(1))
