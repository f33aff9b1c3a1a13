"""When an interval is given but may not cover: the limits that the coverage atlas found.

`benchmarks/coverage_atlas.py` measured them and `docs/statistics.md` shows them. A flag is a note
with the interval; nothing is hidden.
"""

from __future__ import annotations

from frostline.report.notes import Note, Notes
from frostline.report.statistics.metrics import LOSSES, PER_CLASS, find_metric
from frostline.report.statistics.sample import Sample

# From these on `auto` takes the percentile interval.
MANY_UNITS = 400
MANY_WRONG = 50
# Of those that the metric hangs on: a class's, or the rarest class's where classes weigh alike.
MANY_OF_A_CLASS = 150
FEWEST_UNITS = 20
FEWEST_WRONG = 5
FEWEST_WRONG_OF_LOSSES = 10
# Of so few single images scores move in steps, and intervals are too wide.
FEWEST_IMAGES = 50
# Units of every class: for averages that weigh classes alike or for one class, and for the rest.
FEWEST_OF_A_CLASS = 20
FEWEST_IN_AVERAGES = 10
# A class without an error shows no variation; with fewer units that is no evidence of none.
FEWEST_FLAWLESS = 100
BY_CLASS = (
    "precision_weighted",
    "f1_weighted",
    "cohen_kappa",
    "cohen_kappa_quadratic",
    "matthews_corrcoef",
    "roc_auc_ovr_weighted",
)


def class_of(name: str, sample: Sample) -> int | None:
    """Give the number of the class that a metric such as `recall[melanoma]` is about, or None."""
    base, bracket, rest = name.partition("[")
    return sample.classes.index(rest[:-1]) if bracket and base in PER_CLASS else None


def trials(name: str, sample: Sample) -> int:
    """Count units that had the chance to be wrong where none was: a class's for its recall.

    For averages that weigh classes alike, those of the rarest class: its share is the least sure.
    """
    units = sample.class_units
    one = class_of(name, sample)
    if one is not None:
        present = int(units[one])
        return sample.n_units - present if name.startswith("specificity") else present
    if find_metric(name).macro:
        return int(units[units > 0].min())
    return sample.n_units


def flag(name: str, sample: Sample) -> Notes:
    """Say why the interval of this metric may not cover; no notes where it does."""
    reasons = []
    units = f"{sample.unit}s"
    if sample.n_units < FEWEST_UNITS:
        reasons.append(Note(f"Only {sample.n_units} {units}: intervals may not cover."))
    elif sample.wrong_units < FEWEST_WRONG:
        text = f"Only {sample.wrong_units} {units} with an error: intervals are cautious."
        reasons.append(Note(text))
    elif sample.unit == "image" and sample.n_units < FEWEST_IMAGES:
        reasons.append(Note(f"Only {sample.n_units} images: intervals are cautious."))
    if name in LOSSES and sample.wrong_units < FEWEST_WRONG_OF_LOSSES:
        few = f"Fewer than {FEWEST_WRONG_OF_LOSSES} {units} with an error"
        reasons.append(Note(f"{few}: the interval may not cover.", (name,)))
    return (*reasons, *_rare_classes(name, sample))


def _rare_classes(name: str, sample: Sample) -> list[Note]:
    """Say which classes that the metric hangs on have few units, or few for having no error."""
    one = class_of(name, sample)
    hangs = find_metric(name).macro or one is not None
    if not hangs and name not in BY_CLASS:
        return []
    fewest = FEWEST_OF_A_CLASS if hangs else FEWEST_IN_AVERAGES
    rare, flawless = [], []
    for number, label in enumerate(sample.classes):
        units = int(sample.class_units[number])
        right = bool(sample.confusion[number].sum() == sample.confusion[number, number])
        if one is not None and one != number:
            continue
        if units < fewest:
            rare.append(label)
        elif hangs and right and units < FEWEST_FLAWLESS:
            flawless.append(label)
    covers = "the interval may not cover."
    notes = {
        f"Fewer than {fewest} {sample.unit}s of a class: {covers}": rare,
        f"Fewer than {FEWEST_FLAWLESS} {sample.unit}s of a class without an error: {covers}": (
            flawless
        ),
    }
    return [Note(text, (name,), tuple(labels)) for text, labels in notes.items() if labels]
