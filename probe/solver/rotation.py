"""One change of coordinates that makes every penalised head on an embedding matrix easy to fit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from frostline.probe.solver.problem import Array, Parameters

# Rows that are turned at a time.
_BLOCK = 2048


@dataclass(frozen=True)
class Rotation:
    """Embeddings centred and turned into the eigenbasis of their own covariance.

    An L2 penalty does not change under a rotation and a free intercept absorbs the centre, so a
    head fitted on `values` is exactly a head fitted on the embeddings. In these coordinates the
    columns are orthogonal, so that the Hessian of a logistic loss is close to diagonal.

    Attributes
    ----------
    values : float [n, r]
        `(X - centre) @ basis`; r = min(n, p).
    centre : float [p]
    basis : float [p, r], optional
        Orthonormal columns that span every row of `X - centre`; None where they were left as
        they are, for heads too few to pay for a rotation.
    """

    values: Array
    centre: Array
    basis: Array | None = None

    def power(self) -> NDArray[np.float64]:
        """Give the mean square of each column of `values`: [r]."""
        square = np.einsum("nr,nr->r", self.values, self.values)
        return np.asarray(square, dtype=np.float64) / len(self.values)

    def to_features(self, at: Parameters) -> tuple[Array, Array]:
        """Give coefficients [h, k, p] and intercepts [h, k] on embeddings."""
        turned = self._turned(at.coef)
        shift = np.tensordot(self.centre, turned, 1)
        return np.ascontiguousarray(turned.transpose(2, 1, 0)), (at.intercept - shift).T.copy()

    def from_features(self, coef: Array, intercept: Array) -> Parameters:
        """Invert `to_features`, for coefficients that lie in the span of the rows."""
        dtype = self.values.dtype
        moved = np.ascontiguousarray(coef.transpose(2, 1, 0), dtype=dtype)
        shifted = intercept.T.astype(dtype) + np.tensordot(self.centre, moved, 1)
        if self.basis is not None:
            flat = self.basis.T @ moved.reshape(len(moved), -1)
            moved = flat.reshape(-1, *moved.shape[1:])
        return Parameters(moved, shifted)

    def gradient_size(self, gradient: Parameters) -> NDArray[np.float64]:
        """Give the largest entry of each head's gradient on embeddings, from the one here: [h]."""
        # logits = (x - m) w + c: moving w at a fixed intercept b = c - m w moves c along m.
        shift = gradient.intercept
        if len(shift) != gradient.coef.shape[1]:  # one column, which all intercepts share
            shift = shift.sum(axis=0, keepdims=True)
        turned = self._turned(gradient.coef) + self.centre[:, None, None] * shift
        largest = np.abs(turned).max(axis=(0, 1), initial=0.0)
        both = np.maximum(largest, np.abs(gradient.intercept).max(axis=0))
        return np.asarray(both, dtype=np.float64)

    def _turned(self, coef: Array) -> Array:
        """Rows [r, k, h] here as [p, k, h] on embeddings."""
        if self.basis is None:
            return coef
        flat = self.basis @ coef.reshape(len(coef), -1)
        return np.asarray(flat.reshape(len(flat), *coef.shape[1:]))


def centred(X: Array, dtype: np.dtype, mean: Array, scale: Array) -> Rotation:
    """Standardise and centre embeddings [n, p], and no more."""
    return Rotation(*_middled(X, dtype, mean, scale))


def rotate(plain: Rotation) -> Rotation:
    """Turn centred embeddings [n, p], whose memory it takes over, into their own eigenbasis.

    With n < p the penalised solution is a combination of the rows (any part orthogonal to them
    changes no logit and only adds to the penalty), so n dimensions hold it exactly: a QR
    factorisation finds them, and does not square the condition number as a Gram matrix would.
    """
    values = plain.values
    span: Array | None = None
    if len(values) < values.shape[1]:
        span, reduced = linalg.qr(values.T, mode="economic", check_finite=False)
        values = np.ascontiguousarray(reduced.T)
    # Any orthonormal basis is exact; the accuracy of the eigenvectors only decides the speed.
    gram = values.T @ values
    vectors = linalg.eigh(gram, overwrite_a=True, driver="evd", check_finite=False)[1]
    _turn(values, vectors)
    return Rotation(values, plain.centre, vectors if span is None else span @ vectors)


def _middled(X: Array, dtype: np.dtype, mean: Array, scale: Array) -> tuple[Array, Array]:
    """`(X - mean) / scale` less its own mean, and that; one new matrix and no other."""
    values = np.empty(X.shape, dtype)
    np.subtract(X, mean, out=values, casting="same_kind")
    values *= (1 / scale).astype(dtype)
    # What is taken away is taken into account, whatever rounding made of the mean.
    centre = np.full(len(X), 1 / len(X), dtype) @ values
    values -= centre
    return values, centre


def _turn(values: Array, vectors: Array) -> None:
    """Rotate rows in place, in blocks: a second matrix of their size is never there."""
    for start in range(0, len(values), _BLOCK):
        values[start : start + _BLOCK] = values[start : start + _BLOCK] @ vectors
