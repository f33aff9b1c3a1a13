"""Clinical evidence from predictions: paths, tables, or what a workspace gives."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from frostline.cache.tables.class_order import class_names
from frostline.names import as_numbers, in_python
from frostline.report.statistics.metrics import OwnMetric
from frostline.report.tables.table import Table
from frostline.scoring.scores import Columns, Runs, _tables

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Evidence(pd.DataFrame):
    """Numbers in a pandas DataFrame that shows itself as a table, with its notes."""

    @property
    def _constructor(self) -> Callable[..., pd.DataFrame]:
        return pd.DataFrame  # a part of it is an ordinary table

    @abstractmethod
    def _shown(self) -> Table:
        """Lay out what is shown."""

    def __repr__(self) -> str:
        """Show the table in a terminal."""
        from frostline.report.tables.writers.terminal import to_terminal

        return to_terminal(self._shown())

    def _repr_html_(self) -> str:
        """Show the table in a notebook."""
        from frostline.report import table_html

        return table_html(self._shown())


class OperatingPoints(Evidence):
    """What models find and miss at one threshold each, one row a run and number.

    Columns are `run`, `threshold`, `metric`, `estimate`, `low`, `high`, `low_repeated`,
    `high_repeated`, …; shares as fractions.
    """

    def _shown(self) -> Table:
        from frostline.report.clinical.operating_table import operating_table

        return operating_table(pd.DataFrame(self))


class Subgroups(Evidence):
    """Scores of subgroups, one row a run and subgroup, with the test of each column.

    Columns are `run`, `column`, `subgroup`, `n_units`, `estimate`, `low`, `high`, `tested`, `p`,
    `p_adjusted`, …; shares as fractions.
    """

    def _shown(self) -> Table:
        from frostline.report.clinical.subgroups.table import subgroup_table

        return subgroup_table(pd.DataFrame(self))

    def figure(self) -> Figure:
        """Draw a forest plot of one data set's subgroups."""
        from frostline.report.figures import subgroup_figure

        return subgroup_figure(pd.DataFrame(self))


@in_python
def operating_points(
    predictions: Runs,
    threshold: str | float = "youden",
    prevalence: float | None = None,
    positive: str | None = None,
    *,
    split: str = "test",
    unit: str = "group",
    aggregate: str = "auto",
    classes: str | Sequence[str] | None = None,
    replicates: int | None = None,
    seed: int = 0,
    columns: Columns | None = None,
) -> OperatingPoints:
    """Choose a threshold on validation, and score it on test.

    Parameters
    ----------
    predictions : Run, Predictions, DataFrame, path, or several of them
        What the methods of a workspace return; anyone's table with splits and probabilities, too.
    threshold : str or float
        `youden`, `sensitivity=0.95`, `specificity=0.9`, `cost=5`, or a number that was fixed
        beforehand, as `frostline.report.clinical.thresholds.parse_rule` says.
    prevalence : float, optional
        Of the positive class where the model will be used: predictive values there, too.
    positive : str, optional
        The positive class, against all others. Of two classes the last if not given.
    split, unit, aggregate, classes, replicates, seed, columns
        As in `evaluate`; replicates, 2,000 unless said, repeat the choice.

    Returns
    -------
    OperatingPoints
        A DataFrame with one row for each run and number, and both of its intervals.

    Raises
    ------
    InputError
        If a run has no rows to choose a threshold on, or no probabilities.

    Examples
    --------
    >>> points = frostline.operating_points(frozen, "sensitivity=0.95", prevalence=0.05)
    >>> list(points["metric"])[:2]
    ['sensitivity', 'specificity']
    """
    from frostline.report.clinical.operating import operating_points as compute

    rows: dict[str, Any] = {"split": split, "unit": unit, "aggregate": aggregate}
    frame = compute(
        _tables(predictions, columns),
        threshold=threshold,
        prevalence=prevalence,
        positive=positive,
        **rows,
        classes=class_names(classes),
        replicates=replicates,
        seed=seed,
    )
    return OperatingPoints(frame)


