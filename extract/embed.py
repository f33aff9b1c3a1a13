"""The embedding loop: pixels through a frozen backbone into the embedding store."""

from __future__ import annotations

import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from frostline.cache import (
    EMBEDDINGS,
    InputError,
    Manifest,
    Store,
    StoreWriter,
    Workspace,
    find_stores,
    part_files,
    spec_difference,
    spec_key,
    store_spec,
)
from frostline.cache.manifest import as_keys
from frostline.cache.stores.values import Values
from frostline.cache.versions import numbered, versions
from frostline.extract.engine import Engine, choose_engines
from frostline.extract.pixels import Batch, PixelSource, distinct_images
from frostline.extract.prefetch import prefetch

if TYPE_CHECKING:
    from torch import Tensor, nn

    from frostline.extract.augmentation.views import Views
    from frostline.extract.backbones.backbone import Backbone


Progress = Callable[[int, int], None]
# Waits for the rows [n, dim] of each view and feature, and gives them.
Rows = Callable[[], list[np.ndarray]]
# Gives, by their content keys, what the backbone sees of images: these themselves, or views.
Seen = Callable[[np.ndarray, "Tensor"], Iterable["Tensor"]]


@dataclass
class Extraction:
    """What an extraction did.

    Attributes
    ----------
    feature, key : str
        Of the embedding store.
    view : int
        Number of the view; 0 of the images themselves.
    images, embedded, decoded : int
        Distinct images wanted, computed now, and decoded from files now.
    skipped : list of str
        A sentence for each image that could not be read.
    differs : list of str
        If a store was begun and there are others: the fields in which it differs from the
        nearest.
    parts : list of Path
        Files that were written now.
    """

    feature: str
    key: str
    images: int
    view: int = 0
    embedded: int = 0
    decoded: int = 0
    skipped: list[str] = field(default_factory=list)
    differs: list[str] = field(default_factory=list)
    parts: list[Path] = field(default_factory=list)


def embedding_spec(
    source: PixelSource,
    backbone: str | nn.Module,
    weights: str,
    feature: str,
    normalisation: dict[str, list[float]],
    compute: str = "float32",
    head: str = "",
) -> dict[str, Any]:
    """Collect everything that changes the embeddings (docs/format.md, 'Spec and key').

    Parameters
    ----------
    backbone : str or nn.Module
        Its name, or a user's own module (called by the name of its class).
    weights, feature, head : str
        As `identify_backbone` gives them.
    """
    if not isinstance(backbone, str):
        from frostline.extract.backbones.own_module import own_name

        backbone = own_name(backbone)
    spec = {
        "pixels": source.spec,
        "normalisation": normalisation,
        "backbone": backbone,
        "weights": weights,
        "feature": feature,
        "compute": compute,
        "storage": "float32",
        **({"head": head} if head else {}),
    }
    return numbered("embeddings", spec)


def embed_images(
    workspace: Workspace,
    source: PixelSource,
    spec: dict[str, Any],
    load: Callable[[], Backbone],
    **options: Any,
) -> Extraction:
    """Embed the images that the store of `spec` lacks: `embed_features` for one feature."""
    (done,) = embed_features(workspace, source, [spec], load, **options)
    return done


