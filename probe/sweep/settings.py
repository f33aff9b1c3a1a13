"""What a sweep tries: heads × hyper-parameters × features × seeds × sizes × data × backbones."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny

from frostline.cache.errors import InputError
from frostline.cache.keys import spec_key
from frostline.cache.validation import Seed, read_yaml, validated
from frostline.cache.workspace import is_name
from frostline.probe.choices import (
    MOST_VIEWS,
    Level,
    OnMissing,
    Pool,
    Pooling,
    Protocol,
    SelectionMetric,
)
from frostline.probe.heads.grids import AtLeastOne, LogisticGrid, Many
from frostline.probe.heads.registry import HEADS, make_grid


class Sweep(BaseModel):
    """A sweep, checked; `parse_sweep` makes it.

    Attributes
    ----------
    name : str
        Its results lie in `sweeps/<name>/`. If none is given, made from what it sweeps, or from
        the name of its file, with a digest of its settings.
    datasets, backbones : list of str
    features : list of str, optional
        Embeddings that `frostline extract --feature` made; needed where there are several stores.
    key : str, optional
        First digits of the embedding store's key, where features do not decide.
    heads : dict
        Heads with their grids, in the order of the registry.
    protocol : str
        The recipe that its runs belong to, as their predictions say.
    metric : str
        Decides on validation images.
    seeds : list of int
        Only heads that depend on a seed are trained once for each.
    train_groups : list
        Sizes of the training part: counts of groups, fractions of them, or `all`.
    draws : int
        Random draws of every size but `all`.
    cv : str, optional
        `KxR`: K folds, repeated R times, instead of the data set's splits.
    test_dataset : str, optional
        Selected heads are scored on the images of this data set, too.
    label, split : str
        Columns of the manifest.
    on_missing : str
        What to do about images that a store lacks: `error`, or `skip` them.
    level : str
        `image`, or `patient`: heads answer for all images of a group together.
    pool : str, optional
        At that level, what makes one embedding of a patient's images for heads that take one: their
        `mean` (if None) or `max`.
    views : int
        Heads train on so many augmented views of every training image, too (docs/views.md).
    views_key : str, optional
        First digits of the key of one of the views, where there are those of several seeds or
        changes.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    name: str = ""
    datasets: Annotated[list[str], Many, AtLeastOne]
    backbones: Annotated[list[str], Many, AtLeastOne]
    features: Annotated[list[str], Many] | None = None
    key: str | None = None
    heads: dict[str, SerializeAsAny[BaseModel]] = {"logistic": LogisticGrid()}
    protocol: Protocol = "paper"
    metric: SelectionMetric = "log_loss"
    seeds: Annotated[list[Seed], Many, AtLeastOne] = [0]
    train_groups: Annotated[list[int | float | Literal["all"]], Many, AtLeastOne] = ["all"]
    draws: int = Field(default=10, ge=1)
    cv: str | None = None
    test_dataset: str | None = None
    label: str = "label"
    split: str = "split"
    on_missing: OnMissing = "error"
    level: Level = "image"
    pool: Pool | None = None
    views: int = Field(default=0, ge=0, le=MOST_VIEWS)
    views_key: str | None = None

    def pooling(self, head: str) -> Pooling | None:
        """Say what makes one row of a patient's images for a head; None where images are rows."""
        if self.level == "image":
            return None
        return "attention" if HEADS[head].bags else self.pool or "mean"

    def folds(self) -> tuple[int, int] | None:
        """Return K and R of `cv`."""
        if self.cv is None:
            return None
        folds, _, repeats = self.cv.partition("x")
        return int(folds), int(repeats)


def read_sweep(
    path: Path, replaced: Mapping[str, Any], options: Mapping[str, str] | None = None
) -> Sweep:
    """Read a sweep file.

    Parameters
    ----------
    path : Path
        YAML.
    replaced : mapping
        Keys that replace the file's.
    options : mapping, optional
        As `parse_sweep` takes them: those of the keys that replace the file's.

    Raises
    ------
    InputError
        If there is none, it is not YAML, a key is unknown (the valid ones are listed) or a value
        is wrong.
    """
    if not path.is_file():
        raise InputError(f"There is no sweep file {path}: write one, or use the options instead.")
    data = read_yaml(path)
    if not isinstance(data, dict):
        raise InputError(
            f"{path} is not a sweep: it must be a mapping with datasets, backbones and so on."
        )
    return parse_sweep({**data, **replaced}, str(path), path.stem, options)


def parse_sweep(
    data: Mapping[str, Any],
    where: str,
    stem: str | None = None,
    options: Mapping[str, str] | None = None,
) -> Sweep:
    """Check a sweep.

    Parameters
    ----------
    data : mapping
        Fields of `Sweep`; `heads` may be a name, a list of names, or a mapping of names to grids.
    where : str
        What errors begin with: the file, or what else the sweep comes from.
    stem : str, optional
        What its name begins with if none is given; else that is made from what is swept.
    options : mapping, optional
        Keys that were typed as options of a command, with the words that were typed, such as
        `{"draws": "--draws", "heads.knn.n_neighbors": "--grid knn.n_neighbors"}`: sentences name
        those. All other keys are in `where`.

    Raises
    ------
    InputError
        If a key is unknown or a value cannot be.
    """
    given, typed = dict(data), options or {}
    if "heads" in given:
        try:
            given["heads"] = _grids(given["heads"], typed)
        except InputError as error:
            raise InputError(str(error) if "heads" in typed else f"{where}: {error}") from None
    sweep = validated(Sweep, given, where, options=typed)
    for key, sentence in _contradictions(sweep, typed):
        raise InputError(sentence if key in typed else f"{where}: {sentence}")
    if sweep.name:
        return sweep
    # Older than levels and views: the names of sweeps without them stay what they were.
    later = {"level", "pool"} if sweep.level == "image" else set()
    later |= set() if sweep.views else {"views", "views_key"}
    digest = spec_key(sweep.model_dump(exclude={"name"} | later))[:8]
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", stem or _words(sweep)).lstrip(".-")
    return sweep.model_copy(update={"name": f"{name}-{digest}"})


