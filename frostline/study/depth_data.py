"""The protocol of depth in a report: which runs stand where, and the curves that they make."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from frostline.cache import InputError, Store, Workspace, find_stores
from frostline.cache.tables.unfreezing import is_lora, parse_unfreezing
from frostline.console import alert
from frostline.study.file import SCRATCH, Study
from frostline.study.records import record_done

if TYPE_CHECKING:
    from frostline.report import Predictions
    from frostline.report.depth.curve import Curves, Point
    from frostline.study.plan import Plan


def depth_runs(workspace: Workspace, plan: Plan) -> list[dict[str, Any]]:
    """List which finished runs of a study stand at which depth.

    Returns
    -------
    list of dict
        One for each data set, protocol of depth and backbone that was read: these names; `places`
        from input to output; `read`, for each depth that was read its number, its runs, and the
        validation score of a cross-validation; `nested`, the runs of what each fold chose for
        itself, and `metric`, by which it did; and `train`, the runs of each part that was trained.
    """
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for step in plan.runs():
        cell = step.cell
        record = record_done(workspace, step.key)
        place = cell.dataset, cell.protocol, cell.backbone.name
        if record is None or cell.of or not (step.kind == "read" or cell.part):
            continue
        names = dict(zip(("dataset", "protocol", "backbone"), place, strict=True))
        one = found.setdefault(place, {**names, "read": [], "train": {}})
        if step.kind == "read":
            one |= {"places": record["places"], "read": record["points"]}
            one |= {"nested": record["nested"], "metric": step.inputs.get("metric")}
        else:
            one["train"].setdefault(cell.part, []).extend(record["runs"])
    # Trained alone, nothing says where its blocks lie.
    return [one for one in found.values() if one["read"]]


def study_curves(
    study: Study, runs: Iterable[Predictions], depths: Sequence[Mapping[str, Any]]
) -> list[Curves]:
    """Make the curves of every data set and protocol of depth, from what `depth_runs` lists."""
    from frostline.report.depth.curve import Place, depth_curves
    from frostline.report.depth.folds import nested_training

    known = {run.run: run for run in runs}
    for one in depths:
        if one["metric"] not in (None, study.primary_metric):
            raise InputError(
                f"Every fold chose the depths of {one['backbone']} on {one['dataset']} by "
                f"{one['metric']}, not by {study.primary_metric}: run the study again."
            )
    found = []
    for backbones in _by_picture(depths):
        places = {one["backbone"]: [Place(*place) for place in one["places"]] for one in backbones}
        points = [
            point
            for one in backbones
            for point in _points(one, places[one["backbone"]], known, study.primary_metric)
        ]
        nested: dict[str, dict[str, list[Predictions]]] = {}
        for one in backbones:
            trained = [p for p in points if p.road == "train" and _backbone(p) == one["backbone"]]
            nested[one["backbone"]] = {
                "read": [known[run] for run in one["nested"]],
                "train": nested_training(trained, study.primary_metric),
            }
        scoring: dict[str, Any] = {
            "metric": study.primary_metric,
            "scoring": {"unit": study.unit, "aggregate": study.aggregate},
        }
        if study.replicates is not None:
            scoring["replicates"] = study.replicates
        found.append(depth_curves(points, places, nested=nested, **scoring))
    return found


def with_similarity(
    workspace: Workspace,
    curves: Sequence[Curves],
    runs: Iterable[Predictions],
    depths: Sequence[Mapping[str, Any]],
) -> list[Curves]:
    """Add to what `study_curves` gave how alike the embeddings are, at the depths that were read.

    Stores that are gone are left out; where there is nothing to compare, a sentence says so.
    """
    from frostline.scoring.similarity import store_similarity

    keys = {run.run: str(run.meta["store_key"]) for run in runs}
    found = []
    for one, backbones in zip(curves, _by_picture(depths), strict=True):
        try:
            stores = _read_stores(workspace, backbones, keys)
            alike = store_similarity(workspace, one.dataset, stores) if len(stores) > 1 else None
        except InputError as error:
            alert(f"The similarity of depths of {one.dataset} is left out: {error}")
            alike = None
        found.append(replace(one, similarity=alike))
    return found


def _read_stores(
    workspace: Workspace, depths: Sequence[Mapping[str, Any]], keys: Mapping[str, str]
) -> dict[str, Store]:
    """Open the stores that were read, by the names of their blocks; `keys` are those of runs."""
    stores = {}
    for one in depths:
        blocks = {place[0]: place[1] for place in one["places"]}
        folder = workspace.embeddings(one["dataset"], one["backbone"])
        there = {path.name: path for path in find_stores(folder)}
        for depth, (first, *_), _ in one["read"]:
            name = blocks[depth] if len(depths) == 1 else f"{one['backbone']} {blocks[depth]}"
            if keys[first] in there:
                stores[name] = Store.open(there[keys[first]])
    return stores


def _by_picture(depths: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Put the backbones of each data set and protocol together."""
    together: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for one in depths:
        together.setdefault((one["dataset"], one["protocol"]), []).append(one)
    return [*together.values()]


