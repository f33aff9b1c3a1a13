"""What is scored of a run: truth and prediction as class numbers, and the units of resampling."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from frostline.cache.errors import InputError
from frostline.cache.tables.class_order import check_order, is_positive_plain
from frostline.cache.tables.words import counted
from frostline.report.notes import Note, Notes
from frostline.report.overlap import overlap_note
from frostline.report.predictions import Predictions
from frostline.report.statistics.aggregate import IMAGES, aggregate_predictions
from frostline.report.statistics.choices import Unit
from frostline.report.statistics.metrics import (
    HANG_ON_POSITIVE,
    OF_POSITIVE,
    ORDINAL,
    Codes,
    confusion_matrix,
    name_ranks,
)
from frostline.report.statistics.names import OUT_OF_FOLD
from frostline.report.statistics.resampling.bootstrap import Kinds, find_kinds
from frostline.report.statistics.resampling.units import Units, make_units
from frostline.report.statistics.resampling.weights import effective_number
from frostline.report.statistics.scores import Scores

UNITS = get_args(Unit)
INDEPENDENT = Note("Images are the unit: independence assumed.")
NO_GROUPS = Note("There are no groups: independence assumed.")
OTHER_IMAGES = Note(
    "Scored on other images than the other runs of its data set, so its scores are not to be "
    "compared with theirs; `frostline compare --intersection` takes the images that all have.",
    first=True,
)
OTHER_ROWS = Note(
    "Scored by patient, and other runs of its data set by image, or the other way round, so its "
    "scores are not to be compared with theirs; `--aggregate mean` scores all by patient.",
    first=True,
)
OTHER_LABELS = Note(
    "Scored by other labels than the other runs of its data set, on the same images: its scores "
    "are not to be compared with theirs.",
    first=True,
)
OTHER_STATE = Note(
    "Made from another state of its data set than the other runs: labels, groups, splits or "
    "images changed in between.",
    first=True,
)
WHICH_IS_POSITIVE = Note(
    "`--positive`, or `classes` of the data set, chooses the positive class: not declared, it is "
    "the last in the list of classes.",
    metrics=HANG_ON_POSITIVE,
)


def never_predicted(classes: Sequence[str]) -> Notes:
    """Say for each of these classes that its precision counts as 0."""
    text, averages = (
        "Precision counts as 0 for a class that is never predicted.",
        (
            "precision_weighted",
            "precision_macro",
        ),
    )
    return tuple(Note(text, (*averages, f"precision[{name}]"), (name,)) for name in classes)


ROWS_ARE_GROUPS = Note(
    "Images are no units here, because each row is a group: `--aggregate none` scores images."
)


@dataclass(frozen=True)
class Sample:
    """The scored rows of one run.

    Attributes
    ----------
    truth, prediction : int64 [n]
        Class numbers in `classes`.
    groups : int64 [n] or None
        Group numbers, None where images are the units.
    classes : tuple of str
        The fixed class list, in its order.
    unit : "group" or "image"
        What is resampled.
    test_set : str
        Digest of the images and labels scored: equal for runs that were scored on the same ones.
    split : str
        The split scored, "all" where every row was, "out of fold" of a cross-validation.
    notes : tuple of Note
        What a reader of the results should know; each names this run.
    probs : float64 [n, K] or None
        Probabilities, None where the file has none.
    n_images : int
        Number of images scored; more than rows where rows are patients.
    ids : object [n] or None
        Names of the rows, by which runs are paired; None where the file has none.
    declared : bool
        Whether a person declared the order of the classes.
    images : int64 [n] or None
        How many images each row stands for where rows are groups; None where rows are images.
    """

    truth: Codes
    prediction: Codes
    groups: Codes | None
    classes: tuple[str, ...]
    unit: str
    test_set: str
    split: str
    notes: Notes
    probs: npt.NDArray[np.float64] | None = None
    n_images: int = 0
    ids: npt.NDArray[np.object_] | None = None
    declared: bool = False
    images: npt.NDArray[np.int64] | None = None

    def positive_of(self, metric: str) -> str:
        """Name the positive class that a metric is of; "" of more than two, and of other metrics.

        It is the last of the class list.
        """
        return self.classes[1] if metric in OF_POSITIVE and len(self.classes) == 2 else ""

    def check_order(self, metrics: Iterable[str], whose: str) -> None:
        """Refuse ordinal metrics where nothing says the order; `whose` is the run's name."""
        for name in metrics:
            if name in ORDINAL:
                check_order(self.classes, self.declared, name, whose)

    def rows(self, chosen: npt.NDArray[np.integer]) -> Sample:
        """Take some rows, by number [m], as a sample of its own."""
        return replace(
            self,
            truth=self.truth[chosen],
            prediction=self.prediction[chosen],
            groups=None if self.groups is None else self.groups[chosen],
            probs=None if self.probs is None else self.probs[chosen],
            ids=None if self.ids is None else self.ids[chosen],
        )

    def against_rest(self, positive: str) -> Sample:
        """Make a sample of two classes: the positive one, last, against all others."""
        place = self.classes.index(positive)
        others = [name for name in self.classes if name != positive]
        probs = None
        if self.probs is not None:
            probs = np.column_stack([1 - self.probs[:, place], self.probs[:, place]])
        return replace(
            self,
            truth=(self.truth == place).astype(np.int64),
            prediction=(self.prediction == place).astype(np.int64),
            probs=probs,
            classes=(others[0] if len(others) == 1 else f"not {positive}", positive),
        )

    @property
    def n_units(self) -> int:
        """Number of resampling units."""
        return len(self.truth) if self.groups is None else self.kinds.n_units

    @cached_property
    def confusion(self) -> npt.NDArray[np.int64]:
        """Confusion matrix in images, int64 [K, K], rows truth."""
        return confusion_matrix(self.truth, self.prediction, len(self.classes))

    @cached_property
    def kinds(self) -> Kinds:
        """The distinct confusion matrices of the units.

        They are found by names of classes, so that what is drawn of them does not depend on order.
        """
        rank = name_ranks(self.classes)
        found = find_kinds(rank[self.truth], rank[self.prediction], len(rank), self.groups)
        return replace(found, matrices=found.matrices[:, rank][:, :, rank])

    @cached_property
    def units(self) -> Units:
        """The units with their probabilities, by names too; only for samples that have them."""
        if self.probs is None:
            raise InputError("These predictions have no probabilities: give prob_ columns.")
        rank = name_ranks(self.classes)
        by_name = np.argsort(rank)
        found = make_units(rank[self.truth], self.probs[:, by_name], self.groups)
        scores = Scores(by_name[found.scores.truth], found.scores.probs[:, rank])
        return replace(found, scores=scores)

    @cached_property
    def effective_units(self) -> float:
        """How many units of equal size these are worth: `effective_number` of their images."""
        return float(self.effective(self.kinds.matrices.sum((-2, -1))))

    @cached_property
    def class_units(self) -> npt.NDArray[np.float64]:
        """How many effective units have images of each class: float64 [K]."""
        return self.effective(self.kinds.matrices.sum(-1))

    @cached_property
    def called_units(self) -> npt.NDArray[np.float64]:
        """How many effective units have images that were called each class: float64 [K]."""
        return self.effective(self.kinds.matrices.sum(-2))

    @cached_property
    def wrong_units(self) -> float:
        """How many effective units have an error."""
        right = np.trace(self.kinds.matrices, axis1=1, axis2=2)
        return float(self.effective(self.kinds.matrices.sum((-2, -1)) - right))

    def effective(self, images: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
        """Count units as equal ones, by so many images of each kind of unit [U, ...]: [...]."""
        return effective_number(images, self.kinds.counts)


Scored = tuple[Predictions, Sample]
Runs = Sequence[Predictions | Path | str] | Sequence[Scored]


def make_sample(
    predictions: Predictions,
    *,
    split: str = "test",
    unit: str = "group",
    aggregate: str = "none",
) -> Sample:
    """Take the rows of a split that have a label.

    Parameters
    ----------
    split : str
        A name of the split column, or "all". A file without splits is scored whole, which the
        notes then say.
    unit : "group" or "image"
        Groups where the file has them, else images.
    aggregate : "auto", "mean", "vote" or "none"
        How images become one row a group first; see `aggregate_predictions`.

    Raises
    ------
    InputError
        If nothing is left to score.
    """
    if unit not in UNITS:
        raise InputError(f"There is no unit {unit!r}: choose from {', '.join(UNITS)}.")
    notes: list[Note] = []
    chosen = _in_split(predictions, split, notes)
    table = _labelled(chosen, predictions.run, split, notes)
    whole = chosen is predictions.table
    predictions = aggregate_predictions(replace(predictions, table=table), aggregate)
    table, notes = predictions.table, [*predictions.notes, *notes]
    notes += overlap_note(predictions.meta)
    groups = _groups(table, unit, notes)
    classes = tuple(predictions.classes)
    truth, prediction = (_codes(table[name], classes) for name in ("label", "prediction"))
    never = [classes[c] for c in sorted(set(truth.tolist()) - set(prediction.tolist()))]
    notes += never_predicted(never)
    if len(classes) == 2 and not predictions.declared and not is_positive_plain(classes):
        notes.append(replace(WHICH_IS_POSITIVE, classes=(classes[1],)))
    columns = [f"prob_{name}" for name in classes]
    has_probs = set(columns) <= set(table.columns)
    return Sample(
        truth=truth,
        prediction=prediction,
        groups=groups,
        classes=classes,
        unit="image" if groups is None else "group",
        test_set=_digest(table),
        split=_split_word(predictions, "all" if whole else split),
        notes=tuple(replace(note, runs=(predictions.run,)) for note in notes),
        probs=table[columns].to_numpy(dtype=np.float64) if has_probs else None,
        n_images=int(table[IMAGES].sum()) if IMAGES in table else len(table),
        ids=None if table["image_id"].isna().any() else table["image_id"].to_numpy(dtype=object),
        declared=predictions.declared,
        images=table[IMAGES].to_numpy(dtype=np.int64) if IMAGES in table else None,
    )


def with_differences(scored: Sequence[Scored]) -> list[Scored]:
    """Note on runs that differ from most others of their data set in images, labels or splits."""
    datasets: dict[str, list[int]] = {}
    for place, (run, _) in enumerate(scored):
        datasets.setdefault(str(run.meta.get("dataset") or ""), []).append(place)
    out = list(scored)
    for places in datasets.values():
        usual = _most_common([scored[place][1].test_set for place in places])
        state = _most_common([_state(scored[place][0]) for place in places])
        like = next(scored[place][1] for place in places if scored[place][1].test_set == usual)
        for place in places:
            run, sample = scored[place]
            note = _difference(run, sample, like, state)
            if note is not None:
                named = replace(note, runs=(run.run,))
                out[place] = run, replace(sample, notes=(named, *sample.notes))
    return out


def _split_word(predictions: Predictions, split: str) -> str:
    return OUT_OF_FOLD if predictions.meta.get("cv") and split in ("test", "all") else split


def _in_split(predictions: Predictions, split: str, notes: list[Note]) -> pd.DataFrame:
    table = predictions.table
    if split == "all":
        return table
    if table["split"].isna().all():
        notes.append(Note("There is no split column: all rows are scored."))
        return table
    chosen = table[(table["split"] == split).fillna(False)]
    if not len(chosen):
        there = ", ".join(sorted(table["split"].dropna().unique()))
        raise InputError(
            f"{predictions.run}: no row is of split {split!r}, but of {there}: choose one of them."
        )
    return chosen


def _labelled(table: pd.DataFrame, run: str, split: str, notes: list[Note]) -> pd.DataFrame:
    labelled = table[table["label"].notna()]
    if not len(labelled):
        raise InputError(f"{run}: no row of split {split!r} has a label: add labels to score it.")
    if len(labelled) < len(table):
        left_out = len(table) - len(labelled)
        notes.append(Note(f"Left out: {counted(left_out, 'row')} without a label."))
    return labelled


def _groups(table: pd.DataFrame, unit: str, notes: list[Note]) -> Codes | None:
    if IMAGES in table:
        # Rows are patients: one each, and that is what is resampled.
        if unit == "image":
            notes.append(ROWS_ARE_GROUPS)
        return np.arange(len(table), dtype=np.int64)
    known = bool(table["group_id"].notna().any())
    if known and not table["group_id"].duplicated().any():
        return None
    if unit == "image" or not known:
        notes.append(INDEPENDENT if known else NO_GROUPS)
        return None
    return np.asarray(pd.factorize(table["group_id"])[0], dtype=np.int64)


def _codes(column: pd.Series, classes: Sequence[str]) -> Codes:
    codes = pd.Categorical(column.astype(object), categories=list(classes)).codes
    return np.asarray(codes, dtype=np.int64)


def _digest(table: pd.DataFrame) -> str:
    pairs = sorted(zip(table["image_id"].fillna("").tolist(), table["label"].tolist(), strict=True))
    return hashlib.blake2b(repr(pairs).encode(), digest_size=16).hexdigest()


def _difference(run: Predictions, sample: Sample, usual: Sample, state: str) -> Note | None:
    if (sample.images is None) != (usual.images is None):
        return OTHER_ROWS
    if sample.test_set != usual.test_set:
        return OTHER_LABELS if _same_ids(sample, usual) else OTHER_IMAGES
    return OTHER_STATE if _state(run) not in ("", state) else None


def _same_ids(one: Sample, other: Sample) -> bool:
    if one.ids is None or other.ids is None:
        return False
    return set(one.ids) == set(other.ids)


def _state(run: Predictions) -> str:
    """Give the digest of ids, labels, groups and splits; "" where the file does not say."""
    return str(run.meta.get("manifest_digest") or "")


def _most_common(values: Sequence[str]) -> str:
    """Give the value that most have, of equals the first; those that are not known do not count."""
    known = [value for value in values if value]
    return Counter(known).most_common(1)[0][0] if known else ""
