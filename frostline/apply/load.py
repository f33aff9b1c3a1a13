"""A trained run, a fine-tuned model or a probe, loaded to be applied to pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from frostline.cache import InputError, Workspace, declared_classes, part_files, store_spec
from frostline.cache.versions import check_stage
from frostline.cache.workspace import begun_by

if TYPE_CHECKING:
    from torch import nn

    from frostline.extract.backbones.backbone import Backbone
    from frostline.extract.images.geometry import Channels, Geometry

MODEL, HEAD = "model.json", "head.json"
# Images a forward pass of `frostline extract`, unless --batch says otherwise.
EXTRACT_BATCH = 32


class Weights(NamedTuple):
    """Where a run's backbone comes from, if Frostline cannot know.

    Attributes
    ----------
    file, head_file : str, optional
        Files of the backbone of a probe or of adapters, and of a probe's classifier.
    module : nn.Module, optional
        A module like the one that the run was trained with, if that was the user's own.
    """

    file: str | None = None
    head_file: str | None = None
    module: nn.Module | None = None


@dataclass(frozen=True)
class LoadedRun:
    """A trained run that predicts pixels.

    Attributes
    ----------
    run : str
    about : dict
        What was kept with the run: the metadata of its predictions, and `class_order`, the
        declared order of the classes, as the workspace's manifest has it now or else as it was
        when the run was trained.
    classes : list of str
        In the order of the outputs.
    geometry, channels
        How images become pixels.
    normalisation : dict
        `mean` and `std` of images in 0 to 1.
    precision : str
    batch : int
        Images computed together, as when the run was tested.
    network, head : nn.Module or estimator
        A classifier and None; or the model of a backbone and the head behind it.
    probabilities : callable
        uint8 [n, height, width] or [n, height, width, 3] to float64 [n, classes].
    folder : Path
        Where the model is kept.
    """

    run: str
    about: dict[str, Any]
    classes: list[str]
    geometry: Geometry
    channels: Channels
    normalisation: dict[str, list[float]]
    precision: str
    batch: int
    network: nn.Module | Backbone
    head: Any
    probabilities: Callable[[np.ndarray], np.ndarray]
    folder: Path


def find_run(workspace: Workspace, run: str) -> Path:
    """Find the folder of a run's model.

    Parameters
    ----------
    run : str
        A folder with a kept model, the path of a run's predictions, or the run's name or its
        beginning, as long as no other begins so.

    Raises
    ------
    InputError
        If there is none, or several.
    """
    path = Path(run)
    if path.suffix in (".parquet", ".csv") and path.is_file():
        path = path.parent.parent / "models" / path.stem
        if not _is_kept(path):
            _refuse_without_model(Path(run))
            raise InputError(f"{run} has no kept model in {path}: train that run again.")
    if _is_kept(path):
        return path
    kept = [path for name in (MODEL, HEAD) for path in workspace.root.glob(f"models/*/{name}")]
    if name := begun_by(run, (path.parent.name for path in kept)):
        return workspace.root / "models" / name
    predicted = workspace.root / "predictions" / f"{run}.parquet"
    if predicted.is_file():
        _refuse_without_model(predicted)
    raise InputError(
        f"There is no run {run!r} with a kept model in {workspace.root}: name one of "
        f"{workspace.root / 'models'}, or a folder with {MODEL} or {HEAD}."
    )


def _refuse_without_model(path: Path) -> None:
    """Refuse predictions that were imported, and those of a cross-validation, which keeps none."""
    from frostline.report import read_predictions

    meta = read_predictions(path).meta
    if meta.get("imported"):
        raise InputError(
            f"{path} was imported: only the tool that made these predictions can apply its model."
        )
    if meta.get("cv"):
        raise InputError(
            f"{path} is a cross-validation, which keeps no model: train one on the data set's "
            "splits, without --cv."
        )


def _is_kept(folder: Path) -> bool:
    return (folder / MODEL).is_file() or (folder / HEAD).is_file()


def load_run(
    workspace: Workspace, run: str, *, device: str = "cpu", weights: Weights | None = None
) -> LoadedRun:
    """Load a trained run.

    Parameters
    ----------
    run : str
        As for `find_run`.
    weights : Weights, optional
        For a probe, or adapters, whose backbone came from a file; or a module of the user's own.

    Raises
    ------
    InputError
        If there is no such run, it is damaged, its backbone is not to be had with its weights, or
        files are given to a fine-tuned model that holds its own.
    """
    folder, weights = find_run(workspace, run), weights or Weights()
    if not (folder / MODEL).is_file():
        loaded = _probe(workspace, folder, device, weights)
    else:
        loaded = _fine_tuned(workspace, folder, device, weights)
    now = declared_classes(workspace, loaded.about.get("dataset"))
    return replace(loaded, about=loaded.about | {"class_order": now}) if now else loaded


def _fine_tuned(workspace: Workspace, folder: Path, device: str, weights: Weights) -> LoadedRun:
    import torch

    from frostline.extract.forward import whole_float32
    from frostline.extract.images.geometry import Geometry
    from frostline.finetune.conditions import Conditions
    from frostline.finetune.inputs.pixels import as_input
    from frostline.finetune.saved_model import load_model, read_card

    given = weights.head_file or (weights.file and not read_card(folder).get("adapters"))
    if given:
        raise InputError(
            f"Run {folder.name} is fine-tuned and holds its own weights: leave out --weights and "
            "--head-weights."
        )
    digests = workspace.root / "weights.json"
    model, card = load_model(folder, weights.module, weights.file, digests)
    check_stage("pixels", card["pixels"], f"Run {folder.name}")
    model.to(device).to(memory_format=torch.channels_last)
    recipe, normalisation = card["hyperparameters"], card["normalisation"]
    mean, std = tuple(normalisation["mean"]), tuple(normalisation["std"])
    where = Conditions(mean, std, device, recipe["precision"])

    @torch.inference_mode()
    def probabilities(pixels: np.ndarray) -> np.ndarray:
        images = as_input(torch.from_numpy(pixels), normalisation, device)
        with whole_float32(device), where.autocast():
            logits = model(images).float()
        return logits.cpu().double().softmax(1).numpy()

    return LoadedRun(
        folder.name,
        card,
        card["classes"],
        Geometry.from_spec(card["pixels"]["geometry"]),
        card["pixels"]["channels"],
        normalisation,
        recipe["precision"],
        recipe.get("micro_batch") or recipe["batch_size"],
        model,
        None,
        probabilities,
        folder,
    )


def _probe(workspace: Workspace, folder: Path, device: str, weights: Weights) -> LoadedRun:
    from frostline.extract.forward import forward_function
    from frostline.extract.images.geometry import Geometry
    from frostline.probe.heads.storage import read_head

    head, about = read_head(folder)
    if about.get("level") == "patient":
        raise InputError(
            f"Run {folder.name} answers for patients by all of their images, and files say nothing "
            "of patients: index and extract the images as a data set, and name it by "
            "--test-dataset of `frostline sweep`, or as external in a study."
        )
    spec = _embedding_spec(workspace, folder.name, about)
    backbone = _backbone(workspace, folder.name, about, spec, weights)
    embed = forward_function(backbone, spec["normalisation"], device, spec["compute"])
    return LoadedRun(
        folder.name,
        about,
        about["classes"],
        Geometry.from_spec(spec["pixels"]["geometry"]),
        spec["pixels"]["channels"],
        spec["normalisation"],
        spec["compute"],
        EXTRACT_BATCH,
        backbone,
        head,
        lambda pixels: head.predict_proba(embed(pixels)),
        folder,
    )


def _embedding_spec(workspace: Workspace, run: str, about: Mapping[str, Any]) -> dict[str, Any]:
    """Read how the embeddings were made that a head was trained on."""
    spec = about.get("embedding_spec")
    if spec is None:  # kept by a release that did not write it
        store = workspace.embeddings(about["dataset"], about["backbone"]) / about["store_key"]
        if not part_files(store):
            raise InputError(
                f"What run {run} was trained on is known by {store} alone, which is gone: run "
                "`frostline extract` and `frostline probe` again."
            )
        spec = store_spec(store)
    if "pixels" not in spec:
        raise InputError(
            f"Run {run} was trained on embeddings that were imported: only the tool that made "
            "them can embed other images."
        )
    check_stage("embeddings", spec, f"Run {run}")
    check_stage("pixels", spec["pixels"], f"Run {run}")
    return dict(spec)


def _backbone(
    workspace: Workspace,
    run: str,
    about: Mapping[str, Any],
    spec: Mapping[str, Any],
    weights: Weights,
) -> Backbone:
    """Load the backbone of a probe, with the very weights that its embeddings were made with."""
    from frostline.extract.backbones.backbone import Made, load_again
    from frostline.extract.backbones.own_module import SOURCE as OWN_MODULE

    if weights.head_file is not None and not spec.get("head"):
        raise InputError(
            f"Run {run} was not trained on the feature imagenet-logits: leave out --head-weights."
        )
    if "transform" in spec["pixels"]["geometry"]:
        raise InputError(
            f"Run {run} was trained on embeddings behind your own transform, which only your own "
            "code has: embed new images with it, and give them to the run's head."
        )
    is_own = about["weights"] == OWN_MODULE
    if is_own and weights.module is None:
        raise InputError(
            f"Run {run} was trained on embeddings of your own module {spec['backbone']!r}, which "
            "only your own code has: give it to `Workspace.predict` as module."
        )
    if weights.module is not None and not is_own:
        raise InputError(
            f"Run {run} was trained on {spec['backbone']} and no module of your own: leave it out."
        )
    made = Made(
        run,
        spec["backbone"],
        spec["feature"],
        spec["pixels"]["geometry"]["crop"],
        str(about["weights"]),
        spec["weights"],
        spec.get("head", ""),
    )
    return load_again(
        made,
        file=weights.file,
        head_file=weights.head_file,
        module=weights.module,
        digests=workspace.root / "weights.json",
    )
