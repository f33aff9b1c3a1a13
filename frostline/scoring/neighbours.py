"""The training images that lie nearest to some images, by the embeddings of a workspace."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

if TYPE_CHECKING:
    from frostline.cache import Manifest, Store, Workspace
    from frostline.report import Predictions

NEAREST = 3
NEIGHBOUR_COLUMNS = ("image_id", "place", "nearest", "label", "distance")

Parts = npt.NDArray[np.int_]


@dataclass(frozen=True)
class Neighbours:
    """Nearest training images.

    Attributes
    ----------
    table : DataFrame
        Columns `NEIGHBOUR_COLUMNS`: for each image up to three rows, the nearest first (`place` 1),
        with the label of the nearest image and its distance, 1 minus the cosine.
    backbone : str
        Whose embeddings say what is near.
    """

    table: pd.DataFrame
    backbone: str


def nearest_training(
    workspace: Workspace, dataset: str, runs: Sequence[Predictions], ids: Iterable[str]
) -> Neighbours | None:
    """Find the nearest training images of held-out ones.

    Parameters
    ----------
    runs : sequence of Predictions
        Whose training images are searched: of a cross-validation those of other folds, else those
        of split train. Images of the same group are never taken.
    ids : iterable of str
        Names of images of the data set.

    Returns
    -------
    Neighbours or None
        By the embeddings that the first run with a store had, of fine-tuned runs alone those of the
        data set's fullest store. None where there are none, or no image trained any of the runs.
    """
    from frostline.cache import read_manifest
    from frostline.probe.nearest import nearest_rows

    manifest = read_manifest(workspace.manifest(dataset))
    store = _store_of(workspace, dataset, runs, manifest)
    if store is None:
        return None
    label, split = (str(runs[0].meta.get(name) or name) for name in ("label", "split"))
    images = manifest.images(label, split)
    images = images.assign(row=store.locate(manifest.keys()))
    images = images[images["row"].ge(0) & images["label"].notna()].reset_index(drop=True)
    parts = _parts(runs, images, dataset)
    if not len(parts):
        return None
    rows = images["row"].to_numpy()
    groups = pd.factorize(images["group_id"])[0]
    places = pd.Series(images.index, index=images["image_id"].astype(str))
    asked = places.reindex([str(name) for name in ids]).dropna().to_numpy(dtype=np.intp)
    mine = parts[:, asked]

    def read(chosen: npt.NDArray[np.intp]) -> npt.NDArray[np.floating]:
        return store.read(rows[chosen]).reshape(len(chosen), int(np.prod(store.shape)))

    def allowed(chosen: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
        trained = np.zeros((len(asked), len(chosen)), dtype=bool)
        for own, other in zip(mine, parts[:, chosen], strict=True):
            trained |= (own[:, None] >= 0) & (other >= 0) & (own[:, None] != other)
        return trained & (groups[asked, None] != groups[chosen])

    found, distances = nearest_rows(read(asked), len(images), read, allowed, NEAREST)
    return Neighbours(_table(images, asked, found, distances), _backbone(store))


def _table(
    images: pd.DataFrame,
    asked: npt.NDArray[np.intp],
    found: npt.NDArray[np.intp],
    distances: npt.NDArray[np.float64],
) -> pd.DataFrame:
    query, place = np.nonzero(found >= 0)
    names, labels = (images[name].to_numpy(dtype=object) for name in ("image_id", "label"))
    near = found[query, place]
    columns = (names[asked[query]], place + 1, names[near], labels[near], distances[query, place])
    return pd.DataFrame(dict(zip(NEIGHBOUR_COLUMNS, columns, strict=True)))


def _parts(runs: Sequence[Predictions], images: pd.DataFrame, dataset: str) -> Parts:
    """Number the parts of the data of each run: an image of one part trained the others' models.

    Returns
    -------
    int [distinct runs, images]
        The fold, or 0 for training and 1 for what was held out; -1 for what had no part in it. Runs
        that trained on another data set are left out.
    """
    known: set[bytes] = set()
    out = []
    for run in runs:
        if run.meta.get("trained_on", dataset) != dataset:
            continue
        parts = _parts_of(run, images)
        if parts.tobytes() not in known:
            known.add(parts.tobytes())
            out.append(parts)
    return np.array(out, dtype=int).reshape(len(out), len(images))


def _parts_of(run: Predictions, images: pd.DataFrame) -> Parts:
    names = run.table["image_id"].astype(str)
    if "fold" in run.table:
        folds = pd.Series(pd.factorize(run.table["fold"])[0], index=names.to_numpy())
        return folds.reindex(images["image_id"].astype(str), fill_value=-1).to_numpy()
    held_out = images["image_id"].isin(names[run.table["split"].ne("train").fillna(False)])
    train = images["split"].eq("train").fillna(False)
    return np.select([train.to_numpy(bool), held_out.to_numpy(bool)], [0, 1], -1)


def _store_of(
    workspace: Workspace, dataset: str, runs: Sequence[Predictions], manifest: Manifest
) -> Store | None:
    """Find the store that a run was made from; without one the fullest of the data set."""
    from frostline.audits import fullest_store
    from frostline.cache import Store, find_stores

    for run in runs:
        backbone, key = run.meta["backbone"], run.meta["store_key"]
        if backbone and key:
            folder = workspace.embeddings(dataset, backbone)
            if folder / key in find_stores(folder):
                return Store.open(folder / key)
    return fullest_store(workspace, manifest, dataset)


def _backbone(store: Store) -> str:
    return str(store.spec.get("backbone", store.folder.parent.name))
