"""A user's own head: any classifier of scikit-learn, where a head's name could stand."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from frostline.cache.errors import InputError

if TYPE_CHECKING:
    from frostline.probe.heads.training import Candidate, Fit, Pool, Trainer


@dataclass(frozen=True)
class OwnEstimator:
    """A classifier of scikit-learn that takes part as a head with one candidate.

    It is never fitted itself: clones of it are. It gets the embeddings as they are, float32
    [n, p], and labels as text.

    Attributes
    ----------
    estimator : classifier
    """

    estimator: Any
    refits = True

    @property
    def name(self) -> str:
        """Name of its class."""
        return type(self.estimator).__name__

    @property
    def seeded(self) -> bool:
        """Whether it leaves a `random_state` open, which the run's seed then fills."""
        return bool(_open_seeds(self.estimator))

    @property
    def gives_probabilities(self) -> bool:
        """Whether it has `predict_proba`; without, its predictions are labels alone."""
        return hasattr(self.estimator, "predict_proba")

    def parameters(self) -> dict[str, Any]:
        """Describe it by its parameters: JSON, or text where a value is no JSON.

        Raises
        ------
        InputError
            If a value has no text that is the same the next time.
        """
        kind, found = type(self.estimator), self.estimator.get_params(deep=True)
        texts = {name: self._text(name, value) for name, value in sorted(found.items())}
        return {"class": f"{kind.__module__}.{kind.__qualname__}", **texts}

    def load_trainer(self) -> Trainer:
        """Give what fits clones of it, and scores them."""
        from frostline.probe.heads.trainers.one_by_one import one_by_one
        from frostline.probe.heads.training import Scores, Trainer

        def fit(pool: Pool, fits: Sequence[Fit], shared: Candidate, seed: int) -> list[Any]:
            return [self._fit(pool, one.rows, seed) for one in fits]

        trainer = one_by_one(fit, "shares")

        def score(*asked: Any) -> Scores:
            return [table.assign(log_loss=np.nan) for table in trainer.score(*asked)]

        return trainer if self.gives_probabilities else Trainer(score, fit)

    def _fit(self, pool: Pool, rows: NDArray[np.intp], seed: int) -> _Fitted:
        from sklearn.base import clone

        head = clone(self.estimator)
        head.set_params(**dict.fromkeys(_open_seeds(head), seed))
        head.fit(pool.X[rows], pool.names(rows))
        return _Fitted(head, pool.classes)

    def _text(self, name: str, value: Any) -> Any:
        try:
            return json.loads(json.dumps(value, allow_nan=False))
        except (TypeError, ValueError):
            pass
        if callable(value) and hasattr(value, "__qualname__"):
            return f"{value.__module__}.{value.__qualname__}"
        text = repr(value)
        if " at 0x" in text:
            raise InputError(
                f"Parameter {name!r} of {self.name} is {text}, which says nothing that is the "
                "same the next time, so that its run could not be found again: give the class a "
                "__repr__."
            )
        return " ".join(text.split())


class _Fitted:
    """A fitted estimator that answers in the order of the classes."""

    def __init__(self, head: Any, classes: Sequence[str]) -> None:
        self.head, self.classes = head, np.array(classes, dtype=object)
        if list(head.classes_) != list(classes):
            raise InputError(
                f"{type(head).__name__} was fitted to the classes {', '.join(classes)} and says "
                f"that it knows {', '.join(map(str, head.classes_))}: a head must know all."
            )

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        return np.asarray(self.head.predict_proba(X), dtype=np.float64)

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        return np.asarray(self.head.predict(X))

    def shares(self, X: ArrayLike) -> NDArray[np.float64]:
        """Probabilities; where it gives labels alone, all for the label."""
        if hasattr(self.head, "predict_proba"):
            return self.predict_proba(X)
        return (self.predict(X)[:, None] == self.classes).astype(np.float64)


def own_estimator(head: Any, hyperparameters: Mapping[str, Any] | None) -> OwnEstimator:
    """Check that what was given as a head can be one.

    Raises
    ------
    InputError
        If it is no classifier of scikit-learn, or its parameters are given separately.
    """
    from sklearn.base import is_classifier

    if isinstance(head, type):
        raise InputError(
            f"A head is an estimator, not its class: give {head.__name__}(), with its parameters."
        )
    needed = ("fit", "predict", "get_params", "set_params")
    if not all(hasattr(head, name) for name in needed) or not is_classifier(head):
        raise InputError(
            f"{head!r} is no classifier of scikit-learn: a head is one, or the name of one of "
            "Frostline's heads."
        )
    if hyperparameters:
        raise InputError(
            f"{type(head).__name__} has its parameters already: set them there, and leave "
            "hyperparameters out."
        )
    return OwnEstimator(head)


def _open_seeds(head: Any) -> list[str]:
    """Names of the `random_state` parameters that are None, those of steps among them."""
    found = head.get_params(deep=True)
    return sorted(n for n, v in found.items() if n.split("__")[-1] == "random_state" and v is None)
