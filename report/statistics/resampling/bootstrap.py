"""Bootstrap replicates of confusion matrices at a cost that does not grow with the rows.

Metrics of a confusion matrix depend on the rows only through counts. Resampling n images with
replacement and counting them is the same law as one multinomial draw of n over the cells. With
groups (patients, lesions) the unit drawn is a group's whole matrix; groups with equal matrices are
one *kind*, and resampling G groups is one multinomial draw of G over the kinds, weighted by the
number of groups of each. A replicate's matrix is then the drawn counts times the kinds' matrices.
(Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 6; the reduction by
sufficiency is exact, not an approximation.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# Drawn counts held at once; bounds memory when no two groups are alike.
BLOCK_ELEMENTS = 4_000_000
# Units from which Poisson draws pay, and how many deviations are left to draw one by one.
FEWEST_BY_POISSON = 400
SPARE = 3.5


@dataclass(frozen=True)
class Kinds:
    """The distinct confusion matrices of resampling units.

    Attributes
    ----------
    matrices : int64 [U, K, K]
        The distinct matrices, most frequent first.
    counts : int64 [U]
        How many units have each; their sum is the number of units.
    """

    matrices: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]

    @property
    def n_units(self) -> int:
        """Number of resampling units."""
        return int(self.counts.sum())

    @property
    def stratum(self) -> npt.NDArray[np.int64]:
        """The class of each kind; kinds with rows of several classes are a stratum of their own."""
        present = self.matrices.sum(-1) > 0
        return np.where(present.sum(-1) == 1, present.argmax(-1), -1)


def find_kinds(
    truth: npt.NDArray[np.integer],
    prediction: npt.NDArray[np.integer],
    n_classes: int,
    groups: npt.NDArray[np.integer] | None = None,
) -> Kinds:
    """Count the distinct confusion matrices of groups; without groups every image is a unit.

    Parameters
    ----------
    truth, prediction : int [n]
        Class numbers.
    groups : int [n], optional
        Group numbers. Neither they nor the order of rows affect the result.
    """
    cells = truth.astype(np.int64) * n_classes + prediction
    contents, counts = unit_contents(cells, groups)
    matrices = np.zeros((len(contents), n_classes * n_classes), dtype=np.int64)
    for row, entries in enumerate(contents):
        for cell, times in entries:
            matrices[row, cell] = times
    return Kinds(matrices.reshape(-1, n_classes, n_classes), counts)


def unit_contents(
    cells: npt.NDArray[np.integer], groups: npt.NDArray[np.integer] | None = None
) -> tuple[list[tuple[tuple[int, int], ...]], npt.NDArray[np.int64]]:
    """Find the distinct contents of units, and how many units have each, most frequent first.

    Parameters
    ----------
    cells : int [n]
        A number for each image that says all that matters of it.
    groups : int [n], optional
        Group numbers; without them every image is a unit.

    Returns
    -------
    contents : list of tuples of (cell, times)
    counts : int64 [U]
    """
    found: dict[tuple[tuple[int, int], ...], int] = {}
    if groups is None:
        code, counts = np.unique(cells, return_counts=True)
        pairs = zip(code.tolist(), counts.tolist(), strict=True)
        found = {((cell, 1),): count for cell, count in pairs}
    else:
        keys, times = np.unique(np.stack([groups, cells]), axis=1, return_counts=True)
        starts = np.flatnonzero(np.diff(keys[0], prepend=keys[0, :1] - 1))
        entries = list(zip(keys[1].tolist(), times.tolist(), strict=True))
        for start, stop in zip(starts, [*starts[1:], len(entries)], strict=True):
            kind = tuple(entries[start:stop])
            found[kind] = found.get(kind, 0) + 1
    # Frequent kinds first: numpy's multinomial stops when nothing is left to draw.
    order = sorted(found, key=lambda kind: (-found[kind], kind))
    return order, np.array([found[kind] for kind in order], dtype=np.int64)


def draw_counts(
    kinds: Kinds, replicates: int, rng: np.random.Generator, *, stratified: bool = False
) -> npt.NDArray[np.int64]:
    """Draw how often each kind comes up when all units are resampled: int64 [replicates, U].

    Stratified, as many units of each class are drawn as there are (one multinomial a stratum).
    """
    if not stratified:
        return multinomial(kinds.counts, replicates, rng)
    out = np.zeros((replicates, len(kinds.counts)), dtype=np.int64)
    # In the order of the kinds, which does not depend on the numbers of classes.
    for value in dict.fromkeys(kinds.stratum.tolist()):
        places = np.flatnonzero(kinds.stratum == value)
        out[:, places] = multinomial(kinds.counts[places], replicates, rng)
    return out


def multinomial(
    counts: npt.NDArray[np.int64], replicates: int, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Draw as often as there are units, with their shares: int64 [replicates, U], exactly.

    A Poisson number of draws has independent Poisson counts (Kingman 1993, Poisson Processes,
    section 1.2), which are drawn faster than the dependent counts of a fixed number. So nearly all
    draws are made that way, and the few that are missing one by one. Rows with too many, which are
    rare, are drawn again: given its number of draws, a row's shares do not depend on it.
    """
    n = int(counts.sum())
    if n < FEWEST_BY_POISSON:
        return rng.multinomial(n, counts / n, size=replicates)
    mean = (n - SPARE * np.sqrt(n)) * counts / n
    out = rng.poisson(mean, size=(replicates, len(counts)))
    missing = n - out.sum(1)
    while len(over := np.flatnonzero(missing < 0)):
        out[over] = rng.poisson(mean, size=(len(over), len(counts)))
        missing[over] = n - out[over].sum(1)
    unit = np.repeat(np.arange(len(counts)), counts)
    drawn = unit[rng.integers(0, n, size=int(missing.sum()), dtype=np.int32)]
    cells = np.repeat(np.arange(replicates) * len(counts), missing) + drawn
    return out + np.bincount(cells, minlength=out.size).reshape(out.shape)


def replicate_confusions(kinds: Kinds, counts: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
    """Sum confusion matrices of drawn counts [..., U]: float64 [..., K, K], whole numbers."""
    n_classes = kinds.matrices.shape[-1]
    if kinds.matrices.sum() == len(kinds.counts):
        # Units are images: a kind is a cell.
        out = np.zeros((*counts.shape[:-1], n_classes * n_classes))
        out[..., kinds.matrices.reshape(len(kinds.counts), -1).argmax(1)] = counts
        return out.reshape(*counts.shape[:-1], n_classes, n_classes)
    # BLAS multiplies floats only; counts are exact in them up to 2**53.
    flat = kinds.matrices.reshape(len(kinds.counts), -1).astype(np.float64)
    product = np.asarray(counts, dtype=np.float64) @ flat
    return product.reshape(*counts.shape[:-1], n_classes, n_classes)


def bootstrap_confusions(
    kinds: Kinds, replicates: int, rng: np.random.Generator, *, stratified: bool = False
) -> npt.NDArray[np.float64]:
    """Draw bootstrap replicates of the confusion matrix: float64 [replicates, K, K].

    Blocks bound the memory; their size depends on the data alone.
    """
    block = max(1, BLOCK_ELEMENTS // len(kinds.counts))
    sizes = [min(block, replicates - start) for start in range(0, replicates, block)]
    return np.concatenate(
        [
            replicate_confusions(kinds, draw_counts(kinds, size, rng, stratified=stratified))
            for size in sizes
        ]
    )
