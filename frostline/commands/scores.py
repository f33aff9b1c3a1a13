"""The score that training commands end with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

METRIC = "accuracy"


def say_score(path: Path, title: str = "") -> None:
    """Say the test score of a run and the majority class's for comparison, on standard error.

    Parameters
    ----------
    path : Path
        The predictions of the run. A run without labelled test images has no score, which is said.
    title : str
        What to name the run, where several are said.
    """
    from frostline.console import say

    say(f"{title}: {score_sentence(path)}" if title else score_sentence(path))


def score_sentence(path: Path) -> str:
    """Return the test accuracy with its 95% interval, next to what the majority class would score.

    Such as "accuracy 61.1% [35.5, 81.8] on 18 test groups; majority class 33.3%".
    """
    from frostline.cache.errors import InputError
    from frostline.report import evaluate
    from frostline.report.tables.numbers import percent, score_cell

    try:
        scores = evaluate([path], metrics=[METRIC])
    except InputError as error:
        return f"no test score: {error}"
    majority = scores["run"].str.startswith("majority")
    own = scores[~majority].iloc[0]
    score = score_cell(own.to_dict())
    words = f"{METRIC} {score.text}% {score.interval} on {own['n_units']} test {_units(own)}"
    if majority.any():
        words += f"; majority class {percent(scores[majority].iloc[0]['estimate'])}%"
    return words


def _units(row: Any) -> str:
    return str(row["unit"]) if row["n_units"] == 1 else f"{row['unit']}s"
