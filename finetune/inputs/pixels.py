"""Images by number, from a store or from the memory of the device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import cycle
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from frostline.cache import Store
from frostline.extract.forward import sent, to_input
from frostline.extract.prefetch import prefetch

# Of the free memory of a device, the share that held pixels may take: the network needs the rest.
HELD_SHARE = 0.25
AHEAD = 2


@dataclass(frozen=True)
class Form:
    """How a stored row is read.

    Attributes
    ----------
    dtype : torch.dtype
        Its type; NumPy knows no bfloat16, which is stored as int16 with the same bits.
    channels_last : bool
        Whether [channels, height, width] is stored as [height, width, channels].
    """

    dtype: torch.dtype = torch.uint8
    channels_last: bool = False

    def at_rest(self, values: Tensor) -> np.ndarray:
        """Give rows as they are stored."""
        rows = values.permute(0, 2, 3, 1) if self.channels_last else values
        rows = rows.contiguous().cpu()
        return (rows.view(torch.int16) if self.dtype == torch.bfloat16 else rows).numpy()

    def restored(self, rows: Tensor) -> Tensor:
        """Give stored rows as what they were; no copy is made."""
        values = rows.view(self.dtype)
        return values.permute(0, 3, 1, 2) if self.channels_last else values


class PixelFeed(Protocol):
    """Images by number."""

    def batch(self, indices: Tensor, out: Tensor | None = None) -> Tensor:
        """Give images int64 [n] as uint8 [n, height, width] or [… , 3], or activations.

        `out` may be used for the rows, [n or more, …] as they are at rest.
        """
        ...


@dataclass(frozen=True)
class StorePixels:
    """Images in a store.

    Attributes
    ----------
    store : Store
    rows : int64 [images]
        Row in the store of each image.
    form : Form
        How its rows are to be read.
    """

    store: Store
    rows: np.ndarray
    form: Form = field(default=Form())

    def read(self, indices: Tensor, out: Tensor | None = None) -> Tensor:
        """Read rows as they are stored, into `out` if it is given."""
        rows = self.rows[indices.numpy()]
        if out is None:
            return torch.from_numpy(self.store.read(rows))
        # A part of `out` and not of an array in its memory: of pinned memory, torch knows by the
        # storage which block a copy is from, and keeps it until the copy is done.
        place = out[: len(indices)]
        self.store.read(rows, out=place.numpy())
        return place

    def batch(self, indices: Tensor, out: Tensor | None = None) -> Tensor:
        """Read images from the memory-mapped store."""
        return self.form.restored(self.read(indices, out))

    def buffer(self, count: int, *, pinned: bool = False) -> Tensor:
        """Allocate memory for `count` rows as they are stored."""
        dtype = torch.from_numpy(np.empty(0, self.store.dtype)).dtype
        return torch.empty((count, *self.store.shape), dtype=dtype, pin_memory=pinned)


@dataclass(frozen=True)
class HeldPixels:
    """Images in a device's memory, uint8 [images, height, width] or [..., 3], or activations."""

    values: Tensor
    form: Form = field(default=Form())

    def batch(self, indices: Tensor, out: Tensor | None = None) -> Tensor:
        """Take images from the device's memory."""
        return self.form.restored(self.values[sent(indices, self.values.device)])


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
    groups : int64 [images], optional
        Number of each image's group, where groups are scored and not images.
    """

    pixels: PixelFeed
    labels: Tensor
    ids: Sequence[str]
    groups: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)


def may_hold(size: int, device: torch.device) -> bool:
    """Say whether so many bytes are kept on a device; on a GPU alone, where they fit."""
    return device.type == "cuda" and size <= HELD_SHARE * torch.cuda.mem_get_info(device)[0]


def held(part: Part, device: torch.device, step: int = 1024) -> Part:
    """Give the part with its pixels on a GPU if they fit there, else as it is."""
    feed = part.pixels
    if not len(part) or not isinstance(feed, StorePixels):
        return part
    row = feed.read(torch.arange(1))
    if not may_hold(len(part) * row.nbytes, device):
        return part
    values = torch.empty((len(part), *row.shape[1:]), dtype=row.dtype, device=device)
    for start in range(0, len(part), step):
        place = values[start : start + step]
        place.copy_(feed.read(torch.arange(start, start + len(place))))
    return replace(part, pixels=HeldPixels(values, feed.form))


def read_ahead(
    part: Part, order: Sequence[Tensor], device: torch.device | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield batches of image numbers and their pixels, read in a thread while the device computes.

    The pixels of a batch are there until the next one is asked for: their memory is used again.
    """
    feed = part.pixels
    size = max(map(len, order), default=0)
    buffers: Iterator[Tensor | None] = cycle([None])
    on_gpu = device is not None and device.type == "cuda"
    if isinstance(feed, StorePixels) and not on_gpu:
        # One is read, some wait, one is used; fresh memory would cost more than the reading.
        buffers = cycle([feed.buffer(size) for _ in range(AHEAD + 2)])

    def read() -> Iterator[tuple[Tensor, Tensor]]:
        for indices, buffer in zip(order, buffers, strict=False):
            if isinstance(feed, StorePixels) and on_gpu:
                # Pinned memory is used again by torch, once the copy to the device is done.
                buffer = feed.buffer(len(indices), pinned=True)
            yield indices, feed.batch(indices, buffer)

    return prefetch(read(), AHEAD)


def as_input(
    batch: Tensor, normalisation: dict[str, list[float]], device: str | torch.device
) -> Tensor:
    """Give what a network takes: normalised pixels, or activations as they are, on the device."""
    if batch.dtype == torch.uint8:
        return to_input(batch, normalisation, device)
    return batch.to(device, non_blocking=True)
