"""Images that were most confidently wrong."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from frostline.report.methods import Method

MOST = 12
MISTAKE_COLUMNS = ("dataset", "image_id", "label", "prediction", "confidence", "wrong", "runs")


def confident_mistakes(methods: Sequence[Method], split: str, most: int = MOST) -> pd.DataFrame:
    """The images of one data set to whose wrong class all runs gave most probability, on average.

    Returns
    -------
    DataFrame
        Columns `MISTAKE_COLUMNS`: the commonest wrong answer, its mean probability over all runs,
        and how many of `runs` gave it. Empty without probabilities or names of images.
    """
    empty = pd.DataFrame(columns=list(MISTAKE_COLUMNS))
    parts = []
    for method in methods:
        for run, _ in method.runs:
            table, columns = run.table, [f"prob_{name}" for name in run.classes]
            if not set(columns) <= set(table) or table["image_id"].isna().any():
                continue
            if table["split"].notna().any() and split != "all":
                table = table[(table["split"] == split).fillna(False)]
            part = table[table["label"].notna()].set_index("image_id")
            probs = part[columns].set_axis(run.classes, axis=1)
            parts.append(probs.assign(true=part["label"], called=part["prediction"]))
    if not parts:
        return empty
    rows = pd.concat(parts)
    by_image = rows.groupby(level=0, sort=True)
    means = by_image[[c for c in rows.columns if c not in ("true", "called")]].mean()
    truth = by_image["true"].first()
    for name in means.columns:
        means.loc[truth == name, name] = -1.0
    found = pd.DataFrame({
        "dataset": methods[0].dataset, "image_id": means.index, "label": truth.astype(str),
        "prediction": means.idxmax(axis=1), "confidence": means.max(axis=1),
    }).rename_axis(None).sort_values(["confidence", "image_id"], ascending=[False, True]).head(most)  # fmt: skip
    same = rows["called"].eq(found["prediction"].reindex(rows.index))
    found["wrong"] = same.groupby(level=0).sum().reindex(found["image_id"]).to_numpy()
    found["runs"] = by_image.size().reindex(found["image_id"]).to_numpy()
    found = found[found["wrong"] > 0]
    return found[list(MISTAKE_COLUMNS)].reset_index(drop=True)
