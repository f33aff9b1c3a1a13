"""All heads of a sweep at once: multinomial logistic regression for many penalties and folds.

The objective is the one of scikit-learn's `LogisticRegression`: for every head

    `C * sum_i w_i * loss_i + |coef|^2 / 2`, intercept free,

softmax for three classes or more, one column of coefficients for two. Folds and training
fractions are rows of weights, zero where an image is left out, so that all heads share one matrix:
it is rotated once (`rotation`), and every matrix product serves all heads (`descent`). Strengths
far apart come first; those between begin where their neighbours ended, a few steps away.
A head alone takes another road, and so do all of them where embeddings lie on a GPU (`single`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import PchipInterpolator
from sklearn.exceptions import ConvergenceWarning

from frostline.probe.solver.descent import descend
from frostline.probe.solver.newton import minimise
from frostline.probe.solver.problem import Array, Index, Problem, Solution, Stop
from frostline.probe.solver.rotation import Rotation, centred, rotate
from frostline.probe.solver.single import Blocked, Loss, OnDevice, fit_one, on_device

# A class without images has its best intercept at minus infinity; this is near enough.
_RAREST = 1e-12
# Below this tolerance float32 gradients are mostly rounding.
_FLOAT32_TOL = 1e-5
# Features whose scales differ by more than this lose the small ones in a float32 rotation.
_FLOAT32_SCALES = 1e3
# Up to so many heads of two classes, each alone is cheaper than a rotation that serves all.
_FEW = 4
# Of fewer features a rotation takes no longer than a few steps do.
_WIDE = 512
# Steps on a GPU for one that starts from the data's curvature.
_MORE = 5
# Strengths of a row of weights that are solved first: each this many places after the last.
_FIRST = 16
# Bytes of embeddings from which on a GPU is used, if there is one: below, a CPU takes seconds.
LARGE = 256 << 20
# Working memory of a batch of heads, where the embedding matrix itself is smaller.
_WORKING_BYTES = 64 << 20


@dataclass(frozen=True)
class Heads:
    """Fitted heads.

    Attributes
    ----------
    coef : float [h, k, p]
        k = 1 for two classes, else the number of classes.
    intercept : float [h, k]
    objective : float64 [h]
        `sum_i w_i loss_i / sum_i w_i + |coef|^2 / (2 C sum_i w_i)`.
    n_iter : int [h]
        Steps of L-BFGS, and of Newton's method where it finished.
    converged : bool [h]
    device : str
        Where they were fitted: "cpu" or "cuda".
    """

    coef: Array
    intercept: Array
    objective: NDArray[np.float64]
    n_iter: Index
    converged: NDArray[np.bool_]
    device: str = "cpu"


def solve_logistic(
    X: Array,
    y: ArrayLike,
    *,
    C: ArrayLike,
    n_classes: int,
    sample_weight: ArrayLike | None = None,
    weight_row: ArrayLike | None = None,
    standard: tuple[Array, Array] | None = None,
    tol: float = 1e-4,
    max_iter: int = 200,
    device: str = "auto",
    kind: type[Problem] = Problem,
) -> Heads:
    """Fit one logistic head for every entry of `C`.

    Parameters
    ----------
    X : float32 or float64 [n, p]
        Embeddings; float32 is finished in float64 where it is not accurate enough.
    y : int [n]
        Class codes below `n_classes`; a class may be absent.
    C : float [h]
        Inverse strength of each head's penalty.
    sample_weight : float [f, n] or [n], optional
        Rows of weights; ones if not given.
    weight_row : int [h], optional
        Which row of `sample_weight` each head uses; the first if not given.
    standard : (float [p], float [p]), optional
        Mean and scale: features are `(X - mean) / scale`, without a copy. See `on_embeddings`.
    tol : float
        Largest entry of the gradient of the mean loss at which a head is done, as in
        scikit-learn's lbfgs solver.
    max_iter : int
        Steps of each of the two at most; a `ConvergenceWarning` says how many heads needed more.
    device : str
        "auto" is a GPU if there is one and `X` has `LARGE` bytes or more; "cpu", "cuda". The
        minimum is the same. Only logistic heads go there.
    kind : type
        What each head minimises; of two classes all kinds are one.
    """
    codes = np.asarray(y, dtype=np.intp)
    strengths = np.atleast_1d(np.asarray(C, dtype=np.float64))
    given = np.ones(len(X)) if sample_weight is None else sample_weight
    weights = np.atleast_2d(np.asarray(given, dtype=np.float64))
    rows = np.asarray(np.zeros(len(strengths)) if weight_row is None else weight_row, np.intp)
    _check(X, strengths, weights)
    mean, scale = standard or (np.zeros(X.shape[1], X.dtype), np.ones(X.shape[1], X.dtype))
    kind = Problem if n_classes == 2 else kind
    if device == "auto":
        device = _large_on_gpu(X) if kind is Problem else "cpu"
    sweep = _Sweep(X, mean, scale, codes, n_classes, strengths, weights, rows, device, kind)
    heads = sweep.solve(tol, max_iter)
    count = np.count_nonzero(~heads.converged)
    if count:
        warnings.warn(
            f"{count} of {len(strengths)} {kind.name} heads did not converge in {max_iter} steps; "
            "raise max_iter or tol, or standardise the features",
            ConvergenceWarning,
            stacklevel=2,
        )
    return heads


def _check(X: Array, C: NDArray[np.float64], weights: NDArray[np.float64]) -> None:
    if X.ndim != 2 or not X.shape[1]:
        raise ValueError(f"X must be [n, p] with at least one column, and is {[*X.shape]}.")
    if not (np.isfinite(C) & (C > 0)).all():
        raise ValueError(f"C must be positive and finite, and {C.tolist()} is not.")
    if not (weights.sum(axis=1) > 0).all():
        raise ValueError("A row of weights leaves out every image: no head can be fitted to it.")


@dataclass(frozen=True)
class _Sweep:
    X: Array
    mean: Array
    scale: Array
    codes: Index
    classes: int
    C: NDArray[np.float64]
    weights: NDArray[np.float64]
    rows: Index
    device: str
    kind: type[Problem]

    def solve(self, tol: float, max_iter: int) -> Heads:
        """Fit all, in float32 as far as that will do, and on the CPU where a GPU is too small."""
        if self.device != "cpu":
            import torch

            try:
                return self._solve(tol, max_iter)
            except torch.OutOfMemoryError:
                said = "The GPU's memory does not hold the embeddings: heads are fitted on the CPU."
                warnings.warn(said, stacklevel=3)
        return replace(self, device="cpu")._solve(tol, max_iter)

    def _solve(self, tol: float, max_iter: int) -> Heads:
        heads, todo = self.blank(), np.arange(len(self.C))
        narrow = self.X.dtype == np.float32
        if narrow and self.fit(todo, heads, np.dtype(np.float32), tol, max_iter):
            todo = np.flatnonzero(~heads.converged) if tol >= _FLOAT32_TOL else todo
        else:
            self.fit(todo, heads, np.dtype(np.float64), tol, max_iter)
            todo = np.flatnonzero(~heads.converged)
        if len(todo):
            self.finish(heads, todo, tol, max_iter)
        return heads

    def blank(self) -> Heads:
        """Make heads that know nothing but how frequent the classes are."""
        share = np.stack([np.bincount(self.codes, w, self.classes) for w in self.weights])
        share = np.maximum(share / share.sum(axis=1, keepdims=True), _RAREST)
        start, count = self.kind.start(share), len(self.C)
        columns = start.shape[1] if self.kind is Problem else 1
        return Heads(
            np.zeros((count, columns, self.X.shape[1]), self.X.dtype),
            start[self.rows].astype(self.X.dtype),
            np.zeros(count),
            np.zeros(count, np.intp),
            np.zeros(count, bool),
            self.device,
        )

    def fit(self, todo: Index, heads: Heads, dtype: np.dtype, tol: float, max_iter: int) -> bool:
        """Improve `heads` (in place) from where they are; False if float32 will not do."""
        rotation = centred(self.X, dtype, self.mean, self.scale)
        if dtype == np.float32:
            tol = max(tol, _FLOAT32_TOL)
            if not _similar(rotation.power(), rotation.centre):
                return False
        stop, left = Stop(rotation.gradient_size, tol, max_iter), todo
        if self.device != "cpu":
            Z = on_device(rotation.values, self.device)
            stop = replace(stop, max_iter=_MORE * max_iter)
            for level in self._levels(todo, heads, rotation.centre):
                self._one_by_one(level, heads, rotation, stop, partial(OnDevice, Z))
            return True
        if self.classes == 2 and len(todo) <= _FEW and self.X.shape[1] >= _WIDE:
            self._one_by_one(todo, heads, rotation, stop, Blocked)
            left = todo[~heads.converged[todo]]
        if len(left):
            rotation = rotate(rotation)
            power, stop = rotation.power(), replace(stop, size=rotation.gradient_size)
            for level in self._levels(left, heads, rotation.centre):
                for batch in self._batches(level, rotation):
                    start = rotation.from_features(heads.coef[batch], heads.intercept[batch])
                    found = descend(self._problem(rotation, batch), power, start, stop)
                    _store(heads, batch, found, rotation)
        return True

    def _one_by_one(
        self,
        todo: Index,
        heads: Heads,
        rotation: Rotation,
        stop: Stop,
        loss: Callable[[Problem], Loss],
    ) -> None:
        for one in np.split(todo, len(todo)):
            problem = self._problem(rotation, one)
            start = rotation.from_features(heads.coef[one], heads.intercept[one])
            _store(heads, one, fit_one(loss(problem), problem, start, stop), rotation)

    def finish(self, heads: Heads, todo: Index, tol: float, max_iter: int) -> None:
        """Improve `heads` (in place) where `fit` was not enough."""
        rotation = rotate(centred(self.X, np.dtype(np.float64), self.mean, self.scale))
        power = rotation.power()
        for batch in self._batches(todo, rotation):
            start = rotation.from_features(heads.coef[batch], heads.intercept[batch])
            stop = Stop(rotation.gradient_size, tol, max_iter)
            found = minimise(self._problem(rotation, batch), power, start, stop)
            _store(heads, batch, found, rotation)

    def _problem(self, rotation: Rotation, batch: Index) -> Problem:
        total = self.weights.sum(axis=1)
        weights = (self.weights / total[:, None])[self.rows[batch]].T
        with np.errstate(over="ignore"):  # of strengths that a float64 just holds
            penalty = np.clip(1 / (self.C[batch] * total[self.rows[batch]]), 1e-30, 1e30)
        weights = np.ascontiguousarray(weights, dtype=rotation.values.dtype)
        return self.kind(rotation.values, self.codes, self.classes, weights, penalty)

    def _levels(self, todo: Index, heads: Heads, centre: Array) -> Iterator[Index]:
        """Give few heads of every row of weights first, then those between, from where these are.

        A level is asked for when the one before is fitted: its `heads` then begin (in place) on
        the monotone cubic through the strengths of their row, by the logarithm of C.
        """
        places = np.full(len(self.C), _FIRST)
        mine = [todo[self.rows[todo] == row] for row in np.unique(self.rows[todo])]
        for one in mine:
            one[:] = one[np.argsort(self.C[one], kind="stable")]
            rank = np.arange(1, len(one) - 1)
            places[one[1:-1]] = np.minimum(rank & -rank, _FIRST)  # how often 2 divides it
        step = _FIRST
        while step:
            level = todo[places[todo] == step]
            if step < _FIRST:
                for one in mine:
                    self._between(one[places[one] > step], one[places[one] == step], heads, centre)
            if len(level):
                yield level
            step //= 2

    def _between(self, known: Index, new: Index, heads: Heads, centre: Array) -> None:
        """Begin `new` heads (in place) between `known` ones of the same row of weights.

        Logits of the centre of the data are interpolated, and not intercepts, which belong to
        features of zero: those may be far away.
        """
        known = known[heads.converged[known]]
        if not len(new) or not len(known):
            return
        at, first = np.unique(np.log(self.C[known]), return_index=True)
        coef, there = heads.coef[known[first]], np.log(self.C[new])
        middle = heads.intercept[known[first]] + coef @ centre
        if len(at) == 1:
            coef, middle = coef.repeat(len(new), 0), middle.repeat(len(new), 0)
        else:
            inside = np.clip(there, at[0], at[-1])
            both = coef, self.kind.free(middle)
            coef, middle = (PchipInterpolator(at, one, axis=0)(inside) for one in both)
            middle = np.asarray(self.kind.bound(middle), np.float64)
        heads.coef[new] = coef
        heads.intercept[new] = middle - coef @ centre

    def _batches(self, todo: Index, rotation: Rotation) -> Iterator[Index]:
        """Heads of like strength together: they converge together. Sized to bound memory."""
        values = rotation.values
        columns = self.kind.columns(self.classes)
        head = values.itemsize * (columns * 16 * sum(values.shape) + 4 * values.shape[0])
        width = max(1, max(values.nbytes // 2, _WORKING_BYTES) // head)
        ordered = todo[np.argsort(self.C[todo], kind="stable")]
        yield from np.array_split(ordered, -(-len(ordered) // width))


def _large_on_gpu(X: Array) -> str:
    if X.nbytes < LARGE:
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _store(heads: Heads, batch: Index, found: Solution, rotation: Rotation) -> None:
    heads.coef[batch], heads.intercept[batch] = rotation.to_features(found.at)
    heads.objective[batch] = found.value
    heads.n_iter[batch] += found.steps
    heads.converged[batch] = found.converged


def on_embeddings(
    coef: Array, intercept: Array, standard: tuple[Array, Array]
) -> tuple[Array, Array]:
    """Turn coefficients [..., k, p] and intercepts [..., k] for standardised X into those for X."""
    mean, scale = standard
    plain = coef / scale
    return plain, intercept - plain @ mean


def _similar(power: NDArray[np.float64], centre: Array) -> bool:
    """Whether float32 has room for all features, by their mean squares and their centre."""
    spread = np.sqrt(power)
    # What varies by rounding alone is constant, and of no account.
    spread = spread[spread > 10 * np.finfo(np.float32).eps * np.abs(centre)]
    return not len(spread) or bool(spread.max() <= _FLOAT32_SCALES * spread.min())
