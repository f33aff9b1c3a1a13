"""Images, embeddings, costs and sweeps for a report, as plain arrays and tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from frostline.cache import (
    InputError,
    Store,
    Workspace,
    find_stores,
    read_manifest,
    write_text,
)
from frostline.report.tables.writers.records import frame_to_csv
from frostline.study.file import Study
from frostline.study.plan import Plan
from frostline.study.records import record_done

if TYPE_CHECKING:
    from frostline.report import Embedded, Images, Predictions, Swept

MOST_MAPPED = 2_000  # images of a map


def mapped_embeddings(
    workspace: Workspace, runs: Iterable[Predictions]
) -> dict[str, dict[str, Embedded]]:
    """Read the embeddings of test images that frozen runs used, by data set and backbone.

    At most `MOST_MAPPED` images are drawn, the same for all backbones. Stores that are gone, and
    features that are no vector, are left out.
    """
    out: dict[str, dict[str, Embedded]] = {}
    for run in runs:
        dataset, backbone, key = (run.meta[n] for n in ("dataset", "backbone", "store_key"))
        known = out.setdefault(str(dataset), {})
        if run.meta["unfreeze"] != "none" or backbone in known or not key:
            continue
        folder = workspace.embeddings(dataset, backbone) / key
        if folder in find_stores(folder.parent):
            embedded = _embedded(workspace, Store.open(folder), run)
            if embedded is not None:
                known[backbone] = embedded
    return {dataset: known for dataset, known in out.items() if known}


def stored_images(
    workspace: Workspace, runs: Sequence[Predictions], titles: Mapping[str, tuple[str, str]]
) -> Images:
    """Say where the images of a page come from: the largest stores of pixels and embeddings.

    `titles` are those of external data sets, with their names first.
    """
    from frostline.report import Images
    from frostline.scoring.neighbours import NEIGHBOUR_COLUMNS, nearest_training

    def read(dataset: str, ids: Sequence[str]) -> Mapping[str, np.ndarray]:
        dataset, *_ = titles.get(dataset, (dataset,))
        stores = [Store.open(path) for path in find_stores(workspace.pixels(dataset))]
        if not stores:
            return {}
        return _rows_of(workspace, max(stores, key=_size), dataset, ids)

    def nearest(dataset: str, ids: Sequence[str]) -> pd.DataFrame:
        # None of an external data set: `runs` are of those that were trained on.
        mine = [run for run in runs if run.meta["dataset"] == dataset]
        found = nearest_training(workspace, dataset, mine, ids)
        return pd.DataFrame(columns=list(NEIGHBOUR_COLUMNS)) if found is None else found.table

    return Images(read, nearest)


def known_backbones(workspace: Workspace, runs: Iterable[Predictions]) -> dict[str, dict[str, Any]]:
    """Look up in the catalogue what backbones are: parameters, network, pretraining, licence."""
    from frostline.extract.backbones.catalog import resolve
    from frostline.extract.backbones.origins import known_origin

    out: dict[str, dict[str, Any]] = {}
    begun = {str(run.meta["backbone"]): str(run.meta["weights"]) for run in runs}
    for name, weights in begun.items():
        known = known_origin(name, weights, workspace.root)
        try:
            parameters = float(resolve(name).parameters)
        except InputError:
            parameters = 0.0  # a backbone of somebody else's predictions
        out[name] = known | ({"parameters": parameters} if parameters else {})
    return {name: known for name, known in out.items() if known}


def swept_tables(workspace: Workspace, datasets: Iterable[str]) -> Swept:
    """Tabulate label efficiency and validation scores of data sets, from all sweeps of a workspace.

    Sweeps whose predictions are gone are left out. Validation scores are of the latest sweep of
    each backbone, by the metric that the latest sweep of the data set selected by.
    """
    from frostline.probe.sweep.results import (
        Results,
        curves,
        heat_map,
        read_result_table,
        read_results,
    )
    from frostline.report import Swept

    lines = []
    scores: dict[Any, pd.DataFrame] = {}
    chosen: dict[str, str] = {}
    found = sorted((workspace.root / "sweeps").glob("*/results.parquet"), key=_written)
    for path in found:
        table = read_result_table(path)
        table = table[table["dataset"].isin(list(datasets))]
        files = [workspace.predictions(run) for run in table["run"].dropna().unique()]
        if not files or not all(file.exists() for file in files):
            continue
        results = Results(table, table.iloc[:0], files, [], path)
        lines.append(curves(results))
        metric = read_results(path)["metric"]
        mine = heat_map(results, metric).query("head == 'logistic'").assign(metric=metric)
        for place, part in mine.groupby(["dataset", "backbone", "feature"]):
            scores[place] = part
            chosen[str(place[0])] = metric
    tables = {}
    if any(len(part) for part in lines):
        joined = pd.concat(lines).drop_duplicates()
        tables["efficiency"] = joined.assign(line=_named(joined, ["backbone", "head"]))
    if scores:
        metrics = {place: part["metric"].iloc[0] for place, part in scores.items()}
        joined = pd.concat(scores[place] for place in scores if metrics[place] == chosen[place[0]])
        tables["validation"] = joined.assign(backbone=_named(joined, ["backbone"]))
    return Swept(**tables)


def write_sweep_tables(workspace: Workspace, study: Study, plan: Plan) -> None:
    """Write `tables/sweep-<name>.csv` for every sweep with finished heads."""
    from frostline.probe.sweep.results import read_result_table

    found: dict[str, list[pd.DataFrame]] = {}
    for step in plan.steps:
        record = record_done(workspace, step.key) if step.sweep else None
        if step.sweep is not None and record is not None:
            path = workspace.root / "sweeps" / record["sweep"] / "results.parquet"
            found.setdefault(step.sweep[0], []).append(read_result_table(path))
    for name, tables in found.items():
        folder = workspace.report(study.name) / "tables"
        write_text(folder / f"sweep-{name}.csv", frame_to_csv(summarise(pd.concat(tables))))


def summarise(results: pd.DataFrame) -> pd.DataFrame:
    """Summarise test scores of selected heads by size of the training part.

    Returns
    -------
    DataFrame
        `dataset`, `backbone`, `head`, `train_groups` (all of them if missing), `metric`, `mean`
        and `sd` over `n` draws and seeds.
    """
    test = results[(results["split"] == "test") & results["selected"]]
    names = ["dataset", "backbone", "head", "train_groups", "metric"]
    sizes = pd.to_numeric(test["train_groups"], errors="coerce").fillna(np.inf)
    grouped = test.assign(train_groups=sizes).groupby(names, sort=True)["value"]
    table = grouped.agg(mean="mean", sd="std", n="count").reset_index()
    return table.assign(train_groups=table["train_groups"].replace(np.inf, np.nan))


def _written(path: Path) -> float:
    return path.stat().st_mtime


def _named(table: pd.DataFrame, names: list[str]) -> pd.Series:
    """Join names, with the feature where there are several."""
    telling = names + (["feature"] if table["feature"].nunique() > 1 else [])
    return table[telling].astype(str).agg(", ".join, axis=1)


def _embedded(workspace: Workspace, store: Store, run: Predictions) -> Embedded | None:
    from frostline.report import Embedded

    table = run.table[run.table["split"].eq("test").fillna(False) & run.table["label"].notna()]
    if len(table) > MOST_MAPPED:
        table = table.sort_values("image_id").sample(MOST_MAPPED, random_state=0)
    rows = _rows_of(workspace, store, str(run.meta["dataset"]), list(table["image_id"]))
    table = table[table["image_id"].isin(list(rows))]
    if len(store.shape) != 1 or len(table) < 3:
        return None
    groups = table["group_id"].fillna(table["image_id"])
    values = np.stack([rows[name] for name in table["image_id"]])
    return Embedded(values, list(table["label"].astype(str)), list(groups.astype(str)))


def _size(store: Store) -> tuple[int, int]:
    """Give how many images a store of pixels has, and their side."""
    return len(store), int(_geometry(store).get("crop") or 0)


def _geometry(store: Store) -> Mapping[str, Any]:
    """Give what was done to images; of a transform of someone's own nothing is known."""
    return store.spec.get("geometry") or {}


def _rows_of(
    workspace: Workspace, store: Store, dataset: str, ids: Sequence[str]
) -> dict[str, np.ndarray]:
    """Read the pixels of a store by image id, as far as it has them; of 2.5-D the slice itself."""
    manifest = read_manifest(workspace.manifest(dataset))
    wanted = np.flatnonzero(manifest.table["image_id"].isin(list(ids)))
    rows = store.locate(manifest.keys()[wanted])
    wanted, rows = wanted[rows >= 0], rows[rows >= 0]
    names = manifest.table["image_id"].iloc[wanted]
    pixels = store.read(rows)
    if _geometry(store).get("neighbours"):  # channels: the slice below, itself, that above
        pixels = pixels[..., 1]
    return dict(zip(names.astype(str), pixels, strict=True))
