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

from frostline.cache import InputError, Workspace
from frostline.cache.stamped import read_parquet, write_parquet
from frostline.cache.workspace import check_new
from frostline.probe.heads.scoring import METRICS, score_heads, scored_groups
from frostline.probe.sweep.head_run import HeadRun
from frostline.probe.sweep.selection import Choice, at_edge, choices, hyperparameters, select
from frostline.probe.sweep.settings import Sweep
from frostline.probe.sweep.validation_scores import read_scores, text_of
from frostline.report import read_predictions

FORMAT = "frostline-sweep"
FORMAT_VERSION = 2


@dataclass(frozen=True)
class Results:
    """Results of a sweep.

    Attributes
    ----------
    table : DataFrame
        Long: one row a head run, candidate, split and metric. `split` is val for every candidate
        (in a cross-validation the mean over its inner folds), test for those that were selected;
        `test_dataset` is set where that was another data set.
    best : DataFrame
        One row a data set and backbone: the head and feature with the best validation score, the
        number of candidates it was chosen from, its test scores, and the run of its first seed.
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


def results_path(workspace: Workspace, name: str) -> Path:
    """Give the place of a sweep's results."""
    return workspace.sweep(name) / "results.parquet"


def check_name(workspace: Workspace, sweep: Sweep) -> None:
    """Refuse a name that another sweep with other settings has, or that not every system can keep.

    Raises
    ------
    InputError
        The sentence says which settings differ.
    """
    path = results_path(workspace, sweep.name)
    check_new(path.parent)
    if not path.exists():
        return
    defaults = {name: field.default for name, field in Sweep.model_fields.items()}
    before, now = {**defaults, **read_results(path)}, sweep.model_dump()
    differ = [name for name in now if before.get(name) != now[name]]
    if differ:
        raise InputError(
            f"A sweep {sweep.name!r} with other settings ({', '.join(differ)}) lies in "
            f"{path.parent}: give this one another name by --name (or `name` in the file); what "
            "both compute is computed once."
        )


def gather(workspace: Workspace, sweep: Sweep, runs: Sequence[HeadRun]) -> Results:
    """Read what head runs found, and write the long table."""
    rows: list[pd.DataFrame] = []
    chosen: list[tuple[HeadRun, Choice]] = []
    for run in runs:
        scores = read_scores(workspace, run)
        assert scores is not None  # it is done
        picks = choices(run, scores)
        chosen += [(run, pick) for pick in picks]
        rows.append(_validation_rows(run, scores, select(run, scores)))
        for name, other in zip(run.runs(), (None, run.test), strict=False):
            about = {"run": name, "test_dataset": other.dataset if other else None}
            rows.append(_test_rows(workspace.predictions(name), run, picks, about))
    table = pd.concat(rows, ignore_index=True)
    path = results_path(workspace, sweep.name)
    _write(path, table, sweep)
    predictions = [workspace.predictions(name) for run in runs for name in run.runs()]
    return Results(table, best_rows(table, sweep.metric), predictions, at_edge(chosen), path)


def _validation_rows(run: HeadRun, scores: pd.DataFrame, choice: Choice) -> pd.DataFrame:
    names = [text_of(candidate) for candidate in run.candidates]
    mine = scores[scores["candidate"].isin(names)]
    means = mine.groupby(["candidate", "epoch"])[list(METRICS)].mean().reset_index()
    # The epoch that counts: the best by accuracy, of equals the earliest.
    order = means.sort_values(["accuracy", "epoch"], ascending=[False, True], kind="stable")
    best = order.drop_duplicates("candidate").set_index("candidate").loc[names].reset_index()
    long = best.melt(["candidate", "epoch"], list(METRICS), "metric", "value")
    long = long.rename(columns={"candidate": "hyperparameters"})
    selected = long["hyperparameters"] == text_of(choice.candidate)
    about = {**_about(run), "split": "val", "test_dataset": None, "run": run.run()}
    return long.assign(**about, selected=selected, images=None)


