"""The runner of a study: does every step that is not done, then writes the report."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from frostline.cache import InputError, Manifest, Workspace, lock_file, read_manifest
from frostline.cache.atomic import clear_temporary
from frostline.cache.locks import own_cores
from frostline.cache.tables.words import counted
from frostline.cache.workspace import check_new
from frostline.console import (
    alert,
    in_helper,
    progress,
    running,
    say,
    sharing_the_terminal,
    show_warning,
    verbosity,
)
from frostline.names import as_parameters
from frostline.ranks import refuse_ranks
from frostline.stages import gpu_count
from frostline.study.costs.measure import measure_costs
from frostline.study.entries.datasets import DatasetEntry, ExternalEntry
from frostline.study.file import Study
from frostline.study.plan import STORES, Plan, external_cells, study_cells
from frostline.study.planner import make_plan
from frostline.study.provenance import write_provenance
from frostline.study.records import changed_runs, failures, record_done
from frostline.study.results import update_report
from frostline.study.scheduler import Scheduler, Settled
from frostline.tracking.session import Tracking

Shard = tuple[int, int]
# By which CUDA takes some of a machine's GPUs, as `cuda:0` and so on.
VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass
class Outcome:
    """The result of a study.

    Attributes
    ----------
    predictions : list of Path
        Files of the runs that are done, in the order of the study.
    failed : dict
        Runs and sweeps that failed, by name, each with a sentence.
    done : list of str
        Names of the runs that are done.
    report : Path, optional
        Folder of the report; None if nothing is done, or if other shards are to write it.
    """

    predictions: list[Path] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)
    report: Path | None = None

    def check(self) -> None:
        """Raise InputError with the first sentence if a run failed."""
        if self.failed:
            name, sentence = next(iter(self.failed.items()))
            count = counted(len(self.failed), "run")
            raise InputError(f"{count} failed; the first is {name}: {sentence}")


def run_study(
    workspace: Workspace,
    study: Study,
    *,
    with_images: bool = False,
    only: Sequence[str] = (),
    jobs: int = 1,
    shard: Shard | None = None,
    strict: bool = False,
    tracking: Tracking | None = None,
) -> Outcome:
    """Index, decode, embed, train and score what is not done; write the report.

    Runners of one workspace share the work: each step is done by the one that holds its lock,
    which ends with its process. What fails is noted, and the rest goes on.

    Parameters
    ----------
    only : sequence of str
        Patterns of runs, `dataset/backbone/protocol` with or without `/seed`; all runs without any.
    strict : bool
        Raise where a run cannot start, before anything is computed.
    jobs : int
        Processes that share the work on this machine. Where it has GPUs, each of the first has one
        for itself, and those beyond their number train heads and decode.
    shard : (int, int), optional
        `(i, n)`: only runs whose names' digest modulo n is i, for jobs of an array. The report
        is then written by the one that finds everything done.
    tracking : Tracking, optional
        Where runs are handed to as well: each when it is done, and epochs while they train.

    Raises
    ------
    InputError
        If a pattern fits no run, the disk cannot be written, or torchrun started several of these;
        if `strict`, where a run cannot start.
    """
    refuse_ranks("run")
    check_new(workspace.report(study.name))
    _check_shares(jobs, shard)
    _clear(workspace)
    tracking = tracking or Tracking()
    session = tracking.open(workspace)
    plan = plan_study(workspace, study, only, strict=strict)
    changed = changed_runs(workspace, study.name, plan.runs())
    for sentence in [*plan.left_out, *plan.said, *changed]:
        alert(sentence)
    known = failures(workspace, plan)
    first = Scheduler(workspace, study, plan, shard, known, tracking=tracking)
    outcome, left = _outcome(workspace, plan, _settle(first, jobs))
    with session:  # those of other runners and of before; what is there is not handed over again
        session.hand_over(path.stem for path in outcome.predictions)
    if shard is not None and left:
        say(
            f"{len(outcome.done)} of {len(plan.runs())} runs are done: once all are, "
            "`frostline run` without --shard writes the report."
        )
    elif outcome.predictions:
        outcome.report = _report(workspace, study, plan, outcome, with_images, only)
    return outcome


def _outcome(workspace: Workspace, plan: Plan, settled: Settled) -> tuple[Outcome, list[str]]:
    """Sum up what is done and what failed; list the names of the runs that are neither."""
    # A store that failed is shown by the runs that need it.
    broken = settled.failed
    shown = [step for step in plan.steps if step.kind not in STORES and step.key in broken]
    failed = plan.failed | {step.name: broken[step.key] for step in shown}
    done = {step.key: record_done(workspace, step.key) for step in plan.runs()}
    finished = [step.name for step in plan.runs() if done[step.key] is not None]
    left = [step.name for step in plan.runs() if done[step.key] is None and step.name not in failed]
    return Outcome(_predictions(workspace, plan, done), failed, finished), left


def _clear(workspace: Workspace) -> None:
    """Take away what runners that were killed left behind."""
    for kind in ("predictions", "models", "sweeps"):
        clear_temporary(workspace.root / kind, below=True)


def _check_shares(jobs: int, shard: Shard | None) -> None:
    if jobs < 1:
        raise InputError(f"The number of jobs must be at least 1, not {jobs}.")
    if shard is not None and not 0 <= shard[0] < shard[1]:
        raise InputError(f"A shard is (i, n) with i from 0 to n - 1, not {shard}.")


def plan_study(
    workspace: Workspace,
    study: Study,
    only: Sequence[str] = (),
    *,
    fetch: bool = True,
    strict: bool = False,
) -> Plan:
    """Index the data sets of a study's runs, and plan these.

    Runs that cannot start are in `failed`. Pretrained weights that are missing are fetched if
    `fetch` is true: see `planner.make_plan`.

    Raises
    ------
    InputError
        If a pattern fits no run, every backbone is left out, or, if `strict`, a run cannot start.
    """
    cells = study_cells(study, only)
    broken: dict[str, str] = {}
    outside = [other for cell in cells for other in external_cells(study, cell)]
    for name in dict.fromkeys(cell.dataset for cell in [*cells, *outside]):
        try:
            index_study_data(workspace, study, name)
        except InputError as error:
            broken[name] = str(error)
    check_positive(workspace, study)
    plan = make_plan(workspace, study, cells, broken, fetch=fetch)
    if strict and plan.failed:
        for sentence in [*plan.left_out, *plan.said]:
            say(sentence)
        raise InputError(next(iter(plan.failed.values())))
    plan.failed = {name: as_parameters(sentence) for name, sentence in plan.failed.items()}
    if not plan.steps and not plan.failed:
        raise InputError(f"Nothing is left of study {study.name!r}. {' '.join(plan.left_out)}")
    return plan


def index_study_data(workspace: Workspace, study: Study, name: str) -> None:
    """Bring the manifest of a data set of a study up to date; it must suit the primary metric."""
    entry = study.images(name)
    if entry.root is None:
        manifest = read_manifest(workspace.manifest(name))
    else:
        manifest = _indexed(workspace, name, entry)
    if name in study.datasets:  # the order of classes is that of training
        check_metric(study, name, manifest)
    groups = manifest.table["group_id"].nunique()
    say(f"{name}: {counted(len(manifest), 'image')} of {counted(groups, 'group')}.")


def check_metric(study: Study, name: str, manifest: Manifest) -> None:
    """Refuse an ordinal primary metric for a data set whose classes have no known order."""
    from frostline.cache.tables.class_order import check_order, ordered
    from frostline.report.statistics.metrics import ORDINAL

    if study.primary_metric in ORDINAL:
        entry = study.datasets[name]
        labels = sorted(manifest.images(entry.label, entry.split)["label"].dropna().unique())
        known = ordered(labels, manifest.classes)
        check_order(*known, study.primary_metric, f"data set {name!r}")


def check_positive(workspace: Workspace, study: Study) -> None:
    """Refuse a positive class that no data set of a study has, once all are indexed."""
    positive, found = study.clinical.positive, set()
    paths = {name: workspace.manifest(name) for name in study.datasets}
    if positive is None or not all(path.is_file() for path in paths.values()):
        return
    for name, path in paths.items():
        labels = read_manifest(path).table[study.datasets[name].label]
        found |= set(labels.dropna().astype(str))
    if positive not in found:
        raise InputError(
            f"Study {study.name!r}: clinical: positive: {positive!r} is a class of no data set: "
            f"choose from {', '.join(sorted(found))}."
        )


def _indexed(workspace: Workspace, name: str, entry: DatasetEntry | ExternalEntry) -> Manifest:
    """Bring the manifest of a data set up to date."""
    from frostline.extract import index

    lock = workspace.root / "runs" / f"index-{name}.lock"
    with lock_file(lock, wait=True), progress("Indexing", "files", name) as update:
        return index.index_dataset(workspace, name, **entry.indexing(), progress=update)


def _settle(first: Scheduler, jobs: int) -> Settled:
    """Do the plan's steps, with helpers that share the work like any other runner."""
    if jobs == 1:
        return first.run()
    threads = max(1, own_cores() // jobs)
    how = os.getpid(), warnings.showwarning is show_warning, verbosity(), running.EVERY
    cards = _cards(first.study)
    with ExitStack() as stack:
        stack.enter_context(sharing_the_terminal())
        others = []
        for number in range(1, jobs):
            card = cards[number] if number < len(cards) else None
            helper = replace(first, helper=True, on_gpu=card is not None, threads=threads)
            # A process for each: the card of one is decided before it is.
            start = get_context("spawn"), _start_helper, (*how, card)
            pool = stack.enter_context(ProcessPoolExecutor(1, *start))
            others.append(pool.submit(helper.run))
        settled = replace(first, threads=threads).run()
        for other in others:
            try:
                other.result()
            except BrokenExecutor:
                say("A runner was killed: what it had begun was done by another.")
    return settled


def _cards(study: Study) -> list[str]:
    """List the GPUs that the runners of a command may have, as CUDA_VISIBLE_DEVICES names them.

    None where a study names one or computes on the CPU. The first is the first runner's: PyTorch
    computes there unless another is said.
    """
    if study.machine().resolve()[0] != "cuda":
        return []
    count, named = gpu_count(), os.environ.get(VISIBLE)
    return named.split(",")[:count] if named else [str(number) for number in range(count)]


def _start_helper(
    parent: int, sentences: bool, level: int | None, every: float, card: str | None = None
) -> None:
    """Let a helper speak the way its command does, and end with it, were it killed.

    With a `card`, it is the only one that the helper sees: no CUDA call has been made so far.
    """
    from frostline.cache.locks import end_with

    if card is not None:
        os.environ[VISIBLE] = card
    threading.Thread(target=end_with, args=(parent,), daemon=True).start()
    in_helper(level, every)
    if sentences:
        warnings.showwarning = show_warning


def _predictions(
    workspace: Workspace, plan: Plan, done: dict[str, dict[str, Any] | None]
) -> list[Path]:
    records = [done[step.key] for step in plan.runs()]
    names = [name for record in records if record for name in record["predictions"]]
    return [workspace.root / "predictions" / name for name in dict.fromkeys(names)]


def _part(study: Study, only: Sequence[str]) -> str:
    """Say that a report shows some runs of its study."""
    chosen, every = len(study_cells(study, only)), len(study_cells(study))
    return f"Shown are {chosen} of the {every} runs of this study, by --only {' '.join(only)}."


def _report(
    workspace: Workspace,
    study: Study,
    plan: Plan,
    outcome: Outcome,
    with_images: bool,
    only: Sequence[str],
) -> Path:
    from frostline.study.depth_data import depth_runs
    from frostline.study.report_data import write_sweep_tables

    if study.costs:
        cells = [step.cell for step in plan.runs()]
        measure_costs(workspace, cells, study.machine())
    folder = workspace.report(study.name)
    shown = {path.split("/")[0] for path in (step.name for step in plan.runs())}
    with lock_file(folder / "lock", wait=True):
        clear_temporary(folder, below=True)
        update_report(
            workspace,
            study,
            outcome.predictions,
            with_images=with_images,
            failed=outcome.failed,
            done=outcome.done,
            depths=depth_runs(workspace, plan),
            datasets=[name for name in study.datasets if name in shown],
            part=_part(study, only) if only else "",
        )
        write_sweep_tables(workspace, study, plan)
        write_provenance(workspace, study, plan, outcome.failed)
    return folder
