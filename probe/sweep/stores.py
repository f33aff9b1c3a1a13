"""The embedding stores that a sweep takes."""

from __future__ import annotations

from frostline.cache import InputError, Store, Workspace, choose_store, find_stores
from frostline.cache.keys import is_blocks
from frostline.cache.stores.store import is_current, several_stores, store_spec
from frostline.probe.sweep.settings import Sweep


def find_features(
    workspace: Workspace, sweep: Sweep, dataset: str, backbone: str, skipped: list[str]
) -> list[Store]:
    """Find the stores of a data set and backbone, one for each feature of the sweep.

    Parameters
    ----------
    skipped : list of str
        Gets a sentence for each feature that is not there, while others are.

    Raises
    ------
    InputError
        If there is none, or several fit.
    """
    folder = workspace.embeddings(dataset, backbone)
    if sweep.features is None:
        return [choose_store(folder, sweep.key)]
    # Those of other formulas are taken only by whoever names them.
    current = [path for path in find_stores(folder) if sweep.key or is_current(store_spec(path))]
    stores = [Store.open(path) for path in current]
    known = {feature_of(store) for store in stores}
    found = []
    for feature in sweep.features:
        if is_blocks(feature):
            raise InputError(
                f"Feature {feature!r} stands for one of each block, and a head takes one: name it "
                f"({', '.join(sorted(known)) or 'none is extracted yet'})."
            )
        mine = [
            store
            for store in stores
            if feature_of(store) == feature and store.key.startswith(sweep.key or "")
        ]
        if not mine:
            sentence = (
                f"There are no embeddings of {dataset} by {backbone} with feature {feature!r} "
                f"(there is {', '.join(sorted(known)) or 'none at all'}): run "
                f"`frostline extract --feature {feature}`."
            )
            if not known & set(sweep.features):
                raise InputError(sentence)
            skipped.append(f"Left out: {sentence[0].lower()}{sentence[1:]}")
        if len(mine) > 1:
            raise several_stores(folder, {store.key: store.spec for store in mine})
        found += mine
    return found


def feature_of(store: Store) -> str:
    """Name what was taken as the embedding; what was imported need not say."""
    return str(store.spec.get("feature") or "imported")