def _words(sweep: Sweep) -> str:
    """What is swept, in a few words."""
    parts = {"datasets": sweep.datasets, "backbones": sweep.backbones, "heads": [*sweep.heads]}
    words = []
    for what, names in parts.items():
        words += names if len(names) <= 3 else [f"{len(names)}-{what}"]
    return "-".join(words)


def _grids(given: Any, typed: Mapping[str, str]) -> dict[str, BaseModel]:
    """Grids of heads that are given as a name, as names, or as a mapping of names to grids."""
    if isinstance(given, str):
        given = [given]
    if isinstance(given, list):
        given = {str(name): {} for name in given}
    if not isinstance(given, dict) or not all(
        isinstance(grid, dict | None) for grid in given.values()
    ):
        raise InputError("`heads` is a list of heads, or a mapping of heads to their grids.")
    if not given:
        raise InputError(f"No head is named: choose among {', '.join(HEADS)}.")
    found = {
        str(name): make_grid(str(name), grid or {}, _below(f"heads.{name}.", typed))
        for name, grid in given.items()
    }
    return {name: found[name] for name in HEADS if name in found}


def _below(place: str, typed: Mapping[str, str]) -> dict[str, str]:
    """How the fields of one place were typed."""
    return {
        key.removeprefix(place): option for key, option in typed.items() if key.startswith(place)
    }


def _contradictions(sweep: Sweep, typed: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """What cannot be together, or cannot be at all: keys, each with a sentence that names it."""

    def said(key: str) -> str:
        return typed.get(key, key)

    if sweep.name and not is_name(sweep.name):
        yield (
            "name",
            f"{said('name')} is letters, digits, '.', '-' and '_', and {sweep.name!r} is not.",
        )
    if sweep.name == "cells":
        yield (
            "name",
            f"{said('name')} cannot be 'cells', because scores of all sweeps lie there: take "
            "another.",
        )
    for size in sweep.train_groups:
        if size != "all" and (size <= 0 or (isinstance(size, float) and size >= 1)):
            yield (
                "train_groups",
                f"{said('train_groups')} takes whole numbers from 1, fractions below 1, or all, "
                f"not {size!r}.",
            )
    if sweep.seeds != [0] and not any(HEADS[name].seeded for name in sweep.heads):
        heads = " or ".join(sweep.heads)
        yield "seeds", f"{said('seeds')} changes nothing of {heads}: leave it out."
    if "draws" in sweep.model_fields_set and sweep.train_groups == ["all"]:
        yield (
            "draws",
            f"{said('draws')} is for the sizes in {said('train_groups')}: name some, or leave it "
            "out.",
        )
    yield from _row_contradictions(sweep, said)
    if sweep.cv is not None:
        yield from _cv_contradictions(sweep, sweep.cv, said)


def check_rows(sweep: Sweep, options: Mapping[str, str]) -> None:
    """Refuse a level or views that do not go with the rest; `options` says how keys were typed.

    Raises
    ------
    InputError
        The first contradiction, in a sentence.
    """
    for _, sentence in _row_contradictions(sweep, lambda key: options.get(key, key)):
        raise InputError(sentence)


def _row_contradictions(sweep: Sweep, said: Callable[[str], str]) -> Iterator[tuple[str, str]]:
    if sweep.views_key is not None and not sweep.views:
        yield (
            "views_key",
            f"{said('views_key')} chooses among views: add {said('views')}, or leave it out.",
        )
    bags = [name for name in sweep.heads if HEADS[name].bags]
    if sweep.level == "image" and bags:
        yield (
            "heads",
            f"Head {bags[0]!r} answers for a patient by all images: add {said('level')} patient.",
        )
    if sweep.pool is not None and sweep.level == "image":
        yield "pool", f"{said('pool')} is for {said('level')} patient: add that, or leave it out."
    elif sweep.pool is not None and len(bags) == len(sweep.heads):
        yield (
            "pool",
            f"{said('pool')} changes nothing of {bags[0]}, which weighs the images itself: leave "
            "it out.",
        )


def _cv_contradictions(
    sweep: Sweep, cv: str, said: Callable[[str], str]
) -> Iterator[tuple[str, str]]:
    found = re.fullmatch(r"(\d+)x(\d+)", cv)
    if not found or int(found[1]) < 3 or int(found[2]) < 1:
        yield (
            "cv",
            f"{said('cv')} is FOLDSxREPEATS with at least 3 folds, such as 5x3, not {cv!r}.",
        )
    for key in ("seeds", "train_groups", "test_dataset", "split"):
        if getattr(sweep, key) != Sweep.model_fields[key].default:
            yield (
                key,
                f"{said(key)} does not go with {said('cv')}, whose repeats are the seeds and whose "
                "folds are all the images: leave one of them out.",
            )
