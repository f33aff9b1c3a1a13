"""One change of coordinates that makes every penalised head on an embedding matrix easy to fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

Array = NDArray[np.floating]

# Rows that are turned at a time.
_BLOCK = 2048


class Coordinates(Protocol):
    """Coordinates in which heads are fitted, and the way back to embeddings."""

    @property
    def values(self) -> Array:
        """Embeddings there [n, r]."""

    @property
    def power(self) -> NDArray[np.float64]:
        """Mean square of each column of `values` [r]."""

    @property
    def gram(self) -> Array | None:
        """``values' values / n``; None where it is diagonal."""

    def to_features(self, coef: Array, intercept: Array) -> tuple[Array, Array]:
        """Coefficients [k, r, h], intercepts [k, h] here to [h, k, p], [h, k] on embeddings."""

    def from_features(self, coef: Array, intercept: Array) -> tuple[Array, Array]:
        """The inverse of `to_features`."""

    def gradient_size(self, coef: Array, intercept: Array) -> NDArray[np.float64]:
        """Largest entry of each head's gradient on the embeddings, from the gradient here: [h]."""


@dataclass(frozen=True)
class Centred:
    """Embeddings centred and no more: for heads too few to pay for a rotation."""

    values: Array
    centre: Array
    power: NDArray[np.float64]
    gram: Array

    def to_features(self, coef: Array, intercept: Array) -> tuple[Array, Array]:
        shift = np.matmul(self.centre, coef)
        return np.ascontiguousarray(coef.transpose(2, 0, 1)), (intercept - shift).T.copy()

    def from_features(self, coef: Array, intercept: Array) -> tuple[Array, Array]:
        moved = np.ascontiguousarray(coef.transpose(1, 2, 0))
        return moved, intercept.T + np.matmul(self.centre, moved)

    def gradient_size(self, coef: Array, intercept: Array) -> NDArray[np.float64]:
        return _largest(coef + self.centre[:, None] * intercept[:, None, :], intercept)


@dataclass(frozen=True)
class Rotation:
    """Embeddings centred and turned into the eigenbasis of their own covariance.

    An L2 penalty does not change under a rotation and a free intercept absorbs the centre, so a
    head fitted on `values` is exactly a head fitted on the embeddings. In these coordinates the
    columns are orthogonal, so that the Hessian of a logistic loss is close to diagonal.

    Attributes
    ----------
    values : float [n, r]
        ``(X - centre) @ basis``; r = min(n, p).
    centre : float [p]
    basis : float [p, r]
        Orthonormal columns that span every row of ``X - centre``.
    power : float64 [r]
        Mean square of each column of `values`.
    """

    values: Array
    centre: Array
    basis: Array
    power: NDArray[np.float64]
    gram: None = None

    def to_features(self, coef: Array, intercept: Array) -> tuple[Array, Array]:
        """Coefficients [k, r, h], intercepts [k, h] here to [h, k, p], [h, k] on embeddings."""
        turned = np.matmul(self.basis, coef)
        shift = np.matmul(self.centre, turned)
        return np.ascontiguousarray(turned.transpose(2, 0, 1)), (intercept - shift).T.copy()

    def from_features(self, coef: Array, intercept: Array) -> tuple[Array, Array]:
        """The inverse of `to_features`, for coefficients that lie in the span of the rows."""
        moved = coef.transpose(1, 2, 0)
        return np.matmul(self.basis.T, moved), intercept.T + np.matmul(self.centre, moved)

    def gradient_size(self, coef: Array, intercept: Array) -> NDArray[np.float64]:
        """Largest entry of each head's gradient on the embeddings, from the gradient here: [h]."""
        turned = np.matmul(self.basis, coef)
        # logits = (x - m) w + c: moving w at a fixed intercept b = c - m w moves c along m.
        turned += self.centre[:, None] * intercept[:, None, :]
        return _largest(turned, intercept)


def _largest(coef: Array, intercept: Array) -> NDArray[np.float64]:
    largest = np.abs(coef).max(axis=(0, 1), initial=0.0)
    return np.maximum(largest, np.abs(intercept).max(axis=0)).astype(np.float64)


def centred(X: Array, dtype: np.dtype, mean: Array, scale: Array) -> Centred:
    """Standardise and centre embeddings [n, p], n no less than p, and keep their covariance."""
    values, centre = _middled(X, dtype, mean, scale)
    gram = values.T @ values
    gram /= len(X)
    return Centred(values, centre, np.diag(gram).astype(np.float64), gram)


def rotate(X: Array, dtype: np.dtype, mean: Array, scale: Array) -> Rotation:
    """Standardise and rotate embeddings [n, p]; with fewer images than features, onto their span.

    With n < p the penalised solution is a combination of the rows (any part orthogonal to them
    changes no logit and only adds to the penalty), so n dimensions hold it exactly: a QR
    factorisation finds them, and does not square the condition number as a Gram matrix would.
    """
    values, centre = _middled(X, dtype, mean, scale)
    span: Array | None = None
    if X.shape[0] < X.shape[1]:
        span, reduced = linalg.qr(values.T, mode="economic", check_finite=False)
        values = np.ascontiguousarray(reduced.T)
    # Any orthonormal basis is exact; the accuracy of the eigenvectors only decides the speed.
    gram = values.T @ values
    vectors = linalg.eigh(gram, overwrite_a=True, driver="evd", check_finite=False)[1]
    _turn(values, vectors)
    basis = vectors if span is None else span @ vectors
    power = np.einsum("nr,nr->r", values, values, dtype=np.float64) / len(values)
    return Rotation(values, centre, basis, power)


def _middled(X: Array, dtype: np.dtype, mean: Array, scale: Array) -> tuple[Array, Array]:
    """``(X - mean) / scale`` less its own mean, and that; one new matrix and no other."""
    values = np.empty(X.shape, dtype)
    np.subtract(X, mean, out=values, casting="same_kind")
    values /= scale.astype(dtype)
    centre = values.mean(axis=0, dtype=np.float64).astype(dtype)
    values -= centre
    return values, centre


def _turn(values: Array, vectors: Array) -> None:
    """Rotate rows in place, in blocks: a second matrix of their size is never there."""
    for start in range(0, len(values), _BLOCK):
        values[start : start + _BLOCK] = values[start : start + _BLOCK] @ vectors
