"""Tables of scores: a row a run or method, a column a metric."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from frostline.cache.errors import InputError
from frostline.report.notes import Note
from frostline.report.statistics.comparisons.differences import ONE_REPEAT
from frostline.report.statistics.metrics import METRICS, PAPER_METRICS, find_metric
from frostline.report.statistics.names import (
    MAJORITY_HEAD,
    METHOD_COLUMNS,
    NONE,
    OUT_OF_FOLD,
    again_word,
    describe,
    freeze_word,
    trained_word,
)
from frostline.report.tables.failed import Failed, with_failed
from frostline.report.tables.formats import WRITERS, check_format, render_results
from frostline.report.tables.numbers import number, percent, score_cell, sizes_words
from frostline.report.tables.positive import metric_title, positive_notes, shared
from frostline.report.tables.table import IN_JSON, Cell, Column, Row, Table
from frostline.report.tables.writers.records import scores_to_csv

CAPTION = "Scores in percent with 95% intervals"
PAPER_CAPTION = "Scores in percent with 95% intervals, in the layout of the paper's tables"
ON_PAGE = "are on the page of the report"


def score_table(
    frame: pd.DataFrame,
    metrics: Sequence[str] | None = None,
    *,
    decimals: int = 1,
    caption: str = CAPTION,
    marks: pd.DataFrame | None = None,
    primary: str = "",
    failed: Sequence[Failed] = (),
    freeze: bool = False,
    elsewhere: str = IN_JSON,
) -> Table:
    """Lay out what `evaluate` returned: one row for each run, one column for each metric.

    Parameters
    ----------
    frame : DataFrame
        As `evaluate` returns it.
    metrics : sequence of str, optional
        The columns; those that the frame does not have are left out. By default all.
    decimals : int
        Of a percentage.
    caption : str
        What the table shows.
    marks, primary : DataFrame and str, optional
        What `mark_best` returned, and the metric that it compared.
    failed : sequence of Failed
        Methods without scores.
    freeze : bool
        Whether how a run was trained is a column of its own, in the paper's letters, and not in
        words under its name.
    elsewhere : str
        As of `Table`.
    """
    names = _shown_metrics(frame, metrics)
    marked = {} if marks is None else dict(zip(marks["run"], marks["mark"], strict=True))
    if primary not in names:
        marked = {}  # by a metric that a reader of this table does not see
    columns = [Column("Model"), *[Column("Freeze")] * freeze]
    columns += [Column(metric_title(shared(frame, name)), True, name) for name in names]
    rows = []
    for dataset in frame["dataset"].unique():
        part = frame[frame["dataset"] == dataset]
        labels = describe(part)
        for run, scores in part.groupby("run", sort=False):
            mark = marked.get(str(run), "")
            first = _name_cells(labels[str(run)], str(scores["unfreeze"].iloc[0]), freeze, mark)
            cells = _score_cells(scores, names, decimals, {primary: mark})
            rows.append(Row((*first, *cells), str(dataset), str(run)))
    notes = (*_unmarked(marks), *_best_notes(marks, primary, names), *score_notes(frame, names))
    table = Table(tuple(columns), tuple(rows), notes, caption, elsewhere)
    return with_failed(table, failed, freeze=freeze)


def _shown_metrics(frame: pd.DataFrame, metrics: Sequence[str] | None) -> list[str]:
    there = set(frame["metric"])
    order = metrics or dict.fromkeys([*METRICS, *frame["metric"]])
    return [name for name in order if name in there]


def _score_cells(
    scores: pd.DataFrame, metrics: Sequence[str], decimals: int, marks: Mapping[str, str]
) -> Iterator[Cell]:
    own = {str(row["metric"]): row for row in scores.to_dict("records")}
    for name in metrics:
        if name in own:
            yield score_cell(own[name], decimals, marks.get(name, ""))
        else:
            yield Cell(NONE, value=float("nan"))


def paper_scores(
    frame: pd.DataFrame,
    *,
    marks: pd.DataFrame | None = None,
    primary: str = "",
    failed: Sequence[Failed] = (),
) -> Table:
    """Lay out scores as the paper does: model, freeze (Y, N, last blocks), four metrics."""
    return score_table(
        frame,
        PAPER_METRICS,
        decimals=2,
        caption=PAPER_CAPTION,
        marks=marks,
        primary=primary,
        failed=failed,
        freeze=True,
        elsewhere=ON_PAGE,
    )


def paper_table(
    frame: pd.DataFrame,
    format: str = "markdown",
    *,
    marks: pd.DataFrame | None = None,
    primary: str = "",
) -> str:
    """Write the paper's layout as "markdown", "latex", "html" or "csv".

    `marks` and `primary` are those of `score_table`.
    """
    suffixes = {"markdown": "md", "latex": "tex", "html": "html", "csv": "csv"}
    check_format(format, suffixes)
    return WRITERS[suffixes[format]](paper_scores(frame, marks=marks, primary=primary))


def render(frame: pd.DataFrame, format: str = "table") -> str:
    """Write what `evaluate` returned in one of `FORMATS`."""
    if "run" not in frame:
        raise InputError(
            "`render` writes what `evaluate` returned: `render_comparison` is for `compare`."
        )
    freeze = format in ("markdown", "latex")
    return render_results(
        frame, format, lambda: score_table(frame, freeze=freeze), csv=scores_to_csv
    )


def _name_cells(label: tuple[str, str], unfreeze: str, freeze: bool, mark: str) -> tuple[Cell, ...]:
    model, details = label
    if freeze:
        return Cell(model, details, mark=mark), Cell(freeze_word(unfreeze))
    words = ", ".join(filter(None, (trained_word(unfreeze), details)))
    return (Cell(model, words, mark=mark),)


def score_notes(frame: pd.DataFrame, metrics: Sequence[str]) -> Iterator[Note]:
    """Say what was scored and how, then give the notes of the rows.

    `metrics` are those of the columns.
    """
    frame = frame[frame["metric"].isin(metrics)]
    weighted = any(name.endswith("_weighted") for name in metrics)
    average = " Averages over classes are weighted by their images." if weighted else ""
    yield Note(f"{_sizes(frame)} {_methods(frame)}{average}")
    yield from positive_notes(frame)
    yield from _seeds(frame)
    # What to distrust comes before what the majority class is.
    majority = frame["head"] == MAJORITY_HEAD
    for notes in (*frame.loc[~majority, "notes"], *frame.loc[majority, "notes"]):
        yield from notes
    yield from _candidates(frame)


def _unmarked(marks: pd.DataFrame | None) -> Iterator[Note]:
    """Say why nothing is marked."""
    if marks is None:
        return
    for row in marks[marks["why"] != ""].to_dict("records"):
        yield Note(f"No row is marked as best: {row['why']}.", dataset=str(row["dataset"]))


def _best_notes(marks: pd.DataFrame | None, primary: str, names: Sequence[str]) -> Iterator[Note]:
    """Say how far the best of each data set is to be trusted: its place, and its score."""
    if marks is None or primary not in names:
        return
    metric = find_metric(primary)
    rows = marks.drop_duplicates("dataset").to_dict("records")
    orders = [(row, _chance(row["false_order"])) for row in rows if row["false_order"] >= 0]
    curves = any(row["rivals"] < row["methods"] - 1 for row in rows)
    if curves:
        yield Note(
            "No row is marked as best: depths of one backbone are compared in the answer, not with "
            "each other here."
        )
    if orders:
        two = "best and the best of another backbone" if curves else "two best"
        yield Note(
            f"Probability that the order of the {two} in {metric.words} is false: {_each(orders)}."
        )
    unit = "points" if metric.bounds is not None else f"of {metric.words}"
    gains = [
        (row, f"{number(row['optimism'], primary)} {unit} (best of {row['methods']:.0f})")
        for row in rows
        if row["optimism"] > 0  # resampling may find less than nothing
    ]
    if gains:
        yield Note(f"The best score is too good by about {_each(gains)}, because it was picked.")


def _each(said: Sequence[tuple[Mapping[Any, Any], str]]) -> str:
    """Name data sets where there are several."""
    if len(said) == 1:
        return said[0][1]
    return ", ".join(f"{row['dataset']} {words}".strip() for row, words in said)


def _chance(share: float) -> str:
    return "below 0.1%" if share < 0.001 else f"{percent(share)}%"


def _sizes(frame: pd.DataFrame) -> str:
    """Count the units and images of every data set."""
    sizes: dict[str, None] = {}
    for row in frame.drop_duplicates(["dataset", "run", "unit"]).to_dict("records"):
        split = "" if row["split"] == "all" else f" ({row['split']})"
        sizes[f"{sizes_words(row)}{split}"] = None
    return f"Scored: {'; '.join(sizes)}."


def _methods(frame: pd.DataFrame) -> str:
    """Name the kinds of intervals."""
    methods: dict[str, None] = {}
    shown = frame[frame["method"] != "none"]
    for row in shown.drop_duplicates(["method", "replicates", "unit"]).to_dict("records"):
        drawn = (
            f", {row['replicates']:,} replicates, seed {row['seed']}" if row["replicates"] else ""
        )
        methods[f"{row['method']} over {row['unit']}s{drawn}"] = None
    return f"95% intervals: {'; '.join(methods) or 'none'}."


def _candidates(frame: pd.DataFrame) -> Iterator[Note]:
    """Count the configurations that were tried on validation data, by head."""
    models = frame[(frame["head"] != MAJORITY_HEAD) & frame["candidates"].notna()]
    models = models[models["candidates"] != ""]
    tried: dict[str, set[int]] = {}
    for head, count in zip(models["head"], models["candidates"], strict=True):
        tried.setdefault(str(head), set()).add(int(count))
    words = [
        f"{head or 'head not said'} {' or '.join(map(str, sorted(counts)))}"
        for head, counts in tried.items()
    ]
    if words:
        yield Note(f"Candidates tried on validation: {', '.join(words)}.")


def _seeds(frame: pd.DataFrame) -> Iterator[Note]:
    """Say how many seeds a row has, and what the interval of one seed is about."""
    if "seeds" in frame and (frame["n_seeds"] > 1).any():
        for word, part in frame[frame["n_seeds"] > 1].groupby(frame["split"].map(again_word)):
            seeds = "; ".join(part["seeds"].unique())
            yield Note(
                f"Means over {word}s ({seeds}): intervals hold the variance of groups and {word}s."
            )
        return
    models = frame[(frame["head"] != MAJORITY_HEAD) & frame["run_seed"].notna()]
    counts: Any = models.groupby(list(METHOD_COLUMNS))["run"].nunique()
    if len(counts) and counts.max() == 1:
        folds = (models["split"] == OUT_OF_FOLD).all()
        yield (
            ONE_REPEAT
            if folds
            else Note("One seed each: intervals are of these trained models, not of the methods.")
        )
