"""Planning: from the runs of a study to steps, without computing anything but digests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frostline import stages as steps
from frostline.cache import InputError, Manifest, Workspace, read_manifest
from frostline.cache.tables.unfreezing import is_lora
from frostline.cache.tables.words import counted
from frostline.depth.checks import AUTO, check_images, check_trained, choose_folds
from frostline.probe.sweep.planning import class_orders
from frostline.protocols import Inputs
from frostline.study.external.planning import check_pair, external_steps
from frostline.study.file import Study
from frostline.study.plan import Cell, Plan, Step, external_cells
from frostline.study.records import manifest_digests, record_done
from frostline.study.steps import study_heads, study_sweep

if TYPE_CHECKING:
    from frostline.extract.augmentation.views import Of, Views
    from frostline.extract.backbones.identity import Identity
    from frostline.extract.images.geometry import Geometry
    from frostline.probe.sweep.settings import Sweep


def make_plan(
    workspace: Workspace,
    study: Study,
    cells: Sequence[Cell],
    broken: Mapping[str, str] | None = None,
    *,
    fetch: bool = True,
) -> Plan:
    """Find all steps of some runs, whose manifests must exist.

    A run that cannot be planned (its weights cannot be had, …) is in `failed`. Where the study
    leaves the precision to the machine, it is that of what was done before, if anything was.

    Parameters
    ----------
    broken : mapping, optional
        Data sets without a manifest, each with a sentence.
    fetch : bool
        Whether pretrained weights that are not on this machine are fetched, as their digest is
        part of what a run is. If not, it is "" in the steps' inputs.
    """
    plan = _planned(workspace, study, cells, broken or {}, fetch)
    machine = study.machine()
    if machine.precision != steps.AUTO or machine.engine not in steps.TORCH_TOO:
        return plan
    own = machine.resolve()[1]
    for one in (own, *steps.PRECISIONS[1:]):
        study.settle(one)
        other = plan if one == own else _planned(workspace, study, cells, broken or {}, fetch)
        if any(
            "compute" in step.inputs and record_done(workspace, step.key) for step in other.steps
        ):
            if one != own:
                other.said.append(
                    f"Precision {one}, as what is done already; --precision {own} would start anew."
                )
            return other
    study.settle(own)
    return plan


def _planned(
    workspace: Workspace,
    study: Study,
    cells: Sequence[Cell],
    broken: Mapping[str, str],
    fetch: bool,
) -> Plan:
    plan, planner = Plan(), _Planner(workspace, study, fetch, broken)
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

    def __init__(
        self, workspace: Workspace, study: Study, fetch: bool, broken: Mapping[str, str]
    ) -> None:
        self.workspace, self.study, self.fetch, self.broken = workspace, study, fetch, broken
        self.precision = study.machine().resolve()[1]
        self.manifests: dict[str, tuple[Manifest, dict[str, str]]] = {}
        self.identities: dict[tuple[Any, ...], list[Identity] | InputError] = {}
        self.folds: dict[tuple[str, bool], str | None] = {}
        self.pairs: dict[tuple[str, str], dict[str, str] | str] = {}

    def manifest(self, name: str) -> tuple[Manifest, dict[str, str]]:
        if name not in self.manifests:
            manifest, entry = (
                read_manifest(self.workspace.manifest(name)),
                self.study.datasets[name],
            )
            self.manifests[name] = manifest, manifest_digests(manifest, entry.label, entry.split)
        return self.manifests[name]

    def identity(self, network: steps.Network, inputs: Inputs) -> list[Identity]:
        """Find the identity of a network: one for each of its features."""
        key = (replace(network, protocol="paper", image_size=None), inputs.geometry.crop)
        if key not in self.identities:
            try:
                self.identities[key] = network.identify_features(
                    self.workspace, inputs, [network.feature], fetch=self.fetch
                )
            except InputError as error:
                self.identities[key] = error
        found = self.identities[key]
        if isinstance(found, InputError):
            raise found
        return found

    def add(self, plan: Plan, cell: Cell) -> None:
        network, entry = cell.network(), cell.entry
        manifest, digests = self.manifest(cell.dataset)
        inputs = network.inputs(self.workspace, manifest)
        known = self.identity(network, inputs)
        features = [one.feature for one in known]
        seen = {
            "dataset": cell.dataset,
            "backbone": network.backbone_name,
            "weights": known[0].weights,
            **({"features": features} if entry.is_depth else {"feature": features[0]}),
            "classifier": known[0].head,
            "normalisation": inputs.normalisation,
            "compute": self.precision,
            "on_error": self.study.on_error,  # whether a run may go without unreadable images
        }
        trained: dict[str, Any] = {
            "manifest": digests,
            "protocol": entry.recipe,
            "unfreeze": str(entry.unfreeze),
            "seed": cell.seed,
        }
        columns = self.study.datasets[cell.dataset].columns()
        if columns != steps.Columns():
            trained["columns"] = [columns.label, columns.split]
        if entry.unfreeze == "none":
            pixels = self._pixels(cell, manifest, inputs.geometry)
            needs = (plan.add(pixels),) if self.study.keep_pixels else ()
            self._heads(plan, cell, {**seen, "pixels": pixels.inputs["pixels"]}, trained, needs)
        else:
            self._training(plan, cell, inputs, {**seen, **trained})

    def _heads(
        self,
        plan: Plan,
        cell: Cell,
        store: dict[str, Any],
        trained: dict[str, Any],
        needs: tuple[str, ...],
    ) -> None:
        """Add embeddings, and a head on them, or on those of every depth."""
        entry, folds = cell.entry, self._folds(plan, cell)
        stored = [plan.add(Step("embeddings", _store_name(cell), store, needs, cell))]
        views = self._views(cell, folds)
        if views is not None:
            step = self._viewed(plan, cell, views, store)
            stored.append(plan.add(step))
            store = dict(step.inputs)
        head = {"head": entry.head_name(), "settings": entry.changes(), **entry.of_patients()}
        run: dict[str, Any] = {**store, **trained, **head}
        heads, metric = study_heads(self.study, cell, folds), self.study.primary_metric
        run |= self._order(cell, heads.sweep(cell.dataset, cell.backbone.name))
        if folds:
            run["cv"] = folds
        if not entry.is_depth:
            if not self._is_repeated(cell, folds):
                self._trained(plan, Step("probe", cell.name, run, tuple(stored), cell))
            given = {**store, "manifest": trained["manifest"]}
            self._sweeps(plan, cell, given, tuple(stored))
            return
        run["seeds"] = heads.check(cell.dataset, cell.backbone.name, metric).seeds
        if folds:  # the metric chooses inside of them
            run["metric"] = metric
        self._trained(plan, Step("read", cell.name, run, tuple(stored), cell))

    def _views(self, cell: Cell, folds: str | None) -> Views | None:
        """Give the views that heads of a cell train on: of all images where any may train."""
        sweeps = [one for one in self.study.sweeps.values() if one.protocol == cell.protocol]
        of: Of = "all" if folds or any(one.cv for one in sweeps) else "train"
        return cell.entry.asked_views(of, self.study.datasets[cell.dataset].split)

    def _viewed(self, plan: Plan, cell: Cell, views: Views, store: dict[str, Any]) -> Step:
        """Make the step that embeds views, for the step of the images themselves."""
        from frostline.extract.augmentation.settings import kept_geometry
        from frostline.extract.images.geometry import Geometry

        geometry = Geometry.from_spec(store["pixels"]["geometry"])
        kept = kept_geometry(geometry, views.augmentation)
        pixels = self._pixels(cell, self.manifest(cell.dataset)[0], kept)
        needs = (plan.add(pixels),) if self.study.keep_pixels else ()
        about = {"count": views.count, "of": views.of, "split": views.split, **views.what()}
        about["pixels"] = pixels.inputs["pixels"]
        name = f"{_store_name(cell)}, {counted(views.count, 'view')}"
        return Step("views", name, {**store, "views": about}, needs, cell)

    def _trained(self, plan: Plan, step: Step) -> None:
        """Add a run, and what scores it on external data sets."""
        plan.add(step)
        for cell in external_cells(self.study, step.cell):
            pair = self._pair(plan, cell)
            if not isinstance(pair, str):
                try:
                    for one in external_steps(self.study, step, cell, pair):
                        plan.add(one)
                    continue
                except InputError as error:
                    pair = str(error)
            if pair:
                plan.failed[cell.name] = pair

    def _pair(self, plan: Plan, cell: Cell) -> dict[str, str] | str:
        """Digest an external data set, or say why runs cannot be scored; "" where that is fine."""
        key = cell.dataset, cell.of
        if key not in self.pairs:
            try:
                if cell.dataset in self.broken:
                    raise InputError(self.broken[cell.dataset])
                self.pairs[key] = check_pair(self.workspace, self.study, cell)
            except InputError as error:
                # Where nothing says whose it is, it is that of the data sets that it fits.
                either = self.study.external[cell.dataset].of is None
                several = either and len(self.study.datasets) > 1
                self.pairs[key] = "" if several else str(error)
                if several:
                    plan.said.append(f"Runs of {cell.of} are not scored on it: {error}")
        return self.pairs[key]

    def _folds(self, plan: Plan, cell: Cell) -> str | None:
        """Choose what answers for a data set, and say so once; check the splits that do."""
        cv = self.study.cv
        if cv == AUTO and cell.entry.recipe != "standard":
            return None  # the paper's has one split
        of_depth = cell.entry.is_depth or bool(cell.part)
        key = cell.dataset, of_depth
        if key not in self.folds:
            entry, manifest = self.study.datasets[cell.dataset], self.manifest(cell.dataset)[0]
            images = manifest.images(entry.label, entry.split)
            metric = self.study.primary_metric if of_depth else "log_loss"
            folds, said = choose_folds(images, cell.dataset, metric, cv, entry.split)
            if said and said not in plan.said:
                plan.said.append(said)
            if folds is None and of_depth:
                check_images(images, cell.dataset, entry.columns(), metric)
            self.folds[key] = folds
        return self.folds[key]

    def _is_repeated(self, cell: Cell, folds: str | None) -> bool:
        """Tell whether the repeats of another seed's cross-validation stand for this run."""
        return folds is not None and cell.seed != cell.entry.seeds(self.study.seeds)[0]

    def _training(self, plan: Plan, cell: Cell, inputs: Inputs, run: dict[str, Any]) -> None:
        """Add a run of fine-tuning."""
        from frostline.extract.augmentation.settings import kept_geometry
        from frostline.finetune.recipe import check_peft, make_recipe
        from frostline.finetune.task import selection

        manifest, _ = self.manifest(cell.dataset)
        if cell.part:
            check_trained(cell.part, cell.network(), inputs)
        recipe = make_recipe(cell.entry.recipe, **cell.entry.changes())
        folds, columns = self._folds(plan, cell), self.study.datasets[cell.dataset].columns()
        chosen = selection(recipe, manifest, columns.label, None if folds else columns.split)
        kept = kept_geometry(inputs.geometry, recipe)
        pixels = self._pixels(cell, manifest, kept)
        run = {
            **run,
            "pixels": pixels.inputs["pixels"],
            "crop": inputs.geometry.crop,
            "recipe": recipe.to_dict(str(cell.entry.unfreeze)),
        }
        run |= chosen
        if self._is_repeated(cell, folds):
            return
        if folds:
            run["cv"] = folds
        if cell.part:  # two of them may be one training, as of random weights all is from scratch
            run["part"] = cell.part
        step = Step("finetune", cell.name, run, (pixels.key,), cell)
        if is_lora(cell.entry.unfreeze) and record_done(self.workspace, step.key) is None:
            check_peft()  # what is done does not need it
        plan.add(pixels)
        self._trained(plan, step)

    def _pixels(self, cell: Cell, manifest: Manifest, geometry: Geometry) -> Step:
        from frostline.extract.pixels import pixel_source

        spec = pixel_source(self.workspace, manifest, geometry).spec
        inputs = {"dataset": cell.dataset, "pixels": spec, "on_error": self.study.on_error}
        name = f"{cell.dataset} at {geometry.crop} pixels"
        return Step("pixels", name, inputs, (), cell)

    def _sweeps(
        self, plan: Plan, cell: Cell, inputs: dict[str, Any], stored: tuple[str, ...]
    ) -> None:
        if cell.seed != cell.entry.seeds(self.study.seeds)[0]:
            return
        for name, entry in self.study.sweeps.items():
            if entry.protocol == cell.protocol:
                # What its runs say about their recipe, and so their names.
                inputs = {**inputs, "protocol": cell.entry.recipe}
                run = {**inputs, "sweep": _plain(entry.model_dump(exclude={"protocol"}))}
                title = f"{cell.dataset}/{cell.backbone.name}/{name}"
                step = Step("sweep", title, run, stored, cell, (name, entry))
                run |= self._order(cell, study_sweep(self.study, step, name))
                plan.add(step)

    def _order(self, cell: Cell, sweep: Sweep) -> dict[str, Any]:
        """Give the order of classes that heads of a sweep are trained by, as `class_order`."""
        orders = list(class_orders(self.manifest(cell.dataset)[0], sweep).values())
        return {"class_order": orders[0]} if orders else {}


def _store_name(cell: Cell) -> str:
    """Name the embeddings of a cell, as a person calls them."""
    name = f"{cell.dataset}/{cell.backbone.name}"
    return f"{name} at every depth" if cell.entry.is_depth else name


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
