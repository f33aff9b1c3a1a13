"""How alike the embeddings of a workspace are: backbones, depths and settings of one data set."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote

import numpy as np

from frostline.cache import InputError, Store, Workspace, find_stores
from frostline.cache.keys import spec_values
from frostline.cache.listing import manifest_contents
from frostline.cache.stores.store import is_current
from frostline.report.similarity import FEWEST, MOST_IMAGES, Similarity, similarity


def dataset_similarity(
    workspace: Workspace,
    dataset: str,
    backbones: Sequence[str] = (),
    *,
    most_images: int = MOST_IMAGES,
    seed: int = 0,
) -> Similarity:
    """Compare the embeddings that a data set has in its stores.

    Parameters
    ----------
    backbones : sequence of str
        Whose; all that there are if not given.
    most_images, seed
        As in `store_similarity`.

    Raises
    ------
    InputError
        If there is no such data set or store, or too few images have all of these embeddings.
    """
    names = list(backbones) or _backbones(workspace, dataset)
    if again := {name for name in names if names.count(name) > 1}:
        raise InputError(f"Backbone {min(again)!r} is given twice: give it once.")
    stores: dict[str, Store] = {}
    for name in names:
        found = _stores(workspace.embeddings(dataset, name))
        if not found:
            raise InputError(
                f"There are no embeddings of {dataset!r} by {name!r}: run `frostline extract` "
                "first."
            )
        alone = len(names) == 1
        stores |= {own if alone else f"{name} {own}": store for own, store in found.items()}
    return store_similarity(workspace, dataset, stores, most_images=most_images, seed=seed)


def store_similarity(
    workspace: Workspace,
    dataset: str,
    stores: Mapping[str, Store],
    *,
    most_images: int = MOST_IMAGES,
    seed: int = 0,
) -> Similarity:
    """Compare stores of one data set, on the same images of all splits.

    Parameters
    ----------
    stores : mapping of str to Store
        By the names that are shown, in order. Those whose rows are no vectors are left out.
    most_images : int
        So many are drawn where more have a row in every store; of equal images one.
    seed : int
        That draws them.
    """
    vectors = {name: store for name, store in stores.items() if len(store.shape) == 1}
    left_out = [
        f"The embeddings {name} are no vectors, and are left out."
        for name in stores
        if name not in vectors
    ]
    if most_images < FEWEST:
        raise InputError(f"--most-images must be {FEWEST} or more, not {most_images}.")
    keys = np.unique(manifest_contents(workspace, dataset), axis=0)
    rows = {name: store.locate(keys) for name, store in vectors.items()}
    there = np.flatnonzero(np.all([found >= 0 for found in rows.values()] or [keys[:, 0] < 0], 0))
    if len(there) < FEWEST:
        raise InputError(
            f"Only {len(there)} images of {dataset!r} have all of these embeddings, and {FEWEST} "
            "are needed: run `frostline extract` again, or name fewer backbones.",
            *left_out,
        )
    drawn = there
    if len(there) > most_images:
        drawn = np.sort(np.random.default_rng(seed).choice(there, most_images, replace=False))
    values = {name: store.read(rows[name][drawn]) for name, store in vectors.items()}
    found = similarity(values, of=len(there), seed=seed)
    return Similarity(**{**vars(found), "left_out": [*left_out, *found.left_out]})


def _backbones(workspace: Workspace, dataset: str) -> list[str]:
    """List the backbones with embeddings of a data set."""
    folder = workspace.embeddings(dataset, "any").parent
    found = sorted(unquote(path.name) for path in folder.glob("*") if find_stores(path))
    if not found:
        raise InputError(
            f"There are no embeddings of {dataset!r} in {workspace.root}: run `frostline extract` "
            "first."
        )
    return found


def _stores(folder: Path) -> dict[str, Store]:
    """Open the stores of a backbone that this release would make, by what they differ in."""
    opened = [Store.open(path) for path in find_stores(folder)]
    stores = [store for store in opened if is_current(store.spec)]
    values = spec_values([store.spec for store in stores])
    values.pop("feature", None)
    found = []
    for number, store in enumerate(stores):
        settings = [of[number] for of in values.values()]
        feature = str(store.spec.get("feature", "imported"))
        found.append((settings, _from_input(feature), " ".join([feature, *settings]), store))
    return {name: store for *_, name, store in sorted(found, key=lambda one: one[:3])}


def _from_input(feature: str) -> tuple[bool, bool, list[tuple[int, str]]]:
    """Sort features from input to output by their names: the stem, layers by number, the rest."""
    parts = [(int(n or 0), text) for n, text in re.findall(r"(\d+)|(\D+)", feature)]
    return not feature.startswith("layer:"), "stem" not in feature, parts
