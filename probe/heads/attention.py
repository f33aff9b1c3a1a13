"""Gated attention over the images of a patient: one answer for all of them together."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from frostline.probe.heads.grids import AttentionGrid
from frostline.probe.heads.preparation import Array, Probe, prepare, seed_of, standardise
from frostline.probe.solver.attention import Attention, first_weights, solve_attention
from frostline.probe.solver.bags import Bags, as_bags

DEFAULTS = AttentionGrid()


class AttentionProbe(Probe):
    """Gated attention over frozen embeddings, then multinomial logistic regression (L2).

    Ilse, Tomczak and Welling 2018 (`frostline.probe.solver.attention`), on standardised features.
    The loss of all bags together is minimised by L-BFGS from a seeded start; it has more than one
    minimum, so that a seed changes the head.

    Parameters
    ----------
    C : float
        Inverse strength of the L2 penalty, in scikit-learn's scale as in `LogisticProbe`; of the
        weights of attention too.
    hidden : int
        Units of the attention: rows of V and U.
    tol, max_iter
        When the search ends: at a gradient without an entry above `tol`, or after so many steps.
    class_weight : dict, "balanced" or None
        Classes are counted by bags.
    random_state : int, RandomState or None

    Attributes
    ----------
    V_, U_ : float64 [p, hidden]
    w_ : float64 [hidden]
    coef_ : float64 [n_classes, p]
    intercept_ : float64 [n_classes]
        All on standardised features.
    mean_, scale_ : [p]
        By which embeddings are standardised.
    classes_ : [n_classes]
    n_iter_ : int
    """

    def __init__(
        self,
        *,
        C: float = 1.0,
        hidden: int = DEFAULTS.hidden[0],
        class_weight: Any = None,
        tol: float = DEFAULTS.tol,
        max_iter: int = DEFAULTS.max_iter,
        random_state: Any = None,
    ) -> None:
        self.C = C
        self.hidden = hidden
        self.class_weight = class_weight
        self.tol = tol
        self.max_iter = max_iter
        self.random_state = random_state

    def fit(
        self,
        X: Bags | ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        standard: tuple[Array, Array] | None = None,
    ) -> Self:
        """Fit to bags and their labels y [bags]; rows of an array [n, p] are bags of one image.

        `standard` is the mean and deviation of every feature; those of all images of X if None.
        """
        if not (np.isfinite(self.C) and self.C > 0):
            raise ValueError(f"C must be positive and finite, and {self.C!r} is not.")
        rows = X.mean() if isinstance(X, Bags) else X
        data = prepare(self, rows, y, sample_weight, self.class_weight)
        bags = X if isinstance(X, Bags) else as_bags(data.X)
        used = np.repeat(data.sample_weight, bags.counts)
        self.mean_, self.scale_ = standard or standardise(bags.values, used)
        self.classes_ = data.classes
        total = data.weight.sum()
        target = np.eye(len(data.classes))[data.codes] * (data.weight / total)[:, None]
        # scikit-learn's scale: of two classes one vector is counted, where here are two of half its
        # length in opposite directions.
        penalty = (2 if len(data.classes) == 2 else 1) / (self.C * total)
        shape = bags.values.shape[1], self.hidden, len(data.classes)
        found, self.n_iter_ = solve_attention(
            self._standardised(bags),
            target,
            first_weights(*shape, seed_of(self.random_state)),
            penalty,
            tol=self.tol,
            max_iter=self.max_iter,
        )
        self.V_, self.U_, self.w_ = found.V, found.U, found.w
        self.coef_, self.intercept_ = found.coef.T, found.intercept
        return self

    def predict_proba(self, X: Bags | ArrayLike) -> Array:
        """Give probabilities [bags, n_classes] in the order of `classes_`."""
        bags = self._bags(X)
        return self._fitted().probabilities(bags)

    def attention(self, X: Bags | ArrayLike) -> NDArray[np.float64]:
        """Give the weight of every image in its bag: [n], summing to 1 in each bag."""
        bags = self._bags(X)
        return self._fitted().weights(bags)

    def predict(self, X: Bags | ArrayLike) -> NDArray[Any]:
        """Give the most probable class of every bag, of equals the first."""
        best = self.predict_proba(X).argmax(axis=1)
        return self.classes_[best]

    def _fitted(self) -> Attention:
        return Attention(self.V_, self.U_, self.w_, self.coef_.T, self.intercept_)

    def _bags(self, X: Bags | ArrayLike) -> Bags:
        if not isinstance(X, Bags):
            return self._standardised(as_bags(self._checked(X)))
        self._checked(X.values)
        return self._standardised(X)

    def _standardised(self, bags: Bags) -> Bags:
        values = (bags.values.astype(np.float64) - self.mean_) / self.scale_
        return Bags(values, bags.counts)
