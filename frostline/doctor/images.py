"""The check of stores against their images: which rows are not what their keys name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from frostline.cache import PIXELS, InputError, Manifest, Store, Workspace, read_manifest, spec_key
from frostline.cache.keys import spec_difference
from frostline.cache.listing import store_dataset
from frostline.cache.manifest import as_keys
from frostline.cache.versions import versions

if TYPE_CHECKING:
    from frostline.extract.live import PixelCheck

Progress = Callable[[int, int], None]
SHOWN = 5
DECODERS = ("nibabel", "numpy", "pillow", "pydicom")
TOGETHER = 32  # images that are embedded again at a time


@dataclass
class StoreCheck:
    """What was found of one store.

    Attributes
    ----------
    folder : pathlib.Path
    rows : int
        Rows that were compared.
    wrong : dict of bytes to str
        Keys of the rows that are not what they should be, and the image that each is of.
    unchecked : list of str
        A sentence for whatever could not be compared.
    decoders : list of str
        Libraries whose versions are not those that filled the store.
    """

    folder: Path
    rows: int = 0
    wrong: dict[bytes, str] = field(default_factory=dict)
    unchecked: list[str] = field(default_factory=list)
    decoders: list[str] = field(default_factory=list)

    def sentence(self, root: Path) -> str:
        """Say which rows are wrong; empty if none is."""
        if not self.wrong:
            return ""
        names = sorted(self.wrong.values())
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        with_others = f" (versions differ: {', '.join(self.decoders)})" if self.decoders else ""
        return (
            f"{self.folder.relative_to(root)}: {len(names)} of {self.rows} rows are not of the "
            f"image that their key names{with_others}: {', '.join(names[:SHOWN])}{more}."
        )


def check_images(
    workspace: Workspace, folders: Sequence[Path], progress: Progress | None = None
) -> Iterator[StoreCheck]:
    """Compare stores with the images of their data sets: pixels first, then what was made of them.

    The rows of embeddings and activations are judged by the pixels that they were made from.
    Embeddings whose pixels are not stored are computed again, if their weights are at hand.
    """
    for dataset in dict.fromkeys(store_dataset(workspace, folder) for folder in folders):
        mine = [folder for folder in folders if store_dataset(workspace, folder) == dataset]
        try:
            manifest = read_manifest(workspace.manifest(dataset))
        except InputError as error:
            yield from (StoreCheck(folder, unchecked=[str(error)]) for folder in mine)
            continue
        pixels: dict[str, PixelCheck] = {}
        for folder in sorted(mine, key=lambda folder: not _holds_pixels(workspace, folder)):
            check = StoreCheck(folder)
            try:
                store = Store.open(folder)
                check.unchecked += _strangers(manifest, store)
                if store.parts[0].format == PIXELS:
                    pixels[store.key] = _check_pixels(manifest, store, check, progress)
                else:
                    _check_made(workspace, manifest, store, check, pixels)
            except InputError as error:
                check.unchecked.append(f"{folder} is not checked: {error}")
            yield check


def runs_of(workspace: Workspace, checks: Sequence[StoreCheck]) -> list[str]:
    """List the runs that were trained on a store with wrong rows."""
    from frostline.report import read_predictions

    stores = {check.folder.name for check in checks if check.wrong}
    found = []
    for path in sorted((workspace.root / "predictions").glob("[!.]*.parquet")) if stores else []:
        try:
            meta = read_predictions(path).meta
            views = meta.get("views") or {}
            if stores & {meta.get("store_key"), *views.get("stores", ())}:
                found.append(path.stem)
        except InputError:
            continue  # damaged: it is nobody's result
    return found


def _holds_pixels(workspace: Workspace, folder: Path) -> bool:
    return folder.relative_to(workspace.root).parts[0] == "pixels"


def _names(manifest: Manifest) -> dict[bytes, str]:
    table = manifest.table.drop_duplicates("content_key")
    return dict(zip(table["content_key"], table["image_id"], strict=True))


def _strangers(manifest: Manifest, store: Store) -> list[str]:
    distinct = as_keys(manifest.table["content_key"].drop_duplicates())
    count = len(store) - int((store.locate(distinct) >= 0).sum())
    if not count:
        return []
    return [
        f"{store.folder}: rows of images that the data set no longer has cannot be checked "
        f"({count}): `frostline cache gc --yes` deletes them."
    ]


def _check_pixels(
    manifest: Manifest, store: Store, check: StoreCheck, progress: Progress | None
) -> PixelCheck:
    from frostline.extract.live import compare_pixels

    found = compare_pixels(manifest, store, progress)
    names = _names(manifest)
    check.rows = len(found.right) + len(found.wrong)
    check.wrong = {key: names[key] for key in found.wrong}
    check.unchecked += found.failures
    then, now = ({name: at.get(name) for name in DECODERS} for at in (store.provenance, versions()))
    check.decoders = spec_difference(then, now)
    return found


def _check_made(
    workspace: Workspace,
    manifest: Manifest,
    store: Store,
    check: StoreCheck,
    pixels: dict[str, PixelCheck],
) -> None:
    """Judge embeddings or activations by pixels; embed again what has none."""
    spec = store.spec.get("pixels")
    if "imported" in store.spec or not isinstance(spec, dict):
        check.unchecked.append(f"{store.folder} is not checked: another tool made it.")
        return
    names = _names(manifest)
    mine = {key: name for key, name in names.items() if store.locate(_key(key))[0] >= 0}
    own = pixels.get(spec_key(spec))
    if own is None:
        # Made from pixels of another size, or of none: what was wrong there is suspect here.
        wrong, right = {key for other in pixels.values() for key in other.wrong}, set[bytes]()
    else:
        wrong, right = own.wrong, own.right | own.unknown
    check.wrong = {key: name for key, name in mine.items() if key in wrong}
    check.rows = sum(key in wrong or (own is not None and key in own.right) for key in mine)
    rest = [name for key, name in mine.items() if key not in wrong and key not in right]
    if rest:
        _embed_again(workspace, manifest, store, check, rest)


def _key(key: bytes) -> np.ndarray:
    return np.frombuffer(key, np.uint8)[None]


def _embed_again(
    workspace: Workspace, manifest: Manifest, store: Store, check: StoreCheck, ids: list[str]
) -> None:
    from frostline.doctor.stores import weights_for
    from frostline.extract.live import compare_live

    backbone, reason = weights_for(workspace, store)
    if backbone is None:
        check.unchecked.append(
            f"{store.folder}: {len(ids)} rows whose pixels are not stored are not checked {reason}."
        )
        return
    where = pd.Series(range(len(manifest)), index=manifest.table["image_id"])
    device = "cpu" if store.spec["compute"] == "float32" else "cuda"
    waiting = np.split(where[ids].to_numpy(), range(TOGETHER, len(ids), TOGETHER))
    keys = manifest.table["content_key"].tolist()
    while waiting:
        rows = waiting.pop()
        try:
            found = compare_live(manifest, store, backbone, rows=rows, device=device)
        except InputError as error:
            if len(rows) > 1:
                waiting += np.split(rows, len(rows))  # to find the one that cannot be read
            else:
                check.unchecked.append(f"{store.folder}: a row is not checked: {error}")
            continue
        check.rows += len(found)
        pairs = zip(rows, found, strict=True)
        check.wrong |= {keys[row]: one.image_id for row, one in pairs if not one.equal}
