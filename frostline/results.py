"""The report of a study: written once for what went into it, shown on the terminal."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import typer

from frostline import __version__
from frostline.audits import audit_datasets
from frostline.cache import InputError, Workspace, atomic_write, read_manifest, spec_key
from frostline.study import Study

WIDTH = 80


def show_report(
    workspace: Workspace, study: Study, predictions: list[Path], *, anew: bool = False
) -> None:
    """Print answer, table and the page's place; write them first if anything changed.

    Parameters
    ----------
    anew : bool
        Write the report even if it was made from these very predictions before.
    """
    folder = workspace.report(study.name)
    state = {
        "format": "frostline-study",
        "format_version": 1,
        "frostline": __version__,
        "study": study.model_dump(mode="json"),
        "predictions": [path.name for path in predictions],
        "manifests": {
            name: read_manifest(workspace.manifest(name)).digest() for name in study.datasets
        },
    }
    state["key"] = spec_key(state)
    answer = folder / "answer.txt"
    if anew or _key_of(folder) != state["key"] or not answer.exists():
        text = _write(workspace, study, predictions)
        _save(answer, text)
        # Last: a key that is there says that the report is whole.
        _save(folder / "study.json", json.dumps(state, indent=1) + "\n")
    typer.echo(answer.read_text(encoding="utf-8"))
    typer.echo(f"Page: {folder / 'index.html'}")
    typer.echo(f"Tables: {folder / 'tables'}")


def report_study(workspace: Workspace, study: Study) -> None:
    """Write the report of a study anew from the predictions that its last run gave.

    Raises
    ------
    InputError
        If the study was not run yet, or predictions of it are gone.
    """
    folder = workspace.report(study.name)
    if _key_of(folder) is None:
        raise InputError(
            f"Study {study.name!r} has no report in {workspace.root}: run it with `frostline run`."
        )
    names = json.loads((folder / "study.json").read_text(encoding="utf-8"))["predictions"]
    paths = [workspace.root / "predictions" / name for name in names]
    show_report(workspace, study, paths, anew=True)


def _key_of(folder: Path) -> str | None:
    path = folder / "study.json"
    return json.loads(path.read_text(encoding="utf-8"))["key"] if path.exists() else None


def _write(workspace: Workspace, study: Study, predictions: list[Path]) -> str:
    from frostline.report import answer, render, write_report
    from frostline.report.evaluation import score, tabulate

    options: dict[str, Any] = {"ci": study.ci, "replicates": study.replicates}
    write_report(
        workspace.report(study.name),
        predictions,
        title=study.title or study.name,
        primary=study.primary_metric,
        about={"study": study.name, "command": f"frostline run {study.name}"},
        audits=audit_datasets(workspace, study.datasets),
        unit=study.unit,
        **options,
    )
    frame, rows = tabulate(score(predictions, unit=study.unit), **options)
    wrap = textwrap.TextWrapper(WIDTH, break_on_hyphens=False)
    sentences = [wrap.fill(text) for text in answer(frame, study.primary_metric, rows)]
    return "\n".join(["", *sentences, "", render(frame, "table")])


def _save(path: Path, text: str) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
