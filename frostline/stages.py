"""The stages as functions; commands, studies and the Python face are thin layers over them."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from frostline.cache.errors import InputError
from frostline.cache.keys import is_blocks, spec_key
from frostline.cache.tables.unfreezing import is_lora
from frostline.cache.workspace import Workspace
from frostline.console import Progress, called, detail, say
from frostline.extract.engine import Engine
from frostline.names import check_kinds
from frostline.protocols import Inputs, missing_images, protocol_inputs, transform_inputs

if TYPE_CHECKING:
    from pandas import DataFrame
    from torch import nn

    from frostline.cache import Manifest, Store
    from frostline.extract.augmentation.views import Views
    from frostline.extract.backbones.backbone import Backbone
    from frostline.extract.backbones.identity import Identity
    from frostline.extract.embed import Extraction, StoreFiller
    from frostline.extract.images.geometry import Geometry
    from frostline.extract.pixels import PixelSource
    from frostline.finetune.recipe import Recipe
    from frostline.finetune.task import Execution, Task
    from frostline.finetune.training.epochs import Epoch

AUTO = "auto"
# Images a forward pass, by default.
GPU_BATCH, CPU_BATCH = 256, 32
PRECISIONS = (AUTO, "float32", "bfloat16", "float16")
# Engines that are no CPU's alone, and what the others can do.
TORCH_TOO = (AUTO, "torch")
OF_CPUS = (("cpu", AUTO), ("cpu", "float32"))


def digest_file(workspace: Workspace) -> Path:
    """Give the file in which digests of weights are remembered."""
    return workspace.root / "weights.json"


@dataclass(frozen=True)
class Network:
    """A backbone with its weights, and what it sees.

    Attributes
    ----------
    backbone : str or torch.nn.Module
        A name of `frostline backbones`, `timm:NAME`, `torchvision:NAME` or `hf:ORG/NAME`; or a
        module of your own, with its weights.
    weights : str
        `pretrained`, `random`, or the path of a file.
    weights_seed : int, optional
        Seed of random weights; 0 if None.
    feature : str, optional
        What is taken as the embedding; the backbone's default if None.
    protocol : str
        `paper` or `standard`: decides geometry and normalisation.
    image_size : int, optional
        Side of what the backbone sees, in pixels; the protocol's if None.
    head_weights : str, optional
        File of a linear head for the feature `imagenet-logits`.
    transform : callable, optional
        Your own, from an image to pixels, instead of the protocol's geometry
        (`frostline.extract.images.transform.Transform`).
    name : str, optional
        What a module of your own is called in stores and runs; the name of its class if None.
    rehash : bool
        Whether files of weights are read again; else they are the same if size and time are.
    """

    backbone: str | nn.Module
    weights: str = "pretrained"
    weights_seed: int | None = None
    feature: str | None = None
    protocol: str = "paper"
    image_size: int | None = None
    head_weights: str | None = None
    transform: Callable[..., Any] | Geometry | None = None
    name: str | None = None
    rehash: bool = False

    def __post_init__(self) -> None:
        check_kinds(vars(self), {field.name: field.default for field in fields(self)})

    @property
    def backbone_name(self) -> str:
        """The backbone's name in stores and runs."""
        if isinstance(self.backbone, str):
            return self.backbone
        from frostline.extract.backbones.backbone import backbone_name

        return backbone_name(self.backbone, self.name)

    def check(self) -> None:
        """Refuse a seed of weights that are not random, and two sizes of the images."""
        if self.weights_seed is not None and self.weights != "random":
            raise InputError(
                f"--weights-seed is for --weights random, not {self.weights!r}: leave it out."
            )
        if self.transform is not None and self.image_size is not None:
            raise InputError("Your own transform decides the size: leave out --image-size.")

    def inputs(self, workspace: Workspace, manifest: Manifest) -> Inputs:
        """Find geometry and normalisation for a data set."""
        self.check()
        reading = manifest.meta.get("options", {})
        digests = digest_file(workspace)
        inputs = protocol_inputs(self.protocol, self.backbone, self.image_size, reading, digests)
        if self.transform is None:
            return inputs
        return transform_inputs(self.transform, inputs.normalisation, reading)

    def identify(self, workspace: Workspace, inputs: Inputs, *, fetch: bool = True) -> Identity:
        """Find digest of the weights and name of the feature, without loading known weights.

        The digest is "" where weights would have to be fetched and `fetch` is false.
        """
        from frostline.extract.backbones.identity import identify_backbone

        options = self._options(workspace, inputs)
        return identify_backbone(self.backbone, **options, fetch=fetch, rehash=self.rehash)

    def identify_features(
        self,
        workspace: Workspace,
        inputs: Inputs,
        features: Sequence[str | None],
        *,
        fetch: bool = True,
    ) -> list[Identity]:
        """Find the same for several features instead; `blocks` stands for those of all depths."""
        from frostline.extract.backbones.identity import identify_features

        options = {**self._options(workspace, inputs), "rehash": self.rehash, "fetch": fetch}
        del options["feature"]
        return identify_features(self.backbone, features, **options)

    def load(self, workspace: Workspace, inputs: Inputs, features: Sequence[str] = ()) -> Backbone:
        """Build the backbone with its weights, for several features if they are given."""
        from frostline.extract.backbones.backbone import load_backbone

        options = self._options(workspace, inputs)
        return load_backbone(
            self.backbone, **{**options, **({"feature": features} if features else {})}
        )

    def _options(self, workspace: Workspace, inputs: Inputs) -> dict[str, Any]:
        return {
            "weights": self.weights,
            "weights_seed": self.weights_seed or 0,
            "feature": self.feature,
            "image_size": inputs.geometry.crop,
            "head_weights": Path(self.head_weights) if self.head_weights else None,
            "digests": digest_file(workspace),
            "name": self.name,
        }


