"""What a sweep found: one long table, what was selected, the best of every backbone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from frostline.cache import Workspace, atomic_write
from frostline.probe.heads.scoring import METRICS, score_heads
from frostline.probe.sweep.cells import (
    Cell,
    Choice,
    at_edge,
    hyperparameters,
    read_scores,
    select,
    select_folds,
    text_of,
)
from frostline.probe.sweep.settings import Sweep
from frostline.report import read_predictions

FORMAT = "frostline-sweep"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class Results:
    """Results of a sweep.

    Attributes
    ----------
    table : DataFrame
        Long: one row a cell, candidate, split and metric. `split` is val for every candidate
        (in a cross-validation the mean over its inner folds), test for those that were selected;
        `test_dataset` is set where that was another data set.
    best : DataFrame
        One row a data set and backbone: the head and feature with the best validation score, the
        number of candidates it was chosen from, its test scores.
    predictions : list of Path
        Files of the selected heads.
    warnings : list of str
    path : Path
        Where `table` lies.
    """

    table: pd.DataFrame
    best: pd.DataFrame
    predictions: list[Path]
    warnings: list[str]
    path: Path


def gather(workspace: Workspace, sweep: Sweep, cells: Sequence[Cell]) -> Results:
    """Read what cells found, and write the long table."""
    rows: list[pd.DataFrame] = []
    chosen: list[tuple[Cell, Choice]] = []
    for cell in cells:
        scores = read_scores(workspace, cell)
        assert scores is not None  # it is done
        choice = select(cell, scores)
        picks = select_folds(cell, scores) if cell.cv else [choice]
        chosen += [(cell, pick) for pick in picks]
        rows.append(_validation_rows(cell, scores, choice))
        for run, other in zip(cell.runs(), (None, cell.test_dataset), strict=False):
            rows.append(_test_rows(workspace.predictions(run), cell, picks, run, other))
    table = pd.concat(rows, ignore_index=True)
    path = workspace.root / "sweeps" / sweep.name / "results.parquet"
    _write(path, table, sweep)
    predictions = [workspace.predictions(run) for cell in cells for run in cell.runs()]
    return Results(table, best_rows(table, sweep.metric), predictions, at_edge(chosen), path)


def _validation_rows(cell: Cell, scores: pd.DataFrame, choice: Choice) -> pd.DataFrame:
    names = [text_of(candidate) for candidate in cell.candidates]
    mine = scores[scores["candidate"].isin(names)]
    means = mine.groupby(["candidate", "epoch"])[list(METRICS)].mean().reset_index()
    # The epoch that counts: the best by accuracy, of equals the earliest.
    order = means.sort_values(["accuracy", "epoch"], ascending=[False, True], kind="stable")
    best = order.drop_duplicates("candidate").set_index("candidate").loc[names].reset_index()
    long = best.melt(["candidate", "epoch"], list(METRICS), "metric", "value")
    long = long.rename(columns={"candidate": "hyperparameters"})
    selected = long["hyperparameters"] == text_of(choice.candidate)
    about = {**_about(cell), "split": "val", "test_dataset": None, "run": cell.run()}
    return long.assign(**about, selected=selected, images=None)


def _test_rows(
    path: Path, cell: Cell, picks: Sequence[Choice], run: str, other: str | None
) -> pd.DataFrame:
    result = read_predictions(path)
    test = result.table[(result.table["split"] == "test") & result.table["label"].notna()]
    if other is not None:
        test = result.table[result.table["label"].notna()]
    about = {**_about(cell), "split": "test", "test_dataset": other, "run": run}
    if test.empty:
        return pd.DataFrame()
    known = test[test["label"].isin(result.classes)]
    codes = pd.Categorical(known["label"], categories=result.classes).codes.astype(np.intp)
    probabilities = known[[f"prob_{name}" for name in result.classes]].to_numpy(np.float64)
    scores = score_heads(probabilities[None], codes)
    texts = [json.dumps(dict(hyperparameters(cell, pick)), sort_keys=True) for pick in picks]
    return pd.DataFrame(
        {
            "hyperparameters": texts[0] if len(set(texts)) == 1 else f"[{', '.join(texts)}]",
            "epoch": picks[0].epoch if cell.cv is None else 0,
            "metric": list(scores),
            "value": [float(value[0]) for value in scores.values()],
            **about,
            "selected": True,
            "images": len(known),
        }
    )


def _about(cell: Cell) -> dict[str, Any]:
    return {
        "dataset": cell.dataset,
        "backbone": cell.backbone,
        "feature": cell.feature,
        "store_key": cell.store_key,
        "head": cell.head,
        "seed": cell.seed,
        "train_groups": cell.size,
        "draw": cell.draw if cell.size else None,
        "cv": f"{cell.cv[0]} folds" if cell.cv else None,
        "candidates": len(cell.candidates),
    }


def best_rows(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The head and feature with the best mean validation score of every backbone, at full size."""
    # The full training set, or the largest size where that was not asked for.
    size = table["train_groups"].astype(float).fillna(np.inf)
    full = table[size == size.groupby([table["dataset"], table["backbone"]]).transform("max")]
    found = []
    for (dataset, backbone), mine in full.groupby(["dataset", "backbone"], sort=False):
        val = mine[(mine["split"] == "val") & mine["selected"] & (mine["metric"] == metric)]
        scores = {
            key: float(part.mean())
            for key, part in val.groupby(["feature", "head"], sort=False)["value"]
        }
        ordered = sorted(scores, key=lambda key: scores[key], reverse=METRICS[metric])
        feature, head = str(ordered[0][0]), str(ordered[0][1])
        tried = val.drop_duplicates(["feature", "head"])["candidates"].sum()
        own = mine[(mine["feature"] == feature) & (mine["head"] == head)]
        row: dict[str, Any] = {
            "dataset": dataset,
            "backbone": backbone,
            "feature": feature,
            "head": head,
            "candidates": int(tried),
            f"val_{metric}": scores[ordered[0]],
        }
        for other, part in own[own["split"] == "test"].groupby("test_dataset", dropna=False):
            prefix = "test" if pd.isna(other) else str(other)
            for name in dict.fromkeys(("accuracy", "balanced_accuracy", metric)):
                row[f"{prefix}_{name}"] = part.loc[part["metric"] == name, "value"].mean()
        found.append(row)
    return pd.DataFrame(found)


