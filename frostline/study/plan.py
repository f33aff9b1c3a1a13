"""The plan of a study: every step with all that decides its result, in the order of their needs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frostline import stages as steps
from frostline.cache import InputError, Manifest, Workspace, read_manifest, spec_key
from frostline.protocols import PROTOCOL_HEADS, Inputs
from frostline.study.file import BackboneEntry, ProtocolEntry, Study, SweepEntry
from frostline.study.records import manifest_digests

if TYPE_CHECKING:
    from frostline.extract.backbones.identity import Identity
    from frostline.extract.images.geometry import Geometry

TRAINED = ("probe", "finetune")
STORES = ("pixels", "embeddings")


@dataclass(frozen=True)
class Cell:
    """One run of a study."""

    dataset: str
    backbone: BackboneEntry
    protocol: str
    entry: ProtocolEntry
    seed: int

    @property
    def name(self) -> str:
        """Data set, backbone, protocol and seed, as `--only` and tables have them."""
        return f"{self.dataset}/{self.backbone.name}/{self.protocol}/{self.seed}"

    def matches(self, pattern: str) -> bool:
        """Whether a pattern fits `dataset/backbone/protocol`, or that with `/seed`."""
        return any(fnmatchcase(name, pattern) for name in (self.name, self.name.rpartition("/")[0]))

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


@dataclass(frozen=True)
class Step:
    """One thing to be done: a store to fill, a run to train, or a sweep.

    Attributes
    ----------
    kind : str
        "pixels", "embeddings", "probe", "finetune" or "sweep".
    name : str
        What a person calls it.
    inputs : dict
        Everything that decides its result, as plain values; its digest is `key`.
    needs : tuple of str
        Keys of the steps that must be done before.
    cell : Cell
        The run, or the first of those that need the store.
    """

    kind: str
    name: str
    inputs: Mapping[str, Any]
    needs: tuple[str, ...]
    cell: Cell
    sweep: tuple[str, SweepEntry] | None = None

    @cached_property
    def key(self) -> str:
        """32 hexadecimal digits of kind and inputs."""
        return spec_key({"kind": self.kind, **self.inputs})

    def in_shard(self, shard: tuple[int, int] | None) -> bool:
        """Whether the run is of share `i` of `n`: decided by its name alone, so on any machine."""
        return shard is None or int(spec_key({"name": self.name})[:8], 16) % shard[1] == shard[0]


@dataclass
class Plan:
    """The steps of a study.

    Attributes
    ----------
    steps : list of Step
        Those that others need come first.
    failed : dict
        Runs that cannot be planned, by name, each with a sentence.
    left_out : list of str
        A sentence for each optional backbone that is left out.
    """

    steps: list[Step] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    def runs(self) -> list[Step]:
        """The steps whose predictions the report shows, in the order of the study."""
        return [step for step in self.steps if step.kind in TRAINED]

    def add(self, step: Step) -> str:
        """Append a step, unless there is the same; give its key."""
        if step.key not in self._keys:
            self._keys.add(step.key)
            self.steps.append(step)
        return step.key

    _keys: set[str] = field(default_factory=set, repr=False)


def split_name(name: str) -> tuple[str, str, str]:
    """Data set, backbone and protocol of a run's name; a backbone's name may have slashes."""
    dataset, _, rest = name.partition("/")
    backbone, protocol, _ = rest.rsplit("/", 2)
    return dataset, backbone, protocol


def study_cells(study: Study, only: Sequence[str] = ()) -> list[Cell]:
    """The runs of a study, data set by data set; of those, the ones that a pattern fits.

    Raises
    ------
    InputError
        If a pattern fits none.
    """
    grid = itertools.product(
        study.datasets, study.backbone_entries(), study.protocols.items(), study.seeds
    )
    cells = [
        Cell(dataset, backbone, protocol, entry, seed)
        for dataset, backbone, (protocol, entry), seed in grid
    ]
    for pattern in only:
        if not any(cell.matches(pattern) for cell in cells):
            raise InputError(
                f"--only {pattern} fits no run: they are called DATASET/BACKBONE/PROTOCOL/SEED, "
                f"such as {cells[0].name}."
            )
    return [cell for cell in cells if not only or any(cell.matches(each) for each in only)]


def make_plan(
    workspace: Workspace,
    study: Study,
    cells: Sequence[Cell],
    broken: Mapping[str, str] | None = None,
    *,
    fetch: bool = True,
) -> Plan:
    """Find all steps of some runs; manifests must be there. Nothing is computed but digests.

    A run that cannot be planned (its weights are not to be had, …) is in `failed`.

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
    """What is asked again and again while a plan is made."""

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
            head = {"head": entry.head or PROTOCOL_HEADS[entry.recipe], "settings": entry.changes()}
            # Whether a head may train without images that the store lacks.
            head["on_error"] = self.study.on_error
            run = {**store, **trained, **head}
            plan.add(Step("probe", cell.name, run, (stored,), cell))
            self._sweeps(plan, cell, {**store, "manifest": digests}, stored)
            return
        recipe = make_recipe(entry.recipe, **entry.changes())
        kept = kept_geometry(inputs.geometry, recipe)
        pixels, spec = self._pixels(plan, cell, manifest, kept)
        run = {**seen, "pixels": spec, "crop": inputs.geometry.crop, **trained}
        run["recipe"] = recipe.to_dict()
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
        if cell.seed != self.study.seeds[0]:
            return
        for name, entry in self.study.sweeps.items():
            if entry.protocol == cell.protocol:
                # What its runs say of their recipe, and so their names.
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
    """Backbones and weights of these that are not on this machine, each with a sentence."""
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
    """Tuples as lists, so that what is read from JSON is equal."""
    return {name: list(v) if isinstance(v, tuple) else v for name, v in values.items()}
