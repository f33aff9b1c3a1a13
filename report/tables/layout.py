"""The table that is shown, before any format: rows of runs, columns of metrics, footnotes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from frostline.report.statistics.evaluation import MAJORITY_HEAD
from frostline.report.statistics.metrics import METRICS, find_metric
from frostline.report.statistics.names import NONE, describe, freeze_word, trained_word

PAPER_METRICS = ("accuracy", "precision_weighted", "recall_weighted", "f1_weighted")


@dataclass(frozen=True)
class Score:
    """An estimate and its interval in percent, as text; `interval` is empty if there is none.

    `mark` is that of the row where this is the primary metric, else empty; `value` is for sorting.
    """

    estimate: str
    interval: str
    mark: str = ""
    value: float = float("nan")

    def __str__(self) -> str:
        return f"{self.estimate} {self.interval}".strip()


@dataclass(frozen=True)
class Row:
    """One run: its model, how it was trained, what else tells it apart, its scores.

    `freeze` is the paper's Y, N or how many blocks; `trained` says the same in words. `mark` is
    `alone` for a best row that is separated from all others, `alike` for the best and those that
    are not separated from it, or empty (`mark_best`).
    """

    run: str
    model: str
    freeze: str
    trained: str
    details: str
    scores: tuple[Score, ...]
    mark: str = ""

    @property
    def label(self) -> str:
        """Model and details in one text."""
        return f"{self.model} ({self.details})" if self.details else self.model


@dataclass(frozen=True)
class Block:
    """The rows of one data set."""

    dataset: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Grid:
    """A whole table."""

    caption: str
    headings: tuple[str, ...]
    blocks: tuple[Block, ...]
    footnotes: tuple[str, ...]


def make_grid(
    frame: pd.DataFrame,
    metrics: Sequence[str] | None = None,
    *,
    decimals: int = 1,
    caption: str = "Scores in percent with 95% intervals",
    marks: pd.DataFrame | None = None,
    primary: str = "",
) -> Grid:
    """Lay out what `evaluate` returned: a block a data set, a row a run, a column a metric.

    Metrics that the frame does not have are left out. `marks` is what `mark_best` returned for the
    metric `primary`.
    """
    there = set(frame["metric"])
    order = list(dict.fromkeys([*METRICS, *frame["metric"]]))
    names = [name for name in (metrics or order) if name in there]
    marked = {} if marks is None else dict(zip(marks["run"], marks["mark"], strict=True))
    blocks = []
    for dataset in frame["dataset"].unique():
        part = frame[frame["dataset"] == dataset]
        labels = describe(part)
        rows = []
        for run, scores in part.groupby("run", sort=False):
            by_name = scores.set_index("metric")
            mark = marked.get(str(run), "")
            cells = tuple(
                _score(by_name, name, decimals, mark if name == primary else "") for name in names
            )
            model, details = labels[str(run)]
            unfreeze = str(by_name["unfreeze"].iloc[0])
            ways = freeze_word(unfreeze), trained_word(unfreeze)
            rows.append(Row(str(run), model, *ways, details, cells, mark))
        blocks.append(Block(str(dataset), tuple(rows)))
    headings = tuple(find_metric(name).title for name in names)
    notes = footnotes(frame) if marks is None else (*footnotes(frame), *mark_notes(marks, primary))
    return Grid(caption, headings, tuple(blocks), notes)


def footnotes(frame: pd.DataFrame) -> tuple[str, ...]:
    """Units, images, method and replicates of every data set, then every note, each once."""
    sizes = {}
    for row in frame.drop_duplicates(["dataset", "run", "unit"]).to_dict("records"):
        name = f"{row['dataset']}: " if row["dataset"] else ""
        units = f"{row['n_units']:,} groups of " if row["unit"] == "group" else ""
        whole = row["split"] == "all"
        sizes[
            f"{name}{units}{row['n_images']:,} images" + ("" if whole else f" ({row['split']})")
        ] = 0
    methods = {}
    shown = frame[frame["method"] != "none"]
    for row in shown.drop_duplicates(["method", "replicates", "unit"]).to_dict("records"):
        drawn = (
            f", {row['replicates']:,} replicates, seed {row['seed']}" if row["replicates"] else ""
        )
        methods[f"{row['method']} over {row['unit']}s{drawn}"] = 0
    notes = _notes(frame)
    titles = [METRICS[name].title for name in METRICS
              if name.endswith("_weighted") and name in set(frame["metric"])]  # fmt: skip
    average = [f"{', '.join(titles)}: averages over classes weighted by their images."]
    return (
        "Scored: " + "; ".join(sizes) + ".",
        "95% intervals: " + ("; ".join(methods) or "none") + ".",
        *(average if titles else []),
        *_candidates(frame),
        *_seeds(frame),
        *notes,
    )


def mark_notes(marks: pd.DataFrame, primary: str) -> list[str]:
    """What underlining and bold mean, or why nothing is marked."""
    title = find_metric(primary).title.lower()
    out = []
    if len(marks) and marks["mark"].ne("").any():
        out.append(
            f"Underlined: not separated from the best in {title} by all-pairs max-T at 5%; bold: "
            "separated from all others."
        )
    for row in marks[marks["why"] != ""].to_dict("records"):
        place = f"{row['dataset']}: n" if row["dataset"] else "N"
        out.append(f"{place}o row is marked as best: {row['why']}.")
    return out


def _candidates(frame: pd.DataFrame) -> list[str]:
    """How many configurations were tried on validation data, by head."""
    models = frame[(frame["head"] != MAJORITY_HEAD) & frame["candidates"].notna()]
    models = models[models["candidates"] != ""]
    tried: dict[str, set[int]] = {}
    for head, count in zip(models["head"], models["candidates"], strict=True):
        tried.setdefault(str(head), set()).add(int(count))
    words = [
        f"{head or 'head not said'} {' or '.join(map(str, sorted(counts)))}"
        for head, counts in tried.items()
    ]
    return [f"Candidates tried on validation: {', '.join(words)}."] if words else []


def _seeds(frame: pd.DataFrame) -> list[str]:
    """How many seeds a row is of, and what one seed is the interval of."""
    if "seeds" in frame:
        several = frame[frame["n_seeds"] > 1]
        words = "; ".join(several["seeds"].unique())
        pooled = f"Means over seeds ({words}): intervals hold the variance of groups and of seeds."
        if len(several):
            return [pooled]
    models = frame[(frame["head"] != MAJORITY_HEAD) & frame["run_seed"].notna()]
    method = ["dataset", "backbone", "protocol", "unfreeze", "feature", "head", "weights",
              "train_fraction"]  # fmt: skip
    counts = models.groupby(method)["run"].nunique()
    if not len(counts) or counts.max() > 1:
        return []
    return ["One seed each: intervals are of these trained models, not of the methods."]


def _notes(frame: pd.DataFrame) -> list[str]:
    """Every note once, with its classes, and the data sets where it is not about all."""
    places: dict[str, dict[str, set[str]]] = {}
    for notes in frame["notes"]:
        for note in notes:
            places.setdefault(note.text, {}).setdefault(note.dataset, set()).update(note.classes)
    out = []
    for text, datasets in places.items():
        words = [
            ": ".join(filter(None, [place, ", ".join(sorted(classes))]))
            for place, classes in datasets.items()
        ]
        if len(datasets) == frame["dataset"].nunique() and not any(datasets.values()):
            words = []
        about = "; ".join(filter(None, words))
        out.append(f"{text} ({about})" if about else text)
    return out


def percent(value: float, decimals: int = 1) -> str:
    """A fraction in percent, without the sign."""
    return NONE if pd.isna(value) else f"{100 * value:.{decimals}f}"


def _score(scores: pd.DataFrame, name: str, decimals: int, mark: str = "") -> Score:
    if name not in scores.index:
        return Score(NONE, "")
    row: dict[Any, Any] = scores.loc[name].to_dict()
    # What has no highest value is no share, and percent would say nothing.
    word = percent if find_metric(name).bounds else _number
    interval = f"[{word(row['low'], decimals)}, {word(row['high'], decimals)}]"
    value = float(row["estimate"])
    return Score(word(value, decimals), "" if pd.isna(row["low"]) else interval, mark, value)


def _number(value: float, decimals: int = 1) -> str:
    return NONE if pd.isna(value) else f"{value:.{decimals + 2}f}"
