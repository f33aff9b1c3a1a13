"""The answer in words: where to read, what training adds, and what validation is worth."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from frostline.cache.tables.unfreezing import is_lora
from frostline.report.depth.choice import best_place
from frostline.report.depth.curve import NESTED, Curves, is_repeated
from frostline.report.notes import no_interval
from frostline.report.statistics.comparisons.decisions import IDENTICAL
from frostline.report.statistics.metrics import find_metric
from frostline.report.statistics.names import lora_words
from frostline.report.tables.numbers import bound_word, is_share, number
from frostline.report.tables.plans import needed_sentence
from frostline.report.tables.positive import metric_words

Record = Mapping[Any, Any]
# Validation and test differ in more than luck beyond so many standard errors of their gap.
FAR_APART = 3.0
# From so many times the time on it is said.
LONGER = 1.5
# How a sentence begins that says so.
MISLED = "Validation does not speak for this test set"
REPEATED = "with the choice repeated in every fold"
# Half of the width of a 95% interval in standard errors.
HALF_WIDTH = 1.96


def depth_sentences(curves: Curves) -> list[str]:
    """Answer for each backbone, first where to read it; then what validation cannot speak for."""
    said = [sentence for own in depth_paragraphs(curves).values() for sentence in own]
    return [*said, *misled_sentences(curves)]


def depth_paragraphs(curves: Curves) -> dict[str, list[str]]:
    """Give the sentences of each backbone, by its name."""
    names = map(str, curves.table["backbone"].unique())
    said = {name: list(_of_backbone(curves, name)) for name in names}
    # Whoever reads the answer has to read this, too.
    for name, overlap in curves.overlaps.items():
        said[name][0] = f"{said[name][0]} {overlap}"
    return said


def place_words(row: Record, blocks: int) -> str:
    """Say where a point of the reading curve lies, of so many blocks."""
    if row["depth"] == 0:
        return "behind its stem"
    if row["depth"] == blocks:
        return "at its last layer"
    return f"at block {row['depth']} of {blocks}"


def trained_words(row: Record, blocks: int) -> str:
    """Say what a point of the training curve trains."""
    count = blocks - row["depth"]
    if is_lora(row["unfreeze"]):
        return lora_words(row["unfreeze"])
    if row["depth"] < 0:
        return "the whole network"
    return "the last block" if count == 1 else f"the last {count} blocks"


def _of_backbone(curves: Curves, backbone: str) -> Iterator[str]:
    part = curves.table[curves.table["backbone"] == backbone]
    blocks = curves.places[backbone][-1].depth
    chosen = {row["road"]: row for row in part[part["chosen"]].to_dict("records")}
    if not chosen:
        none = "no run was scored on validation images"
        if (part["val_units"] > 0).any():
            none = f"validation images have no {find_metric(curves.metric).words}"
        yield f"No depth of {backbone} is chosen, because {none}."
    asked = curves.differences[curves.differences["backbone"] == backbone]
    found = {row["question"]: row for row in asked.to_dict("records")}
    read, train = chosen.get("read"), chosen.get("train")
    nested = {road: part[part["road"] == own].to_dict("records") for road, own in NESTED.items()}
    if read:
        said = _score(nested["read"][0] if nested["read"] else read)
        repeated = f", {REPEATED}" if nested["read"] else ""
        where = f"{place_words(read, blocks)}{_share(read, blocks)}"
        yield f"Read {backbone} {where}: {said}{repeated}."
        if read["val_units"] == 1:
            yield f"Validation has one {read['unit']}, whose best score alone chose the depth."
        else:
            yield _rule(part, read, "It is", lambda row: _place(row, blocks))
        yield from _last_layer(found.get("last layer"), repeated=bool(repeated))
    if train and read:
        what = trained_words(train, blocks) + f", {REPEATED}," * bool(nested["train"])
        images = "images" if is_repeated(part) else "test images"
        yield from _training(found["training"], train, read, (what, images))
    elif train:
        yield f"Train {trained_words(train, blocks)} of {backbone}: {_score(train)}."
    seeds = part.loc[part["road"] == "train", "seeds"]
    if train and len(seeds) > 1:
        whole = "" if seeds.nunique() == 1 else " that have all their seeds"
        one = f"Of the trainings{whole}, that of {trained_words(train, blocks)} is"
        yield _rule(part, train, one, lambda row: f"that of {trained_words(row, blocks)}")


def _share(read: Record, blocks: int) -> str:
    """Name the block, which counts from 0 where places count from 1, and what it costs."""
    name = [str(read["block"])] if 0 < read["depth"] < blocks else []
    cost = [f"{100 * read['cost']:.0f}% of its forward pass"] if read["cost"] < 1 else []
    return f" ({', '.join(name + cost)})" if name + cost else ""


def _place(row: Record, blocks: int) -> str:
    """Name a place of reading."""
    return place_words(row, blocks).removeprefix("at ").removeprefix("behind ")


def _rule(part: pd.DataFrame, chosen: Record, subject: str, words: Callable[[Record], str]) -> str:
    """Say how the one-standard-error rule came to its choice on a road."""
    metric = chosen["metric"]
    of_road = part[part["road"] == chosen["road"]]
    # Others of an unfinished study are no candidates yet.
    of_road = of_road[of_road["seeds"] == of_road["seeds"].max()]
    scores = of_road["val_estimate"].to_numpy(float)
    place = best_place(scores, higher=find_metric(metric).higher)
    assert place is not None  # one of them was chosen
    best = of_road.iloc[place].to_dict()
    behind = number(abs(best["val_estimate"] - chosen["val_estimate"]), metric)
    if behind != number(0.0, metric):
        size = f"{behind}{' points' * is_share(metric)}"
        return (
            f"{subject} the cheapest within one standard error of the best on validation, "
            f"{words(best)}, which was {size} better there."
        )
    if len(of_road) == 1:
        return f"{subject} the only one."
    ties = _ties(of_road, chosen, behind)
    if ties:
        named = [words(row) for row in ties[:3]]
        named += [f"{len(ties) - 3} more"] * (len(ties) > 3)
        listed = ", ".join(named[:-1]) + " and " * (len(named) > 1) + named[-1]
        return f"{subject} as good on validation as {listed}, and cheaper."
    costs = of_road["cost" if chosen["road"] == "read" else "seconds"]
    if _same(chosen, of_road.loc[costs.idxmin()].to_dict()):
        return f"{subject} the best on validation, and the cheapest."
    return (
        f"{subject} the best on validation; nothing cheaper came within one standard error of it."
    )


def _ties(of_road: pd.DataFrame, chosen: Record, behind: str) -> list[Record]:
    """List the other places whose validation score is the chosen one's, as it is written."""
    metric = chosen["metric"]
    return [
        row
        for row in of_road.to_dict("records")
        if not _same(row, chosen)
        and number(abs(row["val_estimate"] - chosen["val_estimate"]), metric) == behind
    ]


