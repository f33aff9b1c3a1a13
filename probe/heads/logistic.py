"""L2-regularised logistic regression whose strength is chosen on validation images."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp, softmax
from sklearn.metrics import get_scorer

from frostline.probe.heads.preparation import TrainingData
from frostline.probe.heads.strengths import DEFAULTS, Fold, StrengthProbe
from frostline.probe.solver.solve import Heads, solve_logistic

Array = NDArray[np.floating]


class LogisticProbe(StrengthProbe):
    """Multinomial logistic regression on embeddings.

    Features are standardised inside, by the weighted mean and standard deviation of all rows given
    to `fit` (validation rows too, never labels), so that all strengths and folds share one matrix
    and are fitted together (`frostline.probe.solver.solve`).

    Parameters
    ----------
    C : float
        Inverse strength of the L2 penalty, in scikit-learn's scale, where `cv` is None.
    Cs : array-like of float, optional
        Strengths to choose from where `cv` is given; those of `LogisticGrid` if None.
    cv : int, splitter or iterable, optional
        Folds on which the strength is chosen: a `PredefinedSplit` for one validation split, any
        splitter of scikit-learn (groups go to `fit`). After that the head is fitted to all rows.
        None fits the given `C`.
    scoring : str or callable
        A scorer of scikit-learn, averaged over folds. Of equal scores the strongest penalty wins.
    class_weight : dict, "balanced" or None
    tol : float
        Largest entry of the gradient of the mean loss at which a fit is done.
    max_iter : int
        Steps of the solver at most.

    Attributes
    ----------
    coef_ : [k, p], intercept_ : [k]
        For the features as given; k = 1 for two classes.
    classes_ : [n_classes]
    C_ : float
        The strength that was used.
    Cs_ : [m], scores_ : [folds, m]
        Strengths, weakest C first, and their validation scores, if `cv` is given.
    n_iter_ : [1]
        Steps of the final fit.
    device_ : str
        Where that was: "cpu", or "cuda" where embeddings are large and there is a GPU.
    """

    def __init__(
        self,
        C: float = 1.0,
        *,
        Cs: ArrayLike | None = None,
        cv: Any = None,
        scoring: Any = "neg_log_loss",
        class_weight: Any = None,
        tol: float = DEFAULTS.tol,
        max_iter: int = DEFAULTS.max_iter,
    ) -> None:
        self.C = C
        self.Cs = Cs
        self.cv = cv
        self.scoring = scoring
        self.class_weight = class_weight
        self.tol = tol
        self.max_iter = max_iter

    def decision_function(self, X: ArrayLike) -> Array:
        """Give logits [n, n_classes], or [n] of the second class if there are two."""
        logits: Array = self._checked(X) @ self.coef_.T + self.intercept_
        return logits[:, 0] if len(self.classes_) == 2 else logits

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Give the most probable class of every row."""
        logits = self.decision_function(X)
        best = logits > 0 if logits.ndim == 1 else logits.argmax(axis=1)
        return self.classes_[best.astype(np.intp)]

    def predict_proba(self, X: ArrayLike) -> Array:
        """Give probabilities [n, n_classes] in the order of `classes_`."""
        shares: Array = softmax(_columns(self.decision_function(X)), axis=1)
        return shares

    def _solve(
        self,
        standard: tuple[Array, Array],
        data: TrainingData,
        Cs: ArrayLike,
        weight: Array,
        row: ArrayLike | None = None,
    ) -> Heads:
        return solve_logistic(
            data.X,
            data.codes,
            C=Cs,
            n_classes=len(data.classes),
            sample_weight=weight,
            weight_row=row,
            standard=standard,
            tol=self.tol,
            max_iter=self.max_iter,
        )

    def _keep(self, coef: Array, intercept: Array) -> None:
        self.coef_, self.intercept_ = coef, intercept

    def _score(self, coef: Array, intercept: Array, fold: Fold) -> list[float]:
        if self.scoring == "neg_log_loss":
            return _neg_log_losses(coef, intercept, fold)
        # The scorer's opinion of each head, every one dressed as an estimator for it.
        scorer = get_scorer(self.scoring)
        bare = LogisticProbe()
        bare.classes_, bare.n_features_in_ = self.classes_, fold.X.shape[1]
        truth = self.classes_[fold.codes]
        scores = []
        for bare.coef_, bare.intercept_ in zip(coef, intercept, strict=True):
            scores.append(float(scorer(bare, fold.X, truth, sample_weight=fold.weight)))
        return scores


def logits_of(X: Array, coef: Array, intercept: Array) -> Array:
    """Give the logits [h, n, columns] of heads [h, columns, p], from one matrix product."""
    heads, columns, _ = coef.shape
    flat = X @ coef.reshape(heads * columns, -1).T + intercept.reshape(-1)
    return flat.reshape(len(X), heads, columns).transpose(1, 0, 2)


def _neg_log_losses(coef: Array, intercept: Array, fold: Fold) -> list[float]:
    """Of heads [h, k, p] on one fold."""
    many = logits_of(fold.X, coef, intercept)
    many = many[..., 0] if coef.shape[1] == 1 else many
    return [-_log_loss(one, fold.codes, fold.weight) for one in many]


def _columns(logits: Array) -> Array:
    """Logits of every class [n, n_classes], where there may be those of the second alone [n]."""
    logits = np.asarray(logits, dtype=np.float64)
    if logits.ndim == 1:
        return np.stack([np.zeros_like(logits), logits], axis=1)
    return logits


def _log_loss(logits: Array, codes: NDArray[np.intp], weight: NDArray[np.float64]) -> float:
    """Weighted mean of -log p, from logits, so that confident mistakes are not cut off."""
    columns = _columns(logits)
    own = columns[np.arange(len(codes)), codes]
    return float(np.average(logsumexp(columns, axis=1) - own, weights=weight))
