"""Study files: data sets × backbones × protocols in one YAML file, checked before anything runs."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from frostline.cache import InputError


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class DatasetEntry(_Strict):
    """A data set, as `frostline index` takes it.

    Attributes
    ----------
    root : str or list of str
        Folders with the images, relative to the study file.
    options : dict
        Options of the kind: `table`, `label_column`, ….
    """

    root: str | list[str]
    kind: str = "folder"
    group_pattern: str | None = None
    test_fraction: float | None = Field(None, gt=0, lt=1)
    val_fraction: float = Field(0.2, gt=0, lt=1)
    seed: int = 0
    options: dict[str, Any] = {}


class BackboneEntry(_Strict):
    """A backbone and its weights, as `frostline extract` takes them."""

    name: str
    weights: str = "pretrained"
    weights_seed: int = 0
    feature: str | None = None


class ProtocolEntry(_Strict):
    """One way to train: a recipe, how much unfreezes, and what departs from the recipe.

    The keys from `epochs` on are the recipe's fields (`docs/finetuning.md`), which checks them;
    `batch` is its `batch_size`, or `auto` for its `micro_batch`.

    Attributes
    ----------
    recipe : str
        `paper` or `standard`: what every field is unless it is given here.
    unfreeze : str or int
        `none` (a head on cached embeddings), the last N blocks, `classifier` (VGG's hidden linear
        layers) or `all`.
    head : str, optional
        `logistic` or `adam`, for `unfreeze: none`.
    weights : str, optional
        Replaces the backbone's weights: `random` is training from scratch.
    """

    recipe: Literal["paper", "standard"] = "paper"
    unfreeze: Literal["none", "classifier", "all"] | int = "none"
    head: Literal["logistic", "adam"] | None = None
    weights: str | None = None
    image_size: int | None = Field(None, ge=1)
    epochs: Any = None
    batch: Any = None
    batch_size: Any = None
    micro_batch: Any = None
    optimizer: Any = None
    lr: Any = None
    layer_decay: Any = None
    weight_decay: Any = None
    schedule: Any = None
    warmup_epochs: Any = None
    clip_grad_norm: Any = None
    shuffle: Any = None
    augmentation: Any = None
    class_weights: Any = None
    label_smoothing: Any = None
    ema: Any = None
    patience: Any = None
    select: Any = None

    def changes(self) -> dict[str, Any]:
        """What departs from the recipe, by the names of its fields.

        Raises
        ------
        InputError
            If a value cannot be.
        """
        from frostline.finetune.recipe import make_recipe

        given = self.model_dump(exclude_none=True)
        for name in ("recipe", "unfreeze", "head", "weights", "image_size"):
            given.pop(name, None)
        if "batch" in given:
            batch = given.pop("batch")
            given["micro_batch" if batch == "auto" else "batch_size"] = batch
        recipe = make_recipe(self.recipe, **given)
        if self.unfreeze == "none" and len(recipe.rates) > 1 and "lr" in given:
            raise InputError(
                "a head on cached embeddings takes one lr: `frostline probe --sweep` compares "
                "several."
            )
        return {name: getattr(recipe, name) for name in given}


class Study(_Strict):
    """Data sets × backbones × protocols × seeds, and how they are scored."""

    name: str
    title: str | None = None
    datasets: dict[str, DatasetEntry]
    backbones: list[str | BackboneEntry]
    protocols: dict[str, ProtocolEntry]
    seeds: list[int] = [0]
    primary_metric: str = "accuracy"
    ci: str = "auto"
    unit: Literal["group", "image"] = "group"
    replicates: int | None = Field(None, ge=100)
    device: str = "auto"
    precision: str = "auto"
    on_error: Literal["stop", "skip"] = "stop"

    def backbone_entries(self) -> list[BackboneEntry]:
        """Backbones with their weights."""
        return [
            BackboneEntry(name=entry) if isinstance(entry, str) else entry
            for entry in self.backbones
        ]


def builtin_studies() -> list[str]:
    """Names of the studies that come with Frostline."""
    folder = files("frostline") / "studies"
    return sorted(item.name[:-5] for item in folder.iterdir() if item.name.endswith(".yaml"))


def read_study(name: str | Path) -> Study:
    """Read a study file, or a built-in study by its name.

    Raises
    ------
    InputError
        If there is none, it is not YAML, a key is unknown (the valid ones are listed) or a value
        is wrong.
    """
    path = Path(name)
    if not path.exists() and str(name) in builtin_studies():
        path = Path(str(files("frostline") / "studies" / f"{name}.yaml"))
    if not path.is_file():
        known = ", ".join(builtin_studies())
        raise InputError(f"There is no study file {name}; built-in studies are {known}.")
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not YAML: {' '.join(str(error).split())}.") from error
    study = parse_study(data, str(path))
    for entry in study.datasets.values():
        roots = [entry.root] if isinstance(entry.root, str) else entry.root
        entry.root = [str(path.parent / root) for root in roots]
    return study


def parse_study(data: Any, where: str) -> Study:
    """Check a study; `where` names it in errors."""
    if not isinstance(data, dict):
        raise InputError(f"{where} is not a study: it must be a mapping with name, datasets, ….")
    try:
        study = Study.model_validate(data)
    except ValidationError as error:
        raise InputError(f"{where}: {_sentence(error)}") from None
    for name, entry in study.protocols.items():
        try:
            entry.changes()
        except InputError as error:
            raise InputError(f"{where}: protocols.{name}: {error}") from None
    return study


def _sentence(error: ValidationError) -> str:
    """The first problem in words; unknown keys come with the valid ones."""
    problems = error.errors()
    # Of the branches of a union, the one that got furthest is what the user meant.
    first = max(problems, key=lambda problem: problem["type"] == "extra_forbidden")
    place = ".".join(str(part) for part in first["loc"] if part not in ("BackboneEntry", "str"))
    if first["type"] == "extra_forbidden":
        valid = ", ".join(_model_at(first["loc"]).model_fields)
        return f"there is no key {place!r}; the keys there are {valid}."
    if first["type"] == "missing":
        return f"the key {place!r} is missing."
    return f"{place}: {first['msg'].lower()}, not {first.get('input')!r}."


def _model_at(location: tuple[int | str, ...]) -> type[BaseModel]:
    models: dict[int | str, type[BaseModel]] = {
        "datasets": DatasetEntry,
        "backbones": BackboneEntry,
        "protocols": ProtocolEntry,
    }
    return models[location[0]] if len(location) > 1 else Study
