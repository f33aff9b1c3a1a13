"""The embedding loop: pixels through a frozen backbone into the embedding store."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pandas as pd
import torch

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
from frostline.cache.versions import versions
from frostline.extract.engine import Engine, engine_version, onnx_features
from frostline.extract.pixels import PixelSource, distinct_images

if TYPE_CHECKING:
    from frostline.extract.backbones.backbone import Backbone

Item = TypeVar("Item")
Progress = Callable[[int, int], None]
COMPUTE = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass
class Extraction:
    """What an extraction did.

    Attributes
    ----------
    key : str
        Of the embedding store.
    images, embedded, decoded : int
        Distinct images wanted, computed now, and decoded from files now.
    skipped : list of str
        A sentence for each image that could not be read.
    differs : list of str
        If a store was begun beside others: the fields in which it differs from the nearest.
    """

    key: str
    images: int
    embedded: int = 0
    decoded: int = 0
    skipped: list[str] = field(default_factory=list)
    differs: list[str] = field(default_factory=list)


def embedding_spec(
    source: PixelSource,
    backbone: str,
    weights: str,
    feature: str,
    normalisation: dict[str, list[float]],
    compute: str = "float32",
    head: str = "",
) -> dict[str, Any]:
    """Everything that changes the embeddings (docs/format.md, 'Spec and key').

    `head` is the digest of the classifier, for features that have one.
    """
    return {
        "pixels": source.spec,
        "normalisation": normalisation,
        "backbone": backbone,
        "weights": weights,
        "feature": feature,
        "compute": compute,
        "storage": "float32",
        **({"head": head} if head else {}),
    }


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
    batch: int = 32,
    device: str = "cpu",
    engine: Engine = "torch",
    shard: tuple[int, int] | None = None,
    progress: Progress | None = None,
) -> list[Extraction]:
    """Embed, in one pass, what the stores of several features of one backbone lack.

    Parameters
    ----------
    specs : sequence of dict
        They differ in `feature` (and `head`) alone.
    load : callable
        Gives the backbone; called only if there is anything to embed.
    engine : {"torch", "onnx"}
        What computes: recorded, and no part of the key, as the embeddings agree.

    Raises
    ------
    InputError
        At the first image that cannot be read, unless `source.on_error` is "skip".
    OSError
        If the disk is full; finished parts stay.
    """
    images = distinct_images(source.manifest, shard)
    targets = [_Target.open(workspace, source.manifest, spec, images) for spec in specs]
    missing = np.logical_or.reduce([target.lacks for target in targets])
    wanted = images[missing]
    for target in targets:
        target.has = set(images["content_key"][missing & ~target.lacks])
    if len(wanted):
        backbone = load()
        provenance = {
            **versions(),
            "device": device_name(device),
            "engine": engine_version(engine),
            "weights_source": backbone.weights_source,
        }
        forward = several_forward(
            backbone,
            [spec["feature"] for spec in specs],
            specs[0]["normalisation"],
            device,
            specs[0]["compute"],
            engine,
        )
        _embed(source, wanted, targets, forward, provenance, batch, progress)
    for target in targets:
        target.done.decoded, target.done.skipped = source.decoded, source.skipped
    return [target.done for target in targets]


@dataclass
class _Target:
    """One store to fill.

    Attributes
    ----------
    lacks : bool [images]
        Whether an image's row is missing.
    has : set of bytes
        Keys of the images of this run whose rows are not.
    """

    folder: Path
    spec: dict[str, Any]
    lacks: np.ndarray
    done: Extraction
    has: set[bytes] = field(default_factory=set)

    @classmethod
    def open(
        cls, workspace: Workspace, manifest: Manifest, spec: dict[str, Any], images: pd.DataFrame
    ) -> _Target:
        parent = workspace.embeddings(manifest.meta["dataset"], spec["backbone"])
        folder = parent / spec_key(spec)
        lacks = np.ones(len(images), bool)
        if part_files(folder) and len(images):
            lacks = Store.open(folder).locate(as_keys(images["content_key"])) < 0
        done = Extraction(folder.name, len(images), differs=_differences(folder, spec))
        return cls(folder, spec, lacks, done)

    def skips(self, keys: np.ndarray) -> np.ndarray:
        """Which of the keys the store has, from an earlier run that was stopped."""
        return np.array([key.tobytes() in self.has for key in keys], bool)


def _embed(
    source: PixelSource,
    images: pd.DataFrame,
    targets: Sequence[_Target],
    forward: Callable[[np.ndarray], list[np.ndarray]],
    provenance: dict[str, Any],
    batch: int,
    progress: Progress | None,
) -> None:
    count = 0
    with ExitStack() as stack:
        writers = [
            stack.enter_context(StoreWriter(to.folder, EMBEDDINGS, to.spec, provenance))
            for to in targets
        ]
        pixels = stack.enter_context(closing(prefetch(source.batches(images, batch))))
        for keys, values in pixels:
            rows = forward(pad(values, batch))
            for target, writer, mine in zip(targets, writers, rows, strict=True):
                new = ~target.skips(keys)
                writer.append(keys[new], mine[: len(keys)][new])
                target.done.embedded += int(new.sum())
            count += len(keys)
            if progress is not None:
                progress(count, len(images))


def forward_function(
    backbone: Backbone, normalisation: dict[str, list[float]], device: str, compute: str
) -> Callable[[np.ndarray], np.ndarray]:
    """Make uint8 pixels [n, h, w(, 3)] → float32 embeddings [n, dim], with one precision."""
    forward = several_forward(backbone, [backbone.feature], normalisation, device, compute)
    return lambda pixels: forward(pixels)[0]


def several_forward(
    backbone: Backbone,
    features: Sequence[str],
    normalisation: dict[str, list[float]],
    device: str,
    compute: str,
    engine: Engine = "torch",
) -> Callable[[np.ndarray], list[np.ndarray]]:
    """Make uint8 pixels [n, h, w(, 3)] → one float32 array [n, dim] for each feature.

    With engine "onnx" all batches must be of the size of the first.
    """
    if engine == "onnx" and (compute, torch.device(device).type) != ("float32", "cpu"):
        raise InputError(
            f"Engine 'onnx' computes float32 on a CPU, not {compute} on {device}: use --engine "
            "torch, or --device cpu --precision float32."
        )
    backbone.model.eval().to(memory_format=torch.channels_last).to(device)
    found = [backbone.find(feature) for feature in features]
    dtype = COMPUTE[compute]
    run: list[Callable[[torch.Tensor], list[torch.Tensor]]] = []

    @torch.inference_mode()
    def forward(pixels: np.ndarray) -> list[np.ndarray]:
        images = to_input(torch.from_numpy(pixels), normalisation, device)
        if engine == "onnx":
            if not run:
                run.append(onnx_features(backbone, found, images))
            return [row.numpy() for row in run[0](images)]
        with torch.autocast(torch.device(device).type, dtype, enabled=dtype != torch.float32):
            rows = backbone.several(images, found)
        return [row.float().cpu().numpy() for row in rows]

    return forward


def to_input(
    pixels: torch.Tensor, normalisation: dict[str, list[float]], device: str | torch.device
) -> torch.Tensor:
    """uint8 [n, h, w] or [n, h, w, 3] → normalised float32 [n, 3, h, w] in channels-last order."""
    images = pixels.to(device, non_blocking=True)
    images = images.unsqueeze(1) if images.ndim == 3 else images.permute(0, 3, 1, 2)
    mean = torch.tensor(normalisation["mean"], device=device).view(1, 3, 1, 1)
    std = torch.tensor(normalisation["std"], device=device).view(1, 3, 1, 1)
    # (x / 255 - mean) / std as one multiplication and one addition; grey becomes colour here.
    normalised = images.float() * (1 / (255 * std)) - mean / std
    return normalised.contiguous(memory_format=torch.channels_last)


def pad(values: np.ndarray, size: int) -> np.ndarray:
    """Fill a short batch with zeros, so that a row's numbers never depend on its neighbours."""
    if len(values) == size:
        return values
    padded = np.zeros((size, *values.shape[1:]), values.dtype)
    padded[: len(values)] = values
    return padded


