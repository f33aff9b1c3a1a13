"""A sweep: plan its cells, compute what is missing of them on all cores or a cluster, gather."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import joblib
import pandas as pd

from frostline.cache import (
    InputError,
    Manifest,
    Store,
    Workspace,
    choose_store,
    find_stores,
    read_manifest,
)
from frostline.probe.embedded import (
    check_embedded,
    manifest_keys,
    pooled_images,
    split_images,
)
from frostline.probe.heads.families import FAMILIES, pairs
from frostline.probe.sweep.cells import Cell, is_done
from frostline.probe.sweep.draws import draw_order, group_folds
from frostline.probe.sweep.engine import Done, Task, run_task
from frostline.probe.sweep.results import Results, gather
from frostline.probe.sweep.settings import LEAST_DRAWS, SMALL, Sweep, candidates

# Heads that one task solves together: enough to fill the matrix products, and few enough that an
# interrupt loses little.
HEADS_A_TASK = 600

Progress = Callable[[int, int], None]


@dataclass
class Plan:
    """Cells of a sweep, and what it leaves out.

    Attributes
    ----------
    cells : list of Cell
    skipped : list of str
        A sentence for every size that some data set cannot give.
    """

    cells: list[Cell] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def plan_sweep(workspace: Workspace, sweep: Sweep) -> Plan:
    """Look at manifests and stores, and name every cell; nothing is computed.

    Raises
    ------
    InputError
        In one sentence, if something is not there or cannot be trained on.
    """
    plan = Plan()
    for dataset in sweep.datasets:
        manifest = read_manifest(workspace.manifest(dataset))
        digest = manifest.digest(sweep.label, sweep.split)
        if sweep.cv:
            images = pooled_images(manifest, sweep.label)
        else:
            images = split_images(manifest, sweep.label, sweep.split)
        others = None if sweep.test_dataset is None else _other_images(workspace, sweep)
        test = None if others is None else _check_test(sweep, dataset, images, *others)
        sets = _training_sets(sweep, images, dataset, plan.skipped)
        for backbone in sweep.backbones:
            for store in _stores(workspace, sweep, dataset, backbone, plan.skipped):
                # Before any worker starts, and before hours of other cells.
                if sweep.on_missing == "error":
                    check_embedded(images, store, dataset)
                if sweep.test_dataset is not None and others is not None:
                    folder = workspace.embeddings(sweep.test_dataset, backbone)
                    other = choose_store(folder, store.key)
                    if sweep.on_missing == "error":
                        check_embedded(others[0], other, sweep.test_dataset)
                for head, grid in sweep.heads.grids().items():
                    tried, same = candidates(grid)
                    seeds = sweep.seeds if FAMILIES[head].seeded else sweep.seeds[:1]
                    for size, draw, cv in sets:
                        plan.cells += [
                            Cell(
                                dataset,
                                backbone,
                                str(store.spec.get("feature")),
                                store.key,
                                digest,
                                head,
                                tuple(tried),
                                same,
                                seed,
                                size,
                                draw,
                                cv,
                                sweep.metric,
                                sweep.label,
                                sweep.split,
                                sweep.on_missing,
                                sweep.test_dataset,
                                test,
                            )
                            # The repeat of a cross-validation is its seed.
                            for seed in ([cv[1]] if cv else seeds)
                        ]
    return plan


def run_sweep(
    workspace: Workspace,
    sweep: Sweep,
    *,
    jobs: int | None = None,
    scheduler: str | None = None,
    progress: Progress | None = None,
    said: Callable[[str], None] | None = None,
) -> Results:
    """Compute what is not done of a sweep, and gather its results.

    Parameters
    ----------
    workspace : Workspace
    sweep : Sweep
    jobs : int, optional
        Processes; one a core if None.
    scheduler : str, optional
        Address of a Dask scheduler, instead. Its workers must see the workspace at the same path.
    progress : callable, optional
        Gets heads done and heads in all.
    said : callable, optional
        Gets every sentence that a person should read, once.

    Returns
    -------
    Results
        Also written to ``sweeps/<name>/results.parquet`` in the workspace.
    """
    workspace = Workspace(workspace.root.resolve())
    plan = plan_sweep(workspace, sweep)
    heard = dict.fromkeys(plan.skipped)
    todo = [cell for cell in plan.cells if not is_done(workspace, cell)]
    tasks = make_tasks(workspace, todo)
    total = sum(cell.heads() for cell in plan.cells)
    done = total - sum(cell.heads() for cell in todo)
    tell = progress or (lambda done, total: None)
    tell(done, total)
    with _workers(jobs, scheduler, len(tasks)) as parallel:
        for result in parallel(tasks):
            done += result.heads
            tell(done, total)
            heard.update(dict.fromkeys(result.said))
    results = gather(workspace, sweep, plan.cells)
    heard.update(dict.fromkeys(results.warnings))
    for sentence in heard:
        (said or (lambda text: None))(sentence)
    return results


def make_tasks(workspace: Workspace, cells: list[Cell]) -> list[Task]:
    """Cells that can be computed together, in tasks of at most `HEADS_A_TASK` heads."""
    together: dict[tuple[Any, ...], list[list[Cell]]] = {}
    for cell in cells:
        key = (cell.dataset, cell.backbone, cell.store_key, cell.head, cell.seed)
        chunks = together.setdefault(key, [[]])
        if chunks[-1] and sum(one.heads() for one in [*chunks[-1], cell]) > HEADS_A_TASK:
            chunks.append([])
        chunks[-1].append(cell)
    return [Task(workspace.root, tuple(chunk)) for chunks in together.values() for chunk in chunks]


Parallel = Callable[[list[Task]], Iterator[Done]]


@contextmanager
def _workers(jobs: int | None, scheduler: str | None, tasks: int) -> Iterator[Parallel]:
    """What runs tasks and yields them as they are done."""
    if scheduler is not None:
        with _dask(scheduler):
            yield _spread(joblib.Parallel(n_jobs=-1, return_as="generator_unordered"))
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    wanted = min(jobs or cores or 1, max(tasks, 1))
    if wanted == 1:
        yield lambda todo: map(run_task, todo)
        return
    threads = max(1, (cores or 1) // wanted)
    with joblib.parallel_config("loky", n_jobs=wanted, inner_max_num_threads=threads):
        yield _spread(joblib.Parallel(return_as="generator_unordered"))


def _spread(pool: Any) -> Parallel:
    return lambda todo: pool(joblib.delayed(run_task)(task) for task in todo)


@contextmanager
def _dask(scheduler: str) -> Iterator[None]:
    try:
        from distributed import Client
    except ImportError:
        raise InputError(
            "--scheduler needs the packages of the extra `dask`: pip install 'frostline[dask]'."
        ) from None
    try:
        client: Any = Client(scheduler, timeout="10s", set_as_default=True)  # type: ignore[no-untyped-call]
    except (OSError, TimeoutError, ValueError) as error:
        raise InputError(
            f"No Dask scheduler answers at {scheduler} ({type(error).__name__}): start one, or "
            "correct --scheduler."
        ) from None
    with client, joblib.parallel_config("dask"):
        yield


def _stores(
    workspace: Workspace, sweep: Sweep, dataset: str, backbone: str, skipped: list[str]
) -> list[Store]:
    """The embedding stores that a sweep takes, one a feature; not every backbone has each."""
    folder = workspace.embeddings(dataset, backbone)
    if sweep.features is None:
        return [choose_store(folder, sweep.key)]
    stores = [Store.open(path) for path in find_stores(folder)]
    found = []
    for feature in sweep.features:
        mine = [
            store
            for store in stores
            if store.spec.get("feature") == feature and store.key.startswith(sweep.key or "")
        ]
        if not mine:
            there = ", ".join(sorted({str(store.spec.get("feature")) for store in stores}))
            sentence = (
                f"There are no embeddings of {dataset} by {backbone} with feature {feature!r} "
                f"(there is {there or 'none at all'}): run `frostline extract --feature {feature}`."
            )
            if not {str(store.spec.get("feature")) for store in stores} & set(sweep.features):
                raise InputError(sentence)
            skipped.append(f"Left out: {sentence[0].lower()}{sentence[1:]}")
        if len(mine) > 1:
            keys = ", ".join(store.key[:12] for store in mine)
            raise InputError(
                f"{len(mine)} stores in {folder} have feature {feature!r} ({keys}): choose by "
                "--key."
            )
        found += mine
    return found


def training_shares(manifest: Manifest, sweep: Sweep) -> list[float]:
    """Rows of every training set of a sweep, as shares of the training part; needs no embeddings.

    Raises
    ------
    InputError
        If the data set cannot be trained on, or gives none of the sizes.
    """
    if cv := sweep.folds():
        images = pooled_images(manifest, sweep.label)
        train = max(int((manifest.table["split"] == "train").sum()), 1)
        share = (cv[0] - 2) / cv[0] * len(images) / train
        return [share] * (len(pairs(cv[0])) * cv[1])
    images = split_images(manifest, sweep.label, sweep.split)
    total = len(draw_order(images, "train", 0).groups)
    sets = _training_sets(sweep, images, "", [])
    return [1.0 if size is None else size / total for size, _, _ in sets]


TrainingSet = tuple[int | None, int, tuple[int, int] | None]


def _training_sets(
    sweep: Sweep, images: pd.DataFrame, name: str, skipped: list[str]
) -> list[TrainingSet]:
    """Sizes with draws, or the repeats of a cross-validation."""
    if cv := sweep.folds():
        for repeat in range(cv[1]):
            _check_folds(images, group_folds(images, cv[0], repeat, name), name, cv[0])
        return [(None, 0, (cv[0], repeat)) for repeat in range(cv[1])]
    sets: list[TrainingSet] = []
    total = len(draw_order(images, "train", 0).groups)
    for asked in dict.fromkeys(sweep.train_groups):
        size = _count(asked, total)
        if size in (None, total):
            sets.append((None, 0, None))
            continue
        draws = max(sweep.draws, LEAST_DRAWS) if size < SMALL else sweep.draws
        least = max(draw_order(images, "train", draw).least for draw in range(draws))
        if size > total:
            skipped.append(
                f"{name}: {size} training groups are skipped, as there are {total} only."
            )
        elif size < least:
            skipped.append(
                f"{name}: {size} training groups are skipped, as every class needs {least}."
            )
        else:
            sets += [(size, draw, None) for draw in range(draws)]
    if not sets:
        raise InputError(f"No size of train_groups can be had: {' '.join(skipped)}")
    return list(dict.fromkeys(sets))


def _count(asked: int | float | str, total: int) -> int | None:
    if isinstance(asked, str):
        return None
    return asked if isinstance(asked, int) else max(1, round(asked * total))


def _check_folds(images: pd.DataFrame, fold: Any, name: str, count: int) -> None:
    classes = set(images["label"])
    for a, b in pairs(count):
        absent = classes - set(images["label"].to_numpy()[(fold != a) & (fold != b)])
        if absent:
            raise InputError(
                f"Class {min(absent)!r} of data set {name!r} lies in so few groups that {count} "
                "folds leave none to train on: use more folds, or merge classes."
            )


def _other_images(workspace: Workspace, sweep: Sweep) -> tuple[pd.DataFrame, str]:
    """Images that selected heads are scored on besides, and the digest of their data set."""
    assert sweep.test_dataset is not None
    other = read_manifest(workspace.manifest(sweep.test_dataset))
    images = pooled_images(other, sweep.label, least_classes=1)
    return images, other.digest(sweep.label, "split")


def _check_test(
    sweep: Sweep, name: str, images: pd.DataFrame, others: pd.DataFrame, digest: str
) -> str:
    """Other images must be of the same classes, and none that heads are trained on."""
    trained = images[images["split"].isin(["train", "val"])]
    strange = sorted(set(others["label"]) - set(trained["label"].dropna()))
    if strange:
        raise InputError(
            f"Data set {sweep.test_dataset!r} has images of {', '.join(map(repr, strange))}, a "
            f"class that {name!r} does not have: give both the same classes, for "
            "instance in a column named by --label."
        )
    keys = {bytes(key) for key in manifest_keys(trained)}
    common = [bytes(key) in keys for key in manifest_keys(others)]
    if any(common):
        first = others["image_id"].iloc[common.index(True)]
        raise InputError(
            f"{sum(common)} images of data set {sweep.test_dataset!r} (such as {first!r}) are in "
            f"the training or validation part of {name!r}: a test must be of others."
        )
    return digest


def results_path(workspace: Workspace, sweep: Sweep) -> Path:
    """Where the results of a sweep lie."""
    return workspace.root / "sweeps" / sweep.name / "results.parquet"
