"""Flags: where an interval may not cover, and where a precision has no interval.

`benchmarks/coverage_atlas.py` measured them and `docs/statistics.md` shows them. A flag is a note
with the interval; nothing is hidden. All counts are of effective units: unequal ones count less.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from frostline.cache.tables.words import counted
from frostline.report.notes import Note, Notes
from frostline.report.statistics.metrics import LOSSES, find_metric
from frostline.report.statistics.resampling.weights import class_number
from frostline.report.statistics.sample import Sample

# From these on `auto` takes the percentile interval.
MANY_UNITS = 400
MANY_WRONG = 50
# Of those that the metric hangs on: a class's, or the rarest class's where classes weigh alike.
MANY_OF_A_CLASS = 150
FEWEST_UNITS = 20
FEWEST_WRONG = 5
FEWEST_WRONG_OF_LOSSES = 10
# Of so few units of one image each (of a class: for its share) scores move in steps, and intervals
# are too wide.
FEWEST_SINGLE = 50
# Units of every class: for averages that weigh classes alike or for one class, and for the rest.
FEWEST_OF_A_CLASS = 20
FEWEST_IN_AVERAGES = 10
# A class without an error shows no variation; with fewer units that is no evidence of none.
FEWEST_FLAWLESS = 100
# A class that fewer units were called has no precision to speak of. An average has none where such
# classes are this share of it.
FEWEST_CALLED = 5
MOST_UNKNOWN = 0.1
BY_CLASS = (
    "precision_weighted",
    "f1_weighted",
    "cohen_kappa",
    "cohen_kappa_linear",
    "cohen_kappa_quadratic",
    "matthews_corrcoef",
    "roc_auc_ovr_weighted",
)
# 1 is rarer for them than for accuracy: the rarest class was right too.
RAREST_DECIDES = (
    "cohen_kappa",
    "cohen_kappa_linear",
    "cohen_kappa_quadratic",
    "matthews_corrcoef",
    "roc_auc_ovr_weighted",
)
COVERS = "the interval may not cover."
CAUTIOUS = "the interval is cautious."
Counts = npt.NDArray[np.float64]


def trials(name: str, sample: Sample) -> float:
    """Count units that had the chance to be wrong where none was: a class's for its recall.

    For averages that weigh classes alike, those of the rarest class: its share is the least sure.
    """
    number = class_number(name, sample.classes)
    units = _hanging(name, sample)
    if number is not None and name.startswith("specificity"):
        of_class = sample.kinds.matrices.sum(-1)
        return float(sample.effective(of_class.sum(-1) - of_class[:, number]))
    if number is not None:
        return float(units[number])
    if find_metric(name).macro:
        return float(units[units > 0].min(initial=sample.n_units))
    return sample.effective_units


def exact_trials(name: str, sample: Sample) -> float:
    """Count the trials of Clopper-Pearson: those of the rarest class also of kappa and its like.

    Average precision of two classes has none where there is no positive.
    """
    if name == "average_precision" and len(sample.classes) == 2 and not sample.class_units[1]:
        return 0.0
    if name == "mean_absolute_error":  # a unit may be off by as many classes as there are
        return trials(name, sample) / (len(sample.classes) - 1)
    if name in RAREST_DECIDES:
        return float(sample.class_units[sample.class_units > 0].min())
    return trials(name, sample)


def flag(name: str, sample: Sample) -> Notes:
    """Say why the interval of this metric may not cover; no notes where it does."""
    reasons = []
    if sample.n_units < FEWEST_UNITS:
        reasons.append(
            Note(f"Only {counted(sample.n_units, sample.unit)}: intervals may not cover.")
        )
    elif sample.effective_units < FEWEST_UNITS:
        few = f"The {sample.n_units} {sample.unit}s are so unequal that they count as"
        reasons.append(Note(f"{few} {sample.effective_units:.0f}: intervals may not cover."))
    elif sample.wrong_units < FEWEST_WRONG:
        word = _word(sample, _wrong(sample) < FEWEST_WRONG)
        few = f"Fewer than {FEWEST_WRONG} {word} with an error"
        reasons.append(Note(f"{few}: intervals are cautious."))
    elif _is_single(sample) and sample.n_units < FEWEST_SINGLE:
        few = f"Only {counted(sample.n_units, sample.unit)}"
        reasons.append(Note(f"{few}: intervals are cautious."))
    if name in LOSSES and sample.wrong_units < FEWEST_WRONG_OF_LOSSES:
        word = _word(sample, _wrong(sample) < FEWEST_WRONG_OF_LOSSES)
        few = f"Fewer than {FEWEST_WRONG_OF_LOSSES} {word} with an error"
        reasons.append(Note(f"{few}: {COVERS}", (name,)))
    if _hangs_on_classes(name, sample) or name in BY_CLASS:
        base = name.partition("[")[0]
        if not base.startswith("precision") or "[" not in name:
            reasons += _rare(name, sample, called=False)
        if base.startswith(("precision", "f1")):
            reasons += _rare(name, sample, called=True)
    return tuple(reasons)


def unknown(name: str, sample: Sample) -> Notes:
    """Say that a precision has no interval, because so few units were called a class.

    With one or two calls it is 0, a half or 1 by the one image, and an average jumps with it. A
    class that is never called has the precision 0 in an average, by definition.
    """
    if not name.startswith("precision"):
        return ()
    few = sample.called_units < FEWEST_CALLED
    number = class_number(name, sample.classes)
    if number is not None:
        missing = [sample.classes[number]] if few[number] else []
    else:
        few &= sample.called_units > 0
        support = sample.confusion.sum(1)
        weights = np.full(len(few), 1 / len(few))
        if name == "precision_weighted":
            weights = support / support.sum()
        shown = weights[few].sum() >= MOST_UNKNOWN
        missing = [label for label, one in zip(sample.classes, few, strict=True) if one and shown]
    word = _word(sample, bool((_raw(sample, called=True)[few] < FEWEST_CALLED).all()))
    text = f"No interval: too few calls (fewer than {FEWEST_CALLED} {word} were called a class)."
    return (Note(text, (name,), tuple(missing)),) if missing else ()


def _rare(name: str, sample: Sample, *, called: bool) -> list[Note]:
    """Say which classes have few units, or few for having no error; or were called by few."""
    hangs, number = _hangs_on_classes(name, sample), class_number(name, sample.classes)
    fewest = FEWEST_OF_A_CLASS if hangs else FEWEST_IN_AVERAGES
    units, raw = sample.called_units if called else sample.class_units, _raw(sample, called=called)
    flawless = sample.confusion.sum(0 if called else 1) == np.diagonal(sample.confusion)
    # Of F1 an error of either kind is one; weighted precision jumps by the first wrong call.
    flawless &= name.startswith("precision") if called else hangs
    what = "were called a class" if called else "of a class"
    # Who gives one answer to all calls the others nothing, whatever the sample.
    constant = called and (raw > 0).sum() == 1
    found: dict[str, list[str]] = {}
    for place, label in enumerate(sample.classes):
        if number not in (None, place) or (constant and not raw[place]):
            continue
        if units[place] < fewest:
            text = f"Fewer than {fewest} {_word(sample, raw[place] < fewest)} {what}"
        elif flawless[place] and units[place] < FEWEST_FLAWLESS:
            word = _word(sample, raw[place] < FEWEST_FLAWLESS)
            text = f"Fewer than {FEWEST_FLAWLESS} {word} {what} without an error"
        elif place == number and _is_single(sample) and units[place] < FEWEST_SINGLE:
            found[f"Fewer than {FEWEST_SINGLE} {sample.unit}s {what}: {CAUTIOUS}"] = [label]
            continue
        else:
            continue
        found.setdefault(f"{text}: {COVERS}", []).append(label)
    return [Note(text, (name,), tuple(labels)) for text, labels in found.items()]


def _hangs_on_classes(name: str, sample: Sample) -> bool:
    return find_metric(name).macro or class_number(name, sample.classes) is not None


def _hanging(name: str, sample: Sample) -> Counts:
    """Count the units of each class that a metric hangs on: of it, called it, the fewer: [K]."""
    if name.startswith("precision"):
        return sample.called_units
    if name.startswith("f1"):
        # Of a class that is never called all that is known is recall R: F1 is up to 2 R / (1 + R).
        fewer = np.minimum(sample.class_units, sample.called_units)
        return np.where(sample.called_units > 0, fewer, sample.class_units / 2)
    return sample.class_units


def _raw(sample: Sample, *, called: bool) -> npt.NDArray[np.int64]:
    """Count units of each class, or called it, whatever their size: [K]."""
    there = sample.kinds.matrices.sum(-2 if called else -1) > 0
    return np.asarray(sample.kinds.counts @ there, dtype=np.int64)


def _wrong(sample: Sample) -> int:
    """Count units with an error, whatever their size."""
    right = np.trace(sample.kinds.matrices, axis1=1, axis2=2)
    return int(sample.kinds.counts @ (sample.kinds.matrices.sum((1, 2)) > right))


def _is_single(sample: Sample) -> bool:
    return len(sample.truth) == sample.n_units


def _word(sample: Sample, plain: bool) -> str:
    """Call units effective where it is their unequal size that makes them few."""
    return f"{sample.unit}s" if plain else f"effective {sample.unit}s"