def embed_features(
    workspace: Workspace,
    source: PixelSource,
    specs: Sequence[dict[str, Any]],
    load: Callable[[], Backbone],
    *,
    shard: tuple[int, int] | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> list[Extraction]:
    """Embed, in one pass, what the stores of several features of one backbone lack.

    Parameters and errors are those of `StoreFiller` and its method `fill`.
    """
    filler = StoreFiller(workspace, source, specs, load, **options)
    return filler.fill(distinct_images(source.manifest, shard), progress)


@dataclass
class StoreFiller:
    """Fill the stores of several features of one backbone, which is loaded once.

    Attributes
    ----------
    specs : sequence of dict
        They differ in `feature` (and `head`) alone; of views in the number of the view, too.
    load : callable
        Gives the backbone; called only if there is anything to embed, and once.
    engine : {"auto", "torch", "onnx", "openvino"}
        What computes: recorded, and no part of the key, because the embeddings agree. `auto` is the
        fastest that is installed and agrees, where float32 is computed on a CPU.
    expected : int
        Images that all calls of `fill` will bring, if that is more than the first does: `auto`
        tries engines where there is enough to do.
    views : Views, optional
        Of which these stores are, if not of the images themselves.
    crop : int
        Side of what the backbone sees of a view, in pixels.
    """

    workspace: Workspace
    source: PixelSource
    specs: Sequence[dict[str, Any]]
    load: Callable[[], Backbone]
    batch: int = 32
    device: str = "cpu"
    engine: Engine = "auto"
    expected: int = 0
    views: Views | None = None
    crop: int = 0
    _ready: tuple[_Fitting, dict[str, Any]] | None = field(default=None, init=False)

    def fill(
        self, images: pd.DataFrame, progress: Progress | None = None, *, one_part: bool = False
    ) -> list[Extraction]:
        """Embed those of `images` (rows of `distinct_images`) that a store lacks, in one pass.

        Parameters
        ----------
        one_part : bool
            Whether a store gets one part, held in memory until then; else a part a minute.

        Raises
        ------
        InputError
            At the first image that cannot be read, unless `source.on_error` is "skip"; or if the
            backbone has other weights than the spec names.
        OSError
            If the disk is full; finished parts stay.
        """
        source, targets = self.source, self.targets(images)
        decoded, skipped = source.decoded, len(source.skipped)
        missing = np.logical_or.reduce([target.lacks for target in targets])
        wanted = images[missing]
        # Views that are complete are not computed for the sake of others.
        numbers = sorted({target.done.view for target in targets if target.lacks.any()})
        todo = [target for target in targets if target.done.view in numbers]
        for target in targets:
            target.has = set(images["content_key"][missing & ~target.lacks])
        if len(wanted):
            self._ready = self._ready or self._loaded(len(wanted) * len(numbers))
            seen = self._seen(numbers)
            _embed(source, wanted, todo, seen, *self._ready, progress, one_part)
        for target in targets:
            target.done.decoded = source.decoded - decoded
            target.done.skipped = source.skipped[skipped:]
            target.values.warn()
        return [target.done for target in targets]

    def targets(self, images: pd.DataFrame) -> list[_Target]:
        """Open the stores, and find which of the images each lacks."""
        manifest = self.source.manifest
        return [_Target.open(self.workspace, manifest, spec, images) for spec in self.specs]

    def of_views(self, views: Views, source: PixelSource) -> StoreFiller:
        """Give what fills the stores of views of the same features.

        Parameters
        ----------
        source : PixelSource
            Of the pixels that views are made of.
        """
        numbers = range(1, views.count + 1)
        specs = [views.spec(spec, source.spec, one) for one in numbers for spec in self.specs]
        crop = self.source.geometry.crop
        return replace(self, source=source, specs=specs, views=views, crop=crop)

    def _seen(self, numbers: Sequence[int]) -> Seen:
        if self.views is None:
            return lambda keys, images: [images]
        return partial(self.views.seen, numbers, self.crop)

    def _loaded(self, count: int) -> tuple[_Fitting, dict[str, Any]]:
        """Load the backbone to embed so many images or more, and say what computes."""
        batches = max(count, self.expected) / self.batch
        engines = choose_engines(self.engine, self.device, self.specs[0]["compute"], batches)
        backbone = self.load()
        for spec in self.specs:
            check_weights(backbone, spec)
        root = self.workspace.root
        forward, provenance = _computing(backbone, self.specs, self.device, engines, root)
        provenance["batch"] = self.batch
        return _Fitting(forward, self.device, self.batch), provenance


def _computing(
    backbone: Backbone,
    specs: Sequence[dict[str, Any]],
    device: str,
    engines: Sequence[str],
    root: Path,
) -> tuple[Callable[[Tensor], list[Tensor]], dict[str, Any]]:
    """Make the forward pass, and say what computes."""
    # Here, and not above: importing torch takes seconds, which finished work should not.
    from frostline.extract.backbones.origins import known_origin
    from frostline.extract.engine import engine_version
    from frostline.extract.forward import device_name, several_forward

    provenance = {
        **versions(),
        "device": device_name(device),
        "weights_source": backbone.weights_source,
        "backbone_origin": known_origin(backbone.name, backbone.weights_source, root),
    }

    def chosen(engine: str) -> None:  # before the first part is begun
        provenance["engine"] = engine_version(engine)

    features, first = list(dict.fromkeys(spec["feature"] for spec in specs)), specs[0]
    about = first["normalisation"], device, first["compute"]
    return several_forward(backbone, features, *about, engines, chosen), provenance


def check_weights(backbone: Backbone, spec: Mapping[str, Any]) -> None:
    """Raise InputError if the weights that were read are not those that the spec names."""
    if backbone.weights != spec["weights"] or spec.get("head", "") not in ("", backbone.head):
        raise InputError(
            f"The weights of {backbone.name!r} ({backbone.weights_source}) changed, though the "
            "size and time of their file did not: run the command again, which takes them as they "
            "are now."
        )


@dataclass
class _Target:
    """One store to fill.

    Attributes
    ----------
    lacks : bool [images]
        Whether an image's row is missing.
    values : Values
        What was seen of the rows that were computed now.
    has : set of bytes
        Keys of the images of this run whose rows are not.
    """

    folder: Path
    spec: dict[str, Any]
    lacks: np.ndarray
    done: Extraction
    values: Values
    has: set[bytes] = field(default_factory=set)

    @classmethod
    def open(
        cls, workspace: Workspace, manifest: Manifest, spec: dict[str, Any], images: pd.DataFrame
    ) -> _Target:
        view = spec.get("view", {}).get("number", 0)
        place = workspace.views if view else workspace.embeddings
        folder = place(manifest.meta["dataset"], spec["backbone"]) / spec_key(spec)
        lacks = np.ones(len(images), bool)
        if part_files(folder) and len(images):
            lacks = Store.open(folder).locate(as_keys(images["content_key"])) < 0
        differs = [] if view else _differences(folder, spec)
        done = Extraction(spec["feature"], folder.name, len(images), view, differs=differs)
        return cls(folder, spec, lacks, done, Values(f"{spec['backbone']}, {spec['feature']}"))

    def keep(self, writer: StoreWriter, keys: np.ndarray, rows: np.ndarray) -> None:
        """Write the rows that the store has not, from an earlier run that was stopped."""
        if self.has:
            new = np.array([key.tobytes() not in self.has for key in keys], bool)
            keys, rows = keys[new], rows[new]
        writer.append(keys, rows)
        self.values.add(rows)
        self.done.embedded += len(keys)


def _embed(
    source: PixelSource,
    images: pd.DataFrame,
    targets: Sequence[_Target],
    seen: Seen,
    fitting: _Fitting,
    provenance: Mapping[str, Any],
    progress: Progress | None,
    one_part: bool,
) -> None:
    from frostline.extract.forward import batch_memory, computing

    began, count, about = time.monotonic(), 0, (fitting.device, targets[0].spec["compute"])
    batches = source.batches(images, fitting.size, batch_memory(fitting.device))
    most = len(images) if one_part else None
    with ExitStack() as stack:
        writers = [
            stack.enter_context(
                StoreWriter(to.folder, EMBEDDINGS, to.spec, provenance, len(targets), began, most)
            )
            for to in targets
        ]
        for target, writer in zip(targets, writers, strict=True):
            target.done.parts = writer.paths
        pixels = stack.enter_context(closing(prefetch(batches)))
        stack.enter_context(computing(*about))
        for keys, rows in _computed(pixels, seen, fitting):
            for target, writer, mine in zip(targets, writers, rows, strict=True):
                target.keep(writer, keys, mine)
            count += len(keys)
            if progress is not None:
                progress(count, len(images))


def _computed(
    batches: Iterator[Batch], seen: Seen, fitting: _Fitting
) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
    """Yield the keys of each batch and its rows of each view and feature.

    A GPU has the next batch to compute while the rows of one are fetched and kept.
    """
    late = int(fitting.device.startswith("cuda"))
    begun: deque[tuple[np.ndarray, Rows]] = deque()
    for keys, values in batches:
        begun.append((keys, fitting.begin(keys, values, seen)))
        if len(begun) > late:
            before, rows = begun.popleft()
            yield before, rows()
    for keys, rows in begun:
        yield keys, rows()


@dataclass
class _Fitting:
    """Forward passes of as many images as fit into the device's memory, at most `size`."""

    forward: Callable[[Tensor], list[Tensor]]
    device: str
    size: int

    def begin(self, keys: np.ndarray, values: np.ndarray, seen: Seen) -> Rows:
        """Begin to compute the rows [n, dim] of n images for each feature, in passes of one size.

        Where one does not fit, this and all that follow are of the next smaller power of two.
        """
        import torch

        from frostline.extract.forward import pad, to_host

        while True:
            try:
                images = torch.from_numpy(values).to(self.device, non_blocking=True)
                views = [
                    [
                        to_host(self.forward(pad(part, self.size)))
                        for part in torch.split(view, self.size)
                    ]
                    for view in seen(keys, images)
                ]
            except torch.OutOfMemoryError as error:
                self._halve(error)
                continue
            return lambda: [
                np.concatenate(rows)[: len(values)]
                for passes in views
                for rows in zip(*(arrived() for arrived in passes), strict=True)
            ]

    def _halve(self, error: Exception) -> None:
        import torch

        if self.size == 1:
            raise InputError(
                "The device's memory does not hold the forward pass of one image: use --precision "
                "bfloat16, a smaller --image-size, or --device cpu."
            ) from error
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        size, self.size = self.size, 1 << (self.size - 1).bit_length() - 1  # a power of two
        warnings.warn(
            f"The device's memory does not hold {size} images at a time: passes have "
            f"{self.size} from here on (--batch {self.size} would from the start).",
            stacklevel=2,
        )


def _differences(folder: Path, spec: dict[str, Any]) -> list[str]:
    """Say how a store about to be begun differs from the nearest of the same backbone."""
    if part_files(folder):
        return []
    others = [store_spec(path) for path in find_stores(folder.parent)]
    return min((spec_difference(other, spec) for other in others), key=len, default=[])
