"""Batches of an epoch, and which of their images this process computes, and together."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor

from frostline.finetune.parallel import ranks, share
from frostline.finetune.recipe import Recipe
from frostline.probe.solver.stacked_adam import shuffles


class Place(NamedTuple):
    """A batch's place in training, from which its chances follow: seed, epoch, batch."""

    seed: int
    epoch: int
    batch: int


class Piece(NamedTuple):
    """Images computed together.

    Attributes
    ----------
    rows : int64 [n]
        Their numbers in the batch.
    counts : bool
        False for an image that is computed so that all processes do as much.
    """

    rows: Tensor
    counts: bool


def epoch_order(
    count: int, recipe: Recipe, seed: int, epoch: int, *, alone: bool = False
) -> list[Tensor]:
    """Give the batches of an epoch: numbers of images, each once, in the order of a probe.

    The order follows from seed and epoch alone, so that a resumed training continues the same.
    Unless an image may stand `alone`, the last batch takes a single one that is left over.
    """
    order = torch.arange(count)
    if recipe.shuffle:
        order = next(islice(shuffles(count, seed), epoch - 1, None))
    batches = list(torch.split(order, recipe.batch_size))
    if not alone and len(batches) > 1 and len(batches[-1]) == 1:
        # Batch norm has no variance in a batch of one.
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches


def own_rows(count: int) -> Tensor:
    """Give the images of a batch that this process computes: int64, one at least."""
    mine = share(count)
    return mine if len(mine) else torch.zeros(1, dtype=torch.int64)


def split_batch(count: int, size: int) -> Iterator[Piece]:
    """Split this process's images of a batch in parts of at most `size`, as many as everywhere.

    A process that runs out of images computes one that does not count.
    """
    mine, own = share(count), own_rows(count)
    parts = math.ceil(math.ceil(count / ranks()) / size)
    for rows in own.tensor_split(parts):
        yield Piece(rows if len(rows) else own[:1], len(mine) > 0 and len(rows) > 0)
