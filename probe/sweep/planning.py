"""The head runs of a sweep: named by looking at manifests and stores; nothing is computed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from frostline.cache import InputError, Manifest, Store, Workspace, choose_store, read_manifest
from frostline.cache.stores.views import find_views
from frostline.cache.tables.class_order import order_for_head
from frostline.probe.embedded import (
    check_embedded,
    manifest_keys,
    name_of,
    pooled_images,
    split_images,
)
from frostline.probe.heads.grids import candidates
from frostline.probe.heads.registry import HEADS
from frostline.probe.heads.training import pairs
from frostline.probe.patients import check_patients
from frostline.probe.sweep.draws import draw_order, group_folds
from frostline.probe.sweep.head_run import Data, HeadRun, OtherData, TrainingSet
from frostline.probe.sweep.settings import Sweep
from frostline.probe.sweep.stores import feature_of, find_features
from frostline.probe.views import check_views


@dataclass
class Plan:
    """Head runs of a sweep, and what it leaves out.

    Attributes
    ----------
    runs : list of HeadRun
    skipped : list of str
        A sentence for every size and feature that some data set does not have.
    """

    runs: list[HeadRun] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def plan_sweep(workspace: Workspace, sweep: Sweep, keys: Sequence[str] | None = None) -> Plan:
    """Look at manifests and stores, and name every head run.

    Parameters
    ----------
    keys : sequence of str, optional
        Of the stores to take, instead of those that the sweep's features say.

    Raises
    ------
    InputError
        If something is not there or cannot be trained on.
    """
    plan = Plan()
    for dataset in sweep.datasets:
        manifest = read_manifest(workspace.manifest(dataset))
        digest = manifest.digest(sweep.label, sweep.split)
        images = _images(manifest, sweep)
        orders = class_orders(manifest, sweep, images)
        others = _other_images(workspace, sweep, dataset, images)
        sets = _training_sets(sweep, images, dataset, plan.skipped)
        for backbone in sweep.backbones:
            folder = workspace.embeddings(dataset, backbone)
            stores = (
                find_features(workspace, sweep, dataset, backbone, plan.skipped)
                if keys is None
                else [choose_store(folder, key) for key in keys]
            )
            for store in stores:
                # Before any worker starts, and before hours of other runs.
                _check_embedded(workspace, sweep, backbone, store, {dataset: images, **others[1]})
                views = _views(workspace, sweep, dataset, backbone, store, images)
                data = Data(
                    dataset,
                    backbone,
                    feature_of(store),
                    store.key,
                    digest,
                    sweep.label,
                    sweep.split,
                    sweep.on_missing,
                    views=tuple(view.key for view in views),
                )
                plan.runs += _runs(sweep, data, sets, others[0], orders)
    return plan


def _images(manifest: Manifest, sweep: Sweep) -> pd.DataFrame:
    images = (
        pooled_images(manifest, sweep.label)
        if sweep.cv
        else split_images(manifest, sweep.label, sweep.split)
    )
    if sweep.level == "patient":
        check_patients(images, name_of(manifest))
    return images


def class_orders(
    manifest: Manifest, sweep: Sweep, images: pd.DataFrame | None = None
) -> dict[str, list[str]]:
    """Order the classes for each head of a sweep that goes by it; none where no head does.

    Raises
    ------
    InputError
        If nothing says the order.
    """
    heads = [name for name in sweep.heads if HEADS[name].ordinal]
    if not heads:
        return {}
    images = _images(manifest, sweep) if images is None else images
    labels, whose = images["label"].dropna().unique(), f"data set {name_of(manifest)!r}"
    return {name: order_for_head(labels, manifest.classes, name, whose) for name in heads}


def _runs(
    sweep: Sweep,
    data: Data,
    sets: list[TrainingSet],
    other: OtherData | None,
    orders: Mapping[str, list[str]],
) -> Iterator[HeadRun]:
    """Every head on every training set, with every seed that changes it."""
    for head, grid in sweep.heads.items():
        tried, shared = candidates(grid)
        if head in orders:
            shared = {**shared, "classes": orders[head]}
        for training in sets:
            # The repeat of a cross-validation is its seed.
            repeat = [training.cv[1]] if training.cv else []
            for seed in repeat or HEADS[head].seeds(sweep.seeds):
                yield HeadRun(
                    replace(data, pooling=sweep.pooling(head)),
                    head,
                    tuple(tried),
                    shared,
                    seed,
                    training,
                    sweep.metric,
                    sweep.protocol,
                    other,
                )


def _check_embedded(
    workspace: Workspace,
    sweep: Sweep,
    backbone: str,
    store: Store,
    images: dict[str, pd.DataFrame],
) -> None:
    for name, mine in images.items():
        found = choose_store(workspace.embeddings(name, backbone), store.key)
        if sweep.on_missing == "error":
            check_embedded(mine, found, name)


def _views(
    workspace: Workspace,
    sweep: Sweep,
    dataset: str,
    backbone: str,
    store: Store,
    images: pd.DataFrame,
) -> list[Store]:
    """Find the views that heads train on; all training images have them."""
    if not sweep.views:
        return []
    folder = workspace.views(dataset, backbone)
    views = find_views(folder, store, sweep.views, sweep.views_key)
    check_views(images, store, views, dataset, pooled=sweep.cv is not None)
    return views


def training_counts(manifest: Manifest, sweep: Sweep, head: str) -> tuple[list[float], list[float]]:
    """Count the rows that a head of a sweep trains on, each set of them by itself.

    It needs no embeddings.

    Returns
    -------
    (list of float, list of float)
        Where candidates are scored, and where the selected head is fitted. In a cross-validation
        two folds are left out where candidates are scored, and one where the selected is fitted.
        Views of an image count as rows.

    Raises
    ------
    InputError
        If the data set cannot be trained on, or gives none of the sizes.
    """
    images = _images(manifest, sweep)
    if sweep.level == "patient":
        images = images.drop_duplicates(["group_id", "split"])
    if cv := sweep.folds():
        count, repeats = cv
        rows_each = len(images) * (1 + sweep.views)
        without = [rows_each * (count - left_out) / count for left_out in (1, 2)]
        return [without[1]] * (len(pairs(count)) * repeats), [without[0]] * (count * repeats)
    labelled = images[images["label"].notna()]
    rows = {part: int((labelled["split"] == part).sum()) for part in ("train", "val")}
    rows["train"] *= 1 + sweep.views
    total = len(draw_order(images, "train", 0).groups)
    sets = _training_sets(sweep, images, "", [])
    shares = [1.0 if one.size is None else one.size / total for one in sets]
    scored = [share * rows["train"] for share in shares]
    if not HEADS[head].refits:
        return scored, []
    return scored, scored + [share * sum(rows.values()) for share in shares]


def _training_sets(
    sweep: Sweep, images: pd.DataFrame, name: str, skipped: list[str]
) -> list[TrainingSet]:
    """Sizes with draws, or the repeats of a cross-validation."""
    if cv := sweep.folds():
        for repeat in range(cv[1]):
            _check_folds(images, group_folds(images, cv[0], repeat, name), name, cv[0])
        return [TrainingSet(cv=(cv[0], repeat)) for repeat in range(cv[1])]
    sets: list[TrainingSet] = []
    total = len(draw_order(images, "train", 0).groups)
    for asked in dict.fromkeys(sweep.train_groups):
        size = _count(asked, total)
        if size in (None, total):
            sets.append(TrainingSet())
            continue
        least = max(draw_order(images, "train", draw).least for draw in range(sweep.draws))
        left_out = f"{name}: {size} training groups are skipped, because"
        if size > total:
            skipped.append(f"{left_out} there are only {total}.")
        elif size < least:
            skipped.append(f"{left_out} every class needs {least}.")
        else:
            sets += [TrainingSet(size, draw) for draw in range(sweep.draws)]
    if not sets:
        raise InputError(f"No size of the training part can be had: {' '.join(skipped)}")
    return list(dict.fromkeys(sets))


def _count(asked: int | float | str, total: int) -> int | None:
    if isinstance(asked, str):
        return None
    return asked if isinstance(asked, int) else max(1, round(asked * total))


def _check_folds(images: pd.DataFrame, fold: Any, name: str, count: int) -> None:
    classes, labels = set(images["label"]), images["label"].to_numpy()
    for a, b in pairs(count):
        absent = classes - set(labels[(fold != a) & (fold != b)])
        if absent:
            raise InputError(
                f"Class {min(absent)!r} of data set {name!r} lies in so few groups that {count} "
                "folds leave none to train on: use more folds, or merge classes."
            )


def _other_images(
    workspace: Workspace, sweep: Sweep, name: str, images: pd.DataFrame
) -> tuple[OtherData | None, dict[str, pd.DataFrame]]:
    """The data set that selected heads are scored on besides, and its images by its name.

    They must be of the same classes, and none that heads are trained on.
    """
    if sweep.test_dataset is None:
        return None, {}
    manifest = read_manifest(workspace.manifest(sweep.test_dataset))
    others = pooled_images(manifest, sweep.label, least_classes=1)
    if sweep.level == "patient":
        check_patients(others, sweep.test_dataset)
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
    digest = manifest.digest(sweep.label, "split")
    return OtherData(sweep.test_dataset, digest), {sweep.test_dataset: others}
