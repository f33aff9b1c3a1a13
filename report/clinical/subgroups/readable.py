"""Whether a column, such as sex or site, can be read from embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from frostline.cache.errors import InputError
from frostline.cache.tables.words import counted
from frostline.report.statistics.controls import compress, make_head
from frostline.report.statistics.intervals.intervals import compute_intervals
from frostline.report.statistics.metrics import Array, Codes
from frostline.report.statistics.sample import Sample
from frostline.report.tables.numbers import percent

METRIC = "roc_auc"
CHANCE = 0.5
FEWEST_GROUPS = 5  # of each value, to train on and to score


@dataclass(frozen=True)
class Readable:
    """How well a head reads a column from embeddings.

    Attributes
    ----------
    column, backbone : str
        The column as it was asked for: "age:60".
    values : str
        The values that the head tells from each other, with commas between them.
    estimate, low, high : float
        ROC AUC on test with its 95% interval; of more than two values the mean over each against
        the rest.
    n_groups, n_images : int
        Of test.
    """

    column: str
    backbone: str
    values: str
    estimate: float
    low: float
    high: float
    n_groups: int
    n_images: int

    @property
    def sentence(self) -> str:
        """Say whether the interval lies above chance, and what that means."""
        score = f"ROC AUC {percent(self.estimate)}"
        score += "" if np.isnan(self.low) else f" [{percent(self.low)}, {percent(self.high)}]"
        of = f"from the embeddings of {self.backbone}"
        name = self.column.partition(":")[0]
        name = f"{name} ({self.values})" if name != self.column else name
        if self.low > CHANCE:
            return (
                f"{name} can be read {of}: {score}, chance 50; a head trained on them may "
                f"use it, so compare its subgroups (`frostline evaluate --by {self.column}`)."
            )
        return f"There is no evidence that {name} can be read {of}: {score}, chance 50."


def read_column(
    features: Array,
    codes: Codes,
    names: Sequence[str],
    groups: Codes,
    test: npt.NDArray[np.bool_],
    *,
    column: str,
    backbone: str,
    seed: int = 0,
) -> Readable:
    """Train a logistic head to tell a column's values, and score it on images of other patients.

    The head is that of the negative controls: on the first 128 principal components, standardised,
    classes weighted alike.

    Parameters
    ----------
    features : float64 [n, D]
    codes : int64 [n]
        The value of each image, a number in `names`; -1 is not known, and takes no part.
    groups : int64 [n]
    test : bool [n]
        Which images are scored; the others train.

    Raises
    ------
    InputError
        If fewer than two values have five groups to train on and five to score.
    """
    enough = [
        number
        for number in range(len(names))
        if all(
            len(np.unique(groups[(codes == number) & part])) >= FEWEST_GROUPS
            for part in (test, ~test)
        )
    ]
    if len(enough) < 2:
        raise InputError(
            f"Fewer than two values of {column!r} have {counted(FEWEST_GROUPS, 'group')} to train "
            "on and as many to score: it cannot be asked whether it can be read."
        )
    kept = np.isin(codes, enough)
    matrix, truth = compress(features[kept], seed), np.searchsorted(enough, codes[kept])
    scored = test[kept]
    probs = make_head().fit(matrix[~scored], truth[~scored]).predict_proba(matrix[scored])
    member = groups[kept][scored]
    chosen = tuple(names[number] for number in enough)
    n = int(scored.sum())
    sample = Sample(
        truth[scored], probs.argmax(1), member, chosen, "group", "", "test", (), probs, n
    )
    found = compute_intervals(sample, [METRIC], seed=seed)[METRIC]
    bounds = found.estimate, found.low, found.high
    return Readable(column, backbone, ", ".join(chosen), *bounds, found.n_units, n)