@in_python
def subgroups(
    predictions: Runs,
    by: str | Sequence[str],
    metric: str | OwnMetric = "accuracy",
    *,
    split: str = "test",
    unit: str = "group",
    aggregate: str = "auto",
    classes: str | Sequence[str] | None = None,
    positive: str | None = None,
    replicates: int | None = None,
    seed: int = 0,
    columns: Columns | None = None,
) -> Subgroups:
    """Score subgroups of the images, and test for each column whether its subgroups differ.

    Parameters
    ----------
    predictions : Run, Predictions, DataFrame, path, or several of them
        What the methods of a workspace return; anyone's table that has the columns, too.
    by : str or sequence of str
        Columns of the table or of the manifest, numbers with cut points: `["sex", "age:20:60"]`
        has ages below 20, 20 to below 60, and 60 and above.
    metric : str or function
        What is compared.
    split, unit, aggregate, classes, positive, replicates, seed, columns
        As in `evaluate`.

    Returns
    -------
    Subgroups
        A DataFrame with one row for the whole and for each subgroup, as
        `frostline.report.clinical.subgroups.scores.subgroups` describes it.

    Raises
    ------
    InputError
        If there is no such column, or it needs cut points.

    Examples
    --------
    >>> table = tuned.table.assign(side=["left", "right"] * (len(tuned.table) // 2))
    >>> found = frostline.subgroups(table, by="side")
    >>> list(found["subgroup"])
    ['all', 'left', 'right']
    """
    from frostline.report.clinical.subgroups.scores import subgroups as compute

    rows: dict[str, Any] = {"split": split, "unit": unit, "aggregate": aggregate}
    frame = compute(
        _tables(predictions, columns),
        by=by,
        metric=metric,
        **rows,
        classes=class_names(classes),
        positive=positive,
        replicates=replicates,
        seed=seed,
    )
    return Subgroups(frame)


class NetBenefit(Evidence):
    """What acting on models is worth, one row for each model, class and threshold.

    Columns are `run`, `positive`, `threshold`, `net_benefit`, `low`, `high`, `act_on_all`,
    `difference`, `avoided`, ….
    """

    def _shown(self) -> Table:
        from frostline.report.clinical.tables import benefit_table

        return benefit_table(pd.DataFrame(self))


class Calibration(Evidence):
    """Calibration before and after temperature scaling, one row for each run and number.

    Columns are `run`, `when` ("before" or "after"), `metric`, `estimate`, `low`, `high`, ….
    """

    def _shown(self) -> Table:
        from frostline.report.clinical.tables import calibration_table

        return calibration_table(pd.DataFrame(self))


@in_python
def net_benefit(
    predictions: Runs,
    *,
    thresholds: float | Iterable[float] = (0.05, 0.1, 0.2),
    split: str = "test",
    unit: str = "group",
    aggregate: str = "auto",
    classes: str | Sequence[str] | None = None,
    positive: str | None = None,
    columns: Columns | None = None,
) -> NetBenefit:
    """Say what acting on a model is worth, against acting on all and on none.

    Parameters
    ----------
    predictions : Run, Predictions, DataFrame, path, or several of them
        Runs that differ in their seed alone are one model.
    thresholds : float or several
        Probabilities between 0 and 1, fixed beforehand: who acts at t holds one needless action for
        t / (1 - t) of a missed one.
    split, unit, aggregate, classes, columns
        As in `evaluate`.
    positive : str, optional
        The class that is acted on; of more than two classes each, if not given.

    Returns
    -------
    NetBenefit
        A DataFrame with one row for each model, class and threshold.

    Raises
    ------
    InputError
        If a threshold is not between 0 and 1, or a run has no probabilities.

    Examples
    --------
    >>> worth = frostline.net_benefit(frozen, thresholds=0.2)
    >>> worth[["threshold", "net_benefit", "low", "high", "difference"]].shape
    (1, 5)
    """
    from frostline.report.clinical.benefit import net_benefit as compute

    frame = compute(
        _tables(predictions, columns),
        thresholds=as_numbers(thresholds),
        split=split,
        unit=unit,
        aggregate=aggregate,
        classes=class_names(classes),
        positive=positive,
    )
    return NetBenefit(frame)


