"""The frost line of a data set: both roads, the choice, and the answer (docs/depth.md)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from frostline import stages
from frostline.cache import Workspace, read_manifest
from frostline.cache.errors import InputError
from frostline.cache.keys import BLOCKS
from frostline.cache.tables.class_order import check_order, ordered
from frostline.console import detail, progress, say
from frostline.depth.files import write_depth
from frostline.depth.reading import Heads, read_depths
from frostline.probe.embedded import check_labels
from frostline.probe.heads.scoring import METRICS
from frostline.protocols import PROTOCOL_HEADS, check_protocol
from frostline.report import Predictions, read_predictions
from frostline.report.depth.curve import Curves, Place, Point, depth_curves
from frostline.report.statistics.comparisons.compare import check_options
from frostline.report.statistics.comparisons.differences import Options
from frostline.report.statistics.metrics import ORDINAL

if TYPE_CHECKING:
    import pandas as pd

    from frostline.extract.backbones.depths import Depth
    from frostline.finetune.training.epochs import Epoch

SCRATCH = "scratch"
AUTO = "auto"
# Under so many groups a single split cannot answer.
FEW_GROUPS, FOLDS, LEAST_FOLDS, REPEATS = 100, 5, 3, 3


@dataclass(frozen=True)
class Question:
    """What is asked of a data set.

    Attributes
    ----------
    train : sequence of str
        What is trained too: numbers of last blocks, `all`, and `scratch`, all of it from random
        weights.
    seeds : sequence of int
        Of what is trained, and of heads that depend on one.
    cv : str, optional
        `KxR`: reading by repeated cross-validation; None for the data set's splits; `auto`: 5x3
        where it has under 100 groups and nothing is trained, with fewer folds where a class has
        fewer groups.
    metric : str
        The primary one: it chooses, and is shown.
    jobs : int, optional
        Processes that train heads.
    columns : Columns
    changes : mapping
        Fields of the recipe of training to replace.
    """

    train: Sequence[str] = ()
    seeds: Sequence[int] = (0,)
    cv: str | None = AUTO
    metric: str = "accuracy"
    jobs: int | None = None
    columns: stages.Columns = field(default_factory=stages.Columns)
    changes: Mapping[str, Any] = field(default_factory=dict)


def find_depth(
    workspace: Workspace,
    dataset: str,
    networks: Sequence[stages.Network],
    question: Question,
    *,
    machine: stages.Machine | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> Curves:
    """Read every backbone at every depth, train it from those asked, choose, and write the answer.

    What is done is not done again.

    Raises
    ------
    InputError
        If a backbone has no blocks that are known, has fewer than asked, or a stage refuses.
    """
    machine = machine or stages.Machine()
    _check(networks, question)
    manifest = read_manifest(workspace.manifest(dataset))
    images = manifest.images(question.columns.label, question.columns.split)
    question = replace(question, cv=_folds(images, dataset, question))
    _check_images(images, manifest.classes, dataset, question)
    for network in networks:
        heads = _heads(network, question, machine)
        heads.check(dataset, network.backbone_name, question.metric)
    points: list[Point] = []
    nested: dict[str, list[Predictions]] = {}
    # What cannot be is said before anything is computed.
    depths = {one.backbone_name: _depths(workspace, dataset, one) for one in networks}
    places = {name: [_as_place(one) for one in own] for name, own in depths.items()}
    trained = {
        name: [(unfreeze, _place(unfreeze, own, name)) for unfreeze in question.train]
        for name, own in places.items()
    }
    for network in networks:
        name = network.backbone_name
        read = _read(workspace, dataset, network, depths[name], question, machine)
        for sentence in read.said:
            say(sentence)
        points += read.points
        nested[name] = read.nested
        for where in trained[name]:
            points.append(_train(workspace, dataset, network, where, question, machine, on_epoch))
    curves = depth_curves(
        points,
        places,
        metric=question.metric,
        nested={name: runs for name, runs in nested.items() if runs},
    )
    write_depth(workspace.root / "reports" / f"depth-{dataset}", curves)
    return curves


def _check(networks: Sequence[stages.Network], question: Question) -> None:
    """Refuse what would only be found out after hours."""
    check_options(Options(question.metric))
    if question.changes and not question.train:
        raise InputError(
            f"The recipe's {min(question.changes)} is for what is trained: give --train, or leave "
            "it out."
        )
    names = [network.backbone_name for network in networks]
    if not names:
        raise InputError("There is no backbone to read: give one at least.")
    if twice := {name for name in names if names.count(name) > 1}:
        raise InputError(f"Backbone {min(twice)!r} is given twice: give it once.")
    if question.cv not in (None, AUTO) and question.train:
        raise InputError(
            "--cv is for reading, and --train for a data set's own splits: give one of them."
        )


def _check_images(
    images: pd.DataFrame, declared: Sequence[str] | None, dataset: str, question: Question
) -> None:
    """Refuse images on which no depth can be chosen or scored."""
    label, split = question.columns.label, question.columns.split
    labelled = images[images["label"].notna()]
    if question.metric in ORDINAL:
        names, known = ordered(sorted(labelled["label"].unique()), declared)
        check_order(names, known, question.metric, f"data set {dataset!r}")
    if question.cv:
        return
    check_labels(images, dataset, label, split)
    if not (labelled["split"] == "test").any():
        raise InputError(
            f"Data set {dataset!r} has no test image with a label (columns {label!r} and "
            f"{split!r}) to score the choice on: index it again with a test part, or name other "
            "columns."
        )


def _folds(images: pd.DataFrame, dataset: str, question: Question) -> str | None:
    """Choose how a data set is read: few groups, by cross-validation."""
    if question.cv != AUTO:
        return question.cv
    groups = int(images["group_id"].nunique())
    if groups >= FEW_GROUPS:
        return None
    fewest = int(images.groupby("label")["group_id"].nunique().min())
    why = ""
    if question.train:
        why = "training is not cross-validated"
    elif question.metric not in METRICS:
        why = f"folds do not choose by {question.metric}"
    elif fewest < LEAST_FOLDS:
        why = "its rarest class has too few groups for cross-validation"
    if why:
        say(
            f"Data set {dataset!r} has {groups} groups, under {FEW_GROUPS}: one split says little, "
            f"and {why}."
        )
        return None
    # A class has an image in every fold.
    folds = f"{min(FOLDS, fewest)}x{REPEATS}"
    say(
        f"Data set {dataset!r} has {groups} groups, under {FEW_GROUPS}, so that one split cannot "
        f"answer: it is read by {folds} cross-validation (--cv none takes its splits)."
    )
    return folds


def _depths(workspace: Workspace, dataset: str, network: stages.Network) -> list[Depth]:
    from frostline.extract.backbones.depths import backbone_depths

    size = network.inputs(read_manifest(workspace.manifest(dataset))).geometry.crop
    feature = network.feature or BLOCKS
    return list(backbone_depths(network.backbone, size, feature, network.name))


def _as_place(depth: Depth) -> Place:
    return Place(depth.number, depth.block, depth.behind, depth.cost)


def _place(unfreeze: str, places: Sequence[Place], backbone: str) -> Place | None:
    """Find from where a training begins; None if nothing is frozen."""
    if unfreeze in ("all", SCRATCH):
        return None
    if not re.fullmatch("[1-9][0-9]{0,3}", unfreeze):
        raise InputError(
            f"--train takes numbers of last blocks, all and scratch, such as 1,3,all, not "
            f"{unfreeze!r}: correct it."
        )
    for place in places:
        if place.behind == int(unfreeze):
            return place
    raise InputError(
        f"Backbone {backbone!r} has {places[0].behind} blocks behind its first, fewer than the "
        f"{unfreeze} of --train: give a smaller number, or all."
    )


def _read(
    workspace: Workspace,
    dataset: str,
    network: stages.Network,
    depths: Sequence[Depth],
    question: Question,
    machine: stages.Machine,
) -> Any:
    name = network.backbone_name
    with progress(f"Embedding {dataset} with {name}") as update:
        found = stages.extract_features(
            workspace,
            dataset,
            network,
            [network.feature or BLOCKS],
            machine=machine,
            progress=update,
        )
    for sentence in found[0].skipped:
        say(f"Skipped: {sentence}")
    keys = {one.feature: one.key for one in found}
    stores = [(_as_place(one), keys[one.feature]) for one in depths if one.feature is not None]
    detail(f"Reading {name} at {len(stores)} depths.")
    heads = _heads(network, question, machine)
    with progress(f"Reading {name}", "heads") as update:
        return read_depths(workspace, dataset, name, stores, heads, question.metric, update)


def _heads(network: stages.Network, question: Question, machine: stages.Machine) -> Heads:
    return Heads(
        PROTOCOL_HEADS[check_protocol(network.protocol)],
        network.protocol,
        question.seeds,
        question.cv,
        question.columns,
        "skip" if machine.on_error == "skip" else "error",
        question.jobs,
    )


def _trained(unfreeze: str) -> str:
    whole = {"all": "the whole network", "1": "the last block", SCRATCH: "random weights"}
    return whole.get(unfreeze, f"the last {unfreeze} blocks")


def _train(
    workspace: Workspace,
    dataset: str,
    network: stages.Network,
    where: tuple[str, Place | None],
    question: Question,
    machine: stages.Machine,
    on_epoch: Callable[[Epoch], None] | None,
) -> Point:
    from frostline.finetune.task import Execution

    unfreeze, place = where
    network = replace(network, feature=None)
    if unfreeze == SCRATCH:
        network = replace(network, weights="random")
    runs = []
    for seed in question.seeds:
        say(f"Training {_trained(unfreeze)} of {network.backbone_name}, seed {seed}.")
        with progress(f"Preparing {dataset}") as update:
            run, _ = stages.finetune(
                workspace,
                dataset,
                network,
                unfreeze="all" if unfreeze == SCRATCH else unfreeze,
                machine=machine,
                seed=seed,
                columns=question.columns,
                changes=question.changes,
                execution=Execution(said=say),
                on_epoch=on_epoch,
                progress=update,
            )
        runs.append(read_predictions(workspace.predictions(run)))
    return Point("scratch" if unfreeze == SCRATCH else "train", place, runs)
