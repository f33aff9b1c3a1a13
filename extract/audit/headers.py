"""Sizes, formats and bit depths of files, and how far they give the class away."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from frostline.extract.audit.findings import Finding

FOLDS = 5
CERTAIN = 0.5  # of the way from chance to always right
NOTABLE = 0.1
BITS = {"1": 1, "I;16": 16, "I;16B": 16, "I;16L": 16, "I;16N": 16, "I": 32, "F": 32}


@dataclass(frozen=True)
class HeaderAccuracy:
    """How well headers alone predict the class.

    Attributes
    ----------
    balanced_accuracy, chance, standard_error : float
        Mean recall of the classes by cross-validation over groups; 1 / classes; and the binomial
        standard error of that mean over groups.
    """

    balanced_accuracy: float
    chance: float
    standard_error: float

    @property
    def excess(self) -> float:
        """0 at chance, 1 where the headers always give the class away."""
        return (self.balanced_accuracy - self.chance) / (1 - self.chance)


def header_table(images: pd.DataFrame) -> pd.DataFrame:
    """Describe the headers of every split and class.

    Returns
    -------
    `split`, `label`, `images`, `sizes` (how many), `usual_size`, `share` of it,
    `formats`, `bits`.
    """
    readable = images[images["mode"].notna()]
    table = readable.assign(
        size=readable["width"].astype(str) + "x" + readable["height"].astype(str),
        bits=_bits(readable["mode"]).astype(str),
    )
    rows = []
    for (split, label), part in table.groupby(["split", "label"], sort=False, dropna=False):
        sizes = part["size"].value_counts()
        rows.append(
            {
                "split": split,
                "label": label,
                "images": len(part),
                "sizes": len(sizes),
                "usual_size": sizes.index[0],
                "share": round(float(sizes.iloc[0]) / len(part), 3),
                "formats": ", ".join(sorted(set(part["format"]))),
                "bits": ", ".join(sorted(set(part["bits"]), key=int)),
            }
        )
    result = pd.DataFrame(rows, columns=[*_COLUMNS])
    order = {"train": 0, "val": 1, "test": 2}
    key = [(order.get(str(row["split"]), 3), str(row["label"])) for row in rows]
    return result.iloc[sorted(range(len(rows)), key=key.__getitem__)].reset_index(drop=True)


def header_accuracy(images: pd.DataFrame, seed: int = 0) -> HeaderAccuracy | None:
    """Cross-validate a small decision tree that sees width, height, format and bits only.

    Returns
    -------
    None where all headers are the same, there is one class, or a class has one group only.
    """
    known = images[images["mode"].notna() & images["label"].notna()]
    features = _features(known)
    if len(features) == 0 or (features == features[0]).all():
        return None
    labels, groups = known["label"].to_numpy(str), known["group_id"].to_numpy(str)
    groups_of_class = known.groupby("label")["group_id"].nunique()
    if len(groups_of_class) < 2 or groups_of_class.min() < 2:
        return None
    predicted = _predicted(features, labels, groups, min(FOLDS, int(groups_of_class.min())), seed)
    recalls = pd.Series(predicted == labels).groupby(labels).mean()
    variance = (recalls * (1 - recalls) / groups_of_class).sum() / len(recalls) ** 2
    return HeaderAccuracy(
        float(recalls.mean()), 1 / len(recalls), float(np.sqrt(max(float(variance), 0.0)))
    )


def header_findings(accuracy: HeaderAccuracy | None) -> list[Finding]:
    """Say so where headers tell the class better than chance could have it."""
    if accuracy is None:
        return []
    beyond_chance = accuracy.balanced_accuracy - 2 * accuracy.standard_error > accuracy.chance
    if accuracy.excess < NOTABLE or not beyond_chance:
        return []
    return [
        Finding(
            "leak" if accuracy.excess >= CERTAIN else "warning",
            "Size, format and bit depth alone predict the class with a balanced accuracy of "
            f"{accuracy.balanced_accuracy:.0%} (chance {accuracy.chance:.0%}): a model may learn "
            "these instead of the disease.",
        )
    ]


def _predicted(
    features: np.ndarray, labels: np.ndarray, groups: np.ndarray, folds: int, seed: int
) -> np.ndarray:
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
    from sklearn.tree import DecisionTreeClassifier

    tree = DecisionTreeClassifier(
        max_depth=6, min_samples_leaf=3, class_weight="balanced", random_state=seed
    )
    parts = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    return cross_val_predict(tree, features, labels, groups=groups, cv=parts)


def _features(images: pd.DataFrame) -> np.ndarray:
    width, height = images["width"].to_numpy(float), images["height"].to_numpy(float)
    columns = [width, height, width * height, width / height, _bits(images["mode"]).to_numpy(float)]
    columns += [(images["mode"] == name).to_numpy(float) for name in sorted(set(images["mode"]))]
    columns += [
        (images["format"] == name).to_numpy(float) for name in sorted(set(images["format"]))
    ]
    return np.stack(columns, axis=1)


def _bits(modes: pd.Series) -> pd.Series:
    """Find the bits a channel of Pillow's modes, or of a volume's dtype."""
    return modes.map({mode: _bits_of(str(mode)) for mode in set(modes)}).astype(int)


def _bits_of(mode: str) -> int:
    digits = mode.lstrip("abcdefghijklmnopqrstuvwxyz")
    return BITS.get(mode) or (int(digits) if digits.isdecimal() else 8)


_COLUMNS = ("split", "label", "images", "sizes", "usual_size", "share", "formats", "bits")
