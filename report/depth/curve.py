"""The curves of depth: a row for each point, what validation chooses, and how that does on test.

docs/depth.md says what each column is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import pandas as pd

from frostline.cache.errors import InputError
from frostline.report.depth.choice import (
    Floats,
    best_place,
    choose_depth,
    fold_errors,
    within_one_error,
)
from frostline.report.overlap import overlap_sentences
from frostline.report.predictions import Predictions
from frostline.report.similarity import Similarity
from frostline.report.statistics.comparisons.aligned import align
from frostline.report.statistics.comparisons.compare import check_options
from frostline.report.statistics.comparisons.differences import Options, compare_family
from frostline.report.statistics.evaluation import evaluate, score
from frostline.report.statistics.metrics import find_metric
from frostline.report.statistics.seeds import over_seeds, pool_folds

Road = Literal["read", "train", "scratch", "nested", "nested train"]
NESTED: dict[str, Road] = {"read": "nested", "train": "nested train"}
Nested: TypeAlias = Mapping[str, Mapping[str, Sequence[Predictions]]]
NAN = float("nan")
TABLE_COLUMNS = (
    *("dataset", "backbone", "road", "depth", "block", "cost", "unfreeze", "feature", "seeds"),
    *("metric", "positive", "val_estimate", "val_error", "val_units", "val_difference_error"),
    *("estimate", "low", "high", "n_units", "unit", "seconds", "within", "chosen", "run", "notes"),
)
DIFFERENCE_COLUMNS = (
    *("dataset", "backbone", "question", "metric", "positive", "difference", "low", "high", "p"),
    *("p_adjusted", "family_size", "verdict", "groups_needed", "seed_error", "seed_df", "n_units"),
    *("unit", "split", "notes"),
)


class Place(NamedTuple):
    """Where a backbone can be read, and trained from.

    Attributes
    ----------
    depth : int
        Blocks that lie before it: 0 behind the stem, i behind the i-th block.
    block : str
        Name of the last of them.
    behind : int
        Blocks that lie behind it.
    cost : float
        Share of the whole forward pass up to here, 0 to 1.
    """

    depth: int
    block: str
    behind: int
    cost: float


class Validation(NamedTuple):
    """Scores by which a cross-validation chooses.

    Attributes
    ----------
    scores : list of float
        Of the inner folds, of one depth as of another.
    folds : int
        How many folds a repeat has.
    units : int
        How many groups they are of.
    """

    scores: list[float]
    folds: int
    units: int


@dataclass(frozen=True)
class Point:
    """One point of a curve.

    Attributes
    ----------
    road : "read", "train", "scratch", "nested" or "nested train"
        A head on frozen output, training of what lies behind, or of all from random weights; or
        reading and training where each fold of a cross-validation chose.
    place : Place or None
        None where nothing is frozen.
    runs : sequence of Predictions
        One for each seed, of one data set and backbone.
    seconds : float, optional
        What it took, all seeds together: training, or embedding and heads; NaN if not known. If not
        given, what the runs say.
    validation : Validation, optional
        Of a cross-validation, whose runs have no validation images.
    """

    road: Road
    place: Place | None
    runs: Sequence[Predictions]
    seconds: float | None = None
    validation: Validation | None = None


@dataclass(frozen=True)
class Curves:
    """What was found of one data set.

    Attributes
    ----------
    table : DataFrame
        Columns `TABLE_COLUMNS`, a row a point.
    differences : DataFrame
        Columns `DIFFERENCE_COLUMNS`: on test images, what was chosen less the question's other.
        `last layer`: reading there less reading at the end; `training`: training less reading.
    places : dict
        Of each backbone, from input to output.
    majority : float
        Score of always answering training's most frequent class; NaN if unknown.
    overlaps : dict
        Of backbones that were pretrained on images of the data set's sources, a sentence that says
        so.
    similarity : Similarity, optional
        How alike the embeddings of the depths that were read are, where it was asked for.
    """

    table: pd.DataFrame
    differences: pd.DataFrame
    places: Mapping[str, Sequence[Place]]
    majority: float
    overlaps: Mapping[str, str] = field(default_factory=dict)
    similarity: Similarity | None = None

    @property
    def dataset(self) -> str:
        """The data set."""
        return str(self.table["dataset"].iloc[0])

    @property
    def metric(self) -> str:
        """The metric that chose and is shown."""
        return str(self.table["metric"].iloc[0])


def is_repeated(part: pd.DataFrame) -> bool:
    """Whether the choice is repeated in every fold of a cross-validation, all images being test."""
    return bool(part["road"].isin(NESTED.values()).any())


def depth_curves(
    points: Sequence[Point],
    places: Mapping[str, Sequence[Place]],
    *,
    metric: str = "accuracy",
    nested: Nested | None = None,
    replicates: int = 10_000,
    seed: int = 0,
    scoring: Mapping[str, Any] | None = None,
) -> Curves:
    """Score the points of one data set on validation and test, choose by the one, and compare.

    Parameters
    ----------
    points : sequence of Point
    places : mapping
        Of each backbone all places, from input to output.
    metric : str
        The primary metric.
    nested : mapping, optional
        After a cross-validation, of each backbone and road: predictions of reading, and of
        training, where each fold's own choice says (`folds.chosen_run`), one for each repeat. They
        are scored as what is chosen.
    replicates, seed
        As in `evaluate` and `compare`.
    scoring : mapping, optional
        `unit`, `aggregate`, `classes` and `positive`, as in `evaluate`.

    Raises
    ------
    InputError
        If there is no point, or test sets differ.
    """
    check_options(Options(metric, replicates=replicates, seed=seed))
    if not points:
        raise InputError("There is no depth to show: read or train at one at least.")
    how = dict(scoring or {})
    draws = {"replicates": replicates, "seed": seed}
    rows = [_row(point, metric, how, draws) for point in points]
    table = pd.DataFrame(rows, columns=list(TABLE_COLUMNS))
    table = _chosen(points, table, metric, how)
    added = list(_nested(points, table, nested or {}))
    points = [*points, *added]
    rows = [
        # What is put together of trainings has no file.
        _row(point, metric, how, draws)
        | {"within": False, "chosen": False}
        | ({"run": "", "unfreeze": ""} if point.road == NESTED["train"] else {})
        for point in added
    ]
    table = pd.concat([table, pd.DataFrame(rows, columns=list(TABLE_COLUMNS))], ignore_index=True)
    pairs = list(_questions(table, places))
    found = _compare(points, table, pairs, Options(metric, replicates=replicates, seed=seed), how)
    majority = _majority(points[0].runs[0], metric, how)
    return Curves(table, found, places, majority, _overlaps(points))


def _overlaps(points: Sequence[Point]) -> dict[str, str]:
    """Say of each backbone on which images of the data set it was pretrained."""
    metas = {str(point.runs[0].meta["backbone"]): point.runs[0].meta for point in points}
    said = {name: overlap_sentences([meta]) for name, meta in metas.items()}
    return {name: sentences[0] for name, sentences in said.items() if sentences}


def _row(
    point: Point, metric: str, how: Mapping[str, Any], draws: Mapping[str, Any]
) -> dict[str, Any]:
    """Score a point on test and, where it has validation images, on those."""
    first, place = point.runs[0], point.place
    (test,) = over_seeds(point.runs, metrics=[metric], **how, **draws).to_dict("records")
    row = {name: test[name] for name in TABLE_COLUMNS if name in test}
    return row | {
        "dataset": first.meta.get("dataset"),
        "backbone": first.meta.get("backbone"),
        "road": point.road,
        "depth": -1 if place is None else place.depth,
        "block": "" if place is None else place.block,
        "cost": NAN if place is None or point.road != "read" else place.cost,
        "unfreeze": first.meta.get("unfreeze"),
        "feature": first.meta.get("feature"),
        "seeds": test["n_seeds"],
        "seconds": _seconds(point) if point.seconds is None else point.seconds,
        **_validation(point, metric, how),
    }


def _seconds(point: Point) -> float:
    """Add what the runs took and, of reading, one pass of embedding; NaN where one is not known."""
    said = [run.meta.get("seconds") for run in point.runs]
    if point.road in ("read", NESTED["read"]):
        # Heads of all seeds and repeats read one store.
        said.append(point.runs[0].meta.get("embedding_seconds"))
    known = [float(one) for one in said if one is not None]
    return round(sum(known), 3) if len(known) == len(said) else NAN


def _validation(point: Point, metric: str, how: Mapping[str, Any]) -> dict[str, float]:
    """Give the validation score, its standard error over patients and seeds, and how many units."""
    estimate, error, units = NAN, NAN, 0
    if point.validation is not None:
        pooled = pool_folds(point.validation.scores, 1 / (point.validation.folds - 1))
        estimate, error, units = pooled.estimate, pooled.seed_error, point.validation.units
    elif _validates(point):
        # The interval is not needed, and percentile's replicates take time.
        (row,) = over_seeds(
            point.runs, metrics=[metric], split="val", ci="jackknife-t", **how
        ).to_dict("records")
        error = float(np.hypot(row["group_error"], np.nan_to_num([row["seed_error"]])[0]))
        estimate, units = row["estimate"], row["n_units"]
    return {"val_estimate": estimate, "val_error": error, "val_units": units}


def _validates(point: Point) -> bool:
    """Whether all runs of a point have validation images."""
    return all((run.table["split"] == "val").any() for run in point.runs)


def _chosen(
    points: Sequence[Point], table: pd.DataFrame, metric: str, how: Mapping[str, Any]
) -> pd.DataFrame:
    """Mark what is within one standard error, and the choice, on each road of each backbone.

    Trainings of an unfinished study whose seeds are fewer than another's are no candidates yet.
    """
    higher = find_metric(metric).higher
    table = table.assign(within=False, chosen=False)
    for (_, road), part in table.groupby(["backbone", "road"], sort=False):
        seeds = np.array([len(points[row].runs) for row in part.index])
        scores = part["val_estimate"].where(seeds == seeds.max()).to_numpy(float)
        best = best_place(scores, higher=higher)
        if road not in ("read", "train") or best is None:
            continue
        errors = _difference_errors([points[row] for row in part.index], best, metric, how)
        costs = part["cost" if road == "read" else "seconds"].to_numpy(float)
        table.loc[part.index, "val_difference_error"] = errors
        table.loc[part.index, "within"] = within_one_error(scores, errors, higher=higher)
        place = choose_depth(scores, errors, costs, higher=higher)
        if place is not None:
            table.loc[part.index[place], "chosen"] = True
    return table


def _difference_errors(
    points: Sequence[Point], best: int, metric: str, how: Mapping[str, Any]
) -> Floats:
    """Give the standard error of each point's difference from one, on the same images: [D].

    NaN of a point without validation images, and where there is but one group.
    """
    errors = np.full(len(points), NAN)
    folds = {row: one for row, point in enumerate(points) if (one := point.validation) is not None}
    if best in folds:
        scores = np.array([one.scores for one in folds.values()])
        errors[[*folds]] = fold_errors(scores, [*folds].index(best), folds[best].folds)
        return errors
    scored = [row for row, point in enumerate(points) if _validates(point)]
    slices, runs = _runs_of(points, scored)
    pairs = [(slices[row], slices[best]) for row in scored]
    aligned = align(score(runs, split="val", **how))
    # p and interval are not needed.
    found = compare_family(aligned, pairs, Options(metric, replicates=1))
    errors[scored] = [np.hypot(one.group_error, np.nan_to_num(one.seed_error)) for one in found]
    return errors


def _runs_of(
    points: Sequence[Point], rows: Iterable[int]
) -> tuple[dict[int, slice], list[Predictions]]:
    """List the runs of some points, and where those of each are."""
    slices: dict[int, slice] = {}
    runs: list[Predictions] = []
    for row in rows:
        slices[row] = slice(len(runs), len(runs) + len(points[row].runs))
        runs += points[row].runs
    return slices, runs


def _nested(points: Sequence[Point], table: pd.DataFrame, nested: Nested) -> Iterator[Point]:
    """Give the point of each choice that was repeated in every fold."""
    for number in np.flatnonzero(table["chosen"].to_numpy(bool)).tolist():
        road = points[number].road
        if runs := nested.get(str(table["backbone"].iloc[number]), {}).get(road):
            # Its runs have the seconds of the first depth, chosen or not.
            took = float(table["seconds"].iloc[number])
            yield replace(points[number], road=NESTED[road], runs=runs, seconds=took)


def _questions(
    table: pd.DataFrame, places: Mapping[str, Sequence[Place]]
) -> Iterator[tuple[str, int, int]]:
    """Find what is asked of the choices on test: a question, and the rows of a and b."""
    for backbone, part in table.groupby("backbone", sort=False):
        last = places[str(backbone)][-1].depth
        read, train = (_choice(part, road) for road in ("read", "train"))
        end = part[(part["road"] == "read") & (part["depth"] == last)]
        if len(read) and len(end) and read.index[0] != end.index[0]:
            yield "last layer", int(read.index[0]), int(end.index[0])
        if len(read) and len(train):
            yield "training", int(train.index[0]), int(read.index[0])


def _choice(part: pd.DataFrame, road: str) -> pd.DataFrame:
    """Give the row of what is chosen on a road: of every fold's own choice, if that was made."""
    nested = part[part["road"] == NESTED[road]]
    return nested if len(nested) else part[(part["road"] == road) & part["chosen"]]


