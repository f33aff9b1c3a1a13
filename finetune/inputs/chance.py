"""Random numbers for the training images of a batch: by seed, epoch, and image or its place."""

from __future__ import annotations

import torch
from torch import Tensor

from frostline.extract.augmentation.chance import BITS, SHARES, STEP, Chance, hashed, mixed
from frostline.finetune.inputs.batches import Place
from frostline.finetune.seeds import derived_seed


def draw_chance(indices: Tensor, place: Place) -> Chance:
    """Draw random numbers for images int64 [n], by their numbers, of a batch at a place.

    Shares and seeds are of the image's place in the epoch, bits of the image itself.
    """
    count = len(indices)
    generator = torch.Generator().manual_seed(derived_seed(place.seed, "augmentation", *place[1:]))
    shares = torch.rand(count, SHARES, dtype=torch.float64, generator=generator)
    seeds = torch.randint(2**62, (count,), generator=generator)
    epoch = torch.tensor(derived_seed(place.seed, "augmentation of images", place.epoch))
    return Chance(shares, seeds, hashed(mixed(epoch + indices * STEP), BITS))
