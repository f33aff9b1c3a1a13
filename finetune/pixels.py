"""Pixels for training: any images by number, from the pixel store or held on the device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from frostline.cache import Store
from frostline.extract.embed import prefetch

# Of the free memory of a device, the share that held pixels may take: the network needs the rest.
HELD_SHARE = 0.25


class PixelFeed(Protocol):
    """Images by number."""

    def batch(self, indices: Tensor) -> Tensor:
        """int64 [n] to uint8 [n, height, width] or [n, height, width, 3]."""
        ...


@dataclass(frozen=True)
class StorePixels:
    """Images in a pixel store.

    Attributes
    ----------
    store : Store
    rows : int64 [images]
        Row in the store of each image.
    """

    store: Store
    rows: np.ndarray

    def batch(self, indices: Tensor) -> Tensor:
        """Read images from the memory-mapped store."""
        return torch.from_numpy(self.store.read(self.rows[indices.numpy()]))


@dataclass(frozen=True)
class HeldPixels:
    """Images in a device's memory, uint8 [images, height, width] or [..., 3]."""

    values: Tensor

    def batch(self, indices: Tensor) -> Tensor:
        """Take images from the device's memory."""
        return self.values[indices.to(self.values.device)]


@dataclass(frozen=True)
class Part:
    """The images of one split.

    Attributes
    ----------
    pixels : PixelFeed
    labels : int64 [images]
        Number of the class; -1 where there is no label or training has no such class.
    ids : sequence of str
        `image_id` of each image.
    """

    pixels: PixelFeed
    labels: Tensor
    ids: Sequence[str]

    def __len__(self) -> int:
        return len(self.labels)


def held(part: Part, device: torch.device, step: int = 1024) -> Part:
    """The part with its pixels held on a GPU if they fit there, else as it is."""
    if device.type != "cuda" or not len(part):
        return part
    row = part.pixels.batch(torch.arange(1))
    free, _ = torch.cuda.mem_get_info(device)
    if len(part) * row.numel() > HELD_SHARE * free:
        return part
    values = torch.empty((len(part), *row.shape[1:]), dtype=torch.uint8, device=device)
    for start in range(0, len(part), step):
        indices = torch.arange(start, min(start + step, len(part)))
        values[indices.to(device)] = part.pixels.batch(indices).to(device)
    return Part(HeldPixels(values), part.labels, part.ids)


def read_ahead(part: Part, order: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of image numbers and their pixels, read in a thread while the device computes."""

    def read() -> Iterator[tuple[Tensor, Tensor]]:
        for indices in order:
            yield indices, part.pixels.batch(indices)

    return prefetch(read())
