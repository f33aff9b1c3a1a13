"""Negative controls: what should score at chance, and how much a careless split would flatter.

Given plain arrays: embeddings (or anything known of the images), labels and groups. The head is a
plain logistic regression, cross-validated, because a control asks whether there is anything to
find, not how much can be got out of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from frostline.cache.errors import InputError
from frostline.cache.tables.words import counted, minus
from frostline.report.statistics.intervals.intervals import compute_intervals
from frostline.report.statistics.metrics import Array, Codes, compute_metrics, confusion_matrix
from frostline.report.statistics.sample import Sample

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

FOLDS = 5
METRIC = "balanced_accuracy"
MOST_COMPONENTS = 128
CONTROL_COLUMNS = ("control", "estimate", "low", "high", "chance", "verdict")


def negative_controls(
    features: npt.ArrayLike | None,
    labels: Sequence[str],
    groups: Sequence[str],
    *,
    metadata: pd.DataFrame | None = None,
    permutations: int = 20,
    seed: int = 0,
) -> pd.DataFrame:
    """Score what should score at chance, by balanced accuracy of a cross-validated head.

    Parameters
    ----------
    features : float [n, D] or None
        Embeddings of the images, whose first 128 principal components are used; without
        them there is the metadata alone.
    labels, groups : text [n]
    metadata : DataFrame [n, …], optional
        What is known without the picture (size, format, age, sex, site): a head on it alone.
    permutations : int
        How often labels are permuted (Ojala and Garriga 2010), whole groups at a time so that
        images of a patient keep one label.

    Returns
    -------
    DataFrame
        Columns `CONTROL_COLUMNS`, rows "labels permuted by group", "metadata alone" (if given),
        "split by group", "split by image": the last two differ by how much a split that tears
        patients apart would have flattered the result (where a group has several images).

    Raises
    ------
    InputError
        If there are too few groups of a class to cross-validate by.
    """
    if features is None and metadata is None:
        raise InputError("Neither embeddings nor metadata are given: give one of them to control.")
    names, truth = np.unique(np.asarray(labels, dtype=str), return_inverse=True)
    member = pd.factorize(np.asarray(groups, dtype=str))[0].astype(np.int64)
    fewest = min(len(np.unique(member[truth == c])) for c in range(len(names)))
    if fewest < FOLDS or len(names) < 2:
        raise InputError(
            f"The rarest class has {counted(fewest, 'group')}: controls need two classes of "
            f"{FOLDS} or more."
        )
    chance = 1 / len(names)
    rows: list[tuple[Any, ...]] = []
    matrix = None if features is None else compress(np.asarray(features, dtype=np.float64), seed)
    if matrix is not None:
        rows.append(_permuted(matrix, truth, member, len(names), permutations, seed))
    if metadata is not None:
        called = cross_predict(metadata_matrix(metadata), truth, member, seed)
        row = _scored("metadata alone", truth, called, member, names, chance)
        rows.append((*row, _at_chance(row[2], row[3], chance)))
    if matrix is not None:
        rows += _splits(matrix, truth, member, names, seed)
    return pd.DataFrame(rows, columns=list(CONTROL_COLUMNS))


def compress(features: Array, seed: int = 0) -> Array:
    """Take the first 128 principal components, where there are more columns, without labels."""
    from sklearn.decomposition import PCA

    if min(features.shape) <= MOST_COMPONENTS:
        return features
    return np.asarray(PCA(MOST_COMPONENTS, random_state=seed).fit_transform(features))


def _permuted(
    matrix: Array, truth: Codes, member: Codes, n_classes: int, permutations: int, seed: int
) -> tuple[Any, ...]:
    """Score permuted labels: mean and central 95%."""
    rng, drawn = np.random.default_rng(seed), []
    for _ in range(permutations):
        shuffled = permute_labels(truth, member, rng)
        drawn.append(_balanced(shuffled, cross_predict(matrix, shuffled, member, seed), n_classes))
    low, high = np.quantile(drawn, [0.025, 0.975])
    chance = 1 / n_classes
    return (
        "labels permuted by group",
        float(np.mean(drawn)),
        low,
        high,
        chance,
        _at_chance(low, high, chance),
    )


def _splits(
    matrix: Array, truth: Codes, member: Codes, names: Any, seed: int
) -> list[tuple[Any, ...]]:
    """Cross-validate the head by group and, where groups can be torn apart, by image."""
    chance = 1 / len(names)
    honest = cross_predict(matrix, truth, member, seed)
    by_group = _scored("split by group", truth, honest, member, names, chance)
    if len(np.unique(member)) == len(member):
        return [(*by_group, "every group is one image: no split can tear it apart")]
    torn = cross_predict(matrix, truth, None, seed)
    gain = 100 * (_balanced(truth, torn, len(names)) - _balanced(truth, honest, len(names)))
    flattered = f"a split by image flatters by {minus(f'{gain:+.1f}')} points"
    by_image = _scored("split by image", truth, torn, member, names, chance)
    return [(*by_group, ""), (*by_image, flattered)]


def permute_labels(truth: Codes, groups: Codes, rng: np.random.Generator) -> Codes:
    """Give each group the labels of another; how alike labels are within a group stays."""
    _, member = np.unique(groups, return_inverse=True)
    rows = [np.flatnonzero(member == g) for g in range(member.max() + 1)]
    out = truth.copy()
    for own, other in zip(rows, rng.permutation(len(rows)), strict=True):
        out[own] = np.resize(truth[rows[other]], len(own))
    return out


def make_head() -> Pipeline:
    """Make the head of all controls: standardised logistic regression, classes weighted alike."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(
        StandardScaler(), LogisticRegression(C=0.1, max_iter=100, class_weight="balanced")
    )


