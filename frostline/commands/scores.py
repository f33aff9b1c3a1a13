"""The score that training commands end with, and what they did for those who ask for details."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frostline.cache.tables.words import counted

if TYPE_CHECKING:
    from frostline.cache import Workspace

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


def say_folds(paths: Sequence[Path], title: str = "") -> None:
    """Say the mean score over the folds of a cross-validation, on standard error.

    Such as "accuracy 61.1% [45.5, 75.8], mean of 15 folds; majority class 52.9%".

    Parameters
    ----------
    paths : sequence of Path
        The predictions of all repeats.
    title : str
        What to name them, where several are said.
    """
    from frostline.console import say
    from frostline.report import evaluate
    from frostline.report.statistics.seeds import over_folds
    from frostline.report.tables.numbers import percent, score_cell

    own = over_folds(paths, metrics=[METRIC]).iloc[0]
    score, count = score_cell(own.to_dict()), counted(int(own["n_seeds"]), "fold")
    words = f"{METRIC} {score.text}% {score.interval}".rstrip() + f", mean of {count}"
    scores = evaluate(paths[:1], metrics=[METRIC])
    majority = scores[scores["run"].str.startswith("majority")]
    if len(majority):
        words += f"; majority class {percent(majority.iloc[0]['estimate'])}%"
    say(f"{title}: {words}" if title else words)


def say_heads(place: Workspace, paths: Iterable[Path]) -> None:
    """Say, if details are asked for, where embeddings lie and what each kind of head took.

    Parameters
    ----------
    place : Workspace
    paths : iterable of Path
        The predictions of heads, trained now or before.
    """
    from frostline.console import VERBOSE, detail, verbosity
    from frostline.report import read_predictions

    if verbosity() != VERBOSE:
        return
    runs = [read_predictions(path).meta for path in paths]
    stores = {
        place.embeddings(run["dataset"], run["backbone"]) / run["store_key"]: run["feature"]
        for run in runs
    }
    for folder, feature in stores.items():
        detail(f"Embeddings in {folder}: feature {feature}.")
    for head in dict.fromkeys(run["head"] for run in runs):
        own = [run for run in runs if run["head"] == head]
        seconds, tried = (sum(run[name] for run in own) for name in ("seconds", "candidates"))
        last = max(run["created"] for run in own)
        detail(
            f"Head {head}: {counted(len(own), 'run')}, {counted(tried, 'candidate')} on "
            f"validation, {seconds:.2f} s of training, the last at {last}."
        )


def _units(row: Any) -> str:
    return str(row["unit"]) if row["n_units"] == 1 else f"{row['unit']}s"