def gpu_count() -> int:
    """Count the GPUs that torch can use, without importing it where Linux has no driver for any."""
    drivers = ("nvidia[0-9]*", "kfd", "dxg")
    if "torch" not in sys.modules and sys.platform == "linux":
        if not any(path for driver in drivers for path in Path("/dev").glob(driver)):
            return 0
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


@dataclass(frozen=True)
class Machine:
    """Where and how to compute; only the precision is part of a key.

    Attributes
    ----------
    device : str
        `auto` (a GPU if there is one), `cpu`, `cuda`, `cuda:1`.
    precision : str
        `auto` (that of what was begun; else bfloat16 or float16 on a GPU, float32 on a CPU),
        `float32`, `bfloat16`, `float16`.
    batch : int, optional
        Images a forward pass of embedding: by default 256 on a GPU, 32 on a CPU.
    workers : int
        Threads that decode; 0 for one a core.
    on_error : str
        `stop` at the first image that cannot be read, or `skip` and list them.
    engine : str
        What embeds: `auto` (on a CPU OpenVINO or ONNX Runtime, where they are installed and agree
        with PyTorch), `torch`, `onnx`, `openvino`.
    keep_pixels : bool
        Whether images that are decoded to be embedded are kept as pixels for the next backbone;
        those of fine-tuning always are.
    """

    device: str = "auto"
    precision: str = "auto"
    batch: int | None = None
    workers: int = 0
    on_error: Literal["stop", "skip"] = "stop"
    engine: Engine = "auto"
    keep_pixels: bool = True

    def __post_init__(self) -> None:
        check_kinds(vars(self), {field.name: field.default for field in fields(self)})

    def resolve(self) -> tuple[str, str]:
        """Choose the device and the precision of computing.

        Raises
        ------
        InputError
            If there is no such device here, or no such precision or engine.
        """
        if self.engine not in get_args(Engine):
            raise InputError(
                f"There is no engine {self.engine!r}: choose one of {', '.join(get_args(Engine))}."
            )
        name = self.device
        if name == "auto":
            name = "cuda" if self.engine in TORCH_TOO and gpu_count() else "cpu"
        if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
            raise InputError(f"There is no device {name!r}: choose auto, cpu, cuda or cuda:N.")
        count = gpu_count() if name.startswith("cuda") else 0
        if name.startswith("cuda") and not count:
            raise InputError(f"There is no GPU here for --device {name}: use --device cpu.")
        if name.startswith("cuda:") and int(name.removeprefix("cuda:")) >= count:
            raise InputError(f"There is no GPU {name}: the last one here is cuda:{count - 1}.")
        if self.precision not in PRECISIONS:
            raise InputError(
                f"There is no precision {self.precision!r}: choose one of {', '.join(PRECISIONS)}."
            )
        if self.engine not in TORCH_TOO and (name, self.precision) not in OF_CPUS:
            raise InputError(
                f"--engine {self.engine} computes float32 on a CPU, not {self.precision} on {name}"
                ": leave out --device and --precision, or use --engine torch."
            )
        if self.precision != "auto":
            return name, self.precision
        if not name.startswith("cuda"):
            return name, "float32"
        import torch

        return name, "bfloat16" if torch.cuda.is_bf16_supported(
            including_emulation=False
        ) else "float16"

    def settle(self, begun: Callable[[str], bool]) -> tuple[Machine, str]:
        """Choose the precision of what was begun, on whatever device, where it is `auto`.

        It is in every key: work that a GPU has done would be done again on a laptop.

        Parameters
        ----------
        begun : callable
            Says of a precision whether there is something in it.

        Returns
        -------
        The machine with a precision, and a sentence where it is not the device's own.
        """
        own = self.resolve()[1]
        chosen = replace(self, precision=own)
        if self.precision != AUTO or self.engine not in TORCH_TOO or begun(own):
            return chosen, ""
        for one in PRECISIONS[1:]:
            if one != own and begun(one):
                said = f"Precision {one}, as what is there; --precision {own} would start anew."
                return replace(self, precision=one), said
        return chosen, ""

    def source(self, workspace: Workspace, manifest: Manifest, inputs: Inputs) -> PixelSource:
        """Find the pixels of a data set."""
        from frostline.extract.pixels import pixel_source

        missing_images(self.on_error)
        return pixel_source(
            workspace,
            manifest,
            inputs.geometry,
            on_error=self.on_error,
            workers=self.workers,
            keep=self.keep_pixels,
        )

    def batch_on(self, device: str) -> int:
        """Give the images of a forward pass on a device."""
        default = GPU_BATCH if device.startswith("cuda") else CPU_BATCH
        return default if self.batch is None else self.batch