def _compare(
    points: Sequence[Point],
    table: pd.DataFrame,
    pairs: Sequence[tuple[str, int, int]],
    options: Options,
    how: Mapping[str, Any],
) -> pd.DataFrame:
    """Compare the choices on test images: one family."""
    if not pairs:
        return pd.DataFrame(columns=list(DIFFERENCE_COLUMNS))
    slices, runs = _runs_of(points, sorted({row for _, *both in pairs for row in both}))
    aligned = align(score(runs, **how))
    found = compare_family(aligned, [(slices[a], slices[b]) for _, a, b in pairs], options)
    rows = [
        vars(one)
        | {name: table.loc[a, name] for name in ("dataset", "backbone", "metric", "positive")}
        | {"question": question, "n_units": aligned.paired.n_units, "unit": aligned.unit}
        | {"split": aligned.samples[0].split}
        for (question, a, _), one in zip(pairs, found, strict=True)
    ]
    return pd.DataFrame(rows, columns=list(DIFFERENCE_COLUMNS))


def _majority(run: Predictions, metric: str, how: Mapping[str, Any]) -> float:
    found = evaluate([run], metrics=[metric], replicates=100, **how)
    level = found[found["run"].str.startswith("majority")]
    return float(level["estimate"].iloc[0]) if len(level) else NAN
