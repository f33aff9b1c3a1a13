"""One order of classes for all runs that are shown together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from frostline.cache.errors import InputError
from frostline.cache.tables.class_order import check_declared
from frostline.report.notes import Note
from frostline.report.predictions import Predictions

GIVEN_ORDER = Note("The order of the classes is the given one.")
GIVEN_POSITIVE = Note("The positive class is the given one.")


def in_one_order(
    runs: Sequence[Predictions],
    classes: Sequence[str] | None,
    positive: str | None,
    *,
    against_rest: bool = False,
) -> list[Predictions]:
    """Give runs of the same classes of a data set the same order of them.

    Parameters
    ----------
    classes : sequence of str, optional
        The order, the last of two the positive one. Else the one that a run declares, that of the
        numbers in the names, or that of the first run's class list.
    positive : str, optional
        Which of two classes is positive, whatever the order.
    against_rest : bool
        Whether `positive` may also be one of several classes, which stay in their order: it is set
        against all others.

    Raises
    ------
    InputError
        If a name is no class of a run, runs declare different orders and none is given, or
        `positive` is for a run of more than two classes.
    """
    for run in runs:
        if classes is not None:
            check_declared(classes, run.classes, run.run)
        if positive is not None:
            _check_positive(run, positive, against_rest=against_rest)
    first: dict[tuple[str, frozenset[str]], Predictions] = {}
    for run in (one.in_order(classes) for one in runs):
        known = first.setdefault(_kind(run), run)
        both = run.declared and known.declared
        if both and run.classes != known.classes and positive is None:
            raise InputError(
                f"{known.run} and {run.run} declare different orders of their classes "
                f"({', '.join(known.classes)} and {', '.join(run.classes)}): give one by --classes."
            )
        if run.declared and not known.declared:
            first[_kind(run)] = run
    out = []
    for run in runs:
        like = first[_kind(run)]
        order, notes = like.classes, run.notes
        if classes is not None:
            notes = (*notes, replace(GIVEN_ORDER, classes=tuple(order)))
        if positive is not None:
            if len(order) == 2:
                order = [*(name for name in order if name != positive), positive]
            notes = (*notes, replace(GIVEN_POSITIVE, classes=(positive,)))
        run = replace(run, notes=notes)
        if like.declared or (positive is not None and len(order) == 2):
            out.append(run.in_order(order))
        else:
            out.append(replace(run, meta={**run.meta, "classes": order}))
    return out


def _kind(run: Predictions) -> tuple[str, frozenset[str]]:
    return str(run.meta.get("dataset") or ""), frozenset(run.classes)


def _check_positive(run: Predictions, positive: str, *, against_rest: bool) -> None:
    names = ", ".join(run.classes)
    if positive not in run.classes:
        raise InputError(f"--positive {positive!r} is no class of {run.run}: it has {names}.")
    if len(run.classes) != 2 and not against_rest:
        raise InputError(
            f"--positive is for two classes, and {run.run} has {len(run.classes)} ({names}): leave "
            f"it out, and ask for metrics of one class, such as --metric 'recall[{positive}]'."
        )
