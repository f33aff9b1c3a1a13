"""The heads: what each is called, what it is made of, and what is true of it."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from frostline.cache.errors import InputError
from frostline.cache.validation import validated
from frostline.probe.choices import HeadName
from frostline.probe.heads import grids

if TYPE_CHECKING:
    from frostline.probe.heads.training import Trainer

HERE = "frostline.probe.heads"
# The seed in the run id of what no seed changes: one run has one id, whichever command makes it.
UNSEEDED = 0


@dataclass(frozen=True)
class Head:
    """A kind of head.

    Attributes
    ----------
    grid : type
        Its hyper-parameters with their defaults (`frostline.probe.heads.grids`).
    estimator, trainer : str
        `module:name` of its scikit-learn class, and of the `Trainer` that scores and fits many of
        them together. Imported when first needed, for some import PyTorch.
    seeded : bool
        Whether a seed changes it.
    refits : bool
        Whether the selected head is fitted again, to training and validation images.
    ordinal : bool
        Whether it goes by the order of the classes, which it takes as `classes`.
    bags : bool
        Whether it takes all images of a patient, and answers for the patient.
    """

    grid: type[BaseModel]
    estimator: str
    trainer: str
    seeded: bool = False
    refits: bool = True
    ordinal: bool = False
    bags: bool = False

    def seeds(self, asked: Sequence[int]) -> list[int]:
        """List the seeds that it is trained with: those asked for, or 0 where none changes it."""
        return list(asked) if self.seeded else [UNSEEDED]

    def load_class(self) -> type:
        """Import its scikit-learn class."""
        found: type = pkgutil.resolve_name(f"{HERE}.{self.estimator}")
        return found

    def load_trainer(self) -> Trainer:
        """Import what scores and fits many of them together."""
        found: Trainer = pkgutil.resolve_name(f"{HERE}.{self.trainer}")
        return found


HEADS: dict[str, Head] = {
    "logistic": Head(grids.LogisticGrid, "logistic:LogisticProbe", "trainers.logistic:LOGISTIC"),
    "ordinal": Head(
        grids.OrdinalGrid, "ordinal:OrdinalProbe", "trainers.ordinal:ORDINAL", ordinal=True
    ),
    "adam": Head(grids.AdamGrid, "adam:AdamProbe", "trainers.adam:ADAM", seeded=True, refits=False),
    "knn": Head(grids.KNNGrid, "knn:KNNProbe", "trainers.knn:KNN"),
    "centroid": Head(grids.CentroidGrid, "simple:CentroidProbe", "trainers.one_by_one:CENTROID"),
    "majority": Head(grids.MajorityGrid, "simple:MajorityProbe", "trainers.one_by_one:MAJORITY"),
    "attention": Head(
        grids.AttentionGrid,
        "attention:AttentionProbe",
        "trainers.attention:ATTENTION",
        seeded=True,
        bags=True,
    ),
}
assert list(HEADS) == list(HeadName)


def find_head(name: str) -> Head:
    """Find a head by its name.

    Raises
    ------
    InputError
        If there is none of that name; the sentence lists all.
    """
    if name not in HEADS:
        raise InputError(f"There is no head {name!r}: choose {one_of(HEADS)}.")
    return HEADS[name]


def make_grid(
    name: str, values: Mapping[str, Any], options: Mapping[str, str] | None = None
) -> BaseModel:
    """Make a head's grid of the hyper-parameters that are given; the others have their defaults.

    Parameters
    ----------
    options : mapping, optional
        How those that are options of a command were typed, such as `{"C": "--set C"}`.

    Raises
    ------
    InputError
        If there is no such head, it has no such hyper-parameter, or a value cannot be.
    """
    grid = find_head(name).grid
    return validated(grid, values, f"Head {name!r}", "hyper-parameter", options)


def class_named(name: str) -> type:
    """Find a head's class by its own name, such as `LogisticProbe`.

    Raises
    ------
    KeyError
        If no head has that class.
    """
    for head in HEADS.values():
        if head.estimator.endswith(f":{name}"):
            return head.load_class()
    raise KeyError(name)


def one_of(names: Iterable[str]) -> str:
    """Join names as in "a, b or c"."""
    *rest, last = names
    return f"{', '.join(rest)} or {last}" if rest else last
