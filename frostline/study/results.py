"""The report of a study: written once for what went into it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from frostline import __version__
from frostline.audits import audit_datasets
from frostline.cache import InputError, Workspace, declared_classes, read_manifest, spec_key
from frostline.cache.manifest import COLUMNS
from frostline.cache.stamped import check_files, file_digests, read_json, write_json
from frostline.console import summary
from frostline.study.depth_data import (
    depth_runs,
    shown_runs,
    study_curves,
    with_similarity,
)
from frostline.study.external.showing import (
    external_audits,
    external_title,
    outside_runs,
    titles,
)
from frostline.study.file import Study
from frostline.study.plan import Cell, external_cells, split_name, study_cells
from frostline.study.planner import make_plan
from frostline.study.records import record_done
from frostline.study.report_data import (
    known_backbones,
    mapped_embeddings,
    stored_images,
    swept_tables,
)

if TYPE_CHECKING:
    from frostline.report import Failed, Predictions

FORMAT, VERSION = "frostline-study", 2
NOT_YET = "`frostline run` goes on with it."
STATE, ANSWER = "study.json", "answer.txt"
REMEDY = "run `frostline report` with the study again"
# Fields of a study that decide predictions; the others decide how these are scored and shown.
DECIDING = (
    "datasets",
    "external",
    "backbones",
    "protocols",
    "seeds",
    "device",
    "precision",
    "on_error",
    "cv",
)


def update_report(
    workspace: Workspace,
    study: Study,
    predictions: list[Path],
    *,
    with_images: bool = False,
    again: bool = False,
    failed: Mapping[str, str] | None = None,
    done: Sequence[str] = (),
    depths: Sequence[Mapping[str, Any]] = (),
    datasets: Sequence[str] | None = None,
    part: str = "",
) -> Path:
    """Write tables, figures and page if anything they show changed; return their folder.

    Parameters
    ----------
    with_images : bool
        Show the images that were most confidently wrong on the page.
    again : bool
        Write the report even if it was made from these very predictions before.
    failed : mapping, optional
        Runs that have no predictions, by name, each with a sentence.
    done : sequence of str
        Names of the runs that have predictions.
    depths : sequence of mapping
        Which runs stand at which depth: `frostline.study.depth_data.depth_runs`.
    datasets : sequence of str, optional
        Data sets of the predictions; all of the study if not given.
    part : str
        A sentence on what of the study is left out.
    """
    folder = workspace.report(study.name)
    names = list(study.datasets) if datasets is None else list(datasets)
    state = {
        "frostline": __version__,
        "study": study.model_dump(mode="json"),
        "predictions": [path.name for path in predictions],
        "with_images": with_images,
        "manifests": {name: read_manifest(workspace.manifest(name)).digest() for name in names},
        "classes": {name: declared_classes(workspace, name) for name in names},
        "columns": _own_columns(workspace, [*names, *study.external]),
        "failed": dict(failed or {}),
        "done": list(done) if failed else [],
        "depths": list(depths),
        "part": part,
    }
    state["key"] = spec_key(state)
    if again or _key_of(folder) != state["key"] or not _has_answer(folder):
        _write(workspace, study, predictions, state)
        # Last: a key that is there says that the report is whole.
        files = file_digests(folder, [ANSWER])
        write_json(folder / STATE, FORMAT, VERSION, {**state, "files": files})
    return folder


def _own_columns(workspace: Workspace, names: Sequence[str]) -> dict[str, str]:
    """Digest what users bring to manifests, such as sex and scanner: it trains nothing.

    Data sets without a manifest, of which there are no runs either, are left out.
    """
    found = {}
    for name in names:
        path = workspace.manifest(name)
        if path.is_file():
            table = read_manifest(path).table.sort_values("image_id")
            own = [one for one in map(str, table) if one not in COLUMNS and "mtime" not in one]
            text = table[["image_id", *own]].to_csv(index=False)
            found[name] = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
    return found


def print_report(folder: Path) -> None:
    """Print the answer and the table of a report, and where its page lies."""
    print(read_answer(folder))
    summary(f"Page: {folder / 'index.html'}")
    summary(f"Tables: {folder / 'tables'}")


def read_answer(folder: Path) -> str:
    """Read the answer and the main table of a report, as text.

    Raises
    ------
    InputError
        If they are not what was written.
    """
    check_files(folder / STATE, read_json(folder / STATE, FORMAT, VERSION), REMEDY)
    return (folder / ANSWER).read_text(encoding="utf-8")


def report_study(workspace: Workspace, study: Study, *, with_images: bool = False) -> Path:
    """Write the report of a study again from the predictions of its last run; return its folder.

    Title, metric, intervals and the like are taken from the study as it is now. Of a run that was
    interrupted before there was a report, it shows what is done, and which runs are not.

    Raises
    ------
    InputError
        If the study was not run yet, was run with other settings, or predictions of it are gone.
    """
    folder = workspace.report(study.name)
    if _key_of(folder) is None:
        return update_report(workspace, study, with_images=with_images, **_so_far(workspace, study))
    last = read_state(folder)
    try:
        # In this release's fields: the release that ran it may have had fewer.
        before = Study.model_validate(last["study"]).model_dump(mode="json")
    except ValidationError:
        raise InputError(
            f"Study {study.name!r} was run by a release with other fields: run it with "
            "`frostline run` again; finished runs are kept."
        ) from None
    now = study.model_dump(mode="json")
    other = [name for name in DECIDING if _settings(before, name) != _settings(now, name)]
    if other:
        raise InputError(
            f"Study {study.name!r} was run with other {' and '.join(other)} than it has now: give "
            "what was given to `frostline run --set`, or run it as it is."
        )
    paths = [workspace.root / "predictions" / name for name in last["predictions"]]
    return update_report(
        workspace,
        study,
        paths,
        with_images=with_images,
        again=True,
        failed=last.get("failed"),
        done=last.get("done", ()),
        depths=last.get("depths", ()),
        datasets=list(last["manifests"]),
        part=last.get("part", ""),
    )


def _so_far(workspace: Workspace, study: Study) -> dict[str, Any]:
    """Gather what is done of a study that was interrupted, as `update_report` takes it."""
    plan = make_plan(workspace, study, study_cells(study), fetch=False)
    records = {step.name: record_done(workspace, step.key) for step in plan.runs()}
    done = [name for name, record in records.items() if record is not None]
    if not done:
        raise InputError(
            f"Study {study.name!r} has no finished run in {workspace.root}: run it with "
            "`frostline run`."
        )
    files = [name for record in records.values() if record for name in record["predictions"]]
    shown = {name.split("/")[0] for name in done}
    return {
        "predictions": [workspace.root / "predictions" / name for name in dict.fromkeys(files)],
        "failed": plan.failed | {name: NOT_YET for name in records if name not in done},
        "done": done,
        "depths": depth_runs(workspace, plan),
        "datasets": [name for name in study.datasets if name in shown],
    }


def read_state(folder: Path) -> dict[str, Any]:
    """Read what a report was made from."""
    return dict(read_json(folder / STATE, FORMAT, VERSION))


def reported_runs(folder: Path) -> tuple[list[str], dict[str, str]]:
    """Read the ids of the runs that a report shows, and the sentences of those that failed."""
    last = read_state(folder)
    return [Path(name).stem for name in last["predictions"]], dict(last.get("failed") or {})


def _settings(study: dict[str, Any], name: str) -> Any:
    """Give the value of a field of a study, without the folders of its images."""
    if name not in ("datasets", "external"):
        return study.get(name)
    return {key: entry | {"root": None} for key, entry in study[name].items()}


def _has_answer(folder: Path) -> bool:
    try:
        return bool(read_answer(folder))
    except InputError:
        return False


def _key_of(folder: Path) -> str | None:
    path = folder / STATE
    return str(read_json(path, FORMAT, VERSION)["key"]) if path.is_file() else None


def _write(
    workspace: Workspace, study: Study, predictions: list[Path], state: Mapping[str, Any]
) -> None:
    from frostline.report import read_predictions, write_report

    read = [read_predictions(path) for path in predictions]
    own = [run for run in read if not run.meta.get("trained_run")]
    curves = study_curves(study, own, state["depths"])
    curves = with_similarity(workspace, curves, own, state["depths"])
    own = shown_runs(own, curves, state["depths"], alone=len(study.protocols) == 1)
    outside = outside_runs(read, own)
    runs, settings = [*own, *outside], _published(study)
    audits = audit_datasets(workspace, state["manifests"])
    write_report(
        workspace.report(study.name),
        runs,
        title=study.title or study.name,
        primary=study.primary_metric,
        about={
            "study": study.name,
            "made by": f"frostline run {study.name}.yaml",
            "written again by": f"frostline report {study.name}.yaml",
            f"{study.name}.yaml says": json.dumps(settings, ensure_ascii=False),
            **({"part": state["part"]} if state["part"] else {}),
            **{f"without result: {name}": said for name, said in state["failed"].items()},
        },
        audits=audits | external_audits(workspace, study, outside),
        embeddings=mapped_embeddings(workspace, own),
        images=stored_images(workspace, own, titles(outside)) if state["with_images"] else None,
        backbones=_backbones(workspace, study, runs),
        swept=swept_tables(workspace, state["manifests"]),
        depths=curves,
        failed=_failed(study, state["failed"], state["done"]),
        unit=study.unit,
        aggregate=study.aggregate,
        ci=study.ci,
        replicates=study.replicates,
        **study.clinical.options(),
    )


def _published(study: Study) -> dict[str, Any]:
    """Give the study without folders, which a page that may be published should not name."""
    without = {"__all__": {"root"}}
    settings = study.model_dump(
        mode="json", exclude_defaults=True, exclude={"datasets": without, "external": without}
    )
    for entry in (*settings["datasets"].values(), *settings.get("external", {}).values()):
        options = entry.get("options", {})
        if "table" in options:
            options["table"] = Path(options["table"]).name
    return settings


def _failed(study: Study, failed: Mapping[str, str], done: Sequence[str]) -> list[Failed]:
    """List the runs that failed, one entry for all seeds of a method."""
    from frostline.report import Failed
    from frostline.report.tables.failed import NOT_RUN

    alike: dict[tuple[str, str, str, str], list[Cell]] = {}
    own = study_cells(study)
    for cell in [*own, *(other for one in own for other in external_cells(study, one))]:
        if cell.name in failed:
            same = (cell.place, cell.backbone.name, cell.step, failed[cell.name])
            alike.setdefault(same, []).append(cell)
    shown = {split_name(name) for name in done}
    found = []
    for (dataset, backbone, protocol, sentence), cells in alike.items():
        method = (dataset, backbone, protocol)
        unfreeze, weights = str(cells[0].entry.unfreeze), cells[0].network().weights
        seeds = tuple(cell.seed for cell in cells)
        of = cells[0].of
        title = external_title(cells[0].dataset, of) if of else dataset
        about = (title, backbone, unfreeze, weights, protocol, seeds)
        word = NOT_RUN if sentence == NOT_YET else "failed"
        found.append(Failed(*about, method not in shown, sentence, word))
        shown.add(method)  # one row, however many sentences
    return found


def _backbones(
    workspace: Workspace, study: Study, runs: list[Predictions]
) -> dict[str, dict[str, Any]]:
    from frostline.cache.stores.measured import known_costs

    costs = known_backbones(workspace, runs)
    if study.costs:
        machine = study.machine()
        device, precision = machine.resolve()
        known = known_costs(workspace, device, precision, machine.batch_on(device))
        for name, measured in known.items():
            costs[name] = costs.get(name, {}) | measured
    return costs
