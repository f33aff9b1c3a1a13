"""The plan of a study: its runs, and the steps that they need with all that decides a result."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any

from frostline import stages as steps
from frostline.cache import InputError, spec_key
from frostline.cache.versions import numbered
from frostline.study.file import BackboneEntry, OwnBackbone, ProtocolEntry, Study, SweepEntry

TRAINED = ("probe", "read", "finetune")
EXTERNAL = "external"
STORES = ("pixels", "embeddings", "views")


@dataclass(frozen=True)
class Cell:
    """One run of a study.

    Attributes
    ----------
    part : str
        Of the protocol of depth: "" for reading, else what is trained (`ProtocolEntry.parts`).
    entry : ProtocolEntry
        Of that part.
    of : str
        Where `dataset` is an external one, the data set whose run is scored on it.
    """

    dataset: str
    backbone: BackboneEntry
    protocol: str
    entry: ProtocolEntry
    seed: int
    part: str = ""
    of: str = ""

    @property
    def place(self) -> str:
        """Name the data set, and the one of the training if that is another."""
        return f"{self.dataset}-from-{self.of}" if self.of else self.dataset

    @property
    def step(self) -> str:
        """Name the protocol, and the part of it."""
        return f"{self.protocol}:{self.part}" if self.part else self.protocol

    @property
    def name(self) -> str:
        """Join data set, backbone, protocol and seed, the way `--only` and tables write them."""
        return f"{self.place}/{self.backbone.name}/{self.step}/{self.seed}"

    def matches(self, pattern: str) -> bool:
        """Tell whether a pattern fits `dataset/backbone/protocol`, or that with `/seed`.

        Of the protocol of depth, all parts or one, of which reading is `depth:read`.
        """
        whole, part = replace(self, part="").name, self.name
        if self.entry.is_depth:
            part = replace(self, part="read").name
        names = [name for each in (part, whole) for name in (each, each.rpartition("/")[0])]
        return any(fnmatchcase(name, pattern) for name in names)

    def network(self) -> steps.Network:
        """Give the backbone, its weights and what it sees."""
        weights = self.entry.weights or self.backbone.weights
        if isinstance(self.backbone, OwnBackbone):
            feature = self.entry.feature or self.backbone.feature
            seed = self.backbone.weights_seed if weights == "random" else None
            new = {"weights": weights, "weights_seed": seed, "feature": feature}
            return replace(self.backbone.network, **new)
        return steps.Network(
            self.backbone.name,
            weights,
            self.backbone.weights_seed if weights == "random" else None,
            self.entry.feature or self.backbone.feature,
            self.entry.recipe,
            self.entry.image_size,
        )


@dataclass(frozen=True)
class Step:
    """One step of a study: a store to fill, a run to train, or a sweep.

    Attributes
    ----------
    kind : str
        "pixels", "embeddings", "views", "probe", "read" (a head at every depth), "finetune",
        "sweep" or "external" (a run that is scored on another data set).
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
        """Digest kind and inputs to 32 hexadecimal digits."""
        others = {"sweep": "probe", "read": "probe", "views": "embeddings"}
        stage = others.get(self.kind, self.kind)
        return spec_key(numbered(stage, {"kind": self.kind, **self.inputs}))

    def features(self) -> list[str]:
        """List the features of its embeddings: one, or one of each depth."""
        return list(self.inputs.get("features") or [self.inputs["feature"]])

    def in_shard(self, shard: tuple[int, int] | None) -> bool:
        """Tell whether the run is in share `i` of `n`: its name alone decides, on any machine.

        An external data set is scored where the run is trained.
        """
        cell = replace(self.cell, dataset=self.cell.of, of="")
        name = cell.name if self.kind == EXTERNAL else self.name
        return shard is None or int(spec_key({"name": name})[:8], 16) % shard[1] == shard[0]


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
    said : list of str
        What else is to be known before it starts.
    """

    steps: list[Step] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def runs(self) -> list[Step]:
        """List the steps whose predictions the report shows, in the order of the study."""
        return [step for step in self.steps if step.kind in (*TRAINED, EXTERNAL)]

    def add(self, step: Step) -> str:
        """Append a step unless the same one is there; return its key."""
        if step.key not in self._keys:
            self._keys.add(step.key)
            self.steps.append(step)
        return step.key

    _keys: set[str] = field(default_factory=set, repr=False)


def split_name(name: str) -> tuple[str, str, str]:
    """Split a run's name into data set, backbone (whose name may have slashes) and protocol."""
    dataset, _, rest = name.partition("/")
    backbone, protocol, _ = rest.rsplit("/", 2)
    return dataset, backbone, protocol


def external_cells(study: Study, cell: Cell) -> list[Cell]:
    """List what a run is scored on besides its own data set, one cell an external one."""
    return [
        replace(cell, dataset=name, of=cell.dataset)
        for name, entry in study.external.items()
        if entry.of in (None, cell.dataset) and name != cell.dataset
    ]


def study_cells(study: Study, only: Sequence[str] = ()) -> list[Cell]:
    """List the runs of a study that a pattern fits (all without patterns), data set by data set.

    Raises
    ------
    InputError
        If a pattern fits none.
    """
    grid = itertools.product(study.datasets, study.backbone_entries(), study.protocols.items())
    cells = [
        Cell(dataset, backbone, protocol, entry, seed, part)
        for dataset, backbone, (protocol, whole) in grid
        for part, entry in whole.parts().items()
        for seed in (entry.seeds(study.seeds)[:1] if entry.is_depth else entry.seeds(study.seeds))
    ]
    for pattern in only:
        if not any(cell.matches(pattern) for cell in cells):
            raise InputError(
                f"--only {pattern} fits no run: they are called DATASET/BACKBONE/PROTOCOL/SEED, "
                f"such as {cells[0].name}."
            )
    return [cell for cell in cells if not only or any(cell.matches(each) for each in only)]
