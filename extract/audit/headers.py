"""Sizes, formats and bit depths of files, and how far they give the class away."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from frostline.extract.audit.findings import Finding

FOLDS = 5
CERTAIN = 0.5  # of the way from chance to always right
NOTABLE = 0.1
NEARLY = 0.9  # of what all headers tell, for one to be the cause
CLASSES_NAMED = 4
GREY = ("1", "L", "LA", "La", "I", "F", "I;16", "I;16B", "I;16L", "I;16N")
BITS = {"1": 1, "I;16": 16, "I;16B": 16, "I;16L": 16, "I;16N": 16, "I": 32, "F": 32}


@dataclass(frozen=True)
class HeaderAccuracy:
    """How well headers alone predict the class.

    Attributes
    ----------
    balanced_accuracy, chance, standard_error : float
        Mean recall of the classes by cross-validation over groups; 1 / classes; and the binomial
        standard error of that mean over groups.
    cause : str or None
        What of the headers decides nearly alone: `Grey against colour`, `The size`, …; None where
        only several together do.
    usual : str
        The most common value of the cause in each class, and its share.
    """

    balanced_accuracy: float
    chance: float
    standard_error: float
    cause: str | None = None
    usual: str = ""

    @property
    def excess(self) -> float:
        """0 at chance, 1 where the headers always give the class away."""
        return (self.balanced_accuracy - self.chance) / (1 - self.chance)

    @property
    def notable(self) -> bool:
        """Whether headers tell more than chance could have it."""
        beyond = self.balanced_accuracy - 2 * self.standard_error > self.chance
        return self.excess >= NOTABLE and beyond


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
    families = {name: _features(values) for name, values in _families(known).items()}
    features = np.concatenate([*families.values(), np.zeros((len(known), 0))], axis=1)
    if len(features) == 0 or (features == features[0]).all():
        return None
    groups_of_class = known.groupby("label")["group_id"].nunique()
    if len(groups_of_class) < 2 or groups_of_class.min() < 2:
        return None
    recalls = _recalls(features, known, seed)
    variance = (recalls * (1 - recalls) / groups_of_class).sum() / len(recalls) ** 2
    chance, error = 1 / len(recalls), float(np.sqrt(max(float(variance), 0.0)))
    found = HeaderAccuracy(float(recalls.mean()), chance, error)
    if not found.notable:
        return found
    alone = {name: float(_recalls(part, known, seed).mean()) for name, part in families.items()}
    cause = max(alone, key=alone.__getitem__)  # of equals the first
    if alone[cause] - chance < NEARLY * (found.balanced_accuracy - chance):
        return found
    return replace(found, cause=cause, usual=_usual(_families(known)[cause], known["label"]))


def header_findings(accuracy: HeaderAccuracy | None) -> list[Finding]:
    """Say so where headers tell the class better than chance could have it, and what of them."""
    if accuracy is None or not accuracy.notable:
        return []
    what = "Size, format, colour and bit depth together predict"
    if accuracy.cause is not None:
        what = f"{accuracy.cause} alone predicts"
    usual = f"; usual are {accuracy.usual}" if accuracy.usual else ""
    return [
        Finding(
            "leak" if accuracy.excess >= CERTAIN else "warning",
            f"{what} the class with a balanced accuracy of {accuracy.balanced_accuracy:.0%} "
            f"(chance {accuracy.chance:.0%}{usual}): a model may learn this instead of the "
            "disease.",
        )
    ]


def _recalls(features: np.ndarray, known: pd.DataFrame, seed: int) -> pd.Series:
    """Give the recall of each class by cross-validation over groups."""
    labels, groups = known["label"].to_numpy(str), known["group_id"].to_numpy(str)
    fewest = int(known.groupby("label")["group_id"].nunique().min())
    predicted = _predicted(features, labels, groups, min(FOLDS, fewest), seed)
    return pd.Series(predicted == labels).groupby(labels).mean()


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


def _families(images: pd.DataFrame) -> dict[str, pd.Series]:
    """Give what of the headers may decide, the simplest first, as people say it."""
    grey = images["mode"].isin(GREY) | images["mode"].str.contains("int|float")
    size = images["width"].astype(str) + "x" + images["height"].astype(str)
    return {
        "Grey against colour": grey.map({True: "grey", False: "colour"}),
        "Bit depth": _bits(images["mode"]).astype(str) + " bits",
        "The file format": images["format"].astype(str),
        "The kind of pixels": images["mode"].astype(str),
        "The size": size,
    }


def _features(values: pd.Series) -> np.ndarray:
    """Make columns of values: numbers of sizes, and one column a value of all others."""
    if values.str.fullmatch(r"\d+x\d+").all() and len(values):
        width, height = values.str.split("x", expand=True).to_numpy(float).T
        return np.stack([width, height, width * height, width / height], axis=1)
    return np.stack([values == value for value in sorted(set(values))] or [values], axis=1).astype(
        float
    )


def _usual(values: pd.Series, labels: pd.Series) -> str:
    parts = []
    for label, mine in list(values.groupby(labels))[:CLASSES_NAMED]:
        counts = mine.value_counts()
        parts.append(f"{counts.index[0]} of {label} ({counts.iloc[0] / len(mine):.0%})")
    return ", ".join(parts) + (", …" if labels.nunique() > CLASSES_NAMED else "")


def _bits(modes: pd.Series) -> pd.Series:
    """Find the bits a channel of Pillow's modes, or of a volume's dtype."""
    return modes.map({mode: _bits_of(str(mode)) for mode in set(modes)}).astype(int)


def _bits_of(mode: str) -> int:
    digits = mode.lstrip("abcdefghijklmnopqrstuvwxyz")
    return BITS.get(mode) or (int(digits) if digits.isdecimal() else 8)


_COLUMNS = ("split", "label", "images", "sizes", "usual_size", "share", "formats", "bits")