def _points(
    depths: Mapping[str, Any],
    places: Sequence[Any],
    known: Mapping[str, Predictions],
    metric: str,
) -> Iterable[Point]:
    from frostline.report.depth.curve import Point, Validation
    from frostline.report.depth.folds import training_validation

    at, behind = {place.depth: place for place in places}, {place.behind: place for place in places}
    for depth, names, validation in depths["read"]:
        scored = None if validation is None else Validation(*validation)
        yield Point("read", at[depth], [known[name] for name in names], validation=scored)
    for part, names in depths["train"].items():
        runs = [known[name] for name in names]
        asked = parse_unfreezing(part)  # not of scratch
        count = asked.blocks if asked else 0
        # Adapters in all blocks are behind the stem, where there is one.
        place = behind[count] if count else at.get(0) if is_lora(part) else None
        scored = training_validation(runs, metric)
        yield Point("scratch" if part == SCRATCH else "train", place, runs, validation=scored)


def _backbone(point: Point) -> str:
    return str(point.runs[0].meta["backbone"])


def shown_runs(
    runs: Sequence[Predictions],
    curves: Sequence[Curves],
    depths: Sequence[Mapping[str, Any]],
    *,
    alone: bool = True,
) -> list[Predictions]:
    """Leave out what stands in the curves alone: reading elsewhere than chosen, or at the end.

    The other depths are description; in tables of scores and comparisons they would be candidates.
    Where each fold chose for itself, what it chose stands for the chosen one, as in the sentence.
    Each run that is shown says whose curve it is a point of. Beside other protocols (not `alone`)
    what was trained is named by this one: a recipe's run of theirs may differ in its rates alone.
    """
    from frostline.report.statistics.comparisons.families import CURVE

    about: dict[str, dict[str, str]] = {}
    chosen = {
        str(run) for one in curves for run in one.table.loc[one.table["chosen"], "run"].tolist()
    }
    hidden: set[str] = set()
    kept: set[str] = set()
    for one in depths:
        for number, (_, names, _) in enumerate(one["read"]):
            last = number == len(one["read"]) - 1
            shown = last or (names[0] in chosen and not one["nested"])
            (kept if shown else hidden).update(names)
        read = [*one["nested"], *(name for _, names, _ in one["read"] for name in names)]
        about |= {name: {CURVE: one["backbone"]} for name in read}
        trained = {CURVE: one["backbone"]} | ({} if alone else {"protocol": one["protocol"]})
        about |= {name: trained for names in one["train"].values() for name in names}
    return [
        replace(run, meta={**run.meta, **about.get(run.run, {})})
        for run in runs
        if run.run not in hidden - kept
    ]
