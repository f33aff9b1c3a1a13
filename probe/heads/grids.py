"""Hyper-parameters of every head: names, limits and defaults, which stand here and nowhere else.

In a grid, a list is what validation chooses from, and anything else is the same for all
candidates. The estimators take their defaults from here, too.
"""

from __future__ import annotations

import itertools
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field


class Strict(BaseModel):
    """A model that refuses keys it does not know."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


def as_list(value: Any) -> Any:
    """Make one value a list of one, and `{from, to, count}` evenly spaced logarithms."""
    if isinstance(value, dict) and set(value) == {"from", "to", "count"}:
        low, high, count = float(value["from"]), float(value["to"]), int(value["count"])
        if low <= 0 or high <= 0 or count < 1:
            raise ValueError("{from, to, count} with numbers above 0 and a count of at least 1")
        return [float(number) for number in np.geomspace(low, high, count)]
    return value if isinstance(value, list) else [value]


Many = BeforeValidator(as_list)
AtLeastOne = Field(min_length=1)
# The weakest penalty that decides. Where classes can be separated, coefficients below it have no
# end but the solver's tolerance: two fits with equal losses then score differently on new images.
LARGEST_C = 1e4
NO_LARGER = f"at most {LARGEST_C:g} (a weaker penalty does not decide between solutions)"


def _decides(C: float) -> float:
    if C > LARGEST_C:
        raise ValueError(NO_LARGER)
    return C


Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Strength = Annotated[Positive, AfterValidator(_decides)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, lt=2**31)]
ClassWeight = Literal["balanced"] | None


class LogisticGrid(Strict):
    """Strengths of `LogisticProbe`: of equal scores the strongest penalty wins."""

    C: Annotated[list[Strength], Many, AtLeastOne] = np.logspace(-6, 2, 45).tolist()
    class_weight: ClassWeight = None
    tol: Positive = 1e-4
    max_iter: Count = 200


class OrdinalGrid(LogisticGrid):
    """Strengths of `OrdinalProbe`, those of `LogisticProbe`."""


class AdamGrid(Strict):
    """Recipes of `AdamProbe`: the paper's unless others are given (*paper*; no decay is *code*)."""

    lr: Annotated[list[Positive], Many, AtLeastOne] = [1e-4]
    weight_decay: Annotated[list[NotNegative], Many, AtLeastOne] = [0.0]
    hidden: Annotated[list[Count | None], Many, AtLeastOne] = [None]
    class_weight: ClassWeight = None
    epochs: Count = 100
    batch_size: Count = 32


class KNNGrid(Strict):
    """Numbers of neighbours of `KNNProbe`: of equal scores the largest wins."""

    n_neighbors: Annotated[list[Count], Many, AtLeastOne] = [1, 2, 5, 10, 20, 50, 100, 200]
    temperature: Annotated[list[Positive], Many, AtLeastOne] = [0.07]
    class_weight: ClassWeight = None


class CentroidGrid(Strict):
    """Distances of `CentroidProbe`."""

    metric: Annotated[list[Literal["euclidean", "cosine"]], Many, AtLeastOne] = ["euclidean"]
    temperature: Annotated[list[Positive], Many, AtLeastOne] = [0.1]


class MajorityGrid(Strict):
    """`MajorityProbe` has nothing to choose."""


class AttentionGrid(Strict):
    """Strengths of `AttentionProbe`: of equal scores the strongest penalty wins."""

    C: Annotated[list[Positive], Many, AtLeastOne] = np.logspace(-4, 2, 7).tolist()
    hidden: Annotated[list[Count], Many, AtLeastOne] = [64]
    class_weight: ClassWeight = None
    tol: Positive = 1e-5
    max_iter: Count = 200


def candidates(grid: BaseModel) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """List every combination of a grid's lists, the most regularised first, and what they share."""
    values = grid.model_dump()
    lists = {name: list(dict.fromkeys(v)) for name, v in values.items() if isinstance(v, list)}
    shared = {name: value for name, value in values.items() if name not in lists}
    if "C" in lists:
        lists["C"].sort()
    if "n_neighbors" in lists:
        lists["n_neighbors"].sort(reverse=True)
    combinations = itertools.product(*lists.values())
    return [dict(zip(lists, combination, strict=True)) for combination in combinations], shared
