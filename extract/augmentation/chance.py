"""Random numbers for the images of a batch, the same wherever and with whomever they are computed.

By a hash: SplitMix64 (Steele, Lea and Flood 2014, doi:10.1145/2660193.2660195), in integers, whose
bits are the same on every device.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

# One column of `shares` for each: area, ratio, place (x, y), and the two flips.
SHARES = 6
# And of `bits`: rotation, translation (x, y), scale, shear, and the key of the noise.
BITS = 6
STEP = 0x9E3779B97F4A7C15 - 2**64
ROUNDS = ((30, 0xBF58476D1CE4E5B9 - 2**64), (27, 0x94D049BB133111EB - 2**64))


class Chance(NamedTuple):
    """Random numbers for the images of a batch, on the CPU.

    Attributes
    ----------
    shares : float64 [n, 6]
        In 0 to 1.
    seeds : int64 [n]
        Of torchvision's augmentations.
    bits : int64 [n, 6]
        All 64 bits by chance.
    """

    shares: Tensor
    seeds: Tensor
    bits: Tensor

    def of(self, rows: Tensor) -> Chance:
        """Give those of some of the images."""
        return Chance(self.shares[rows], self.seeds[rows], self.bits[rows])


def view_chance(keys: np.ndarray, seed: int, view: int) -> Chance:
    """Draw random numbers for a view of images, which follow from content, seed and view alone.

    Parameters
    ----------
    keys : uint8 [n, 16]
        Content keys.
    seed, view : int
        From 0; from 1.
    """
    contents = torch.from_numpy(np.ascontiguousarray(keys).view("<i8")[:, 0].astype(np.int64))
    place = mixed(mixed(torch.tensor(seed) * STEP) + torch.tensor(view) * STEP)
    drawn = hashed(mixed(contents + place), SHARES + 1 + BITS)
    seeds = _shifted(drawn[:, SHARES], 2)
    return Chance(as_shares(drawn[:, :SHARES]), seeds, drawn[:, SHARES + 1 :])


def hashed(keys: Tensor, count: int) -> Tensor:
    """Give `count` random numbers for each key, int64 [n] to int64 [n, count], of all 64 bits."""
    return mixed(keys[:, None] + torch.arange(1, count + 1, device=keys.device) * STEP)


def mixed(values: Tensor) -> Tensor:
    """Mix the bits of each value, int64, so that each depends on all."""
    for shift, factor in ROUNDS:
        values = (values ^ _shifted(values, shift)) * factor
    return values ^ _shifted(values, 31)


def as_shares(bits: Tensor) -> Tensor:
    """Give random bits, int64, as float64 in 0 to 1, 1 excluded."""
    return _shifted(bits, 11).double() * 2.0**-53


def normal(keys: Tensor, count: int) -> Tensor:
    """Give `count` normal random numbers for each key, int64 [n] to float32 [n, count].

    By Box and Muller: two of each 64 bits.
    """
    bits = hashed(keys, math.ceil(count / 2))
    above_zero = (_shifted(bits, 32) + 1).float() * 2.0**-32
    radius = (-2 * above_zero.log()).sqrt()
    angle = (bits & 0xFFFFFFFF).float() * (2 * math.pi * 2.0**-32)
    return torch.cat([radius * angle.cos(), radius * angle.sin()], 1)[:, :count]


def _shifted(values: Tensor, by: int) -> Tensor:
    """Shift bits to the right, and zeros in from the left."""
    return (values >> by) & (2 ** (64 - by) - 1)