def prefetch(items: Iterator[Item], depth: int = 2) -> Generator[Item, None, None]:
    """Run an iterator in a thread, at most `depth` items ahead; its exceptions are raised here."""
    ready: queue.Queue[tuple[str, Any]] = queue.Queue(depth)
    stopped = threading.Event()

    def offer(kind: str, value: Any) -> None:
        while not stopped.is_set():
            try:
                return ready.put((kind, value), timeout=0.1)
            except queue.Full:
                continue

    def work() -> None:
        try:
            for item in items:
                offer("item", item)
                if stopped.is_set():
                    break
        except BaseException as error:
            offer("error", error)
        finally:
            items.close()  # type: ignore[attr-defined]
        offer("end", None)

    thread = threading.Thread(target=work, name="prefetch", daemon=True)
    thread.start()
    try:
        while True:
            kind, value = ready.get()
            if kind == "end":
                return
            if kind == "error":
                raise value
            yield value
    finally:
        stopped.set()
        thread.join()


def device_name(device: str) -> str:
    """The name of a GPU, or `cpu`."""
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    return str(device)


def _differences(folder: Path, spec: dict[str, Any]) -> list[str]:
    """How a store about to be begun differs from the nearest one beside it."""
    if part_files(folder):
        return []
    others = [store_spec(path) for path in find_stores(folder.parent)]
    return min((spec_difference(other, spec) for other in others), key=len, default=[])
