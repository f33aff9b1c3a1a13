"""Study files: data sets × backbones × protocols in one YAML file, checked before anything runs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, PrivateAttr, create_model

from frostline.cache import InputError
from frostline.cache.keys import is_blocks
from frostline.cache.tables.unfreezing import COUNT, is_lora
from frostline.cache.validation import Seed, read_yaml, validated
from frostline.cache.workspace import is_url
from frostline.depth.checks import AUTO, NONE
from frostline.extract.augmentation.settings import Augmentation
from frostline.extract.augmentation.views import Of, Views, make_views
from frostline.extract.engine import Engine
from frostline.extract.images.geometry import LARGEST
from frostline.finetune.recipe import OF_LORA, Recipe, make_recipe
from frostline.names import as_parameters
from frostline.probe.choices import MOST_VIEWS, Level, Pool
from frostline.probe.heads.registry import HEADS, make_grid
from frostline.probe.sweep.settings import Sweep, check_rows, parse_sweep
from frostline.protocols import PROTOCOL_HEADS
from frostline.report.statistics.choices import Aggregate
from frostline.stages import Machine, Network
from frostline.study.entries.clinical import ClinicalEntry
from frostline.study.entries.datasets import DatasetEntry, ExternalEntry, Strict

SCRATCH = "scratch"
ADAM_FIELDS = ("epochs", "batch_size", "lr", "weight_decay")  # of a head on cached embeddings
MOST_REPLICATES = 10_000_000
NO_MODEL = (
    "A cross-validation keeps no model that external data sets could be scored by: give cv: none, "
    "or leave external out."
)
# Of a sweep's fields those that a study leaves open, besides its heads.
SWEPT = ("train_groups", "draws", "seeds", "cv", "metric")
AtLeastOne = Field(min_length=1)


def _numbered(words: str) -> AfterValidator:
    """Take one of some words with a number of blocks, such as `lora:4`."""

    def check(value: str) -> str:
        if not re.fullmatch(f"({words}):{COUNT}", value):
            raise ValueError(" or ".join(f"{word}:N" for word in words.split("|")))
        return value

    return AfterValidator(check)


Unfreeze = (
    Literal["none", "classifier", "all", "norm", "lora"]
    | int
    | Annotated[str, _numbered("lora|first")]
)
Trained = (
    Annotated[int, Field(ge=1)]
    | Literal["all", "scratch", "lora"]
    | Annotated[str, _numbered("lora")]
)


class BackboneEntry(Strict):
    """A backbone and its weights, as `frostline extract` takes them.

    Attributes
    ----------
    optional : bool
        Whether it is left out, with a sentence, where its weights are not on this machine.
    """

    name: str
    weights: str = "pretrained"
    weights_seed: int | None = None
    feature: str | None = None
    optional: bool = False


class OwnBackbone(BackboneEntry):
    """A backbone of Python, such as a module of your own; in no file.

    Attributes
    ----------
    network : Network
        What says all about it but its weights and its feature.
    """

    network: Annotated[Any, Field(repr=False)]


def _optional(called: str, model: type[BaseModel], names: Iterable[str]) -> type[Strict]:
    """Make a model of some fields of another, with their types and rules; each may be None."""
    known = {name: model.model_fields[name] for name in names}
    fields: dict[str, Any] = {
        name: (Annotated[field.annotation, Field(), *field.metadata] | None, None)
        for name, field in known.items()
    }
    return create_model(called, __base__=Strict, **fields)


RecipeFields = _optional("RecipeFields", Recipe, Recipe.model_fields)
SweepFields = _optional("SweepFields", Sweep, SWEPT)


class ProtocolEntry(RecipeFields):  # type: ignore[misc, valid-type]
    """One way to train: a recipe, how much unfreezes, and what departs from the recipe.

    Further keys are the recipe's fields (`docs/finetuning.md`), with its types and rules; None is
    what the recipe says.

    Attributes
    ----------
    recipe : str
        `paper` or `standard`: what every field is unless it is given here.
    unfreeze : str or int
        `none` (a head on cached embeddings), the last N blocks, `lora` or `lora:N` (adapters),
        `norm`, `first:N`, `classifier` (VGG's hidden linear layers) or `all`. A list of these in a
        file is a protocol of each.
    head : str, optional
        `logistic`, `ordinal`, `adam`, `knn`, `centroid`, `majority` or `attention`, for
        `unfreeze: none`.
    level, pool : str, optional
        Of that head: `patient`, if it answers for all images of a group together, and what makes
        one embedding of theirs, `mean` or `max` (docs/patients.md).
    views : int, optional
        That head trains on so many augmented views of every training image, too; the recipe's
        fields of augmentation say which (docs/views.md).
    weights : str, optional
        Replaces the backbone's weights: `random` is training from scratch.
    batch : int or "auto", optional
        The recipe's `batch_size`, or "auto" for its `micro_batch`.
    feature : str, optional
        Instead of the backbone's. `blocks`, or `blocks:POOLING`, makes this the protocol of depth:
        it reads at every block, and fields of the recipe are for what it trains.
    train : list, optional
        Of the protocol of depth, what is trained too: numbers of last blocks, `lora`, `lora:N`,
        `all`, and `scratch`, all of it from random weights.
    """

    recipe: Literal["paper", "standard"] = "paper"
    unfreeze: Unfreeze = "none"
    head: (
        Literal["logistic", "ordinal", "adam", "knn", "centroid", "majority", "attention"] | None
    ) = None
    level: Level | None = None
    pool: Pool | None = None
    views: int | None = Field(None, ge=0, le=MOST_VIEWS)
    weights: str | None = None
    image_size: int | None = Field(None, ge=1, le=LARGEST)
    batch: Annotated[int, Field(ge=1)] | Literal["auto"] | None = None
    feature: str | None = None
    train: list[Trained] | None = None

    @property
    def is_depth(self) -> bool:
        """Whether it is the protocol of depth."""
        return is_blocks(self.feature)

    def parts(self) -> dict[str, ProtocolEntry]:
        """Take it apart, by the name of each part: reading ("") and every training of `train`.

        Of another protocol it is the only part.
        """
        if not self.is_depth:
            return {"": self}
        fields = dict.fromkeys([*Recipe.model_fields, "batch", "train"])
        found = {"": self.model_copy(update=fields)}
        common = dict.fromkeys(("feature", "train", "head", "level", "pool", "views"))
        for one in self.train or []:
            how = {"unfreeze": "all", "weights": "random"} if one == SCRATCH else {"unfreeze": one}
            idle = {} if is_lora(one) else dict.fromkeys(OF_LORA)
            found[str(one)] = self.model_copy(update=common | how | idle)
        return found

    def changes(self) -> dict[str, Any]:
        """Collect what departs from the recipe, by the names of its fields.

        Raises
        ------
        InputError
            If the fields do not go together, or the head takes none such.
        """
        self.asked_views()
        if self.is_depth and self.unfreeze != "none":
            raise InputError(
                "The protocol of depth trains by its key train, such as train: [1, all]: leave "
                "unfreeze out."
            )
        if self.train is not None:
            self._check_depth()
            fields = self.model_dump(include=set(OF_LORA), exclude_none=True)
            check_lora([str(one) for one in self.train], fields)
            for entry in self.parts().values():
                entry.changes()
            return {}
        given = self.model_dump(include=set(Recipe.model_fields), exclude_none=True)
        if self.batch is not None:
            name = "micro_batch" if self.batch == "auto" else "batch_size"
            if name in given:
                raise InputError(f"The keys batch and {name} say the same: give one of them.")
            given[name] = self.batch
        make_recipe(self.recipe, **given)
        if self.views:  # on which these fields act
            given = {name: given[name] for name in given if name not in Augmentation.model_fields}
        self._check_head(given)
        check_lora([str(self.unfreeze)], given)
        if self.unfreeze == "none" and isinstance(given.get("lr"), tuple):
            raise InputError(
                "A head on cached embeddings takes one lr: `frostline sweep` compares several."
            )
        return given

    def asked_views(self, of: Of = "train", split: str = "split") -> Views | None:
        """Give the views that the head trains on; None where there are none.

        Parameters
        ----------
        of, split
            As of `Views`.

        Raises
        ------
        InputError
            If nothing would change an image, or the protocol takes no views.
        """
        if not self.views:
            return None
        if self.unfreeze != "none" or self.is_depth:
            what = "reads images as they are" if self.is_depth else "changes images in every epoch"
            raise InputError(
                "The key views is for heads on cached embeddings, with `unfreeze: none` and one "
                f"feature, and this protocol {what}: leave it out."
            )
        names = set(Augmentation.model_fields)
        fields = self.model_dump(include=names, exclude_none=True)
        try:
            return make_views(self.views, fields, None, of, split)
        except InputError as error:
            raise InputError(as_parameters(str(error))) from None

    def head_name(self) -> str:
        """Name the head on cached embeddings: the one given, or the recipe's."""
        return self.head or PROTOCOL_HEADS[self.recipe]

    def of_patients(self) -> dict[str, Any]:
        """Give `level` and `pool` where they are given."""
        given = {"level": self.level, "pool": self.pool}
        return {name: value for name, value in given.items() if value is not None}

    def seeds(self, asked: Sequence[int]) -> list[int]:
        """List the seeds of its runs, of those asked for: one where no seed changes the head."""
        return HEADS[self.head_name()].seeds(asked) if self.unfreeze == "none" else list(asked)

    def _check_depth(self) -> None:
        """Check that what is trained goes with reading at every block."""
        if not self.is_depth or self.unfreeze != "none":
            raise InputError(
                "The key train is for the protocol of depth: give feature: blocks, and no unfreeze."
            )
        trained = self.train or []
        if twice := [one for number, one in enumerate(trained) if one in trained[:number]]:
            raise InputError(f"The key train has {twice[0]!r} twice: give it once.")

    def _check_head(self, given: Mapping[str, Any]) -> None:
        """Check the head before anything runs: embeddings may take hours."""
        if self.unfreeze != "none":
            if self.head is not None:
                raise InputError("A head is for `unfreeze: none`; all others have a linear one.")
            if of_patients := self.of_patients():
                raise InputError(
                    f"The key {next(iter(of_patients))} is for `unfreeze: none`: all other models "
                    "are trained on images."
                )
            return
        if self.is_depth and self.level == "patient":
            raise InputError(
                "The protocol of depth reads images: give level to a protocol of one feature."
            )
        head = self.head_name()
        heads, any_one = {head: make_grid(head, {})}, ["any"]
        check_rows(
            Sweep(datasets=any_one, backbones=any_one, heads=heads, **self.of_patients()), {}
        )
        for name in given:
            if head != "adam" or name not in ADAM_FIELDS:
                takes = f"only {', '.join(ADAM_FIELDS)}" if head == "adam" else "no field"
                raise InputError(f"Head {head!r} takes {takes} of the recipe: leave {name} out.")


def check_lora(trained: Sequence[str], changes: Iterable[str]) -> None:
    """Refuse fields of adapters where nothing that is trained has any."""
    fields = [name for name in OF_LORA if name in set(changes)]
    if fields and not any(map(is_lora, trained)):
        raise InputError(
            f"The recipe's {fields[0]} is for adapters: leave it out, or train lora or lora:N."
        )


class SweepEntry(SweepFields):  # type: ignore[misc, valid-type]
    """A sweep over the embeddings of every data set and backbone.

    Further keys are those of a sweep file (`docs/sweeps.md`), with its types and rules.

    Attributes
    ----------
    protocol : str
        The protocol of the study whose embeddings it takes.
    heads : str, list or dict, optional
        Names of heads, or their grids by name.
    """

    protocol: str
    heads: str | list[str] | dict[str, dict[str, Any] | None] | None = None

    def sweep(self, name: str, dataset: str, backbone: str, **others: Any) -> Sweep:
        """Make the sweep of one data set and backbone.

        Parameters
        ----------
        name, dataset, backbone : str
        **others
            Further keys of a sweep file, which a study says elsewhere.

        Raises
        ------
        InputError
            If a value cannot be.
        """
        given = self.model_dump(exclude_none=True, exclude={"protocol"})
        place = {"name": name, "datasets": [dataset], "backbones": [backbone]}
        return parse_sweep({**given, **place, **others}, f"sweeps.{name}")


class Study(Strict):
    """Data sets × backbones × protocols × seeds (where one changes a run), and how to score them.

    Attributes
    ----------
    external : dict
        Data sets that runs are scored on, besides their own, and never trained.
    recipe : str
        That of every protocol that names none, so that freezing is not confused with a recipe.
    sweeps : dict
        Sweeps over the embeddings of a protocol, such as label efficiency; each becomes a table.
    clinical : dict
        What is shown besides scores: see `ClinicalEntry`.
    costs : bool
        Whether the time of embedding and the memory of every backbone are measured and shown.
    cv : str
        `KxR`, repeated cross-validation of groups instead of a data set's splits; `none`; or
        `auto`, for recipe `standard` where one split says too little (docs/depth.md).
    device, precision, batch, workers, engine, keep_pixels
        Where and how to compute, as `frostline.stages.Machine` says.
    """

    name: str
    title: str | None = None
    datasets: Annotated[dict[str, DatasetEntry], AtLeastOne]
    external: dict[str, ExternalEntry] = Field({})
    backbones: Annotated[list[str | BackboneEntry], AtLeastOne]
    recipe: Literal["paper", "standard"] = "paper"
    protocols: Annotated[dict[str, ProtocolEntry], AtLeastOne]
    sweeps: dict[str, SweepEntry] = Field({})
    seeds: list[Seed] = Field([0], min_length=1)
    costs: bool = False
    clinical: ClinicalEntry = ClinicalEntry()
    primary_metric: str = "accuracy"
    ci: str = "auto"
    unit: Literal["group", "image"] = "group"
    aggregate: Aggregate = "auto"
    replicates: int | None = Field(None, ge=100, le=MOST_REPLICATES)
    cv: str = AUTO
    device: str = "auto"
    precision: str = "auto"
    batch: int | None = Field(None, ge=1)
    workers: int = Field(0, ge=0)
    engine: Engine = "auto"
    on_error: Literal["stop", "skip"] = "stop"
    keep_pixels: bool = True
    _settled: str = PrivateAttr("")

    def images(self, name: str) -> DatasetEntry | ExternalEntry:
        """Give the entry that says where the images of a data set lie."""
        return self.datasets.get(name) or self.external[name]

    def backbone_entries(self) -> list[BackboneEntry]:
        """List the backbones with their weights."""
        return [
            BackboneEntry(name=entry) if isinstance(entry, str) else entry
            for entry in self.backbones
        ]

    def machine(self) -> Machine:
        """Say where and how to compute."""
        how = self.batch, self.workers, self.on_error, self.engine, self.keep_pixels
        return Machine(self.device, self._settled or self.precision, *how)

    def settle(self, precision: str) -> None:
        """Compute in one precision from now on, where the study leaves it to the machine."""
        self._settled = precision


def builtin_studies() -> list[str]:
    """List the names of the studies that come with Frostline."""
    folder = files("frostline") / "studies"
    return sorted(item.name[:-5] for item in folder.iterdir() if item.name.endswith(".yaml"))


def read_study(
    name: str | Path, *, data: Path | None = None, settings: Sequence[str] = ()
) -> Study:
    """Read a study file, or a built-in study by its name.

    Parameters
    ----------
    data : Path, optional
        Folder that the roots of the data sets are relative to, instead of the study file's.
    settings : sequence of str
        `FIELD=VALUE` by which the file's values are replaced (`frostline.study.settings`).

    Raises
    ------
    InputError
        If there is none, it is not YAML, a key is unknown (the valid ones are listed) or a value
        is wrong.
    """
    from frostline.study.settings import replace_fields

    path = Path(name)
    # A folder of results may well be called as the study is.
    if not path.is_file() and str(name) in builtin_studies():
        path = Path(str(files("frostline") / "studies" / f"{name}.yaml"))
        data = data or Path()
    if not path.is_file():
        known = ", ".join(builtin_studies())
        raise InputError(f"There is no study file {name}; built-in studies are {known}.")
    for text in settings:
        name, sign, _ = text.partition("=")
        if sign and "." not in name and name not in Study.model_fields:
            there = ", ".join(Study.model_fields)
            raise InputError(f"--set {name}: a study has no {name!r}; there are {there}.")
    study = parse_study(replace_fields(read_yaml(path), settings), str(path))
    for entry in (*study.datasets.values(), *study.external.values()):
        if entry.root is not None:
            entry.root = [
                root if is_url(root) else str((data or path.parent) / root)
                for root in entry.roots()
            ]
    return study


def parse_study(data: Any, where: str, options: Mapping[str, str] | None = None) -> Study:
    """Check a study.

    Parameters
    ----------
    data : Any
    where : str
        What errors begin with.
    options : mapping, optional
        As `validated` takes them: fields that were typed as options of a command.
    """
    if not isinstance(data, dict):
        raise InputError(f"{where} is not a study: it must be a mapping with name, datasets, ….")
    study = validated(Study, _expanded(_with_recipe(data), where), where, options=options)
    _check_names(study, where)
    _check_external(study, where)
    _check_seeds(study, where)
    _check_features(study, where)
    _check_scoring(study, where)
    for name, entry in study.protocols.items():
        try:
            entry.changes()
        except InputError as error:
            raise InputError(f"{where}: protocols.{name}: {error}") from None
    for name, sweep in study.sweeps.items():
        _check_sweep(study, name, sweep, where)
    return study


def _with_recipe(data: dict[str, Any]) -> dict[str, Any]:
    """Give the study's recipe to the protocols that have none of their own."""
    protocols = data.get("protocols")
    if "recipe" not in data or not isinstance(protocols, dict):
        return data
    named = {
        name: {"recipe": data["recipe"], **entry} if isinstance(entry, dict) else entry
        for name, entry in protocols.items()
    }
    return {**data, "protocols": named}


def _expanded(data: dict[str, Any], where: str) -> dict[str, Any]:
    """Make of a protocol whose unfreeze is a list one of each, called NAME-UNFREEZE.

    Each takes the fields that act on it: the head and not the recipe (of which views take the
    augmentation) where nothing unfreezes, and those of adapters where it has some.
    """
    protocols = data.get("protocols")
    if not isinstance(protocols, dict):
        return data
    found: dict[Any, Any] = {}
    for name, entry in protocols.items():
        several = entry.get("unfreeze") if isinstance(entry, dict) else None
        if not isinstance(several, list):
            found[name] = entry
            continue
        of = {f"{name}-{str(one).replace(':', '')}": one for one in several}
        if len(of) < len(several) or not of or (of.keys() & (protocols.keys() | found.keys())):
            raise InputError(
                f"{where}: protocols.{name}: unfreeze lists different ways, and each becomes a "
                f"protocol such as {name}-all: correct the list, or rename the protocol."
            )
        for called, one in of.items():
            found[called] = _acting(entry, str(one)) | {"unfreeze": one}
        if idle := [key for key in entry if not any(key in found[each] for each in of)]:
            raise InputError(
                f"{where}: protocols.{name}: {idle[0]} acts on none of unfreeze "
                f"{', '.join(map(str, several))}: leave it out, or add one that it acts on."
            )
    return {**data, "protocols": found}


def _acting(entry: Mapping[str, Any], unfreeze: str) -> dict[str, Any]:
    """Leave out the keys of a protocol that do not act on one way to unfreeze."""
    idle = set() if is_lora(unfreeze) else {*OF_LORA}
    of_views = {*Augmentation.model_fields} if entry.get("views") else set()
    if unfreeze != "none":
        idle |= {"head", "views"}
    elif entry.get("head", PROTOCOL_HEADS.get(str(entry.get("recipe", "paper")))) == "adam":
        idle |= {*Recipe.model_fields} - {*ADAM_FIELDS} - of_views
    else:
        idle |= {*Recipe.model_fields, "batch"} - of_views
    return {key: value for key, value in entry.items() if key not in idle}


def _check_names(study: Study, where: str) -> None:
    """Check that data set, backbone, protocol and seed name one run."""
    named: dict[str, Iterable[str]] = {"datasets": study.datasets, "protocols": study.protocols}
    for key, known in (*named.items(), ("external", study.external)):
        for name in known:
            if not name or "/" in name:
                raise InputError(
                    f"{where}: {key} has {name!r}, and runs are called DATASET/BACKBONE/PROTOCOL: "
                    "give it another name, without a slash."
                )
    backbones: list[str | int] = [entry.name for entry in study.backbone_entries()]
    for key, names in (("backbones", backbones), ("seeds", [*study.seeds])):
        twice = [name for number, name in enumerate(names) if name in names[:number]]
        if twice:
            raise InputError(
                f"{where}: {key} has {twice[0]!r} twice, and runs are called by it: keep one, and "
                "make another study of the other (on the same workspace nothing is done twice)."
            )


def _check_external(study: Study, where: str) -> None:
    """Check what external data sets are external to."""
    for name, entry in study.external.items():
        if entry.of is not None and entry.of not in study.datasets:
            raise InputError(
                f"{where}: external.{name}: of is {entry.of!r}, and the data sets of this study "
                f"are {', '.join(study.datasets)}: name one of them, or leave it out for all."
            )
        if entry.of == name or list(study.datasets) == [name]:
            raise InputError(
                f"{where}: external.{name} is the data set that its runs are trained on: give "
                "another one."
            )
        if name in study.datasets and entry.root is not None:
            raise InputError(
                f"{where}: external.{name} is one of datasets, where its root is given: leave root "
                "out."
            )
    if study.external and study.cv not in (AUTO, NONE):
        raise InputError(f"{where}: cv: {NO_MODEL}")


def _check_seeds(study: Study, where: str) -> None:
    """Check that a seed of weights acts in at least one protocol."""
    for number, entry in enumerate(study.backbone_entries()):
        parts = [part for one in study.protocols.values() for part in one.parts().values()]
        weights = [part.weights or entry.weights for part in parts]
        if "random" in weights:
            continue
        try:
            Network(entry.name, weights[0], entry.weights_seed).check()
        except InputError as error:
            raise InputError(f"{where}: backbones.{number}: {as_parameters(str(error))}") from None


def _check_features(study: Study, where: str) -> None:
    """Check that a feature is one, as a head takes one, and that there is one protocol of depth."""
    of_depth = [name for name, entry in study.protocols.items() if entry.is_depth]
    if len(of_depth) > 1:
        raise InputError(
            f"{where}: {' and '.join(of_depth)} are protocols of depth, and a study has one: make "
            "another study of the other (on the same workspace nothing is done twice)."
        )
    for number, entry in enumerate(study.backbone_entries()):
        if is_blocks(entry.feature):
            raise InputError(
                f"{where}: backbones.{number}: feature {entry.feature!r} stands for one of each "
                "block, and a backbone has one: make it the feature of a protocol (docs/depth.md), "
                f"or name one, such as layer:NAME (`frostline backbones --blocks {entry.name}`)."
            )


def _check_scoring(study: Study, where: str) -> None:
    """Check what would be refused after everything is trained."""
    if study.cv not in (AUTO, NONE):
        parse_sweep(
            {"datasets": ["any"], "backbones": ["any"], "heads": ["logistic"], "cv": study.cv},
            where,
            options={"cv": "cv"},
        )
    from frostline.report.statistics.comparisons.compare import check_compared
    from frostline.report.statistics.intervals.intervals import check_interval

    if study.clinical.by:
        from frostline.report.clinical.subgroups.columns import parse_by

        try:
            parse_by(study.clinical.by)
        except InputError as error:
            raise InputError(f"{where}: clinical: {as_parameters(str(error))}") from None
    for key, check in (("primary_metric", check_compared), ("ci", check_interval)):
        try:
            check(getattr(study, key))
        except InputError as error:
            raise InputError(f"{where}: {key}: {error}") from None
    try:
        study.clinical.check()
    except InputError as error:
        raise InputError(f"{where}: clinical: {as_parameters(str(error))}") from None


def _check_sweep(study: Study, name: str, sweep: SweepEntry, where: str) -> None:
    frozen = [known for known, entry in study.protocols.items() if entry.unfreeze == "none"]
    if sweep.protocol not in frozen:
        raise InputError(
            f"{where}: sweeps.{name}.protocol must be a protocol with unfreeze: none "
            f"({', '.join(frozen) or 'there is none'}), not {sweep.protocol!r}."
        )
    try:
        sweep.sweep(name, "dataset", "backbone")
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
