"""The metric of a few heads without an eigenbasis: a Cholesky factor for each.

An eigendecomposition serves any number of penalties, and for hundreds of heads costs next to
nothing; for one head it is most of the work. A factor of ``sigma Z'Z / n + penalty`` costs a tenth
of it and inverts the same matrix, so that Newton's method takes the same steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

Array = NDArray[np.floating]

# A factor still serves while the curvature it was made for is within this ratio.
_NEAR = 2.0


@dataclass(frozen=True)
class Factor:
    """Inverse of ``sigma gram + penalty I``: a division where sigma is nothing.

    Attributes
    ----------
    lower : float [r, r] or None
        Cholesky factor.
    sigma, penalty : float
    """

    lower: Array | None
    sigma: float
    penalty: float

    @classmethod
    def of(cls, gram: Array, sigma: float, penalty: float, dtype: np.dtype) -> Factor:
        """Factor in the precision of the rows, above what that rounds a singular gram to."""
        size = float(np.trace(gram))
        if sigma * size <= 1e-3 * penalty:
            return cls(None, sigma, penalty)
        ridge = max(penalty, float(np.finfo(dtype).eps) * sigma * size)
        while True:
            matrix = np.asarray(sigma * gram, dtype=dtype)
            matrix[np.diag_indices_from(matrix)] += ridge
            try:
                lower = linalg.cholesky(matrix, lower=True, overwrite_a=True, check_finite=False)
            except linalg.LinAlgError:
                ridge *= 10
                continue
            return cls(lower, sigma, penalty)

    def serves(self, sigma: float, penalty: float) -> bool:
        """Whether it is near enough to what would be made anew."""
        if penalty != self.penalty or self.lower is None:
            return False
        return self.sigma / _NEAR <= sigma <= self.sigma * _NEAR

    def solve(self, values: Array) -> Array:
        """Apply the inverse to a vector [r]."""
        if self.lower is None:
            return values / values.dtype.type(self.penalty)
        half = linalg.solve_triangular(self.lower, values, lower=True, check_finite=False)
        whole: Array = linalg.solve_triangular(
            self.lower, half, lower=True, trans=1, check_finite=False
        )
        return whole


def factors(
    gram: Array, sigma: Array, penalty: Array, old: list[list[Factor]] | None, dtype: np.dtype
) -> list[list[Factor]]:
    """A factor for every head and class direction (sigma [h, k]); old ones where they serve."""
    found = []
    for head, (row, ridge) in enumerate(zip(sigma, penalty, strict=True)):
        mine = []
        for place, value in enumerate(row):
            before = old[head][place] if old is not None else None
            if before is None or not before.serves(float(value), float(ridge)):
                before = Factor.of(gram, float(value), float(ridge), dtype)
            mine.append(before)
        found.append(mine)
    return found
