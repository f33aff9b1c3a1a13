"""Images that were most confidently wrong: which they are, and as the page shows them."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from frostline.report.predictions import Predictions
from frostline.report.statistics.comparisons.methods import Method
from frostline.report.tables.numbers import percent

MOST = 12
THUMBNAIL, SMALL = 160, 64  # pixels that an image on a page is wide at most, and one near it
MISTAKE_COLUMNS = ("dataset", "image_id", "label", "prediction", "confidence", "wrong", "runs")


@dataclass(frozen=True)
class Images:
    """Where the images of a page come from, all by the name of a data set and image ids.

    Attributes
    ----------
    read : function
        Gives images by id, uint8 `[h, w]` or `[h, w, 3]`, as far as they are there.
    nearest : function, optional
        Gives the nearest training images: a DataFrame with `image_id`, `nearest` (an id), `label`
        and `distance`, the nearest to each image first.
    """

    read: Callable[[str, Sequence[str]], Mapping[str, npt.NDArray[np.uint8]]]
    nearest: Callable[[str, Sequence[str]], pd.DataFrame] | None = None


def confident_mistakes(methods: Sequence[Method], split: str, most: int = MOST) -> pd.DataFrame:
    """Find the images of a data set whose wrong class got the most probability from all runs.

    Returns
    -------
    DataFrame
        Columns `MISTAKE_COLUMNS`: the commonest wrong answer, its mean probability over all runs,
        and how many of `runs` gave it. Empty without probabilities or names of images.
    """
    probs, answers = [], []
    for method in methods:
        for run, _ in method.runs:
            part = _scored_rows(run, split)
            if part is not None:
                columns = [f"prob_{name}" for name in run.classes]
                probs.append(part[columns].set_axis(run.classes, axis=1))
                answers.append(part[["label", "prediction"]])
    if not probs:
        return pd.DataFrame(columns=list(MISTAKE_COLUMNS))
    means = pd.concat(probs).groupby(level=0).mean()
    given = pd.concat(answers)
    truth = given["label"].groupby(level=0).first().astype(str)
    for name in means.columns:
        means.loc[truth == name, name] = -1.0
    found = pd.DataFrame(
        {"label": truth, "prediction": means.idxmax(axis=1), "confidence": means.max(axis=1)}
    )
    same = given["prediction"].eq(found["prediction"].reindex(given.index))
    found["wrong"] = same.groupby(level=0).sum()
    found["runs"] = same.groupby(level=0).size()
    found = found.rename_axis("image_id").reset_index().assign(dataset=methods[0].dataset)
    found = found[found["wrong"] > 0]
    found = found.sort_values(["confidence", "image_id"], ascending=[False, True]).head(most)
    return found[list(MISTAKE_COLUMNS)].reset_index(drop=True)


def _scored_rows(run: Predictions, split: str) -> pd.DataFrame | None:
    """Give the labelled images of a split by their ids; None without probabilities or ids."""
    table = run.table
    if f"prob_{run.classes[0]}" not in table or table["image_id"].isna().any():
        return None
    if table["split"].notna().any() and split != "all":
        table = table[(table["split"] == split).fillna(False)]
    return table[table["label"].notna()].set_index("image_id")


def mistaken_images(mistakes: pd.DataFrame, images: Images) -> dict[str, Any] | None:
    """Show what `confident_mistakes` found: the images of one data set that `images` has.

    Returns
    -------
    dict or None
        `dataset`, `near` (whether nearest images are shown), and `images`: the columns of
        `mistakes`, `source`, a data URI, and `nearest`, a list of training images with `label`,
        `distance` and `source`. None if there are no mistakes.
    """
    if not len(mistakes):
        return None
    dataset, ids = str(mistakes["dataset"].iloc[0]), list(mistakes["image_id"])
    near = pd.DataFrame(columns=["image_id", "nearest", "label", "distance"])
    if images.nearest is not None:
        near = images.nearest(dataset, ids)
    arrays = images.read(dataset, list(dict.fromkeys([*ids, *near["nearest"]])))
    shown = [
        {
            **row,
            "confidence": percent(row["confidence"], 0),
            "source": _data_uri(arrays[row["image_id"]], THUMBNAIL),
            "nearest": _nearest(near[near["image_id"] == row["image_id"]], arrays),
        }
        for row in mistakes.to_dict("records")
        if row["image_id"] in arrays
    ]
    near_any = any(one["nearest"] for one in shown)
    return {"dataset": dataset, "near": near_any, "images": shown}


def _nearest(
    near: pd.DataFrame, arrays: Mapping[str, npt.NDArray[np.uint8]]
) -> list[dict[str, str]]:
    return [
        {
            "label": str(row["label"]),
            "distance": f"{row['distance']:.3f}",
            "source": _data_uri(arrays[row["nearest"]], SMALL),
        }
        for row in near.to_dict("records")
        if row["nearest"] in arrays
    ]


def _data_uri(array: npt.NDArray[np.uint8], side: int) -> str:
    from PIL import Image

    image = Image.fromarray(np.asarray(array, dtype=np.uint8))
    image.thumbnail((side, side))
    out = io.BytesIO()
    image.save(out, "WEBP", quality=80)
    return "data:image/webp;base64," + base64.b64encode(out.getvalue()).decode()