def cross_predict(features: Array, truth: Codes, groups: Codes | None, seed: int) -> Codes:
    """Predict by a standardised logistic regression, in five folds by group or by image."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    splitter = StratifiedKFold if groups is None else StratifiedGroupKFold
    folds = splitter(FOLDS, shuffle=True, random_state=seed)
    head = make_head()
    called = np.full(len(truth), -1, dtype=np.int64)
    for train, test in folds.split(features, truth, groups):
        # Permuting can leave a fold's training rows with one class: its answer is that class.
        if len(np.unique(truth[train])) == 1:
            called[test] = truth[train][0]
        else:
            called[test] = head.fit(features[train], truth[train]).predict(features[test])
    return called


def metadata_matrix(metadata: pd.DataFrame) -> Array:
    """Keep numbers (missing ones by the median, and marked); make text one column a value."""
    if not len(metadata.columns):
        raise InputError("The metadata has no columns: give size, format, age, sex or site.")
    parts = []
    for name in metadata.columns:
        column = metadata[name]
        if pd.api.types.is_numeric_dtype(column):
            missing = column.isna()
            middle = 0.0 if missing.all() else float(column.median())
            parts.append(column.fillna(middle).to_numpy(dtype=np.float64)[:, None])
            if missing.any():
                parts.append(missing.to_numpy(dtype=np.float64)[:, None])
        else:
            dummies = pd.get_dummies(column.astype("string").fillna(""))
            parts.append(dummies.to_numpy(dtype=np.float64))
    return np.concatenate(parts, axis=1)


def _scored(
    control: str, truth: Codes, called: Codes, groups: Codes, names: Any, chance: float
) -> tuple[Any, ...]:
    sample = Sample(
        truth, called, groups, tuple(map(str, names)), "group", "", "all", (), n_images=len(truth)
    )
    one = compute_intervals(sample, [METRIC])[METRIC]
    return control, one.estimate, one.low, one.high, chance


def _balanced(truth: Codes, called: Codes, n_classes: int) -> float:
    return float(compute_metrics(confusion_matrix(truth, called, n_classes), [METRIC])[METRIC])


def _at_chance(low: float, high: float, chance: float) -> str:
    if low > chance:
        return "above chance: something other than the disease can be read"
    return "at chance, as it should be" if high >= chance else "below chance: look into the split"
