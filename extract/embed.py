"""The embedding loop: pixels through a frozen backbone into the embedding store."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pandas as pd
import torch

from frostline.cache import (
    EMBEDDINGS,
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
from frostline.extract.pixels import PixelSource, distinct_images, versions

if TYPE_CHECKING:
    from frostline.extract.backbones import Backbone

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
) -> dict[str, Any]:
    """Everything that changes the embeddings (docs/format.md, 'Spec and key')."""
    return {
        "pixels": source.spec,
        "normalisation": normalisation,
        "backbone": backbone,
        "weights": weights,
        "feature": feature,
        "compute": compute,
        "storage": "float32",
    }


def missing_images(
    workspace: Workspace, manifest: Manifest, spec: dict[str, Any], shard: tuple[int, int] | None
) -> tuple[pd.DataFrame, int]:
    """The distinct images that the embedding store of `spec` lacks, and how many were wanted."""
    images = distinct_images(manifest, shard)
    folder = _store_folder(workspace, manifest, spec)
    if not part_files(folder) or images.empty:
        return images, len(images)
    keys = np.frombuffer(b"".join(images["content_key"]), np.uint8).reshape(-1, 16)
    return images[Store.open(folder).locate(keys) < 0], len(images)


def embed_images(
    workspace: Workspace,
    source: PixelSource,
    spec: dict[str, Any],
    load: Callable[[], Backbone],
    *,
    batch: int = 32,
    device: str = "cpu",
    shard: tuple[int, int] | None = None,
    progress: Progress | None = None,
) -> Extraction:
    """Embed the images that the store of `spec` lacks; `load` is called only if there are any.

    Raises
    ------
    InputError
        At the first image that cannot be read, unless `source.on_error` is "skip".
    OSError
        If the disk is full; finished parts stay.
    """
    folder = _store_folder(workspace, source.manifest, spec)
    images, wanted = missing_images(workspace, source.manifest, spec, shard)
    done = Extraction(folder.name, wanted, differs=_differences(folder, spec))
    if images.empty:
        return done
    backbone = load()
    provenance = {
        **versions(),
        "device": device_name(device),
        "weights_source": backbone.weights_source,
    }
    forward = forward_function(backbone, spec["normalisation"], device, spec["compute"])
    pixels = prefetch(source.batches(images, batch))
    with StoreWriter(folder, EMBEDDINGS, spec, provenance) as writer, closing(pixels):
        for keys, values in pixels:
            writer.append(keys, forward(pad(values, batch))[: len(keys)])
            done.embedded += len(keys)
            if progress is not None:
                progress(done.embedded, len(images))
    done.decoded, done.skipped = source.decoded, source.skipped
    return done


def forward_function(
    backbone: Backbone, normalisation: dict[str, list[float]], device: str, compute: str
) -> Callable[[np.ndarray], np.ndarray]:
    """Make uint8 pixels [n, h, w(, 3)] → float32 embeddings [n, dim], with one precision."""
    backbone.model.eval().to(device, memory_format=torch.channels_last)
    dtype = COMPUTE[compute]

    @torch.inference_mode()
    def forward(pixels: np.ndarray) -> np.ndarray:
        images = to_input(torch.from_numpy(pixels), normalisation, device)
        with torch.autocast(torch.device(device).type, dtype, enabled=dtype != torch.float32):
            return backbone(images).float().cpu().numpy()

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


def prefetch(items: Iterator[Item], depth: int = 2) -> Iterator[Item]:
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


def _store_folder(workspace: Workspace, manifest: Manifest, spec: dict[str, Any]) -> Path:
    return workspace.embeddings(manifest.meta["dataset"], spec["backbone"]) / spec_key(spec)


def _differences(folder: Path, spec: dict[str, Any]) -> list[str]:
    """How a store about to be begun differs from the nearest one beside it."""
    if part_files(folder):
        return []
    others = [store_spec(path) for path in find_stores(folder.parent)]
    return min((spec_difference(other, spec) for other in others), key=len, default=[])