@dataclass(frozen=True)
class Columns:
    """Columns of the manifest that hold the labels and the splits."""

    label: str = "label"
    split: str = "split"


def extract(
    workspace: Workspace,
    dataset: str,
    network: Network,
    *,
    machine: Machine | None = None,
    shard: tuple[int, int] | None = None,
    views: Views | None = None,
    progress: Progress | None = None,
) -> Extraction:
    """Embed every image of a data set that the embedding store lacks, and views of some.

    Of several stores, one of each block, that of the last is described: the backbone's own feature.
    """
    how: dict[str, Any] = {"machine": machine, "shard": shard, "views": views}
    done = extract_features(
        workspace, dataset, network, [network.feature], **how, progress=progress
    )
    return [one for one in done if not one.view][-1]


def extract_features(
    workspace: Workspace,
    dataset: str,
    network: Network,
    features: Sequence[str | None],
    *,
    machine: Machine | None = None,
    shard: tuple[int, int] | None = None,
    views: Views | None = None,
    progress: Progress | None = None,
) -> list[Extraction]:
    """Embed every image of a data set that a store lacks, several features in one pass.

    Then, in a second one, views of those that `views` says.

    Parameters
    ----------
    features : sequence of str or None
        Instead of the network's; None is the backbone's default, `blocks` stands for those of all
        depths, from input to output (docs/depth.md).

    Returns
    -------
    A description for each store: those of the images, in the order of features, then those of
    views, in the order of their numbers.
    """
    from frostline.cache import read_manifest
    from frostline.cache.manifest import IMAGE_COLUMNS
    from frostline.extract.pixels import distinct_images

    columns = IMAGE_COLUMNS if views is None else None
    manifest = read_manifest(workspace.manifest(dataset), columns, shard)
    filler = store_filler(workspace, manifest, network, features, machine or Machine())
    if views is None:
        return filler.fill(distinct_images(manifest, shard), progress)
    # What cannot be is refused before anything is computed.
    seen, viewer = viewed_images(manifest, views, shard), views_filler(workspace, filler, views)
    done = filler.fill(distinct_images(manifest, shard), progress)
    return done + viewer.fill(seen, called(progress, "Embedding views of"))


