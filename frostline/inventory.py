"""What there is to report on: in a workspace, of a data set, a run, or a file of predictions."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote

from frostline.cache.errors import InputError
from frostline.cache.tables.words import counted
from frostline.cache.workspace import DEFAULT, VARIABLE, Workspace, begun_by, is_name

# Embedded anyway, or small and open.
BACKBONE = "effnet-lite0"
MOST = 8  # lines of a list


def shown(workspace: Workspace, name: str | None, place: str = "") -> list[str]:
    """Say what there is of something, and which commands show or make more.

    Parameters
    ----------
    name
        A data set, a run or the beginning of one, a file of predictions, or a folder; None: what
        the workspace has.
    place
        What commands need to find the workspace: ` --workspace DIR`.

    Raises
    ------
    InputError
        If there is nothing of that name.
    """
    if name is None:
        return _of_workspace(workspace, place)
    if name in workspace.datasets():
        return _of_dataset(workspace, name, place)
    path = Path(name)
    if path.is_dir():
        return _of_folder(path)
    if path.is_file():
        return _of_predictions(path)
    runs = workspace.root / "predictions"
    if run := begun_by(name, (one.stem for one in _predictions(workspace))):
        return _of_predictions(runs / f"{run}.parquet")
    raise InputError(
        f"There is no study file, data set, run or folder {name!r} here: `frostline report{place}` "
        "lists what there is."
    )


def same_workspace(workspace: Path) -> str:
    """Give what the next command needs to find the workspace: nothing if it finds it anyway."""
    known = str(workspace) in (DEFAULT, os.environ.get(VARIABLE))
    return "" if known else f" --workspace {shlex.quote(str(workspace))}"


def studies(workspace: Workspace) -> list[str]:
    """List the studies that have a report."""
    found = workspace.root.glob("reports/*/study.json")
    return sorted(path.parent.name for path in found if is_name(path.parent.name))


def _of_workspace(workspace: Workspace, place: str) -> list[str]:
    runs, names = _predictions(workspace), workspace.datasets()
    reports = studies(workspace)
    if not (names or runs or reports):
        raise InputError(
            f"There is nothing in workspace {workspace.root} yet: begin with `frostline index NAME "
            "--root DIR`, or see all of it work with `frostline demo`."
        )
    lines = [f"Workspace {workspace.root}"]
    by_dataset = Counter(_about(path)[0] for path in runs)
    for dataset in _few(names):
        lines.append(f"  data set {dataset}: {counted(by_dataset[dataset], 'run')}")
    for study in _few(reports):
        lines.append(f"  study {study}: {workspace.report(study) / 'index.html'}")
    if names:
        lines.append(f"What there is of a data set or a run: `frostline report {names[0]}{place}`")
    if reports:
        lines.append(f"A study's page again: `frostline report {reports[0]}{place}`")
    elif names:
        lines.append(f"A page: `{_page(names[0], BACKBONE, place)}`")
    return lines


def _of_dataset(workspace: Workspace, dataset: str, place: str) -> list[str]:
    from frostline.cache.manifest import read_manifest

    table = read_manifest(workspace.manifest(dataset), ["group_id"]).table
    groups = table["group_id"].nunique()
    lines = [f"Data set {dataset}: {counted(len(table), 'image')} of {counted(groups, 'group')}"]
    embedded = sorted(
        unquote(path.name)
        for path in workspace.root.glob(f"embeddings/{dataset}/*")
        if path.is_dir()
    )
    if embedded:
        lines.append(f"  embedded with {', '.join(embedded)}")
    runs = [path for path in _predictions(workspace) if _about(path)[0] == dataset]
    lines += [f"  run {one}" for one in _few([path.stem for path in runs])]
    lines.append(f"Its images: `frostline audit {dataset}{place}`")
    if runs:
        paths = " ".join(shlex.quote(str(path)) for path in runs[:MOST])
        lines.append(f"Scores: `frostline evaluate {paths}`")
    lines.append(f"A page: `{_page(dataset, (embedded or [BACKBONE])[0], place)}`")
    return lines


def _of_folder(folder: Path) -> list[str]:
    """Say what a folder holds: a workspace, the report of a study, a model, predictions."""
    if (folder / "manifests").is_dir() or (folder / "predictions").is_dir():
        return _of_workspace(Workspace(folder), same_workspace(folder))
    if (folder / "study.json").is_file():
        again = f"frostline report {folder.name}{same_workspace(folder.parents[1])}"
        return [
            f"Report of study {folder.name}",
            f"  page: {folder / 'index.html'}",
            f"  tables: {folder / 'tables'}",
            f"Write it again: `{again}`",
        ]
    of_model = folder.parent.parent / "predictions" / f"{folder.name}.parquet"
    if of_model.is_file():
        return _of_predictions(of_model)
    files = sorted([*folder.glob("*.parquet"), *folder.glob("*.csv")])
    if not files:
        raise InputError(
            f"{folder} holds no workspace, report, model or predictions: name another folder."
        )
    lines = [f"{folder} holds {counted(len(files), 'table')}"]
    lines += [f"  {name}" for name in _few([path.name for path in files])]
    if len(files) > 1:
        both = " ".join(shlex.quote(str(path)) for path in files[:2])
        lines.append(f"If they are predictions, compare them: `frostline compare {both}`")
    lines.append(f"What is in one: `frostline report {shlex.quote(str(files[0]))}`")
    return lines


def _of_predictions(path: Path) -> list[str]:
    from frostline.report import read_predictions

    run = read_predictions(path)
    meta, table = run.meta, run.table
    parts = Counter(table["split"].dropna()) if "split" in table else Counter[str]()
    images = ", ".join(f"{count:,} {part}" for part, count in sorted(parts.items()))
    known = [str(meta[name]) for name in ("dataset", "backbone") if meta.get(name)]
    lines = [f"Predictions {path}"]
    lines += [f"  of {known[1]} on {known[0]}"] if len(known) > 1 else []
    lines.append(f"  {counted(len(table), 'image')}{f' ({images})' if images else ''}")
    lines.append(f"  classes: {', '.join(run.classes)}")
    file = shlex.quote(str(path))
    lines.append(f"Scores: `frostline evaluate {file}`")
    if (path.parent.parent / "models" / path.stem).is_dir():
        model = shlex.quote(str(path.parent.parent / "models" / path.stem))
        lines.append(f"New images: `frostline predict DIR --run {model}`")
    root = path.parent.parent
    if len(known) > 1 and (root / "manifests" / f"{known[0]}.parquet").is_file():
        lines.append(f"A page: `{_page(known[0], known[1], same_workspace(root))}`")
    return lines


def _page(dataset: str, backbone: str, place: str) -> str:
    return f"frostline depth --dataset {dataset} --backbone {shlex.quote(backbone)}{place}"


def _predictions(workspace: Workspace) -> list[Path]:
    return sorted(workspace.root.glob("predictions/[!.]*.parquet"))


def _about(path: Path) -> tuple[str, str]:
    """Read what data set and backbone predictions belong to; empty where they are damaged."""
    from frostline.cache.stamped import read_any_parquet

    try:
        meta = read_any_parquet(path, [])[1] or {}
    except InputError:
        meta = {}
    return str(meta.get("dataset", "")), str(meta.get("backbone", ""))


def _few(names: Iterable[str]) -> list[str]:
    listed = list(names)
    more = [f"… and {len(listed) - MOST} more"] if len(listed) > MOST else []
    return listed[:MOST] + more
