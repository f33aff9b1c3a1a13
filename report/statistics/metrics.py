"""Metrics of a confusion matrix, by scikit-learn's names and with its values; the list of all.

Each is a function of confusion matrices `[..., K, K]` (rows truth, columns prediction, weights or
counts), vectorised over the leading axes: bootstrap replicates, runs. The class list is fixed, so a
class that nothing was called, or that no image has, still has its row and column. Where a ratio has
no denominator it counts as zero (scikit-learn's `zero_division=0`); an empty matrix gives NaN.
`docs/statistics.md` tabulates what is undefined when. Metrics of probabilities are in `scores.py`.

A new metric is a function and a line in `METRICS`; one of each class is a line in `PER_CLASS`, and
`f1[melanoma]` names its value for one class.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from frostline.cache.errors import InputError

Array = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]  # numbers of classes or of groups
# A function of truth, prediction (names of classes, [n]) and probabilities ([n, K] or None).
OwnMetric = Callable[[npt.NDArray[np.object_], npt.NDArray[np.object_], Array | None], float]
# Functions that were given where a metric's name goes, by their names.
OWN_METRICS: dict[str, OwnMetric] = {}
PER_CLASS_SUFFIX = "_per_class"
# What titles begin with that is written with a capital anywhere.
NAMES = ("ROC", "F1", "Cohen", "Matthews", "Brier")


@dataclass(frozen=True)
class Metric:
    """What is known of a metric.

    Attributes
    ----------
    function : callable or None
        Of confusion matrices; None for metrics of probabilities (`scores.SCORES`).
    title : str
        Its heading in tables.
    bounds : (float, float) or None
        Its lowest and highest value; None where a side is open, and of `mean_absolute_error`,
        whose highest value hangs on the classes: see `metric_range`.
    macro : bool
        Whether every class weighs the same, so that a rare class decides as much as a common one.
    higher : bool
        Whether higher is better.
    """

    function: Callable[[Array], Array] | None
    title: str
    bounds: tuple[float, float] | None = (0.0, 1.0)
    macro: bool = False
    higher: bool = True

    @property
    def words(self) -> str:
        """Its title within a sentence, where names and classes keep their capitals."""
        if self.title.startswith(NAMES):
            return self.title
        return self.title[:1].lower() + self.title[1:]


def name_ranks(classes: Sequence[str]) -> Codes:
    """Give the place of each class in the alphabet: int64 [K]."""
    return np.argsort(np.argsort(np.array(classes, dtype=object))).astype(np.int64)


def confusion_matrix(
    truth: npt.NDArray[np.integer], prediction: npt.NDArray[np.integer], n_classes: int
) -> npt.NDArray[np.int64]:
    """Count pairs of class numbers: int64 [K, K], rows truth."""
    cells = np.bincount(truth.astype(np.int64) * n_classes + prediction, minlength=n_classes**2)
    return cells.reshape(n_classes, n_classes)


def accuracy(confusion: Array) -> Array:
    """Compute the share of weight on the diagonal (`accuracy_score`)."""
    return _ratio(_diagonal(confusion).sum(-1), confusion.sum((-2, -1)), empty=np.nan)


def balanced_accuracy(confusion: Array) -> Array:
    """Average the recall of the classes that are present in truth (`balanced_accuracy_score`)."""
    present = (_truth(confusion) > 0).sum(-1).astype(np.float64)
    return _ratio(recall_of_classes(confusion).sum(-1), present, empty=np.nan)


def precision_of_classes(confusion: Array) -> Array:
    """Count right ones among those called each class (`precision_score`): [..., K]."""
    return _ratio(_diagonal(confusion), _called(confusion))


def recall_of_classes(confusion: Array) -> Array:
    """Count right ones among those of each class (`recall_score(average=None)`): [..., K]."""
    return _ratio(_diagonal(confusion), _truth(confusion))


def f1_of_classes(confusion: Array) -> Array:
    """Take the harmonic mean of precision and recall (`f1_score(average=None)`): [..., K]."""
    return _ratio(2 * _diagonal(confusion), _truth(confusion) + _called(confusion))


def specificity_of_classes(confusion: Array) -> Array:
    """Count those not called the class among those not of it: [..., K]; recall of "all others"."""
    others = confusion.sum((-2, -1))[..., None] - _truth(confusion)
    wrongly = _called(confusion) - _diagonal(confusion)
    return _ratio(others - wrongly, others)


def cohen_kappa(confusion: Array) -> Array:
    """Compute agreement beyond chance (Cohen 1960; `cohen_kappa_score`); NaN if chance is all."""
    return _kappa(confusion, 1.0 - np.eye(confusion.shape[-1]))


def cohen_kappa_linear(confusion: Array) -> Array:
    """Weigh kappa by distances in the order of the classes (Cicchetti and Allison 1971)."""
    return _kappa(confusion, np.abs(_distances(confusion.shape[-1])))


def cohen_kappa_quadratic(confusion: Array) -> Array:
    """Weigh kappa by squared distances in the order of the classes (Cohen 1968), for grades."""
    return _kappa(confusion, _distances(confusion.shape[-1]) ** 2)


def mean_absolute_error(confusion: Array) -> Array:
    """Average by how many classes answers are off (`mean_absolute_error` of class numbers)."""
    return _ratio(absolute_errors(confusion), confusion.sum((-2, -1)), empty=np.nan)


def absolute_errors(confusion: Array) -> Array:
    """Add up by how many classes answers are off."""
    return np.einsum("...ij,ij->...", confusion, np.abs(_distances(confusion.shape[-1])))


def matthews_corrcoef(confusion: Array) -> Array:
    """Correlate truth and prediction (Gorodkin 2004; `matthews_corrcoef`); 0 if flat."""
    total = confusion.sum((-2, -1))
    true, called = _truth(confusion), _called(confusion)
    together = _diagonal(confusion).sum(-1) * total - (true * called).sum(-1)
    spread = (total**2 - (true**2).sum(-1)) * (total**2 - (called**2).sum(-1))
    out = _ratio(together, np.sqrt(np.maximum(spread, 0)))
    return np.where(total > 0, out, np.nan)


def _weighted(of_classes: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """Average over classes weighted by support (`average="weighted"`)."""

    def function(confusion: Array) -> Array:
        support = _truth(confusion)
        return _ratio((of_classes(confusion) * support).sum(-1), support.sum(-1), empty=np.nan)

    return function


def _macro(of_classes: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """Average plainly over the class list (`average="macro"` with `labels`)."""

    def function(confusion: Array) -> Array:
        return np.where(confusion.sum((-2, -1)) > 0, of_classes(confusion).mean(-1), np.nan)

    return function


PER_CLASS: dict[str, tuple[Callable[[Array], Array], str]] = {
    "precision": (precision_of_classes, "Precision"),
    "recall": (recall_of_classes, "Recall"),
    "f1": (f1_of_classes, "F1 score"),
    "specificity": (specificity_of_classes, "Specificity"),
}
METRICS: dict[str, Metric] = {
    "accuracy": Metric(accuracy, "Accuracy"),
    "balanced_accuracy": Metric(balanced_accuracy, "Balanced accuracy", macro=True),
    "precision_weighted": Metric(_weighted(precision_of_classes), "Precision"),
    "recall_weighted": Metric(_weighted(recall_of_classes), "Recall"),
    "f1_weighted": Metric(_weighted(f1_of_classes), "F1 score"),
    "precision_macro": Metric(_macro(precision_of_classes), "Precision (macro)", macro=True),
    "recall_macro": Metric(_macro(recall_of_classes), "Recall (macro)", macro=True),
    "f1_macro": Metric(_macro(f1_of_classes), "F1 score (macro)", macro=True),
    "specificity_macro": Metric(_macro(specificity_of_classes), "Specificity (macro)", macro=True),
    "cohen_kappa": Metric(cohen_kappa, "Cohen's kappa", (-1.0, 1.0)),
    "cohen_kappa_linear": Metric(cohen_kappa_linear, "Linear kappa", (-1.0, 1.0)),
    "cohen_kappa_quadratic": Metric(cohen_kappa_quadratic, "Quadratic kappa", (-1.0, 1.0)),
    "mean_absolute_error": Metric(mean_absolute_error, "Mean absolute error", None, higher=False),
    "matthews_corrcoef": Metric(matthews_corrcoef, "Matthews", (-1.0, 1.0)),
    "roc_auc": Metric(None, "ROC AUC", macro=True),
    "roc_auc_ovr_weighted": Metric(None, "ROC AUC (weighted)"),
    "average_precision": Metric(None, "Average precision", macro=True),
    "log_loss": Metric(None, "Log loss", None, higher=False),
    "brier_score_loss": Metric(None, "Brier score", None, higher=False),
    "calibration_slope": Metric(None, "Calibration slope", None),
    "calibration_intercept": Metric(None, "Calibration intercept", None),
    "calibration_error": Metric(None, "Calibration error", None, higher=False),
}
# They go by the order of the classes, which someone has to say.
ORDINAL = ("cohen_kappa_linear", "cohen_kappa_quadratic", "mean_absolute_error")
# With two classes they are of the positive one, which tables, figures and sentences name; of the
# other class two of them are other numbers.
OF_POSITIVE = (
    *("roc_auc", "roc_auc_ovr_weighted", "average_precision"),
    *("calibration_slope", "calibration_intercept", "calibration_error"),
)
HANG_ON_POSITIVE = ("average_precision", "calibration_intercept")
# They are right at this value: neither more nor less is better.
UNDIRECTED = {"calibration_slope": 1, "calibration_intercept": 0}
# They have no highest value, and hang on the few that were badly wrong.
LOSSES = ("log_loss", "brier_score_loss")
DEFAULT_METRICS = (
    "accuracy",
    "balanced_accuracy",
    "precision_weighted",
    "recall_weighted",
    "f1_weighted",
)
PAPER_METRICS = ("accuracy", "precision_weighted", "recall_weighted", "f1_weighted")


def check_direction(name: str) -> None:
    """Refuse a metric that is best at a value in between, and one that does not exist."""
    find_metric(name)
    if name in UNDIRECTED:
        raise InputError(
            f"{name} does not say which method is better, because {UNDIRECTED[name]} is right and "
            "both more and less are worse: take log_loss."
        )


def find_metric(name: str) -> Metric:
    """Look up a metric by its name, `f1[melanoma]` included."""
    if name in METRICS:
        return METRICS[name]
    if name in OWN_METRICS:
        higher = getattr(OWN_METRICS[name], "higher_is_better", True)
        return Metric(None, name, None, higher=bool(higher))
    if callable(name):
        raise InputError(
            "A function of your own is scored by `evaluate` and `compare` alone: give a metric's "
            "name here."
        )
    base, _, rest = name.partition("[")
    if base in PER_CLASS and rest.endswith("]"):
        return Metric(None, f"{PER_CLASS[base][1]}: {rest[:-1]}")
    base = name.removesuffix(PER_CLASS_SUFFIX)
    if base in PER_CLASS:
        raise InputError(f"{name} is a number for each class: name one, as in {base}[CLASS].")
    families = [f"{base}{PER_CLASS_SUFFIX}" for base in PER_CLASS]
    raise InputError(
        f"There is no metric {name!r}: choose from {', '.join([*METRICS, *families])}."
    )


def metric_range(name: str, classes: Sequence[str]) -> tuple[float, float] | None:
    """Give the lowest and highest value of a metric on these classes; None where a side is open."""
    if name == "mean_absolute_error":
        return 0.0, len(classes) - 1.0
    return find_metric(name).bounds


def of_probabilities(name: str) -> bool:
    """Tell whether a metric needs probabilities."""
    return name in METRICS and METRICS[name].function is None


def of_rows(name: str) -> bool:
    """Tell whether a metric needs rows, and not a confusion matrix alone."""
    return of_probabilities(name) or name in OWN_METRICS


def check_metrics(
    names: Iterable[str | OwnMetric] | None, classes: Sequence[str] = ()
) -> list[str]:
    """Name the metrics asked for, or the default ones; refuse an unknown one with the list.

    `f1_per_class` stands for `f1[NAME]` of every name in `classes`.
    """
    chosen: list[str] = []
    for name in DEFAULT_METRICS if names is None else names:
        if callable(name):
            chosen.append(name_own_metric(name))
            continue
        base = name.removesuffix(PER_CLASS_SUFFIX)
        if name != base and base in PER_CLASS:
            chosen += [f"{base}[{label}]" for label in classes]
            continue
        find_metric(name)
        chosen.append(name)
    return chosen


def name_own_metric(function: OwnMetric) -> str:
    """Remember a user's function as a metric by its `__name__`, and give that name.

    Raises
    ------
    InputError
        If it has no name of its own.
    """
    name = getattr(function, "__name__", "<lambda>")
    if name == "<lambda>":
        raise InputError("A metric without a name cannot be in a table: write it with `def`.")
    if name in METRICS:
        raise InputError(f"There is a metric {name!r} already: give your function another name.")
    OWN_METRICS[name] = function
    return name


def compute_metrics(
    confusion: npt.NDArray[np.generic],
    names: Iterable[str] | None = None,
    classes: Sequence[str] = (),
) -> dict[str, Array]:
    """Compute each named metric of `confusion` [..., K, K]: arrays of shape [...].

    `classes` is needed for metrics of one class.
    """
    values = np.asarray(confusion, dtype=np.float64)
    out = {}
    of_classes: dict[str, Array] = {}
    for name in check_metrics(names, classes):
        function = find_metric(name).function
        if function is not None:
            out[name] = function(values)
        elif name in OWN_METRICS:
            raise InputError(
                f"{name} is a function of your own, which has no confusion matrices: take a metric "
                "by name here."
            )
        elif of_probabilities(name):
            raise InputError(f"{name} needs probabilities: a confusion matrix has none.")
        else:
            base, label = name[:-1].split("[", 1)
            if label not in classes:
                raise InputError(f"{name}: the classes are {', '.join(classes)}; choose from them.")
            if base not in of_classes:
                of_classes[base] = PER_CLASS[base][0](values)
            out[name] = of_classes[base][..., list(classes).index(label)]
    return out


def _truth(confusion: Array) -> Array:
    """Sum rows, [..., K]; einsum is several times as fast as sum over a short axis."""
    return np.einsum("...ij->...i", confusion)


def _called(confusion: Array) -> Array:
    return np.einsum("...ij->...j", confusion)


def _diagonal(confusion: Array) -> Array:
    return np.diagonal(confusion, axis1=-2, axis2=-1)


def _ratio(top: Array, bottom: Array, empty: float = 0.0) -> Array:
    out = np.full(np.broadcast(top, bottom).shape, empty)
    np.divide(top, bottom, out=out, where=bottom > 0)
    return out


def _distances(n_classes: int) -> Array:
    """Give how many classes each is behind each: [K, K]."""
    place = np.arange(n_classes, dtype=np.float64)
    return place[:, None] - place


def _kappa(confusion: Array, weights: Array) -> Array:
    total = confusion.sum((-2, -1))
    expected = np.einsum("...i,...j,ij->...", _truth(confusion), _called(confusion), weights)
    observed = np.einsum("...ij,ij->...", confusion, weights) * total
    return 1 - _ratio(observed, expected, empty=np.nan)
