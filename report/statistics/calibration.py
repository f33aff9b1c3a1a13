"""Reliability: how often what was said with some confidence is so, with consistency bars."""

from __future__ import annotations

import numpy as np
import pandas as pd

from frostline.cache.errors import InputError
from frostline.report.statistics.sample import Sample
from frostline.report.statistics.scores import CALIBRATION_BINS, Scores


def reliability(
    sample: Sample, *, bins: int = CALIBRATION_BINS, replicates: int = 2_000, seed: int = 0
) -> pd.DataFrame:
    """Frequency of being right by bins of confidence, fixed beforehand as equal steps.

    A consistency bar is where a bin's frequency would lie, 95% of times, if the probabilities were
    true: outcomes are drawn from the probabilities themselves (Bröcker and Smith 2007). It does
    not widen with the error of the frequency, as an interval would, and it takes images as
    independent.

    Returns
    -------
    DataFrame
        A row a bin that has images: `low_edge`, `high_edge`, `images`, `confidence` (mean),
        `frequency`, `bar_low`, `bar_high`.
    """
    if sample.probs is None:
        raise InputError("There is no reliability without probabilities: give prob_ columns.")
    confidence, outcome = Scores(sample.truth, sample.probs).called
    # An order of their own contents, so that the draws do not depend on the order of rows.
    order = np.lexsort((outcome, confidence))
    confidence, outcome = confidence[order], outcome[order]
    place = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    rng = np.random.default_rng(seed)
    rows = []
    for number in np.unique(place):
        said, right = confidence[place == number], outcome[place == number]
        drawn = (rng.random((replicates, len(said))) < said).mean(1)
        low, high = np.quantile(drawn, [0.025, 0.975])
        rows.append(
            (number / bins, (number + 1) / bins, len(said), said.mean(), right.mean(), low, high)
        )
    names = ["low_edge", "high_edge", "images", "confidence", "frequency", "bar_low", "bar_high"]
    return pd.DataFrame(rows, columns=names)
