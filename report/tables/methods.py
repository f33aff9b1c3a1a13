"""Means over seeds or folds, and ranks over data sets, in every format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from frostline.report.notes import texts
from frostline.report.statistics.metrics import find_metric
from frostline.report.tables.layout import percent
from frostline.report.tables.plain import render_plain

Record = Mapping[Any, Any]


def render_over(frame: pd.DataFrame, over: str, format: str = "table") -> str:
    """What `over_seeds` or `over_folds` returned, both parts of the error shown."""
    repeats = "folds" if over == "folds" else "seeds"
    headings = ("Method", "Metric", "Mean [95% interval]", "s.e. patients", f"s.e. {repeats}",
                "df", repeats.title())  # fmt: skip
    rows = []
    records = frame.to_dict("records")
    names, shared = _method_names(records)
    for name, row in zip(names, records, strict=True):
        interval = f" [{_number(row, 'low')}, {_number(row, 'high')}]"
        mean = _number(row, "estimate") + ("" if pd.isna(row["low"]) else interval)
        rows.append((
            name, find_metric(row["metric"]).title, mean, _number(row, "group_error", 2),
            _number(row, "seed_error", 2), "" if pd.isna(row["df"]) else f"{row['df']:.1f}",
            str(row["n_seeds"]),
        ))  # fmt: skip
    notes = [
        "Mean over seeds; variance: that between patients of the mean (delete-one-group jackknife) "
        "plus s²/S of the seeds, Student's t with Satterthwaite's df. Shares in percent."
        if over == "seeds" else
        "Mean over all folds of all repeats; variance corrected for shared training data (Nadeau "
        "and Bengio 2003), Student's t. Shares in percent."
    ]  # fmt: skip
    if shared:
        notes.insert(0, f"All: {shared}.")
    about: dict[str, list[str]] = {}
    for name, row in zip(names, records, strict=True):
        for note in texts(row["notes"]):
            about.setdefault(note, []).append(name)
    for note, who in about.items():
        named = "" if len(who) == len(frame) else f"{'; '.join(dict.fromkeys(who))}: "
        notes.append(f"{named}{note}")
    return render_plain(frame, headings, rows, notes, format)


def render_ranks(frame: pd.DataFrame, metric: str, format: str = "table") -> str:
    """What `rank_methods` returned."""
    headings = ("Method", "", "Mean rank [95%]", "Best in", "Seeds")
    words = [str(method).split(", ") for method in frame["method"]]
    shared = [word for word in words[0] if len(words) > 1 and all(word in own for own in words)]
    names = [", ".join(word for word in own if word not in shared) for own in words]
    rows = [
        (name or row["method"], "", f"{row['mean_rank']:.2f} [{row['low']:.2f}, {row['high']:.2f}]",
         f"{percent(row['best_share'], 0)}%", str(row["seeds"]))
        for name, row in zip(names, frame.to_dict("records"), strict=True)
    ]  # fmt: skip
    first = frame.iloc[0]
    notes = [
        *([f"All: {', '.join(shared)}."] if shared else []),
        f"Ranks by {find_metric(metric).title.lower()}, 1 is best, averaged over "
        f"{first['datasets']} data sets of {first['cohorts']} cohorts: data sets that share "
        "patients are one.",
        "Intervals and how often a method was best: patients and seeds drawn anew. They say "
        "nothing of other data sets.",
    ]
    return render_plain(frame, headings, rows, notes, format)


def _method_names(records: Sequence[Record]) -> tuple[list[str], str]:
    """What tells each row's method from the others', and what all of them share."""
    from frostline.report.statistics.names import method_parts

    parts = [(str(row.get("dataset") or ""), *method_parts(row)) for row in records]
    if len(set(parts)) == 1:
        return [_joined(own, str(row["run"])) for own, row in zip(parts, records, strict=True)], ""
    shared = [len({own[place] for own in parts}) == 1 for place in range(len(parts[0]))]
    names = [
        _joined([word for word, same in zip(own, shared, strict=True) if not same], str(row["run"]))
        for own, row in zip(parts, records, strict=True)
    ]
    return names, _joined([word for word, same in zip(parts[0], shared, strict=True) if same], "")


def _joined(words: Sequence[str], otherwise: str) -> str:
    return ", ".join(word for word in words if word) or otherwise


def _number(row: Record, name: str, decimals: int = 1) -> str:
    if pd.isna(row[name]):
        return "–"
    share = find_metric(row["metric"]).bounds is not None
    return percent(row[name], decimals) if share else f"{row[name]:.{decimals + 2}f}"