def viewed_images(
    manifest: Manifest, views: Views, shard: tuple[int, int] | None = None
) -> DataFrame:
    """List the distinct images that have views, as `distinct_images` does.

    Raises
    ------
    InputError
        If there is none, or no such column of splits.
    """
    from frostline.extract.pixels import distinct_images

    table = manifest.images(split=views.split)
    if views.of == "train":
        table = table[table["split"] == "train"]
    if table.empty and shard is None:
        raise InputError(
            f"Data set {manifest.meta.get('dataset')!r} has no training image (column "
            f"{views.split!r}) that --views could be of: name another column by --split, or give "
            "--views-of all."
        )
    return distinct_images(replace(manifest, table=table), shard)


def views_filler(workspace: Workspace, filler: StoreFiller, views: Views) -> StoreFiller:
    """Find the stores of views, and what fills them, next to those of the images themselves."""
    from frostline.extract.augmentation.settings import kept_geometry, no_margin
    from frostline.extract.images.transform import Transform
    from frostline.extract.pixels import pixel_source

    plain = filler.source
    if isinstance(plain.geometry, Transform):
        raise InputError(
            "Your own transform is not for --views, which change what the protocol's geometry "
            "gives: leave one of them out."
        )
    kept = kept_geometry(plain.geometry, views.augmentation)
    if "random_crop" in views.augmentation.augmentation and kept == plain.geometry:
        raise InputError(no_margin(kept.crop))
    source = pixel_source(
        workspace,
        plain.manifest,
        kept,
        on_error=plain.on_error,
        workers=plain.workers,
        keep=plain.keep,
    )
    return filler.of_views(views, source)


def store_filler(
    workspace: Workspace,
    manifest: Manifest,
    network: Network,
    features: Sequence[str | None],
    machine: Machine,
    expected: int = 0,
) -> StoreFiller:
    """Find the stores of a data set's embeddings, and what fills them; no weights are loaded yet.

    Parameters
    ----------
    manifest : Manifest
        With `mode` and `format` of all images at least.
    features, expected
        As in `extract_features` and `StoreFiller`.
    """
    from frostline.cache import part_files
    from frostline.extract.embed import StoreFiller

    inputs = network.inputs(workspace, manifest)
    source = machine.source(workspace, manifest, inputs)
    known = network.identify_features(workspace, inputs, features)
    stores = workspace.embeddings(manifest.meta["dataset"], network.backbone_name)

    def specs_in(precision: str) -> list[dict[str, Any]]:
        return _embedding_specs(network, source, inputs, known, precision)

    machine, said = machine.settle(
        lambda one: any(part_files(stores / spec_key(spec)) for spec in specs_in(one))
    )
    if said:
        say(said)
    device, precision = machine.resolve()
    specs = specs_in(precision)
    pixels = f"pixels in {source.folder}" if machine.keep_pixels else "no pixels are kept"
    detail(f"Computing on {device} in {precision}; {pixels}.")
    for spec in specs:
        detail(f"Embeddings in {stores / spec_key(spec)}.")
    return StoreFiller(
        workspace,
        source,
        specs,
        # Loaded once, also for views.
        cache(lambda: network.load(workspace, inputs, [one.feature for one in known])),
        batch=machine.batch_on(device),
        device=device,
        engine=machine.engine,
        expected=expected,
    )


def _embedding_specs(
    network: Network,
    source: PixelSource,
    inputs: Inputs,
    known: Sequence[Identity],
    precision: str,
) -> list[dict[str, Any]]:
    """Give the spec of the store of each feature."""
    from frostline.extract.embed import embedding_spec

    return [
        embedding_spec(
            source,
            network.backbone_name,
            one.weights,
            one.feature,
            inputs.normalisation,
            precision,
            one.head,
        )
        for one in known
    ]