def _same(one: Record, other: Record) -> bool:
    """Whether two points of a road are one: of training, adapters and blocks may share a depth."""
    return bool(one["depth"] == other["depth"] and one["unfreeze"] == other["unfreeze"])


def _last_layer(found: Record | None, *, repeated: bool) -> Iterator[str]:
    if found is None:
        return
    if found["verdict"] == IDENTICAL:
        yield f"Its last layer gives {IDENTICAL}."
        return
    said = f"{_size(found, ahead=not _ahead(found))} {_interval(found)}"
    if found["verdict"] in ("better", "worse"):
        yield f"Its last layer is {said}."
    else:
        images = "images" if repeated else "test images"
        undecided = f"The {images} do not decide whether its last layer is better: {said}."
        yield f"{undecided} {needed_sentence(found)}".rstrip()


def _training(found: Record, train: Record, read: Record, words: tuple[str, str]) -> Iterator[str]:
    """Say what training adds; `words` name what is trained, and the images."""
    what, images = words
    times = _times(train, read)
    if found["verdict"] == IDENTICAL:
        yield f"Training {what} gives {IDENTICAL}{times}."
        return
    said = f"{_size(found, ahead=_ahead(found))} {_interval(found)}{times}"
    if found["verdict"] in ("better", "worse"):
        yield f"Training {what} is {said}."
        return
    undecided = f"The {images} do not decide whether training {what} helps: {said}."
    yield f"{undecided} {needed_sentence(found)}".rstrip()


