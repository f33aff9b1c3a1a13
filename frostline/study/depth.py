"""`frostline depth`: the study of one data set with the protocol of depth alone."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frostline import stages
from frostline.cache import InputError, Workspace
from frostline.cache.keys import BLOCKS, is_blocks
from frostline.cache.tables.unfreezing import COUNT
from frostline.depth.checks import AUTO, NONE
from frostline.depth.reading import Heads
from frostline.finetune.recipe import make_recipe
from frostline.protocols import PROTOCOL_HEADS, check_protocol
from frostline.report import read_predictions
from frostline.report.statistics.comparisons.compare import check_options
from frostline.report.statistics.comparisons.differences import Options
from frostline.study.depth_data import study_curves
from frostline.study.file import SCRATCH, OwnBackbone, Study, parse_study
from frostline.study.results import read_state
from frostline.study.runner import run_study
from frostline.tracking.session import Tracking

if TYPE_CHECKING:
    from frostline.report.depth.curve import Curves

PROTOCOL = "depth"


@dataclass(frozen=True)
class Question:
    """What is asked of a data set.

    Attributes
    ----------
    train : sequence of str
        What is trained too: numbers of last blocks, `lora` and `lora:N` (adapters), `all`, and
        `scratch`, all of it from random weights.
    seeds : sequence of int
        Of what is trained, and of heads that depend on one.
    cv : str
        `KxR`: reading and training by repeated cross-validation; `none`: the data set's splits;
        `auto`: 5x3 where it has under 100 groups and the recipe is `standard`, with fewer folds
        where a class has fewer groups.
    metric : str
        The primary one: it chooses, and is shown.
    columns : Columns
    changes : mapping
        Fields of the recipe of training to replace.
    """

    train: Sequence[str] = ()
    seeds: Sequence[int] = (0,)
    cv: str = AUTO
    metric: str = "accuracy"
    columns: stages.Columns = field(default_factory=stages.Columns)
    changes: Mapping[str, Any] = field(default_factory=dict)


def depth_study(
    dataset: str,
    networks: Sequence[stages.Network],
    question: Question,
    machine: stages.Machine | None = None,
) -> Study:
    """Make the study of one data set of a workspace; a strict `run_study` plans and runs it.

    Raises
    ------
    InputError
        If the question does not fit together.
    """
    _check(networks, question)
    first, machine = networks[0], machine or stages.Machine()
    # As it is typed, a value is text.
    recipe = make_recipe(first.protocol, **question.changes)
    protocol = {
        "recipe": first.protocol,
        "feature": first.feature or BLOCKS,
        "train": [int(one) if one.isdecimal() else one for one in question.train],
        "image_size": first.image_size,
        **{name: getattr(recipe, name) for name in question.changes},
    }
    study = parse_study(
        {
            "name": f"depth-{dataset}",
            "title": f"How deep? {dataset}",
            "datasets": {dataset: vars(question.columns)},
            "backbones": [
                {
                    "name": one.backbone_name,
                    "weights": one.weights,
                    "weights_seed": one.weights_seed,
                }
                for one in networks
            ],
            "protocols": {PROTOCOL: protocol},
            "seeds": list(question.seeds),
            "primary_metric": question.metric,
            "cv": question.cv,
            **vars(machine),
        },
        f"Depth of {dataset!r}",
        _options(dataset, len(networks), machine),
    )
    pairs = zip(study.backbone_entries(), networks, strict=True)
    study.backbones = [OwnBackbone(**vars(entry), network=one) for entry, one in pairs]
    return study


def find_depth(
    workspace: Workspace, study: Study, *, jobs: int = 1, tracking: Tracking | None = None
) -> tuple[list[Curves], Path]:
    """Run a study, and give the curves of its protocol of depth and the folder of its report.

    Raises
    ------
    InputError
        If a run cannot start, before anything is computed, or a step failed.
    """
    outcome = run_study(workspace, study, jobs=jobs, strict=True, tracking=tracking)
    outcome.check()
    assert outcome.report is not None
    runs = [read_predictions(path) for path in outcome.predictions]
    return study_curves(study, runs, read_state(outcome.report)["depths"]), outcome.report


def _options(dataset: str, backbones: int, machine: stages.Machine) -> dict[str, str]:
    """Give what fields of the study were typed as, which nobody sees."""
    paths = {
        f"protocols.{PROTOCOL}": ["image_size"],
        f"datasets.{dataset}": ["label", "split"],
        **{f"backbones.{number}": ["weights", "weights_seed"] for number in range(backbones)},
    }
    found = {f"{path}.{name}": name for path, names in paths.items() for name in names}
    found |= {name: name for name in ("seeds", "cv", *vars(machine))}
    return {path: f"--{name.replace('_', '-')}" for path, name in found.items()}


def _check(networks: Sequence[stages.Network], question: Question) -> None:
    """Refuse what can be known without looking at anything."""
    check_options(Options(question.metric))
    for one in question.train:
        if one == "norm" or re.fullmatch(f"first:{COUNT}", one):
            raise InputError(
                f"--train does not take {one}, which leaves nothing frozen at the input and so has "
                f"no depth in the picture: run `frostline finetune --unfreeze {one}`, or a study "
                "with it."
            )
        if not re.fullmatch("(lora:)?[1-9][0-9]{0,3}|lora|all|scratch", one):
            raise InputError(
                "--train takes numbers of last blocks, lora, lora:N, all and scratch, such as "
                f"1,3,lora,all, not {one!r}: correct it."
            )
    if twice := {one for one in question.train if question.train.count(one) > 1}:
        raise InputError(f"--train names {min(twice)} twice: name it once.")
    if len(set(question.seeds)) < len(question.seeds):
        raise InputError(
            "--seeds takes different whole numbers, such as 0,1,2, not "
            f"{','.join(map(str, question.seeds))!r}."
        )
    if question.changes and not question.train:
        raise InputError(
            f"The recipe's {min(question.changes)} is for what is trained: give --train, or leave "
            "it out."
        )
    names = [network.backbone_name for network in networks]
    if not names:
        raise InputError("There is no backbone to read: give one at least.")
    if again := {name for name in names if names.count(name) > 1}:
        raise InputError(f"Backbone {min(again)!r} is given twice: give it once.")
    first = networks[0]
    for name in ("protocol", "feature", "image_size"):
        if any(getattr(one, name) != getattr(first, name) for one in networks):
            raise InputError(f"Backbones of one picture have one {name}: give them the same.")
    if not is_blocks(first.feature or BLOCKS):
        raise InputError(f"--feature is blocks or blocks:POOLING here, not {first.feature!r}.")
    if SCRATCH not in question.train:
        for network in networks:
            network.check()
    if question.cv not in (AUTO, NONE):
        cv = question.cv
        Heads(PROTOCOL_HEADS[check_protocol(first.protocol)], first.protocol, cv=cv).check(
            "any", names[0], question.metric
        )
