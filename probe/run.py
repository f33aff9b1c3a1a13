"""One head on one data set and backbone: a sweep of one head run."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, get_args

from pydantic import BaseModel

from frostline.cache import InputError, Workspace
from frostline.probe.choices import Level, OnMissing, Pool, Protocol, Rows
from frostline.probe.heads.registry import UNSEEDED, make_grid
from frostline.probe.own_estimator import OwnEstimator, own_estimator
from frostline.probe.sweep.head_run import HeadRun
from frostline.probe.sweep.planning import plan_sweep
from frostline.probe.sweep.selection import at_edge, choices
from frostline.probe.sweep.settings import Sweep, check_rows
from frostline.probe.sweep.validation_scores import read_scores


@dataclass(frozen=True)
class Source:
    """Which embeddings, labels and splits a head is trained on.

    Attributes
    ----------
    feature : str, optional
        Such as `cls+mean`, where several were extracted.
    key : str, optional
        First digits of the embedding store's key, where the feature does not decide.
    label, split : str
        Columns of the manifest.
    on_missing : {"error", "skip"}
        What to do about images that the store lacks.
    level : {"image", "patient"}
        What the head answers for: an image, or a group by all of its images (docs/patients.md).
    pool : {"mean", "max"}, optional
        At level `patient`, what makes one embedding of them for heads that take one; the mean if
        None.
    views : int
        The head trains on so many augmented views of every training image, too (docs/views.md).
    views_key : str, optional
        First digits of the key of one of them, where there are those of several seeds or changes.
    """

    feature: str | None = None
    key: str | None = None
    label: str = "label"
    split: str = "split"
    on_missing: OnMissing = "error"
    level: Level = "image"
    pool: Pool | None = None
    views: int = 0
    views_key: str | None = None


def make_source(**fields: Any) -> Source:
    """Make a source of fields that someone named.

    Raises
    ------
    InputError
        If there is no such field, or `level` or `pool` is none of its choices.
    """
    known = Source.__dataclass_fields__
    for name in fields:
        if name not in known:
            raise InputError(f"There is no {name!r} of a probe: choose {', '.join(known)}.")
    for name, allowed in (("level", get_args(Level)), ("pool", (None, *get_args(Pool)))):
        if name in fields and fields[name] not in allowed:
            raise InputError(
                f"{name} is {' or '.join(map(str, allowed))}, not {fields[name]!r}: choose one."
            )
    return Source(**fields)


def probe_head(
    workspace: Workspace,
    dataset: str,
    backbone: str,
    *,
    head: Any = "logistic",
    hyperparameters: Mapping[str, Any] | None = None,
    seed: int = 0,
    protocol: Protocol = "paper",
    source: Source | None = None,
) -> tuple[str, bool]:
    """Train a head on the embeddings of a data set, unless that was done before.

    As in every sweep (docs/sweeps.md): validation chooses from its grid, the best is fitted to
    train and validation (`adam`: kept as after its best epoch), and the predictions on val are
    those of the head before that.

    Parameters
    ----------
    workspace : Workspace
    dataset, backbone : str
    head : str or classifier
        A name of `frostline.probe.heads.registry.HEADS`, or a classifier of scikit-learn.
    hyperparameters : mapping, optional
        Instead of the defaults of the head's grid (`frostline.probe.heads.grids`); a list is what
        validation chooses from.
    seed, protocol
        The predictions say both; a head that no seed changes has seed 0, whatever is given.
    source : Source, optional
        Which embeddings, labels and splits.

    Returns
    -------
    run : str
        Its predictions are at `workspace.predictions(run)`.
    new : bool
        Whether it was trained now.

    Raises
    ------
    InputError
        If something is not there or no head can be trained on it.
    """
    own = None if isinstance(head, str) else own_estimator(head, hyperparameters)
    name = "majority" if own else head  # an own estimator has nothing to choose either
    grid = make_grid(name, hyperparameters or {})
    sweep = _sweep(dataset, backbone, {name: grid}, protocol, seed, source or Source())
    run = plan_sweep(workspace, sweep).runs[0]
    run = _with_own(run, own, seed) if own else run
    if run.is_predicted(workspace):
        return run.run(), False
    # What is done is known without what trains.
    from frostline.probe.sweep.engine import load, train_runs

    train_runs(workspace, [run], load(workspace, run.data, pooled=False))
    scores = read_scores(workspace, run)
    assert scores is not None  # just written
    for sentence in at_edge([(run, choice) for choice in choices(run, scores)]):
        warnings.warn(sentence, stacklevel=2)
    return run.run(), True


def _sweep(
    dataset: str,
    backbone: str,
    heads: dict[str, BaseModel],
    protocol: Protocol,
    seed: int,
    source: Source,
) -> Sweep:
    """Make a sweep of one run: that of the probe."""
    sweep = Sweep(
        datasets=[dataset],
        backbones=[backbone],
        features=None if source.feature is None else [source.feature],
        key=source.key,
        heads=heads,
        protocol=protocol,
        seeds=[seed],
        label=source.label,
        split=source.split,
        on_missing=source.on_missing,
        level=source.level,
        pool=source.pool,
        views=source.views,
        views_key=source.views_key,
    )
    check_rows(sweep, {name: f"--{name.replace('_', '-')}" for name in Rows.__annotations__})
    return sweep


def _with_own(run: HeadRun, own: OwnEstimator, seed: int) -> HeadRun:
    """The same run with a user's own estimator for its head."""
    metric = "log_loss" if own.gives_probabilities else "accuracy"
    run = replace(run, own=own, head=own.name, shared=own.parameters(), metric=metric)
    return replace(run, seed=seed if own.seeded else UNSEEDED)
