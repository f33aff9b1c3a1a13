"""What a sweep tries: heads × hyper-parameters × features × seeds × sizes × data × backbones."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from frostline.cache import InputError
from frostline.probe.heads.knn import DEFAULT_KS
from frostline.probe.heads.logistic import DEFAULT_CS
from frostline.probe.heads.scoring import METRICS

# Label-efficiency sizes below this many groups are drawn at least `LEAST_DRAWS` times.
SMALL, LEAST_DRAWS = 100, 10


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


def _listed(value: Any) -> Any:
    """One value as a list of one; ``{from, to, count}`` as evenly spaced logarithms."""
    if isinstance(value, dict) and set(value) == {"from", "to", "count"}:
        low, high, count = float(value["from"]), float(value["to"]), int(value["count"])
        if low <= 0 or high <= 0 or count < 1:
            raise ValueError("from and to must be positive and count at least 1")
        return [float(number) for number in np.geomspace(low, high, count)]
    return value if isinstance(value, list) else [value]


Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Many = BeforeValidator(_listed)
AtLeastOne = Field(min_length=1)
ClassWeight = Literal["balanced"] | None


class LogisticGrid(_Strict):
    """Strengths of `LogisticProbe`, and what is the same for all."""

    C: Annotated[list[Positive], Many, AtLeastOne] = [float(C) for C in DEFAULT_CS]
    class_weight: ClassWeight = None
    tol: Positive = 1e-4
    max_iter: Annotated[int, Field(ge=1)] = 200


class AdamGrid(_Strict):
    """Recipes of `AdamProbe`, and what is the same for all."""

    lr: Annotated[list[Positive], Many, AtLeastOne] = [1e-4]
    weight_decay: Annotated[list[Annotated[float, Field(ge=0)]], Many, AtLeastOne] = [0.0]
    hidden: Annotated[list[Annotated[int, Field(ge=1)] | None], Many, AtLeastOne] = [None]
    class_weight: ClassWeight = None
    epochs: Annotated[int, Field(ge=1)] = 100
    batch_size: Annotated[int, Field(ge=1)] = 32


class KNNGrid(_Strict):
    """Candidates of `KNNProbe`."""

    n_neighbors: Annotated[list[Annotated[int, Field(ge=1)]], Many, AtLeastOne] = list(DEFAULT_KS)
    temperature: Annotated[list[Positive], Many, AtLeastOne] = [0.07]
    class_weight: ClassWeight = None


class CentroidGrid(_Strict):
    """Candidates of `CentroidProbe`."""

    metric: Annotated[list[Literal["euclidean", "cosine"]], Many, AtLeastOne] = ["euclidean"]
    temperature: Annotated[list[Positive], Many, AtLeastOne] = [0.1]


class MajorityGrid(_Strict):
    """`MajorityProbe` has nothing to choose."""


GRIDS: dict[str, type[_Strict]] = {
    "logistic": LogisticGrid,
    "adam": AdamGrid,
    "knn": KNNGrid,
    "centroid": CentroidGrid,
    "majority": MajorityGrid,
}


def _named(value: Any) -> Any:
    """Names of heads as a mapping to empty grids."""
    if isinstance(value, str):
        value = [value]
    if isinstance(value, list):
        value = {str(name): {} for name in value}
    if isinstance(value, dict):
        return {name: {} if grid is None else grid for name, grid in value.items()}
    return value


class Heads(_Strict):
    """Heads that are tried, each with its grid."""

    logistic: LogisticGrid | None = None
    adam: AdamGrid | None = None
    knn: KNNGrid | None = None
    centroid: CentroidGrid | None = None
    majority: MajorityGrid | None = None

    def grids(self) -> dict[str, _Strict]:
        """Those that are there."""
        return {name: grid for name in GRIDS if (grid := getattr(self, name)) is not None}


class Sweep(_Strict):
    """A sweep, checked.

    Attributes
    ----------
    datasets, backbones : list of str
    features : list of str, optional
        Embeddings that `frostline extract --feature` made; needed where there are several stores.
    key : str, optional
        First digits of the embedding store's key, where features do not tell stores apart.
    heads : Heads
        A list of names, or a mapping of names to grids.
    metric : str
        Decides on validation images.
    seeds : list of int
        Only heads that depend on a seed are trained once for each.
    train_groups : list
        Sizes of the training part: counts of groups, fractions of them, or `all`.
    draws : int
        Random draws of every size but `all`; at least 10 of sizes under 100 groups.
    cv : str, optional
        ``KxR``: K folds, repeated R times, instead of the data set's splits.
    test_dataset : str, optional
        Selected heads are scored on the images of this data set, too.
    """

    name: str = "sweep"
    datasets: Annotated[list[str], Many, AtLeastOne]
    backbones: Annotated[list[str], Many, AtLeastOne]
    features: Annotated[list[str], Many] | None = None
    key: str | None = None
    heads: Annotated[Heads, BeforeValidator(_named)] = Heads(logistic=LogisticGrid())
    metric: str = "log_loss"
    seeds: Annotated[list[int], Many, AtLeastOne] = [0]
    train_groups: Annotated[list[int | float | Literal["all"]], Many, AtLeastOne] = ["all"]
    draws: int = Field(10, ge=1)
    cv: str | None = None
    test_dataset: str | None = None
    label: str = "label"
    split: str = "split"
    on_missing: Literal["error", "skip"] = "error"

    def folds(self) -> tuple[int, int] | None:
        """K and R of `cv`."""
        if self.cv is None:
            return None
        folds, _, repeats = self.cv.partition("x")
        return int(folds), int(repeats)


def candidates(grid: BaseModel) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Every combination of a grid's lists, the most regularised first, and what is the same."""
    values = grid.model_dump()
    lists = {name: list(dict.fromkeys(v)) for name, v in values.items() if isinstance(v, list)}
    same = {name: value for name, value in values.items() if name not in lists}
    if "C" in lists:
        lists["C"].sort()
    if "n_neighbors" in lists:
        lists["n_neighbors"].sort(reverse=True)
    combinations = itertools.product(*lists.values())
    return [dict(zip(lists, combination, strict=True)) for combination in combinations], same


