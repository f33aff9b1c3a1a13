"""L2-regularised proportional odds for grades, whose strength is chosen on validation images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import get_scorer

from frostline.cache.tables.class_order import plain_order
from frostline.probe.heads.preparation import Answered, Index, TrainingData
from frostline.probe.heads.strengths import DEFAULTS, Fold, StrengthProbe
from frostline.probe.solver.ordinal import class_shares, solve_ordinal
from frostline.probe.solver.solve import Heads

Array = NDArray[np.floating]


class OrdinalProbe(StrengthProbe):
    """Proportional odds (cumulative logits) on embeddings: one direction, and a cut between grades.

    The chance that an image x is of the j-th class or below is σ(θ_j - x·w), with θ rising
    (McCullagh 1980, "Regression models for ordinal data", equation 2.2), and the penalty that of
    `LogisticProbe`, which this is for two classes. What is said there of standardisation holds.

    Parameters
    ----------
    C, Cs, cv, scoring, class_weight, tol, max_iter
        As `LogisticProbe` has them.
    classes : sequence, optional
        All classes from the lowest to the highest; more than y has do not matter. If None, numbers
        are in their own order, and so are names that are one stem with different numbers.

    Attributes
    ----------
    coef_ : [p]
        w, for the features as given.
    thresholds_ : [n_classes - 1]
        θ, rising. A class that no weighted row of y is of has probability 0: the thresholds next
        to it are one.
    classes_ : [n_classes]
        Sorted, as scikit-learn has them; columns of probabilities are in this order.
    order_ : int [n_classes]
        Positions in `classes_` from the lowest class to the highest.
    C_, Cs_, scores_, n_iter_
        As `LogisticProbe` has them.

    Raises
    ------
    ValueError
        From `fit`, if there are more than two classes and nothing says their order, or `classes`
        lacks one.
    """

    def __init__(
        self,
        C: float = 1.0,
        *,
        classes: Sequence[Any] | None = None,
        Cs: ArrayLike | None = None,
        cv: Any = None,
        scoring: Any = "neg_log_loss",
        class_weight: Any = None,
        tol: float = DEFAULTS.tol,
        max_iter: int = DEFAULTS.max_iter,
    ) -> None:
        self.C = C
        self.classes = classes
        self.Cs = Cs
        self.cv = cv
        self.scoring = scoring
        self.class_weight = class_weight
        self.tol = tol
        self.max_iter = max_iter

    def _learn(self, data: TrainingData, parts: list[tuple[Index, Index]]) -> None:
        self.order_ = _order(data.classes, self.classes)
        super()._learn(data, parts)

    def predict_proba(self, X: ArrayLike) -> Array:
        """Give probabilities [n, n_classes] in the order of `classes_`."""
        along = self._checked(X) @ self.coef_
        return in_classes(class_shares(along, self.thresholds_), self.order_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        # Clusters that lie in no row are no grades.
        tags.classifier_tags.poor_score = True
        return tags

    def _solve(
        self,
        standard: tuple[Array, Array],
        data: TrainingData,
        Cs: ArrayLike,
        weight: Array,
        row: ArrayLike | None = None,
    ) -> Heads:
        return solve_ordinal(
            data.X,
            np.argsort(self.order_)[data.codes],
            C=Cs,
            n_classes=len(data.classes),
            sample_weight=weight,
            weight_row=row,
            standard=standard,
            tol=self.tol,
            max_iter=self.max_iter,
        )

    def _keep(self, coef: Array, intercept: Array) -> None:
        self.coef_, self.thresholds_ = coef[0], -intercept

    def _score(self, coef: Array, intercept: Array, fold: Fold) -> list[float]:
        along = (fold.X @ coef[:, 0].T).T
        many = in_classes(class_shares(along, -intercept), self.order_)
        if self.scoring == "neg_log_loss":
            own = many[:, np.arange(len(fold.codes)), fold.codes]
            loss = -np.log(np.clip(own, np.finfo(np.float64).eps, 1))
            return (-np.average(loss, axis=1, weights=fold.weight)).tolist()
        scorer, truth = get_scorer(self.scoring), self.classes_[fold.codes]
        answers = (Answered(self.classes_, one) for one in many)
        return [float(scorer(one, fold.X, truth, sample_weight=fold.weight)) for one in answers]


def in_classes(shares: Array, order: Index) -> NDArray[np.float64]:
    """Put probabilities [..., K], from the lowest class to the highest, in the order of classes."""
    return np.asarray(shares[..., np.argsort(order)])


def _order(classes: NDArray[Any], given: Sequence[Any] | None) -> Index:
    """Positions of sorted classes, from the lowest to the highest."""
    names = classes.tolist()
    if given is not None:
        known = np.asarray(given).tolist()
        lacking = [name for name in names if name not in known]
        if lacking or len(set(known)) < len(known):
            raise ValueError(
                f"classes must name each class of y once, from the lowest to the highest: "
                f"{given!r} does not for {lacking[0] if lacking else known!r}."
            )
        return np.array([names.index(name) for name in known if name in names])
    if classes.dtype.kind in "biuf" or len(names) <= 2:
        return np.arange(len(names))
    plain = plain_order(map(str, names))
    if plain is None:
        raise ValueError(
            "OrdinalProbe goes by the order of the classes, and nothing says which it is "
            f"({', '.join(map(str, names))}): give classes=[lowest, …, highest]."
        )
    return np.array([list(map(str, names)).index(name) for name in plain])
