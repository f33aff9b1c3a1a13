"""Our scores next to the published ones; nothing is tested against them (`docs/paper.md`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from frostline.cache.errors import InputError
from frostline.report.notes import Note
from frostline.report.paper.published import DATASETS, SOURCE, published
from frostline.report.statistics.names import MAJORITY_HEAD
from frostline.report.statistics.sample import Sample, Scored
from frostline.report.tables.formats import render_results
from frostline.report.tables.numbers import percent, score_cell
from frostline.report.tables.table import Cell, Column, Row, Table, words

AGAINST = ("paper",)
UNTESTED = (
    f"Published: {SOURCE}; its printed intervals are of the bootstrap mean, not of the metric, and "
    "are left out. Nothing is tested: a different test set or split is not comparable."
)
# Data sets whose published rows score slices of volumes.
SLICED = {"T1", "T2", "T2 FLAIR"}
OURS = ("run", "estimate", "low", "high", "n_images")
THEIRS = {"estimate": "", "low": "_low", "high": "_high"}
AGAINST_COLUMNS = (
    "dataset",
    "run",
    "model",
    "freeze",
    "metric",
    "estimate",
    "low",
    "high",
    "n_images",
    "published",
    "published_low",
    "published_high",
    "published_images",
    "test_set",
)
SAME = "same counts of classes"
# Names under which our runs may know the paper's data sets and models.
_DATASETS = {
    "chest": "Chest X-ray",
    "xray": "Chest X-ray",
    "amd": "iChallenge-AMD",
    "ham10000": "HAM10000",
    "flair": "T2 FLAIR",
    "t2": "T2",
    "t1": "T1",
}
_MODELS = {
    name.lower(): name
    for name in ("VGG16", "ResNet50", "DenseNet121", "DINOv2-s", "DINOv2-b", "DINOv2-l")
}


def paper_dataset(name: str) -> str | None:
    """Give the paper's name of one of our data sets, by the words in it; None if it is not one."""
    words = name.lower().replace("-", "_").split("_")
    text = "_".join(words)
    for part, title in _DATASETS.items():
        if part in words or (len(part) > 2 and part in text):
            return title
    return None


def against_paper(frame: pd.DataFrame, scored: Sequence[Scored]) -> pd.DataFrame:
    """Put our rows next to the published ones, without a test.

    Parameters
    ----------
    frame : DataFrame
        What `evaluate` returned.
    scored : sequence
        The scored rows, for the class counts of the test sets.

    Returns
    -------
    DataFrame
        `dataset`, `run`, `model`, `freeze`, `metric`, ours (`estimate`, `low`, `high`,
        `n_images`), `published`, `published_low`, `published_high`, `published_images`,
        `test_set`: "different test set" unless images of every class are as many as the paper's.
    """
    names = ["dataset", "model", "freeze", "metric"]
    table: dict[Any, Any] = published().set_index(names).to_dict("index")
    same = {run.run: _same_test_set(run.meta.get("dataset"), sample) for run, sample in scored}
    rows = []
    for row in frame.to_dict("records"):
        key = _published_key(row)
        if key in table:
            found = dict(zip(names, key, strict=True)) | {name: row[name] for name in OURS}
            found |= {f"published{of}": table[key][name] for name, of in THEIRS.items()}
            found["published_images"] = DATASETS[str(key[0])].n_test
            found["test_set"] = SAME if same[row["run"]] else "different test set"
            rows.append(found)
    return pd.DataFrame(rows, columns=list(AGAINST_COLUMNS))


def _published_key(row: Mapping[Any, Any]) -> tuple[str | None, ...]:
    """Give the data set, model, freeze and metric that the paper would have this row under."""
    if row["head"] == MAJORITY_HEAD or str(row["weights"]).startswith("random"):
        return ()
    model = _MODELS.get(str(row["backbone"]).lower())
    freeze = {"none": "Y", "all": "N"}.get(str(row["unfreeze"]))
    return paper_dataset(str(row["dataset"])), model, freeze, row["metric"]


def _same_test_set(name: object, sample: Sample) -> bool:
    """Say whether images of every class are as many as in the paper's Table II."""
    dataset = paper_dataset(str(name or ""))
    if dataset is None:
        return False
    counts = sample.confusion.sum(1).tolist()
    return sorted(counts) == sorted(DATASETS[dataset].test.values())


def against_table(beside: pd.DataFrame) -> Table:
    """Lay out what `against_paper` returned."""
    headings = ("Model", "Freeze", "Metric", "Ours", "Published", "Test set")
    rows = tuple(
        Row(
            (
                *words(row["model"], row["freeze"], row["metric"]),
                score_cell(row),
                Cell(percent(row["published"], 2), value=row["published"]),
                Cell(row["test_set"]),
            ),
            row["dataset"],
        )
        for row in beside.to_dict("records")
    )
    kinds = tuple(Column(name, name in ("Ours", "Published")) for name in headings)
    notes = [Note(UNTESTED)]
    if set(beside["dataset"]) & SLICED:
        notes.append(Note("The paper's MRI rows score slices, not patients."))
    return Table(kinds, rows, tuple(notes), "Our scores and the published ones, in percent")


def render_against(frame: pd.DataFrame, scored: Sequence[Scored], against: str, format: str) -> str:
    """Write `against_paper` in one of `FORMATS`."""
    if against not in AGAINST:
        raise InputError(f"There is no --against {against!r}; choose from {', '.join(AGAINST)}.")
    beside = against_paper(frame, scored)
    if not len(beside) and format not in ("csv", "json"):
        return "No row of these runs has a published counterpart.\n"
    return render_results(beside, format, lambda: against_table(beside))
