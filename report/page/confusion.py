"""Confusion matrices as the page shows them: tables of counts with shaded cells."""

from __future__ import annotations

from typing import Any

import numpy as np

from frostline.report.page.numbers import DatasetNumbers


def confusion_matrices(part: DatasetNumbers) -> list[dict[str, Any]]:
    """Lay out the counts of each method, seeds summed, with each cell's share of its row.

    Returns
    -------
    list of dict
        `title`, `seeds`, and `rows` with `name` and `cells`: `count` as text, `shade` in percent.
    """
    titles = dict(zip(part.names["run"], part.names["title"], strict=True))
    found = []
    for method in part.methods:
        counts = method.confusion
        shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
        rows = [
            {"name": name, "cells": [_cell(*pair) for pair in zip(line, part_of, strict=True)]}
            for name, line, part_of in zip(part.class_list, counts, shares, strict=True)
        ]
        found.append({"title": titles[method.name], "seeds": len(method.runs), "rows": rows})
    return found


def _cell(count: int, share: float) -> dict[str, object]:
    return {"count": f"{int(count):,}", "shade": round(100 * float(share))}