def finetune(
    workspace: Workspace,
    dataset: str,
    network: Network,
    *,
    unfreeze: str = "all",
    machine: Machine | None = None,
    seed: int = 0,
    columns: Columns | None = None,
    changes: Mapping[str, Any] | None = None,
    execution: Execution | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
    progress: Progress | None = None,
) -> tuple[str, bool]:
    """Train backbone and head, by all of torchrun's processes, unless that is done.

    Parameters
    ----------
    changes : mapping, optional
        Fields of the protocol's recipe (`frostline.finetune.recipe.Recipe`) to replace.
    execution : Execution, optional
        How to carry it out, where neither the machine nor a parameter here says so.
    on_epoch : callable, optional
        Called with each `Epoch`.
    progress : callable, optional
        Called with how many images are decoded, then computed by frozen blocks, then trained on,
        and of how many.

    Returns
    -------
    The run's id, and whether it trained now.
    """
    training = _training(
        workspace, dataset, network, unfreeze, machine, seed, columns, changes, progress
    )
    finished = _finished(workspace, training[0])
    if finished:
        return finished[0], False
    # Here, and not above: importing torch takes seconds, which finished work should not.
    from frostline.extract.forward import whole_float32
    from frostline.finetune.parallel import process_group
    from frostline.finetune.run import finetune_run

    how = _execution(execution, machine, on_epoch, progress)
    with process_group(how.device), whole_float32(how.device):
        return finetune_run(workspace, *training, how)


def finetune_folds(
    workspace: Workspace,
    dataset: str,
    network: Network,
    cv: str,
    *,
    unfreeze: str = "all",
    machine: Machine | None = None,
    seed: int = 0,
    columns: Columns | None = None,
    changes: Mapping[str, Any] | None = None,
    execution: Execution | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
    progress: Progress | None = None,
) -> list[tuple[str, bool]]:
    """Train backbone and head by repeated cross-validation, unless that is done.

    Parameters
    ----------
    cv : str
        `5x3`: five folds of groups, three times, instead of the data set's splits; the folds are
        those of a sweep's `cv`.
    seed : int
        From which that of each fold's training is derived.
    unfreeze, machine, columns, changes, execution, on_epoch, progress
        As of `finetune`.

    Returns
    -------
    Of each repeat, in their order, the run's id and whether it trained now.
    """
    training = _training(
        workspace, dataset, network, unfreeze, machine, seed, columns, changes, progress, cv
    )
    finished = _finished(workspace, training[0], cv)
    if finished:
        return [(run, False) for run in finished]
    from frostline.extract.forward import whole_float32
    from frostline.finetune.cross_validation import finetune_folds
    from frostline.finetune.parallel import process_group

    how = _execution(execution, machine, on_epoch, progress)
    with process_group(how.device), whole_float32(how.device):
        return finetune_folds(workspace, cv, *training, how)


def _training(
    workspace: Workspace,
    dataset: str,
    network: Network,
    unfreeze: str,
    machine: Machine | None,
    seed: int,
    columns: Columns | None,
    changes: Mapping[str, Any] | None,
    progress: Progress | None,
    cv: str | None = None,
) -> tuple[Task, Callable[[], Store], Callable[[], Backbone]]:
    """Find what is trained, and what opens its pixels and loads its backbone."""
    recipe, machine = _recipe(network, unfreeze, changes or {}), machine or Machine()
    task, source, inputs = _task(workspace, dataset, network, recipe, machine)
    chosen = columns or Columns()
    task = replace(
        task,
        unfreeze=unfreeze,
        seed=seed,
        label=chosen.label,
        split=chosen.split,
        on_missing=missing_images(machine.on_error),
    )
    task = _settled(workspace, task, machine, cv)
    device = machine.resolve()[0]
    detail(f"Computing on {device} in {task.precision}; pixels in {source.folder}.")
    load = partial(_load_checked, workspace, network, inputs, task.weights)
    return task, partial(_open_pixels, source, called(progress, "Decoding for")), load


def _settled(workspace: Workspace, task: Task, machine: Machine, cv: str | None) -> Task:
    """Take the precision of a run that was begun, where there is a choice."""
    from frostline.cache import read_manifest
    from frostline.finetune.folds import parse_folds

    manifest = read_manifest(workspace.manifest(task.dataset))
    # The first repeat of a cross-validation stands for it; its folds ask no column of splits.
    first = task if cv is None else replace(task, cv=(parse_folds(cv)[0], 0), split="split")

    def begun(precision: str) -> bool:
        run = replace(first, precision=precision).run_id(manifest)
        return workspace.has_predictions(run) or (workspace.model(run) / "checkpoints").exists()

    machine, said = machine.settle(begun)
    if said:
        say(said)
    return replace(task, precision=machine.precision)


