"""What the page shows besides figures: tables, images, provenance, as text for the template."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from frostline.cache.versions import versions
from frostline.report.page.numbers import Evidence, OfDataset
from frostline.report.predictions import META_KEYS, Predictions
from frostline.report.statistics.metrics import find_metric
from frostline.report.tables.layout import percent, trained_word

# What a page shows of an image is at most so many pixels wide.
THUMBNAIL = 160
Images = Callable[[str, Sequence[str]], Mapping[str, npt.NDArray[np.uint8]]]


def freezing_table(evidence: Evidence) -> pd.DataFrame:
    """Frozen against unfrozen of all data sets, as it is written to `tables/freezing.csv`."""
    parts = [one.freezing for one in evidence.datasets if len(one.freezing)]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def class_table(part: OfDataset) -> pd.DataFrame:
    """One row a method and class: images, precision, recall and F1 with their bounds."""
    titles = dict(zip(part.names["run"], part.names["title"], strict=True))
    counts = dict(zip(part.class_list, part.methods[0].confusion.sum(1), strict=True))
    seeds = len(part.methods[0].runs)
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for row in part.classes.to_dict("records"):
        kind, _, label = str(row["metric"])[:-1].partition("[")
        about = {"dataset": part.name, "method": titles[row["run"]], "class": label,
                 "images": int(counts[label]) // seeds}  # fmt: skip
        cell = rows.setdefault((row["run"], label), about)
        cell |= {kind: row["estimate"], f"{kind}_low": row["low"], f"{kind}_high": row["high"]}
    return pd.DataFrame(rows.values())


def class_rows(part: OfDataset) -> list[dict[str, Any]]:
    """The same as text in percent."""
    out = []
    for row in class_table(part).to_dict("records"):
        scores = [
            {"estimate": percent(row[kind]), "value": row[kind],
             "interval": "" if pd.isna(row[f"{kind}_low"]) else
             f"[{percent(row[f'{kind}_low'])}, {percent(row[f'{kind}_high'])}]"}
            for kind in ("precision", "recall", "f1")
        ]  # fmt: skip
        out.append({"method": row["method"], "class": row["class"], "images": row["images"],
                    "scores": scores})  # fmt: skip
    return out


def pair_names(rows: pd.DataFrame) -> list[str]:
    """The backbone, and of what else pairs of one backbone differ in."""
    ways = rows[["protocol", "weights", "head", "unfreeze", "unfrozen_head"]].astype(str)
    counts = ways.groupby(rows["backbone"]).nunique().max()
    differing = [str(name) for name in counts[counts > 1].index]
    words = {"unfreeze": lambda value: trained_word(str(value))}
    names = []
    for row in rows.to_dict("records"):
        more = [words.get(name, str)(row[name]) for name in differing]
        names.append(", ".join([str(row["backbone"]), *filter(None, more)]))
    return names


def signed_interval(row: Mapping[Any, Any]) -> str:
    """The interval of a difference in points, with a space before it; empty where there is none."""
    return "" if pd.isna(row["low"]) else f" [{_signed(row['low'])}, {_signed(row['high'])}]"


def freezing_rows(part: OfDataset, metric: str) -> list[dict[str, Any]]:
    """Each pair of frozen and unfrozen as text."""
    if not len(part.freezing):
        return []
    compared = part.freezing[part.freezing["difference"].notna()]
    compared = compared.assign(name=pair_names(compared))
    higher = find_metric(metric).higher
    words = {"better": "frozen better", "worse": "fine-tuned better"}
    return [
        {"backbone": row["name"], "frozen": percent(row["estimate_frozen"]),
         "tuned": percent(row["estimate_unfrozen"]), "value": row["difference"],
         "difference": _signed(row["difference"]),
         "interval": signed_interval(row).strip(),
         "p": "< 0.001" if row["p_adjusted"] < 0.001 else f"{row['p_adjusted']:.3f}",
         "verdict": words.get(row["verdict"], row["verdict"]), "higher": higher}
        for row in compared.to_dict("records")
    ]  # fmt: skip


def matrices(part: OfDataset) -> list[dict[str, Any]]:
    """Confusion matrices: counts, the shade of each cell by its row's share, seeds summed."""
    titles = dict(zip(part.names["run"], part.names["title"], strict=True))
    out = []
    for method in part.methods:
        counts = method.confusion
        shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
        rows = [
            {"name": name, "cells": [
                {"count": f"{int(n):,}", "shade": round(100 * float(share))}
                for n, share in zip(line, part_of, strict=True)
            ]}
            for name, line, part_of in zip(part.class_list, counts, shares, strict=True)
        ]  # fmt: skip
        out.append({"title": titles[method.name], "seeds": len(method.runs), "rows": rows})
    return out


def wrong_images(evidence: Evidence, images: Images) -> list[dict[str, Any]]:
    """The most confidently wrong images of every data set, those that `images` has."""
    out = []
    for part in evidence.datasets:
        if not len(part.mistakes):
            continue
        arrays = images(part.name, list(part.mistakes["image_id"]))
        shown = [
            {**row, "confidence": percent(row["confidence"], 0),
             "source": _data_uri(arrays[row["image_id"]])}
            for row in part.mistakes.to_dict("records") if row["image_id"] in arrays
        ]  # fmt: skip
        out.append({"dataset": part.name, "images": shown})
    return out


def provenance(run: Predictions) -> dict[str, Any]:
    """What the metadata says, without what is not known; nested values as text."""
    known = {name: run.meta[name] for name in META_KEYS if name != "run"}
    facts = {
        name.replace("_", " "): _as_text(value)
        for name, value in known.items()
        if value is not None
    }
    return {"run": run.run, "facts": facts, "notes": run.notes}


def versions_text() -> str:
    """List the versions of Python and of what draws and computes."""
    return _as_text(versions())


def _signed(value: float) -> str:
    return f"{100 * value:+.1f}".replace("-", "\N{MINUS SIGN}")


def _data_uri(array: npt.NDArray[np.uint8]) -> str:
    from PIL import Image

    image = Image.fromarray(np.asarray(array, dtype=np.uint8))
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    out = io.BytesIO()
    image.save(out, "WEBP", quality=80)
    return "data:image/webp;base64," + base64.b64encode(out.getvalue()).decode()


def _as_text(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_as_text(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_as_text, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)
