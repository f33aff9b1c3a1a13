"""Rows and files that no manifest needs: found first, deleted when asked."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from frostline.cache.atomic import clear_temporary, temporary_files, writer_is_dead
from frostline.cache.errors import InputError
from frostline.cache.listing import manifest_contents, store_dataset, workspace_stores
from frostline.cache.stores.compact import compact_store
from frostline.cache.stores.store import Store
from frostline.cache.stores.verify import ASIDE
from frostline.cache.workspace import Workspace


@dataclass(frozen=True)
class Garbage:
    """Rows and files of one folder that nobody needs.

    Attributes
    ----------
    folder : pathlib.Path
    rows, of : int
        Rows of images that the data set no longer has, and all its rows; 0 where it is no store.
    files : list of Path
        Parts that were set aside, and files that dead writers left.
    bytes : int
        About how much would be freed.
    """

    folder: Path
    rows: int
    of: int
    files: list[Path]
    bytes: int


@dataclass
class Cleanup:
    """All that would be deleted, and a sentence for each store where nothing can be decided."""

    garbage: list[Garbage] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


def find_garbage(workspace: Workspace) -> Cleanup:
    """Look for rows and files that no manifest needs, and change nothing."""
    plan = Cleanup()
    stores = list(workspace_stores(workspace))
    for folder in stores:
        try:
            keys = manifest_contents(workspace, store_dataset(workspace, folder))
            store = Store.open(folder)
        except InputError as error:
            plan.refused.append(f"{folder} is left as it is: {error}")
            continue
        rows = len(store) - int((store.locate(keys) >= 0).sum())
        files = [*folder.glob(f"{ASIDE}*"), *filter(_is_dead, temporary_files(folder))]
        size = sum(path.stat().st_size for path in files)
        size += round(sum(part.path.stat().st_size for part in store.parts) * rows / len(store))
        if rows or files:
            plan.garbage.append(Garbage(folder, rows, len(store), files, size))
    plan.garbage.extend(_left_elsewhere(workspace, stores))
    return plan


def _left_elsewhere(workspace: Workspace, stores: Collection[Path]) -> list[Garbage]:
    """Find what dead writers left in the folders that are no stores: of models, reports, runs."""
    by_folder: dict[Path, list[Path]] = {}
    for path in temporary_files(workspace.root, below=True):
        if path.parent not in stores and _is_dead(path):
            by_folder.setdefault(path.parent, []).append(path)
    return [
        Garbage(folder, 0, 0, files, sum(path.stat().st_size for path in files))
        for folder, files in by_folder.items()
    ]


def delete_garbage(workspace: Workspace, garbage: Garbage) -> None:
    """Delete what was found in one folder; rows of a store go by writing the others again.

    The manifest is read again: rows that it needs by now stay.
    """
    for path in garbage.files:
        if path.name.startswith(ASIDE):
            path.unlink(missing_ok=True)
    clear_temporary(garbage.folder)
    if garbage.rows:
        keys = manifest_contents(workspace, store_dataset(workspace, garbage.folder))
        compact_store(garbage.folder, keep=keys)


def _is_dead(path: Path) -> bool:
    with writer_is_dead(path) as dead:
        return dead
