"""Advice and search for when the device's memory does not hold a batch."""

from __future__ import annotations

from collections.abc import Callable

import torch

from frostline.cache import InputError


def largest_that_fits(fits: Callable[[int], bool], most: int) -> int:
    """Find the largest of `most` and the powers of two below it that fits into memory.

    Raises
    ------
    InputError
        If not even one image fits.
    """
    size = most
    while not fits(size):
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if size == 1:
            raise InputError(out_of_memory(1))
        size = _power_of_two_below(size)
    return size


def out_of_memory(size: int) -> str:
    """Say what to do when `size` images at a time do not fit."""
    if size == 1:
        return (
            "The device's memory does not hold the training of one image: use --precision "
            "bfloat16, a smaller --image-size, or unfreeze fewer blocks."
        )
    return (
        f"The device ran out of memory with {size} images at a time: use --batch-size auto, or "
        f"--set micro_batch={_power_of_two_below(size)}."
    )


def _power_of_two_below(size: int) -> int:
    return 1 << (size - 1).bit_length() - 1