def curves(results: Results) -> pd.DataFrame:
    """Label efficiency of the selected heads, plain: one row a training set, seed and metric.

    Columns `dataset`, `backbone`, `feature`, `head`, `groups` (training groups), `fraction` (of
    all of them), `draw`, `seed`, `metric`, `score` (on the data set's own test images). Empty where
    the sweep had one size only.
    """
    table = results.table
    mine = table[(table["split"] == "test") & table["test_dataset"].isna() & table["cv"].isna()]
    columns = ["dataset", "backbone", "feature", "head", "groups", "fraction", "draw", "seed"]
    if mine["train_groups"].nunique(dropna=False) < 2:
        return pd.DataFrame(columns=[*columns, "metric", "score"])
    about = {run: read_predictions(path).meta for path in results.predictions
             for run in [path.stem]}  # fmt: skip
    groups = mine["run"].map(lambda run: about[run]["train_groups"])
    fraction = mine["run"].map(lambda run: about[run]["train_fraction"])
    named = mine.assign(groups=groups, fraction=fraction, score=mine["value"])
    return named[[*columns, "metric", "score"]].reset_index(drop=True)


def heat_map(results: Results, metric: str) -> pd.DataFrame:
    """Validation scores of all candidates at full size, plain: one row a candidate.

    Columns `dataset`, `backbone`, `feature`, `head`, one a hyper-parameter (missing where a head
    does not have it; a head without a hidden layer has `hidden` 0), and `score`, the mean over
    seeds or repeats.
    """
    table = results.table
    mine = table[(table["split"] == "val") & (table["metric"] == metric)]
    mine = mine[mine["train_groups"].isna()]
    names = ["dataset", "backbone", "feature", "head"]
    means = mine.groupby([*names, "hyperparameters"], sort=False)["value"].mean().reset_index()
    values = pd.DataFrame([json.loads(text) for text in means["hyperparameters"]])
    if "hidden" in values:
        is_adam = (means["head"] == "adam").to_numpy()
        values.loc[is_adam, "hidden"] = values.loc[is_adam, "hidden"].astype(float).fillna(0)
    return pd.concat([means[names], values, means["value"].rename("score")], axis=1)


def read_sweep(path: Path) -> dict[str, Any]:
    """What was swept, as the file of its results says."""
    kept: dict[str, Any] = json.loads(pq.read_schema(path).metadata[b"frostline"])["sweep"]
    return kept


def _write(path: Path, table: pd.DataFrame, sweep: Sweep) -> None:
    meta = {"format": FORMAT, "format_version": FORMAT_VERSION, "sweep": sweep.model_dump()}
    types = {"train_groups": "Int64", "draw": "Int64", "images": "Int64", "seed": "int64"}
    data = pa.Table.from_pandas(table.astype(types), preserve_index=False)
    data = data.replace_schema_metadata({b"frostline": json.dumps(meta).encode()})
    with atomic_write(path) as temporary:
        pq.write_table(data, temporary, compression="zstd")
