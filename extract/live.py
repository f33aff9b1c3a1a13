"""Cached equals live: rows of a store against ones computed again from the files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from frostline.cache import InputError, Manifest, Store
from frostline.cache.locks import own_cores
from frostline.extract.engine import COSINE
from frostline.extract.forward import device_name, pad, several_forward
from frostline.extract.images.decode import decode
from frostline.extract.images.decoders import Decoders
from frostline.extract.images.geometry import Geometry
from frostline.extract.pixels import distinct_images, image_files, image_keys

if TYPE_CHECKING:
    from frostline.extract.backbones.backbone import Backbone


# How far embeddings may differ from ones of another batch or device, by the order of additions
# alone: in bfloat16, of 8 bits, cosines of 1 - 2.8e-5 were seen.
LEAST_COSINE = {"float32": COSINE, "float16": 0.99999, "bfloat16": 0.9999}


@dataclass(frozen=True)
class LiveRow:
    """One image of the sample.

    Attributes
    ----------
    image_id : str
    cosine : float
        Between the cached and the fresh embedding.
    difference : float
        Largest absolute difference of a component.
    least : float
        The cosine from which on they are the same but for rounding, in the store's precision.
    """

    image_id: str
    cosine: float
    difference: float
    least: float = COSINE

    @property
    def equal(self) -> bool:
        """Whether both are the same but for rounding."""
        return self.cosine >= self.least


def compare_live(
    manifest: Manifest,
    store: Store,
    backbone: Backbone,
    *,
    sample: int = 8,
    seed: int = 0,
    rows: np.ndarray | None = None,
    device: str = "cpu",
) -> list[LiveRow]:
    """Decode and embed a random sample of images again, from their files, past both stores.

    Parameters
    ----------
    store : Store
        Of embeddings; its spec says how to decode and what to compute.
    backbone : Backbone
        With the weights of the spec.
    rows : int [n], optional
        Rows of the manifest that have an embedding, instead of a sample.

    Raises
    ------
    InputError
        If the backbone has other weights than the store, or no image of the data set is in it.
    """
    spec = store.spec
    if spec.get("weights") != backbone.weights or spec.get("backbone") != backbone.name:
        raise InputError(
            f"Store {store.key[:12]} is of {spec.get('backbone')!r} with other weights than these: "
            "give the weights it was extracted with."
        )
    places = store.locate(manifest.keys())
    cached = np.flatnonzero(places >= 0)
    if not len(cached):
        raise InputError(
            f"No image of the data set has an embedding in {store.folder}: run `frostline extract`."
        )
    chosen = np.random.default_rng(seed).permutation(cached)[:sample] if rows is None else rows
    geometry = Geometry.from_spec(spec["pixels"]["geometry"])
    frames = [None if pd.isna(frame) else int(frame) for frame in manifest.table["frame"]]
    channels, file_keys = spec["pixels"]["channels"], manifest.table["file_key"].tolist()
    pixels = np.stack(
        [
            decode(manifest.file(row), frames[row], geometry, channels, file_keys[row])
            for row in chosen
        ]
    )
    fresh = _embed(pixels, store, backbone, device, max(sample, len(chosen)))
    kept = store.read(places[chosen]).astype(np.float64)
    norms = np.linalg.norm(fresh, axis=1) * np.linalg.norm(kept, axis=1)
    cosines = (fresh * kept).sum(axis=1) / np.maximum(norms, np.finfo(float).tiny)
    differences = np.abs(fresh - kept).max(axis=1)
    ids = manifest.table["image_id"].iloc[chosen]
    least = LEAST_COSINE[spec["compute"]]
    rows_seen = zip(ids, cosines.tolist(), differences.tolist(), strict=True)
    return [LiveRow(*row, least) for row in rows_seen]


def _embed(
    pixels: np.ndarray, store: Store, backbone: Backbone, device: str, size: int
) -> np.ndarray:
    """Compute embeddings as a store's were; float64 [n, dim].

    On the device that made them in passes as large: a kernel is chosen by their size.
    """
    spec, made = store.spec, store.provenance
    forward = several_forward(
        backbone, [spec["feature"]], spec["normalisation"], device, spec["compute"]
    )
    if made.get("device") == device_name(device):
        size = int(made.get("batch", size))
    batches = torch.split(torch.from_numpy(pixels), size)
    passes = [forward(pad(some, size))[0].cpu() for some in batches]
    return torch.cat(passes)[: len(pixels)].double().numpy()


@dataclass
class PixelCheck:
    """What decoding the images of a pixel store again has shown.

    Attributes
    ----------
    right, wrong : set of bytes
        Keys of the rows that are, and are not, what is decoded now.
    unknown : set of bytes
        Keys of the rows whose files cannot be decoded.
    failures : list of str
        A sentence for each file that cannot be decoded, or is not the one that was indexed.
    """

    right: set[bytes] = field(default_factory=set)
    wrong: set[bytes] = field(default_factory=set)
    unknown: set[bytes] = field(default_factory=set)
    failures: list[str] = field(default_factory=list)


def compare_pixels(
    manifest: Manifest, store: Store, progress: Callable[[int, int], None] | None = None
) -> PixelCheck:
    """Decode every image that a pixel store has, and compare it with its row.

    Raises
    ------
    InputError
        If a user's own transform made the pixels.
    """
    geometry = Geometry.from_spec(store.spec["geometry"])
    images = distinct_images(manifest)
    images = images[store.locate(image_keys(images)) >= 0]
    check, workers = PixelCheck(), own_cores()
    with Decoders(image_files(images), geometry, store.spec["channels"], workers) as decoders:
        for chunk in decoders.chunks():
            stored = store.read(store.locate(chunk.keys))
            for key, kept, fresh in zip(chunk.keys, stored, chunk.values, strict=True):
                (check.right if np.array_equal(kept, fresh) else check.wrong).add(key.tobytes())
            check.failures += chunk.failures
            if progress is not None:
                progress(len(check.right) + len(check.wrong), len(images))
    check.unknown = set(images["content_key"]) - check.right - check.wrong
    return check
