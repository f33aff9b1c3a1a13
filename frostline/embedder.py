"""The embedder that an engine for clusters drives: rows in, one immutable part out."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from numbers import Real
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from frostline.cache.errors import InputError
from frostline.cache.workspace import Workspace as Paths
from frostline.given import as_network, warn_of
from frostline.names import methods_in_python

if TYPE_CHECKING:
    import pandas as pd

    from frostline.extract.embed import StoreFiller
    from frostline.given import Backbone, PathLike
    from frostline.stages import Machine
    from frostline.workspace import Workspace

COLUMNS = ("content_key", "file_key", "file", "frame")

# What this process has loaded: that of the embedder used last, under its name.
_loaded: dict[str, StoreFiller] = {}
_busy = threading.RLock()


@methods_in_python
class Embedder:
    """Embed images of an indexed data set, some at a time, into the stores of `frostline extract`.

    Made once, sent anywhere (by pickle; weights stay behind) and called with rows of `images()`,
    such as each of `shards()`. A process loads weights at the first call that has anything to
    embed, and keeps them for all copies of the embedder that it used last. What a store has is not
    computed again, so a call may be repeated, and given to two workers at once: a row that is there
    twice is read once.

    Parameters
    ----------
    workspace : Workspace or path
        A folder that all workers see at the same path; so are the roots of the data set.
    dataset : str
        Name given to `index`.
    backbone : str, torch.nn.Module or Network
        As in the methods of `frostline.Workspace`.
    machine : Machine, optional
        Where and how to compute, where it is called: device, precision, batch, workers, engine;
        the workspace's if not given.
    **network
        `feature` (with `blocks`, all depths), `protocol`, `weights`, `weights_seed`, `image_size`,
        `transform`: as in `frostline.Network`.

    Raises
    ------
    InputError
        By every method: if there is no such data set, backbone or device, or a parameter is of
        another kind.

    Examples
    --------
    >>> embedder = frostline.Embedder(ws, "mine", "effnet-lite0", image_size=64)
    >>> images = embedder.images()
    >>> embedder(images.head(8))["embedded"].tolist()
    [8]
    >>> embedder(images.head(8))["embedded"].tolist()
    [0]
    """

    def __init__(
        self,
        workspace: Workspace | PathLike,
        dataset: str,
        backbone: Backbone,
        *,
        machine: Machine | None = None,
        **network: Any,
    ) -> None:
        from frostline.stages import Machine

        if "weights" in network:
            network["weights"] = os.fspath(network["weights"])
        folder: Any = getattr(workspace, "folder", workspace)
        own: Machine | None = getattr(workspace, "machine", None)
        self.workspace = Path(folder).absolute()
        self.dataset = dataset
        self.network = as_network(backbone, **network)
        self.machine = machine or own or Machine()
        self._name = token_hex(16)

    def images(self) -> pd.DataFrame:
        """List the distinct images that a store lacks.

        Returns
        -------
        DataFrame
            `content_key` and `file_key` (16 bytes each), `file` (path) and `frame` (number in a
            file of several images, else missing). Those of one file are together.
        """
        import numpy as np

        from frostline.cache import read_manifest
        from frostline.cache.manifest import IMAGE_COLUMNS
        from frostline.extract.pixels import distinct_images

        manifest = read_manifest(Paths(self.workspace).manifest(self.dataset), IMAGE_COLUMNS)
        images = distinct_images(manifest)
        with _busy:
            targets = self._filler().targets(images)
        lacks = np.logical_or.reduce([target.lacks for target in targets])
        return images[lacks].reset_index(drop=True)

    def shards(self, size: int = 1024) -> list[pd.DataFrame]:
        """Cut `images()` between files, so that none is read twice.

        Parameters
        ----------
        size : int
            Images of a shard; more only where a file has more.
        """
        if size < 1:
            raise InputError(f"A shard has at least 1 image, not {size}.")
        images = self.images()
        files = images["file"].tolist()
        shards: list[pd.DataFrame] = []
        start = 0
        while start < len(images):
            stop = start + size
            while stop < len(images) and files[stop] == files[stop - 1]:
                stop += 1
            shards.append(images[start:stop])
            start = stop
        return shards

    def __call__(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Embed those of some images that a store lacks, and write them as one part a feature.

        Parameters
        ----------
        rows : DataFrame
            Rows of `images()`, in any order. They and their embeddings are held in memory.

        Returns
        -------
        DataFrame
            A row for each feature: `feature`, `key` (of its store), `images` (distinct ones given),
            `embedded` (computed now), `skipped` (not readable, with `on_error="skip"`) and `part`
            (path of the file that was written; missing if there was nothing to do).

        Raises
        ------
        InputError
            If a column is missing, a content key is not that of its file and frame, or an image
            cannot be read or changed after it was indexed; what was embedded before that is kept.
        """
        import pandas as pd

        images = _checked(rows)
        with _busy:
            done = self._filler().fill(images, one_part=True)
        warn_of(done[0].skipped)
        return pd.DataFrame(
            {
                "feature": [one.feature for one in done],
                "key": [one.key for one in done],
                "images": [one.images for one in done],
                "embedded": [one.embedded for one in done],
                "skipped": [len(one.skipped) for one in done],
                "part": pd.array([next(map(str, one.parts), None) for one in done], dtype="string"),
            }
        )

    def _filler(self) -> StoreFiller:
        if self._name not in _loaded:
            from frostline.cache import read_manifest
            from frostline.stages import store_filler

            _loaded.clear()
            place = Paths(self.workspace)
            manifest = read_manifest(place.manifest(self.dataset), ("mode", "format"))
            how = self.network, [self.network.feature], self.machine
            _loaded[self._name] = store_filler(place, manifest, *how, expected=len(manifest))
        return _loaded[self._name]


def _checked(rows: pd.DataFrame | Mapping[str, Any]) -> pd.DataFrame:
    """Give the distinct images among rows, those of a file together."""
    import pandas as pd

    from frostline.cache import content_key

    if lacking := [name for name in COLUMNS if name not in rows]:
        raise InputError(f"The rows to embed have no column {lacking[0]!r}: give `images()`'s.")
    lengths = {name: len(rows[name]) for name in COLUMNS}
    if len(set(lengths.values())) > 1:
        raise InputError(f"The rows to embed have columns of {lengths}: give rows of `images()`.")
    table = pd.DataFrame({name: rows[name] for name in COLUMNS})
    for key, file_key, file, frame in table.itertuples(index=False):
        number = None if pd.isna(frame) else frame
        kinds = isinstance(file, str) and isinstance(file_key, bytes) and _is_frame(number)
        if not kinds or key != content_key(file_key, None if number is None else int(number)):
            raise InputError(f"The content key of {file} is not its own: give rows of `images()`.")
    distinct = table.drop_duplicates("content_key").sort_values(["file", "frame"])
    return distinct.reset_index(drop=True)


def _is_frame(number: Any) -> bool:
    """Whether it is the number of an image in a file, or None; some engines have it as a float."""
    return number is None or (
        isinstance(number, Real) and float(number).is_integer() and 0 <= float(number) < 2**63
    )
