"""Thumbnails and their hashes: which images are the same but for compression, size or brightness.

A perceptual hash after C. Zauner, "Implementation and Benchmarking of Perceptual Image Hash
Functions" (2010): an image's low frequencies (discrete cosine transform), each above or below their
median. With 16 x 16 frequencies instead of 8 x 8, because medical images of one kind are alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from frostline.cache import Store

HASHED_SIDE = 32  # pixels a side, whose transform is taken
FREQUENCIES = 16  # a side of the square that is kept, but for the mean
HASH_BITS = FREQUENCIES**2 - 1
# Bits in which near-duplicates may differ; random images differ in half. Among 2,500 chest X-rays
# and 2,500 dermoscopic images of other contents two pairs came nearer; nine in ten of those images
# recompressed (JPEG quality 40), halved or brightened stayed within, most cropped by 2% did not.
MAX_DISTANCE = 24
MIN_COSINE = 0.999
BLOCK = 2048

Pairs = tuple[NDArray[np.int64], NDArray[np.float64]]


def perceptual_hash(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Hash images by their low frequencies.

    Parameters
    ----------
    pixels
        uint8 `[n, height, width]` or `[n, height, width, 3]`, of at least 32 pixels a side.

    Returns
    -------
    bool `[n, 255]`. An image of one brightness everywhere is all False.
    """
    small = _thumbnails(pixels)
    spectrum = dct(dct(small, axis=1, norm="ortho"), axis=2, norm="ortho")
    low = spectrum[:, :FREQUENCIES, :FREQUENCIES].reshape(len(pixels), -1)[:, 1:]
    low = np.where(np.abs(low) < 1e-3, 0, low)  # what is left of an exact 0
    return low > np.median(low, axis=1, keepdims=True)


def store_hashes(
    store: Store, progress: Callable[[int, int], None] | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Hash every image of a pixel store, a few at a time.

    Returns
    -------
    keys : uint8 [n, 16]
    hashes : bool [n, 255]
    """
    pieces = []
    with threadpool_limits(1):  # the products are too small to share between threads
        for start in range(0, len(store), 64):
            rows = np.arange(start, min(start + 64, len(store)))
            pieces.append(perceptual_hash(store.read(rows)))
            if progress is not None:
                progress(int(rows[-1]) + 1, len(store))
    hashes = np.concatenate(pieces) if pieces else np.zeros((0, HASH_BITS), bool)
    return store.keys, hashes


def near_pairs(hashes: NDArray[np.bool_], max_distance: int = MAX_DISTANCE) -> Pairs:
    """Find pairs of hashes that differ in few bits; all False are like none.

    Returns
    -------
    pairs : int64 [m, 2]
        Row numbers, the smaller first.
    distances : float64 [m]
        Bits.
    """
    signs = np.where(hashes, 1, -1).astype(np.float32)
    signs[~hashes.any(axis=1)] = 0  # then no product is large
    pairs, products = _product_pairs(signs, hashes.shape[1] - 2 * max_distance)
    return pairs, (hashes.shape[1] - products) / 2


def cosine_pairs(
    embeddings: NDArray[np.floating], min_cosine: float = MIN_COSINE, most: int | None = None
) -> Pairs:
    """Find pairs of embeddings of nearly the same direction.

    Parameters
    ----------
    embeddings
        float `[n, dim]`.
    most
        After how many pairs to stop looking; None finds all.

    Returns
    -------
    pairs : int64 [m, 2]
    cosines : float64 [m]
    """
    norms = np.linalg.norm(embeddings, axis=1, keepdims=True)
    vectors = embeddings / np.where(norms == 0, 1, norms)
    return _product_pairs(vectors.astype(np.float32), min_cosine, most)


def _product_pairs(vectors: NDArray[np.float32], least: float, most: int | None = None) -> Pairs:
    """Find pairs whose inner product is at least a number: block by block, in bounded memory."""
    pairs, products = [np.zeros((0, 2), np.int64)], [np.zeros(0)]
    for rows, columns in _blocks(len(vectors)):
        block = vectors[rows] @ vectors[columns].T
        first, second = np.nonzero(block >= least)
        first_row, second_row = first + rows.start, second + columns.start
        later = first_row < second_row
        pairs.append(np.stack([first_row, second_row], axis=1)[later])
        products.append(block[first, second][later].astype(np.float64))
        if most is not None and sum(map(len, products)) >= most:
            break
    return np.concatenate(pairs)[:most], np.concatenate(products)[:most]


def _blocks(count: int) -> Iterator[tuple[slice, slice]]:
    starts = range(0, count, BLOCK)
    for row in starts:
        for column in starts:
            if column >= row:
                yield slice(row, row + BLOCK), slice(column, column + BLOCK)


def _thumbnails(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Average images into float32 [n, 32, 32], through one small buffer: fresh memory is slow."""
    height, width, *channels = pixels.shape[1:]
    down, across = _averaging(height), _averaging(width).T
    if channels:  # the mean of the channels and of the columns in one product
        across = np.repeat(across, 3, axis=0) / np.float32(3)
    buffer = np.empty((height, len(across)), np.float32)
    small = np.empty((len(pixels), HASHED_SIDE, HASHED_SIDE), np.float32)
    for image, thumbnail in zip(pixels, small, strict=True):
        np.copyto(buffer, image.reshape(height, -1))
        np.matmul(down @ buffer, across, out=thumbnail)
    return small


def _averaging(size: int) -> NDArray[np.float32]:
    """Make weights [32, size] that average pixels into 32 parts of equal width."""
    edges = np.linspace(0, size, HASHED_SIDE + 1)
    starts, ends = edges[:-1, None], edges[1:, None]
    pixel = np.arange(size)
    share = np.clip(np.minimum(ends, pixel + 1) - np.maximum(starts, pixel), 0, None)
    return (share / share.sum(axis=1, keepdims=True)).astype(np.float32)