def read_sweep(path: Path, flags: dict[str, Any]) -> Sweep:
    """Read a sweep file; `flags` are keys that the command line gave, and win.

    Raises
    ------
    InputError
        If there is none, it is not YAML, a key is unknown (the valid ones are listed) or a value
        is wrong.
    """
    if not path.is_file():
        raise InputError(f"There is no sweep file {path}: write one, or use the options instead.")
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(data, dict):
        raise InputError(
            f"{path} is not a sweep: it must be a mapping with datasets, backbones, …."
        )
    return parse_sweep({"name": path.stem, **data, **flags}, str(path))


def parse_sweep(data: dict[str, Any], where: str) -> Sweep:
    """Check a sweep; `where` names it in errors."""
    try:
        sweep = Sweep.model_validate(data)
    except ValidationError as error:
        raise InputError(f"{where}: {_sentence(error)}") from None
    _check(sweep, where)
    return sweep


def _check(sweep: Sweep, where: str) -> None:
    if sweep.metric not in METRICS:
        raise InputError(f"{where}: there is no metric {sweep.metric!r}; it is {_or(METRICS)}.")
    if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", sweep.name):
        raise InputError(f"{where}: {sweep.name!r} cannot name a sweep; use letters, digits and -.")
    if not sweep.heads.grids():
        raise InputError(f"{where}: no head is named; choose among {', '.join(GRIDS)}.")
    for size in sweep.train_groups:
        if size != "all" and (size <= 0 or (isinstance(size, float) and size >= 1)):
            raise InputError(
                f"{where}: train_groups are whole numbers from 1, fractions below 1, or all; "
                f"{size!r} is none."
            )
    if sweep.cv is None:
        return
    found = re.fullmatch(r"(\d+)x(\d+)", sweep.cv)
    if not found or int(found[1]) < 3 or int(found[2]) < 1:
        raise InputError(
            f"{where}: cv is FOLDSxREPEATS with at least 3 folds, such as 5x3, not {sweep.cv!r}."
        )
    for name in ("seeds", "train_groups", "test_dataset"):
        if getattr(sweep, name) != Sweep.model_fields[name].default:
            raise InputError(
                f"{where}: {name} does not go with cv, whose repeats are the seeds and whose folds "
                "are all the images; leave one of them out."
            )


def _sentence(error: ValidationError) -> str:
    """The first problem in words; unknown keys come with the valid ones."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        valid = ", ".join(_model_at(first["loc"][:-1]).model_fields) or "none"
        return f"there is no key {place!r}; the keys there are {valid}."
    if first["type"] == "missing":
        return f"the key {place!r} is missing."
    return f"{place}: {first['msg'].lower()}, not {first.get('input')!r}."


def _model_at(location: tuple[int | str, ...]) -> type[BaseModel]:
    if not location:
        return Sweep
    return Heads if len(location) == 1 else GRIDS[str(location[1])]


def _or(names: Any) -> str:
    *rest, last = names
    return f"{', '.join(rest)} or {last}"