def _test_rows(
    path: Path, run: HeadRun, picks: Sequence[Choice], about: dict[str, Any]
) -> pd.DataFrame:
    result = read_predictions(path)
    # Every image of another data set is a test image.
    test = result.table[(result.table["split"] == "test") & result.table["label"].notna()]
    if test.empty:
        return pd.DataFrame()
    known = test[test["label"].isin(result.classes)]
    codes = pd.Categorical(known["label"], categories=result.classes).codes.astype(np.intp)
    probabilities = known[[f"prob_{name}" for name in result.classes]].to_numpy(np.float64)
    scores = score_heads(probabilities[None], codes, scored_groups(known))
    texts = [json.dumps(dict(hyperparameters(run, pick)), sort_keys=True) for pick in picks]
    found = {
        "hyperparameters": texts[0] if len(set(texts)) == 1 else f"[{', '.join(texts)}]",
        "epoch": picks[0].epoch if run.training.cv is None else 0,
        "metric": list(scores),
        "value": [float(value[0]) for value in scores.values()],
        **_about(run),
        **about,
        "split": "test",
        "selected": True,
        "images": len(known),
    }
    return pd.DataFrame(found)


def _about(run: HeadRun) -> dict[str, Any]:
    size, draw, cv = run.training.size, run.training.draw, run.training.cv
    return {
        "dataset": run.data.dataset,
        "backbone": run.data.backbone,
        "feature": run.data.feature,
        "store_key": run.data.store_key,
        "head": run.head_words(),
        "seed": run.seed,
        "train_groups": size,
        "draw": draw if size else None,
        "cv": f"{cv[0]} folds" if cv else None,
        "candidates": len(run.candidates),
    }


def best_rows(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Find the head and feature with the best mean validation score of every backbone.

    Those of the full training set count, or of the largest size where that was not asked for.
    """
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
        runs = own.loc[own["split"].eq("val"), ["seed", "run"]].sort_values("seed", kind="stable")
        row: dict[str, Any] = {
            "dataset": dataset,
            "backbone": backbone,
            "feature": feature,
            "head": head,
            "candidates": int(tried),
            f"val_{metric}": scores[ordered[0]],
            "run": runs["run"].iloc[0],
        }
        for other, part in own[own["split"] == "test"].groupby("test_dataset", dropna=False):
            prefix = "test" if pd.isna(other) else str(other)
            for name in dict.fromkeys(("accuracy", "balanced_accuracy", metric)):
                row[f"{prefix}_{name}"] = part.loc[part["metric"] == name, "value"].mean()
        found.append(row)
    return pd.DataFrame(found)


def curves(results: Results) -> pd.DataFrame:
    """Tabulate label efficiency of the selected heads: one row a training set, seed and metric.

    Columns `dataset`, `backbone`, `feature`, `head`, `groups` (training groups), `fraction` (of
    all of them), `draw`, `seed`, `metric`, `score` (on the data set's own test images). Empty where
    the sweep had one size only.
    """
    table = results.table
    mine = table[(table["split"] == "test") & table["test_dataset"].isna() & table["cv"].isna()]
    columns = ["dataset", "backbone", "feature", "head", "groups", "fraction", "draw", "seed"]
    if mine["train_groups"].nunique(dropna=False) < 2:
        return pd.DataFrame(columns=[*columns, "metric", "score"])
    about = {path.stem: read_predictions(path).meta for path in results.predictions}
    groups = mine["run"].map(lambda run: about[run]["train_groups"])
    fraction = mine["run"].map(lambda run: about[run]["train_fraction"])
    named = mine.assign(groups=groups, fraction=fraction, score=mine["value"])
    return named[[*columns, "metric", "score"]].reset_index(drop=True)


def heat_map(results: Results, metric: str) -> pd.DataFrame:
    """Tabulate validation scores of all candidates at full size: one row a candidate.

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
        is_adam = means["head"].str.match(r"adam\b").to_numpy()
        values.loc[is_adam, "hidden"] = values.loc[is_adam, "hidden"].astype(float).fillna(0)
    return pd.concat([means[names], values, means["value"].rename("score")], axis=1)


def read_results(path: Path) -> dict[str, Any]:
    """Read what was swept, as the file of its results says.

    Raises
    ------
    InputError
        If the file is damaged, or a newer release wrote it.
    """
    return dict(read_parquet(path, FORMAT, FORMAT_VERSION, columns=[])[1]["sweep"])


def read_result_table(path: Path) -> pd.DataFrame:
    """Read all runs of a sweep, one row a candidate and metric.

    Raises
    ------
    InputError
        As `read_results` does.
    """
    return read_parquet(path, FORMAT, FORMAT_VERSION)[0].to_pandas()


def _write(path: Path, table: pd.DataFrame, sweep: Sweep) -> None:
    types = {"train_groups": "Int64", "draw": "Int64", "images": "Int64", "seed": "int64"}
    data = pa.Table.from_pandas(table.astype(types), preserve_index=False)
    meta = {"sweep": sweep.model_dump()}
    write_parquet(path, data.replace_schema_metadata(None), FORMAT, FORMAT_VERSION, meta)
