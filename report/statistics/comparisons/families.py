"""Families: which pairs of methods are tested together."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from frostline.report.statistics.comparisons.methods import Method

KIN = ("dataset", "backbone", "protocol", "train_fraction")


# In what a run says of itself: the backbone whose curve of depths it is a point of.
CURVE = "depths_of"


def find_pairs(methods: Sequence[Method], family: str) -> list[tuple[int, int]]:
    """Find the places of the methods to compare.

    Parameters
    ----------
    methods : sequence of Method
        Those of one data set.
    family : "pairs" or "freezing"
        All pairs, or every frozen method (first) with every unfrozen one (second) of the same
        backbone, protocol, share of training data and kind of weights: random weights are one
        kind, whatever their seed.

    Points of one curve of depths are no pair: the sentences on depth compare them, a family of its
    own, and a pair has one answer.
    """
    return [(a, b) for a, b in _pairs(methods, family) if not _on_one_curve(methods[a], methods[b])]


def _pairs(methods: Sequence[Method], family: str) -> list[tuple[int, int]]:
    if family == "pairs":
        return list(itertools.combinations(range(len(methods)), 2))
    frozen = [i for i, one in enumerate(methods) if one.meta.get("unfreeze") == "none"]
    tuned = [i for i, one in enumerate(methods) if one.meta.get("unfreeze") not in ("none", None)]
    return [(a, b) for a in frozen for b in tuned if _akin(methods[a], methods[b])]


def _on_one_curve(one: Method, other: Method) -> bool:
    curve = one.meta.get(CURVE)
    return curve is not None and curve == other.meta.get(CURVE)


def _akin(one: Method, other: Method) -> bool:
    return bool(one.meta.get("backbone")) and _kin(one) == _kin(other)


def _kin(method: Method) -> tuple[str, ...]:
    weights = str(method.meta.get("weights"))
    kind = "random" if weights.startswith("random") else weights
    return (*(str(method.meta.get(name)) for name in KIN), kind)
