"""Scores and comparisons of predictions: paths, tables, or what a workspace gives."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, TypedDict, Unpack

import pandas as pd

from frostline.cache.errors import InputError
from frostline.cache.tables.class_order import class_names
from frostline.names import as_numbers, in_python
from frostline.report import Predictions
from frostline.report.statistics.metrics import OwnMetric

One: TypeAlias = str | os.PathLike[str] | Predictions | pd.DataFrame
Runs: TypeAlias = One | Iterable[One]
Columns: TypeAlias = Mapping[str, str]


class Drawn(TypedDict, total=False):
    """Options of what is drawn at random in a comparison."""

    replicates: int
    seed: int


class Scores(pd.DataFrame):
    """Scores with intervals: a pandas DataFrame with one row for each run and metric.

    Columns are `run`, `metric`, `estimate`, `low`, `high`, …, as fractions.
    """

    @property
    def _constructor(self) -> Callable[..., pd.DataFrame]:
        return pd.DataFrame  # a part of it is an ordinary table

    def __repr__(self) -> str:
        """Show the same in a terminal."""
        from frostline.report import render

        return render(pd.DataFrame(self))

    def _repr_html_(self) -> str:
        """Show a row for each run and a column for each metric, in percent."""
        from frostline.report import score_table, table_html

        return table_html(score_table(pd.DataFrame(self)))


class Comparison(pd.DataFrame):
    """Differences between runs with tests and verdicts: a pandas DataFrame, one row for each pair.

    Columns are `a`, `b`, `difference`, `low`, `high`, `p`, `p_adjusted`, `verdict`, ….
    """

    @property
    def _constructor(self) -> Callable[..., pd.DataFrame]:
        return pd.DataFrame

    def __repr__(self) -> str:
        """Show the same in a terminal: a table, and sentences of what is decided."""
        from frostline.report import render_comparison

        return render_comparison(pd.DataFrame(self))

    def _repr_html_(self) -> str:
        """Show each pair with its difference in points, p and verdict."""
        from frostline.report import comparison_table, table_html

        return table_html(comparison_table(pd.DataFrame(self)))

    @in_python
    def plan(
        self,
        differences: float | Iterable[float] = (0.01, 0.02, 0.05, 0.1),
        powers: float | Iterable[float] = (0.8, 0.9),
    ) -> pd.DataFrame:
        """Say how many test groups would decide each pair.

        Parameters
        ----------
        differences : float or several
            True differences to plan for, as fractions; the observed one is always planned for.
        powers : float or several
            Chances of finding the difference.

        Returns
        -------
        DataFrame
            A row for each pair, difference and power: `groups_needed`, infinite where no number
            of groups is enough.
        """
        from frostline.report.statistics.comparisons.planning import plan_groups

        return plan_groups(pd.DataFrame(self), as_numbers(differences), as_numbers(powers))


@in_python
def evaluate(
    predictions: Runs,
    *,
    split: str = "test",
    ci: str = "auto",
    replicates: int | None = None,
    unit: str = "group",
    seed: int = 0,
    metrics: str | OwnMetric | Iterable[str | OwnMetric] | None = None,
    aggregate: str = "auto",
    stratified: bool = False,
    classes: str | Sequence[str] | None = None,
    positive: str | None = None,
    columns: Columns | None = None,
) -> Scores:
    """Score predictions with 95% intervals, next to the majority class.

    Parameters
    ----------
    predictions : Run, Predictions, DataFrame, path, or several of them
        What the methods of a workspace return; anyone's table with labels and predictions, too.
    split, ci, replicates, unit, seed, metrics, aggregate, stratified, positive
        As in `frostline.report.evaluate`.
    classes : sequence of str, optional
        From the lowest to the highest; the last of two is the positive one.
    columns : mapping of str to str, optional
        Of tables of others, our names of columns and theirs (docs/format.md):
        `{"prediction": "predicted_lesion", "prob": "p_*"}`, a star being the name of a class.

    Returns
    -------
    Scores
        A DataFrame with one row for each run and metric: `run`, `metric`, `estimate`, `low`,
        `high`, …, as fractions.

    Raises
    ------
    InputError
        If a table holds no predictions, or there is no such metric or interval.

    Examples
    --------
    >>> len(frostline.evaluate([frozen, tuned], metrics="accuracy"))  # and the majority class
    3
    """
    from frostline.report import evaluate as score

    rows: dict[str, Any] = {"split": split, "unit": unit, "aggregate": aggregate}
    frame = score(
        _tables(predictions, columns),
        **rows,
        classes=class_names(classes),
        ci=ci,
        replicates=replicates,
        seed=seed,
        metrics=None if metrics is None else as_metrics(metrics),
        stratified=stratified,
        positive=positive,
    )
    return Scores(frame)


@in_python
def compare(
    predictions: Runs,
    *,
    metric: str | OwnMetric = "accuracy",
    family: str = "pairs",
    margin: float | None = None,
    split: str = "test",
    unit: str = "group",
    aggregate: str = "auto",
    intersection: bool = False,
    classes: str | Sequence[str] | None = None,
    positive: str | None = None,
    columns: Columns | None = None,
    **drawn: Unpack[Drawn],
) -> Comparison:
    """Say which method is better, and whether that is more than luck.

    Parameters
    ----------
    predictions : Run, Predictions, DataFrame or path, several of them
        At least two runs.
    metric, family, margin, split, unit, aggregate, intersection, positive
        As in `frostline.report.compare`.
    classes, columns : sequence of str, and mapping of str to str, optional
        As in `evaluate`.
    **drawn
        `replicates` and `seed`, as in `frostline.report.compare`.

    Returns
    -------
    Comparison
        A DataFrame with one row for each pair: the difference, its interval, p and a verdict.

    Raises
    ------
    InputError
        If there are fewer than two runs, or no image is in all of them.

    Examples
    --------
    >>> found = frostline.compare([frozen, tuned], replicates=500)
    >>> found["verdict"].item() in {"better", "worse", "undecided"}
    True
    """
    from frostline.report import compare as compare_runs

    frame = compare_runs(
        _tables(predictions, columns),
        metric=metric,
        family=family,
        margin=margin,
        split=split,
        unit=unit,
        aggregate=aggregate,
        intersection=intersection,
        classes=class_names(classes),
        positive=positive,
        **drawn,
    )
    return Comparison(frame)


@in_python
def plan(
    discordance: float,
    groups: int | None = None,
    *,
    differences: float | Iterable[float] = (0.01, 0.02, 0.05, 0.1),
    powers: float | Iterable[float] = (0.8, 0.9),
) -> pd.DataFrame:
    """Plan how many test patients decide a difference in accuracy, before there is any pilot.

    Parameters
    ----------
    discordance : float
        Share of patients that one of the two methods gets right and the other wrong, assumed.
    groups : int, optional
        Test patients that there will be.
    differences : float or several
        True differences to plan for, as fractions, below the discordance.
    powers : float or several
        Chances of finding the difference.

    Returns
    -------
    DataFrame
        A row for each difference: `groups_needed_0.8`, …, and with `groups` the `power` of so many.

    Examples
    --------
    >>> frostline.plan(0.15, differences=[0.05])["groups_needed_0.8"].item()
    467.0
    """
    from frostline.report.statistics.comparisons.planning import plan_assumed

    return plan_assumed(discordance, groups, as_numbers(differences), as_numbers(powers))


def as_metrics(given: str | OwnMetric | Iterable[str | OwnMetric]) -> list[str | OwnMetric]:
    """List one metric or several."""
    return [given] if isinstance(given, str) or callable(given) else list(given)


def _tables(predictions: Runs, columns: Columns | None = None) -> list[Predictions]:
    """Read what can stand for predictions."""
    from frostline.report.predictions import check_mapped, predictions_from, read_predictions

    single = str | os.PathLike | Predictions | pd.DataFrame
    given: Any = [predictions] if isinstance(predictions, single) else predictions
    found: list[Predictions] = []
    for number, item in enumerate(given if isinstance(given, Iterable) else [given], start=1):
        if isinstance(item, Predictions):
            found.append(item)
        elif isinstance(item, pd.DataFrame):
            found.append(predictions_from(item, f"table {number}", columns))
        elif isinstance(item, str | os.PathLike):
            found.append(read_predictions(Path(item), columns))
        else:
            raise InputError(
                "Predictions are a Run, Predictions, a DataFrame or a path, or several of them, "
                f"not {item!r}."
            )
    if columns is not None:
        check_mapped(found)
    return found