def _finished(workspace: Workspace, task: Task, cv: str | None = None) -> list[str]:
    """List the runs of a training, one a repeat, if all of them are done."""
    from frostline.cache import read_manifest
    from frostline.finetune.folds import parse_folds

    tasks = [task]
    if cv is not None:
        if task.split != "split":
            return []  # which is refused
        folds, repeats = parse_folds(cv)
        tasks = [replace(task, cv=(folds, repeat)) for repeat in range(repeats)]
    manifest = read_manifest(workspace.manifest(task.dataset))
    runs = [one.run_id(manifest) for one in tasks]
    return runs if all(map(workspace.has_predictions, runs)) else []


def _execution(
    given: Execution | None,
    machine: Machine | None,
    on_epoch: Callable[[Epoch], None] | None,
    progress: Progress | None,
) -> Execution:
    from frostline.finetune.task import Execution

    machine = machine or Machine()
    return replace(
        given or Execution(),
        device=machine.resolve()[0],
        on_epoch=on_epoch,
        progress=called(progress, "Computing the frozen blocks of"),
        on_images=called(progress, "Training"),
    )


def _open_pixels(source: PixelSource, progress: Progress | None) -> Store:
    from frostline.extract.pixels import fill_pixels
    from frostline.finetune.parallel import first_rank_first

    with first_rank_first():
        return fill_pixels(source, progress)


def _load_checked(workspace: Workspace, network: Network, inputs: Inputs, weights: str) -> Backbone:
    """Load a backbone; its weights must be those of the digest."""
    from frostline.extract.embed import check_weights

    backbone = network.load(workspace, inputs)
    check_weights(backbone, {"weights": weights})
    return backbone


def _check_trainable(network: Network) -> None:
    if network.transform is not None:
        raise InputError("Your own transform is for `extract`: leave it out to fine-tune.")
    if network.feature == "imagenet-logits" or is_blocks(network.feature):
        raise InputError(f"Feature {network.feature!r} is for `extract`: choose one to train on.")


def _recipe(network: Network, unfreeze: str, changes: Mapping[str, Any]) -> Recipe:
    """Make the recipe of a training, all of whose changed fields act."""
    from frostline.finetune.recipe import OF_BLOCKS, OF_LORA, make_recipe

    _check_trainable(network)
    recipe = make_recipe(network.protocol, **changes)
    for field in OF_BLOCKS:
        if unfreeze == "none" and field in changes:
            raise InputError(
                f"With unfreeze none the head alone trains, and {field} is for blocks: leave it "
                "out, or let blocks train."
            )
    for field in OF_LORA:
        if not is_lora(unfreeze) and field in changes:
            raise InputError(
                f"The recipe's {field} is for adapters: leave it out, or unfreeze lora or lora:N."
            )
    return recipe


def _task(
    workspace: Workspace, dataset: str, network: Network, recipe: Recipe, machine: Machine
) -> tuple[Task, PixelSource, Inputs]:
    """Find what a network is trained on and how; with the pixels at rest, and what it sees."""
    from frostline.cache import read_manifest
    from frostline.extract.augmentation.settings import kept_geometry
    from frostline.finetune.task import Task

    manifest = read_manifest(workspace.manifest(dataset))
    inputs = network.inputs(workspace, manifest)
    kept = replace(inputs, geometry=kept_geometry(inputs.geometry, recipe))
    source = machine.source(workspace, manifest, kept)
    known = network.identify(workspace, inputs)
    task = Task(
        dataset=dataset,
        backbone=network.backbone_name,
        weights=known.weights,
        weights_source=known.weights_source,
        feature=known.feature,
        pixels=source.folder.name,
        mean=_three(inputs.normalisation["mean"]),
        std=_three(inputs.normalisation["std"]),
        protocol=network.protocol,
        recipe=recipe,
        crop=inputs.geometry.crop if kept != inputs else None,
    )
    return task, source, inputs


def _three(values: Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = values
    return red, green, blue
