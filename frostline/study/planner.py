"""Planning: from the runs of a study to steps, without computing anything but digests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frostline import stages as steps
from frostline.cache import InputError, Manifest, Workspace, read_manifest
from frostline.protocols import Inputs
from frostline.study.file import Study
from frostline.study.plan import Cell, Plan, Step
from frostline.study.records import manifest_digests

if TYPE_CHECKING:
    from frostline.extract.backbones.identity import Identity
    from frostline.extract.images.geometry import Geometry


def make_plan(
    workspace: Workspace,
    study: Study,
    cells: Sequence[Cell],
    broken: Mapping[str, str] | None = None,
    *,
    fetch: bool = True,
) -> Plan:
    """Find all steps of some runs, whose manifests must exist.

    A run that cannot be planned (its weights cannot be had, …) is in `failed`.

    Parameters
    ----------
    broken : mapping, optional
        Data sets without a manifest, each with a sentence.
    fetch : bool
        Whether pretrained weights that are not on this machine are fetched, as their digest is
        part of what a run is. If not, it is "" in the steps' inputs.
    """
    plan, planner, broken = Plan(), _Planner(workspace, study, fetch), broken or {}
    absent = dict(_absent(dict.fromkeys(_names(cells))))
    plan.left_out += absent.values()
    for cell in cells:
        if cell.backbone.optional and _where(cell) in absent:
            continue
        if cell.dataset in broken:
            plan.failed[cell.name] = broken[cell.dataset]
            continue
        try:
            planner.add(plan, cell)
        except InputError as error:
            plan.failed[cell.name] = str(error)
    return plan


class _Planner:
    """A plan in the making, with manifests and identities of backbones read once."""

    def __init__(self, workspace: Workspace, study: Study, fetch: bool) -> None:
        self.workspace, self.study, self.fetch = workspace, study, fetch
        self.machine = steps.Machine(study.device, study.precision, on_error=study.on_error)
        self.precision = self.machine.resolve()[1]
        self.manifests: dict[str, tuple[Manifest, dict[str, str]]] = {}
        self.identities: dict[tuple[Any, ...], Identity | InputError] = {}

    def manifest(self, name: str) -> tuple[Manifest, dict[str, str]]:
        if name not in self.manifests:
            manifest = read_manifest(self.workspace.manifest(name))
            self.manifests[name] = manifest, manifest_digests(manifest)
        return self.manifests[name]

    def identity(self, network: steps.Network, inputs: Inputs) -> Identity:
        key = (replace(network, protocol="paper", image_size=None), inputs.geometry.crop)
        if key not in self.identities:
            try:
                self.identities[key] = network.identify(self.workspace, inputs, fetch=self.fetch)
            except InputError as error:
                self.identities[key] = error
        found = self.identities[key]
        if isinstance(found, InputError):
            raise found
        return found

    def add(self, plan: Plan, cell: Cell) -> None:
        from frostline.finetune.inputs.augment import kept_geometry
        from frostline.finetune.recipe import make_recipe
        from frostline.finetune.task import selection_order

        network, entry = cell.network(), cell.entry
        manifest, digests = self.manifest(cell.dataset)
        inputs = network.inputs(manifest)
        known = self.identity(network, inputs)
        seen = {
            "dataset": cell.dataset,
            "backbone": network.backbone,
            "weights": known.weights,
            "feature": known.feature,
            "classifier": known.head,
            "normalisation": inputs.normalisation,
            "compute": self.precision,
        }
        trained = {
            "manifest": digests,
            "protocol": entry.recipe,
            "unfreeze": str(entry.unfreeze),
            "seed": cell.seed,
        }
        if entry.unfreeze == "none":
            pixels, spec = self._pixels(plan, cell, manifest, inputs.geometry)
            store = {**seen, "pixels": spec}
            name = f"{cell.dataset}/{cell.backbone.name}"
            stored = plan.add(Step("embeddings", name, store, (pixels,), cell))
            head = {"head": entry.head_name(), "settings": entry.changes()}
            # Whether a head may train without images that the store lacks.
            head["on_error"] = self.study.on_error
            run = {**store, **trained, **head}
            plan.add(Step("probe", cell.name, run, (stored,), cell))
            self._sweeps(plan, cell, {**store, "manifest": digests}, stored)
            return
        recipe = make_recipe(entry.recipe, **entry.changes())
        order = selection_order(recipe, manifest)
        kept = kept_geometry(inputs.geometry, recipe)
        pixels, spec = self._pixels(plan, cell, manifest, kept)
        run = {**seen, "pixels": spec, "crop": inputs.geometry.crop, **trained}
        run["recipe"] = recipe.to_dict()
        if order is not None:
            run["class_order"] = order
        plan.add(Step("finetune", cell.name, run, (pixels,), cell))

    def _pixels(
        self, plan: Plan, cell: Cell, manifest: Manifest, geometry: Geometry
    ) -> tuple[str, dict[str, Any]]:
        from frostline.extract.pixels import pixel_source

        spec = pixel_source(self.workspace, manifest, geometry).spec
        inputs = {"dataset": cell.dataset, "pixels": spec}
        name = f"{cell.dataset} at {geometry.crop} pixels"
        return plan.add(Step("pixels", name, inputs, (), cell)), spec

    def _sweeps(self, plan: Plan, cell: Cell, inputs: dict[str, Any], stored: str) -> None:
        if cell.seed != cell.entry.seeds(self.study.seeds)[0]:
            return
        for name, entry in self.study.sweeps.items():
            if entry.protocol == cell.protocol:
                # What its runs say about their recipe, and so their names.
                inputs = {**inputs, "protocol": cell.entry.recipe}
                run = {**inputs, "sweep": _plain(entry.model_dump(exclude={"protocol"}))}
                title = f"{cell.dataset}/{cell.backbone.name}/{name}"
                plan.add(Step("sweep", title, run, (stored,), cell, (name, entry)))


def _where(cell: Cell) -> tuple[str, str]:
    return cell.backbone.name, cell.backbone.weights


def _names(cells: Sequence[Cell]) -> Iterator[tuple[str, str]]:
    for cell in cells:
        if cell.backbone.optional:
            yield _where(cell)


def _absent(wanted: Mapping[tuple[str, str], None]) -> Iterator[tuple[tuple[str, str], str]]:
    """Yield the backbones and weights that are not on this machine, each with a sentence."""
    from frostline.extract.backbones.catalog import resolve
    from frostline.extract.backbones.weights.pretrained import weights_at_hand

    for name, weights in wanted:
        reason = "its weights are not on this machine"
        try:
            entry = resolve(name)
            at_hand = weights_at_hand(entry) if weights == "pretrained" else True
        except InputError as error:
            at_hand, reason = False, str(error).rstrip(".")
        if weights not in ("pretrained", "random"):
            at_hand = Path(weights).is_file()
        if not at_hand:
            yield (name, weights), f"{name} is left out: {reason}."


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Turn tuples into lists, which JSON gives back unchanged."""
    return {name: list(v) if isinstance(v, tuple) else v for name, v in values.items()}
