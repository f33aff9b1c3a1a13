"""Run a study: every stage that is not done, then the report."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from frostline import steps
from frostline.cache import Workspace
from frostline.console import progress, say, say_epoch
from frostline.protocols import HEADS
from frostline.results import show_report
from frostline.study import BackboneEntry, ProtocolEntry, Study


@dataclass(frozen=True)
class Cell:
    """One run of a study."""

    dataset: str
    backbone: BackboneEntry
    protocol: str
    entry: ProtocolEntry
    seed: int

    @property
    def title(self) -> str:
        """What a person calls it."""
        return f"{self.dataset} · {self.backbone.name} · {self.protocol} · seed {self.seed}"

    def network(self) -> steps.Network:
        """Backbone, weights and what it sees."""
        return steps.Network(
            self.backbone.name,
            self.entry.weights or self.backbone.weights,
            self.backbone.weights_seed,
            self.backbone.feature,
            self.entry.recipe,
            self.entry.image_size,
        )


def study_cells(study: Study) -> Iterator[Cell]:
    """The runs of a study, data set by data set."""
    grid = itertools.product(
        study.datasets, study.backbone_entries(), study.protocols.items(), study.seeds
    )
    for dataset, backbone, (protocol, entry), seed in grid:
        yield Cell(dataset, backbone, protocol, entry, seed)


def run_study(workspace: Workspace, study: Study, *, with_images: bool = False) -> list[Path]:
    """Index, extract, train and score what is not done; write and print the report."""
    for name in study.datasets:
        index_dataset(workspace, study, name)
    predictions = [run_cell(workspace, study, cell) for cell in study_cells(study)]
    show_report(workspace, study, predictions, with_images=with_images)
    return predictions


def index_dataset(workspace: Workspace, study: Study, name: str) -> None:
    """Bring the manifest of a data set of a study up to date."""
    from frostline.extract import index

    entry = study.datasets[name]
    roots = [entry.root] if isinstance(entry.root, str) else entry.root
    with progress(f"Indexing {name}", "files") as update:
        manifest = index.index_dataset(
            workspace,
            name,
            kind=entry.kind,
            roots=[Path(root) for root in roots],
            group_pattern=entry.group_pattern,
            seed=entry.seed,
            test_fraction=entry.test_fraction,
            val_fraction=entry.val_fraction,
            options=entry.options,
            progress=update,
        )
    groups = manifest.table["group_id"].nunique()
    say(f"{name}: {len(manifest)} images of {groups} groups.")


def run_cell(workspace: Workspace, study: Study, cell: Cell) -> Path:
    """Train and predict one run, unless its predictions are there; give their path."""
    machine = steps.Machine(study.device, study.precision, on_error=study.on_error)
    if cell.entry.unfreeze == "none":
        run = _frozen(workspace, study, cell, machine)
    else:
        run = _unfrozen(workspace, cell, machine)
    return workspace.predictions(run)


def _frozen(workspace: Workspace, study: Study, cell: Cell, machine: steps.Machine) -> str:
    from frostline.probe.run import probe_run

    with progress(f"Embedding: {cell.title}") as update:
        done = steps.extract(
            workspace, cell.dataset, cell.network(), machine=machine, progress=update
        )
    head = cell.entry.head or HEADS[cell.entry.recipe]
    run, new = probe_run(
        workspace,
        cell.dataset,
        cell.backbone.name,
        head=head,
        protocol=cell.entry.recipe,
        key=done.key,
        seed=cell.seed,
        hyperparameters=cell.entry.changes(),
        on_missing="skip" if study.on_error == "skip" else "error",
    )
    state = "trained" if new else "done before"
    say(f"{cell.title}: {done.embedded} images embedded now, head {head} {state}.")
    return run


def _unfrozen(workspace: Workspace, cell: Cell, machine: steps.Machine) -> str:
    with progress(f"Decoding: {cell.title}") as update:
        run, new = steps.finetune(
            workspace,
            cell.dataset,
            cell.network(),
            unfreeze=str(cell.entry.unfreeze),
            machine=machine,
            seed=cell.seed,
            changes=cell.entry.changes(),
            on_epoch=say_epoch,
            progress=update,
        )
    say(f"{cell.title}: {'trained' if new else 'done before'}.")
    return run