@in_python
def calibration(
    predictions: Runs,
    *,
    split: str = "test",
    unit: str = "group",
    aggregate: str = "auto",
    classes: str | Sequence[str] | None = None,
    positive: str | None = None,
    columns: Columns | None = None,
) -> Calibration:
    """Say whether probabilities are true, and whether one temperature mends them.

    Parameters
    ----------
    predictions : Run, Predictions, DataFrame, path, or several of them
        With labelled rows of split val, or of a cross-validation: the temperature is fitted there.
    split, unit, aggregate, classes, positive, columns
        As in `evaluate`.

    Returns
    -------
    Calibration
        A DataFrame with the temperature of each run, and slope, intercept, error, log loss and
        Brier score before and after.

    Raises
    ------
    InputError
        If a run has no probabilities, or rows of validation would be scored.

    Examples
    --------
    >>> found = frostline.calibration(frozen)
    >>> found["when"].isin(["before", "after"]).all()
    True
    """
    from frostline.report.clinical.calibration import calibration as compute

    frame = compute(
        _tables(predictions, columns),
        split=split,
        unit=unit,
        aggregate=aggregate,
        classes=class_names(classes),
        positive=positive,
    )
    return Calibration(frame)


class LabelErrors(pd.DataFrame):
    """Images ranked by how probably their label is wrong: a pandas DataFrame, one row an image.

    Columns are `rank`, `image_id`, `group_id`, `split`, `label`, `looks_like`, `self_confidence`,
    `score`, `suspicious`.
    """

    @property
    def _constructor(self) -> Callable[..., pd.DataFrame]:
        return pd.DataFrame

    def __repr__(self) -> str:
        """Say how many are suspicious, and show the first of them."""
        return f"{self._sentences()}\n{pd.DataFrame(self).query('suspicious').head(10)}"

    def _repr_html_(self) -> str:
        """Show the same in a notebook."""
        from html import escape

        from frostline.report import table_html
        from frostline.report.tables.data import frame_table

        suspicious = pd.DataFrame(self).query("suspicious").drop(columns="suspicious")
        table = table_html(frame_table(suspicious, "Suspicious labels", 20))
        return f"<p>{escape(self._sentences())}</p>{table}"

    def _sentences(self) -> str:
        from frostline.report.clinical.labels import suspicious_sentence

        return f"{suspicious_sentence(self)} {self.attrs['ranked']}"


@in_python
def label_errors(predictions: Runs, *, columns: Columns | None = None) -> LabelErrors:
    """Rank images by how probably their label is wrong, by confident learning.

    `Workspace.audit` shows the suspicious ones with their nearest training images.

    Parameters
    ----------
    predictions : Run, Predictions, DataFrame, path, or several of them
        Of one data set, with probabilities: out of fold (a column `fold`), or of images that were
        not trained on (`val` and `test`). Those of an image in several files are averaged.
    columns : mapping of str to str, optional
        As in `evaluate`.

    Returns
    -------
    LabelErrors
        A DataFrame with one row for each image, the most suspicious first. `suspicious` marks the
        candidates; `score` goes from 0, surely wrong, to 1; `attrs["estimated"]` is the number of
        wrong labels by the confident joint. `frostline.report.clinical.labels` has the definitions.

    Raises
    ------
    InputError
        If no image was held out, there are no probabilities or names of images, or cleanlab is not
        installed.

    Examples
    --------
    >>> found = frostline.label_errors(frozen)
    >>> list(found.columns[:3]), int(found["rank"].iloc[0])
    (['rank', 'image_id', 'group_id'], 1)
    """
    from frostline.report.clinical.labels import label_errors as find

    found = find(_tables(predictions, columns))
    ranked = LabelErrors(found)
    ranked.attrs = found.attrs  # pandas does not take them along
    return ranked