def misled_sentences(curves: Curves) -> list[str]:
    """Say, once, where validation was much better than test images are; nothing if it was not."""
    table = curves.table
    if is_repeated(table):  # all patients are both
        return []
    rows = [row for row in table[table["chosen"]].to_dict("records") if _is_misled(row)]
    if not rows:
        return []
    road = {"read": "reading", "train": "training"}[rows[0]["road"]]
    what = f"what was chosen for {road}" if len(rows) == 1 else "what was chosen"
    told = dict.fromkeys(str(row["backbone"]) for row in rows)
    if len(told) < table["backbone"].nunique():
        what += f" of {' and '.join(told)}"
    depth = "the depth was" if len(rows) == 1 else "depths were"
    return [
        f"{MISLED}: {what} scored {_range(rows, 'val_estimate')} on validation and "
        f"{_range(rows, 'estimate')} on test images, too far apart for chance, and {depth} chosen "
        "on validation."
    ]


def _is_misled(row: Record) -> bool:
    test_error = (row["high"] - row["low"]) / 2 / HALF_WIDTH
    gap = row["val_estimate"] - row["estimate"]
    gap = gap if find_metric(row["metric"]).higher else -gap
    return bool(gap > FAR_APART * float((test_error**2 + row["val_error"] ** 2) ** 0.5))


def _range(rows: Sequence[Record], name: str) -> str:
    """Write the lowest and the highest of some scores."""
    metric, values = rows[0]["metric"], sorted(row[name] for row in rows)
    ends = dict.fromkeys(number(value, metric) for value in (values[0], values[-1]))
    return " to ".join(ends) + "%" * is_share(metric)


def _ahead(found: Record) -> bool:
    """Whether the first of a question's two is the better one."""
    return bool((found["difference"] > 0) == find_metric(found["metric"]).higher)


def _score(row: Record) -> str:
    metric, sign = row["metric"], "%" * is_share(row["metric"])
    words = f"{metric_words(row)} {number(row['estimate'], metric)}{sign}"
    if pd.isna(row["low"]):
        return f"{words} {no_interval(row['notes'])}"
    return f"{words} [{number(row['low'], metric)}, {number(row['high'], metric)}]"


def _size(row: Record, *, ahead: bool) -> str:
    """Write how large a difference is, and in words which way it goes."""
    text = number(abs(row["difference"]), row["metric"])
    unit = " points" if is_share(row["metric"]) else ""
    word = "" if row["difference"] == 0 else " better" if ahead else " worse"
    return f"{text}{unit}{word}"


def _interval(row: Record) -> str:
    """Write the interval of the size of a difference."""
    metric, low, high = row["metric"], row["low"], row["high"]
    if pd.isna(low):
        return no_interval(row["notes"])
    low, high = (-high, -low) if row["difference"] < 0 else (low, high)
    return f"[{bound_word(low, metric, '-')}, {bound_word(high, metric, '-')}]"


def _times(train: Record, read: Record) -> str:
    """Say how much longer training took than embedding and reading, where both are known."""
    if not (train["seconds"] > 0 and read["seconds"] > 0):
        return ""
    ratio = train["seconds"] / read["seconds"]
    digits = 0 if ratio >= 10 else 1
    if ratio < LONGER:
        return ""
    return f", at {ratio:,.{digits}f} times the time that embedding and reading took"
