"""Methods: runs that differ in their seed alone are one; a run is a method with one seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from frostline.report.predictions import Predictions
from frostline.report.statistics.names import (
    MAJORITY_HEAD,
    METHOD_COLUMNS,
    describe,
    method_words,
    seeds_word,
    trained_word,
)
from frostline.report.statistics.sample import Sample, Scored


@dataclass(frozen=True)
class Method:
    """The runs of one method on one data set, one a seed; named by the first of them."""

    runs: tuple[Scored, ...]

    @property
    def name(self) -> str:
        """Name of the first run."""
        return self.runs[0][0].run

    @property
    def meta(self) -> dict[str, Any]:
        """Metadata of the first run."""
        return self.runs[0][0].meta

    @property
    def dataset(self) -> str:
        """The data set, empty where the file does not say."""
        return str(self.meta.get("dataset") or "")

    @property
    def sample(self) -> Sample:
        """What is scored of the first run."""
        return self.runs[0][1]

    @property
    def confusion(self) -> npt.NDArray[np.int64]:
        """Counts summed over seeds, [K, K], rows truth."""
        return np.asarray(sum(sample.confusion for _, sample in self.runs))


def group_methods(scored: Sequence[Scored], *, by_test_set: bool = True) -> list[Method]:
    """Group runs into methods, in the order in which they first occur.

    Runs of equal seed are no seeds of a method, and each stays alone. The majority class is no
    method.

    Parameters
    ----------
    scored : sequence of (Predictions, Sample)
        What `score` returned.
    by_test_set : bool
        Whether seeds with other test sets, and runs whose rows have no names, are methods of their
        own; else they stay with their method, and whoever pairs them refuses.
    """
    kin: dict[tuple[str, ...], list[Scored]] = {}
    for run, sample in scored:
        if run.meta.get("head") == MAJORITY_HEAD:
            continue
        key = method_key(run)
        if by_test_set:
            key = (*key, sample.test_set, "" if sample.ids is not None else run.run)
        kin.setdefault(key, []).append((run, sample))
    out: list[Method] = []
    for runs in kin.values():
        seeds = [run.meta.get("seed") for run, _ in runs]
        one = len(set(seeds)) == len(seeds)
        out += [Method(tuple(runs))] if one else [Method((item,)) for item in runs]
    return out


def method_key(run: Predictions) -> tuple[str, ...]:
    """Give what two runs of one method share; runs that say nothing of themselves stay alone."""
    known = tuple(str(run.meta.get(name)) for name in METHOD_COLUMNS)
    return known if run.meta.get("backbone") else (*known, run.run)


def method_labels(methods: Sequence[Method]) -> list[str]:
    """Name methods in words for people, by what tells them from each other: `describe`'s words."""
    about = ("head", "backbone", "unfreeze", "weights", "feature", "protocol", "train_fraction")
    rows = [
        {name: one.meta.get(name) or "" for name in about}
        | {"run": one.name, "run_seed": one.meta.get("seed") if len(one.runs) == 1 else None}
        | {"split": one.sample.split}
        for one in methods
    ]
    found = describe(pd.DataFrame(rows))
    labels = []
    for one, row in zip(methods, rows, strict=True):
        model, details = found[one.name]
        seeds = seeds_word(len(one.runs), one.sample.split) if len(one.runs) > 1 else ""
        words = ", ".join(filter(None, (trained_word(str(row["unfreeze"])), details, seeds)))
        labels.append(f"{model} ({words})" if words else model)
    return labels


def method_names(methods: Sequence[Method]) -> list[str]:
    """Name methods so that no two are confused: one seed by its run, several in words."""
    names = [
        one.name
        if len(one.runs) == 1
        else f"{method_words(one.meta, one.name)}, {seeds_word(len(one.runs), one.sample.split)}"
        for one in methods
    ]
    return [
        f"{name} ({one.name})" if names.count(name) > 1 else name
        for name, one in zip(names, methods, strict=True)
    ]
