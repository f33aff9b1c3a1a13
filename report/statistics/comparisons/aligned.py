"""Runs brought onto the same images, or one sentence why they cannot be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from frostline.cache.errors import InputError
from frostline.cache.tables.words import counted
from frostline.report.notes import Note, Notes, texts
from frostline.report.statistics.comparisons.paired import Paired, make_paired
from frostline.report.statistics.comparisons.paired_rows import make_paired_own
from frostline.report.statistics.metrics import Codes
from frostline.report.statistics.own_metrics import Answers
from frostline.report.statistics.sample import (
    INDEPENDENT,
    NO_GROUPS,
    OTHER_IMAGES,
    OTHER_ROWS,
    Sample,
    Scored,
)

ASSUMED = {INDEPENDENT.text, NO_GROUPS.text}
GROUPS_OF_OTHERS = Note("No groups of its own: those of the runs compared with it are taken.")


@dataclass(frozen=True)
class Aligned:
    """Runs on the same rows.

    Attributes
    ----------
    paired : Paired
        What they answered.
    alone : bool
        Whether every unit is one row, as McNemar's test needs.
    n_images : int
        Images compared.
    unit : "group" or "image"
        What is resampled, left out and flipped.
    notes : tuple of Note
        What a reader should know.
    names, seeds : tuple
        Of the runs.
    samples : tuple of Sample
        Their rows that are compared.
    """

    paired: Paired
    alone: bool
    n_images: int
    unit: str
    notes: Notes
    names: tuple[str, ...]
    seeds: tuple[object, ...]
    samples: tuple[Sample, ...]


def align(scored: Sequence[Scored], *, intersection: bool = False) -> Aligned:
    """Pair the rows of runs by `image_id`.

    Parameters
    ----------
    scored : sequence of (Predictions, Sample)
        What `score` returned.
    intersection : bool
        Compare on the images that all runs have; else runs with different images are refused.

    Raises
    ------
    InputError
        If rows have no names, runs have different images, classes, labels or groups.
    """
    names, samples = [run.run for run, _ in scored], [sample for _, sample in scored]
    first = samples[0]
    indexes = [_index(name, sample) for name, sample in zip(names, samples, strict=True)]
    _check_classes(names, samples)
    shared = sorted(set.intersection(*(set(index) for index in indexes)))
    if not shared:
        _check_levels(scored)
    notes = _check_shared(names, indexes, len(shared), intersection)
    rows = [np.array([index[image] for image in shared], dtype=np.int64) for index in indexes]
    truth = first.truth[rows[0]]
    answers, probs, own = [], [], []
    names_of_classes = np.array(first.classes, dtype=object)
    for name, sample, chosen in zip(names, samples, rows, strict=True):
        recode = np.array([first.classes.index(label) for label in sample.classes])
        wrong = np.flatnonzero(recode[sample.truth[chosen]] != truth)
        if len(wrong):
            raise InputError(
                f"{names[0]} and {name} give image {shared[wrong[0]]!r} different labels: "
                "correct one of them."
            )
        answers.append(recode[sample.prediction[chosen]])
        given = None if sample.probs is None else sample.probs[chosen][:, np.argsort(recode)]
        own.append(Answers(names_of_classes[truth], names_of_classes[answers[-1]], given))
        if given is not None:
            probs.append(given)
    groups = _groups(samples, rows, names)
    unit = "image" if groups is None else "group"
    paired = make_paired(truth, answers, first.classes, groups)
    paired = replace(paired, own=make_paired_own(own, groups))
    if len(probs) == len(answers):
        paired = replace(paired, rows=(truth, probs, groups))
    return Aligned(
        paired,
        alone=groups is None or len(np.unique(groups)) == len(shared),
        n_images=first.n_images if len(shared) == len(first.truth) else len(shared),
        unit=unit,
        notes=(*_known(scored, unit), *notes),
        names=tuple(names),
        seeds=tuple(run.meta.get("seed") for run, _ in scored),
        samples=tuple(
            replace(_rows_of(sample, chosen), groups=groups, unit=unit)
            for sample, chosen in zip(samples, rows, strict=True)
        ),
    )


def _check_levels(scored: Sequence[Scored]) -> None:
    """Refuse to compare rows of patients with rows of images."""
    of_patients = [run.run for run, sample in scored if sample.images is not None]
    if 0 < len(of_patients) < len(scored):
        raise InputError(
            f"{of_patients[0]} has one row a patient, and others of these runs one an image: give "
            "--aggregate mean, which compares all by patient."
        )


def _check_classes(names: Sequence[str], samples: Sequence[Sample]) -> None:
    first = samples[0]
    for name, sample in zip(names, samples, strict=True):
        if set(sample.classes) != set(first.classes):
            raise InputError(
                f"{names[0]} and {name} have different classes ({', '.join(first.classes)} and "
                f"{', '.join(sample.classes)}): compare runs of one class list."
            )


def _rows_of(sample: Sample, chosen: np.ndarray) -> Sample:
    """Give some rows of a sample, by number (int64 [n]), without groups."""
    return replace(
        sample,
        truth=sample.truth[chosen],
        prediction=sample.prediction[chosen],
        probs=None if sample.probs is None else sample.probs[chosen],
        groups=None,
    )


def _known(scored: Sequence[Scored], unit: str) -> list[Note]:
    """Give the notes on the runs that hold of their comparison, each once."""
    notes = dict.fromkeys(note for _, sample in scored for note in sample.notes)
    # The images compared are the same in all.
    without = {OTHER_IMAGES.text, OTHER_ROWS.text}
    if unit == "group":
        # A run without groups has those of the others.
        without |= ASSUMED
    borrowed = [
        replace(GROUPS_OF_OTHERS, runs=(run.run,))
        for run, sample in scored
        if unit == "group" and sample.groups is None and NO_GROUPS.text in texts(sample.notes)
    ]
    return [*borrowed, *(note for note in notes if note.text not in without)]


def _index(name: str, sample: Sample) -> dict[str, int]:
    """Give the row of each image."""
    if sample.ids is None:
        raise InputError(
            f"{name}: there is no image_id, so its rows cannot be paired with another run's: add "
            "the column."
        )
    return {image: row for row, image in enumerate(sample.ids.tolist())}


def _check_shared(
    names: Sequence[str], indexes: Sequence[dict[str, int]], shared: int, intersection: bool
) -> Notes:
    if all(len(index) == shared for index in indexes):
        return ()
    sizes = ", ".join(f"{name} {len(index)}" for name, index in zip(names, indexes, strict=True))
    if not shared:
        raise InputError(
            f"No image is in all of these runs ({sizes}): compare runs of the same data."
        )
    if not intersection:
        raise InputError(
            f"The test sets differ: all runs have only {counted(shared, 'image')} in common "
            f"({sizes}); use --intersection to compare on {'it' if shared == 1 else 'those'}."
        )
    return (Note(f"Compared on the {counted(shared, 'image')} that all runs have ({sizes})."),)


def _groups(samples: Sequence[Sample], rows: Sequence[Codes], names: Sequence[str]) -> Codes | None:
    """Give the groups of the shared rows; runs that have groups must have the same."""
    found: Codes | None = None
    owner = ""
    for name, sample, chosen in zip(names, samples, rows, strict=True):
        if sample.groups is None:
            continue
        # The same partition whatever the numbers: each group named by its first row.
        _, first, member = np.unique(sample.groups[chosen], return_index=True, return_inverse=True)
        own = first[member]
        if found is not None and (own != found).any():
            raise InputError(f"{owner} and {name} have different groups: correct one of them.")
        found, owner = own, name
    return found
