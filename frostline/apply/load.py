"""A trained run, a fine-tuned model or a probe, brought back to be applied to pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from frostline.cache import InputError, Workspace, part_files, store_spec

if TYPE_CHECKING:
    from torch import nn

    from frostline.extract.backbones.backbone import Backbone
    from frostline.extract.images.geometry import Channels, Geometry

MODEL, HEAD = "model.json", "head.json"
# Images a forward pass of `frostline extract`, unless it was told otherwise.
EXTRACTED = 32


class Weights(NamedTuple):
    """Where a probe's backbone is to come from, if not from where the run had it."""

    file: str | None = None
    head_file: str | None = None


@dataclass(frozen=True)
class Applied:
    """What a run makes of pixels.

    Attributes
    ----------
    run : str
    about : dict
        What was kept with the run: the metadata of its predictions.
    classes : list of str
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


def find_run(workspace: Workspace, run: str) -> Path:
    """The folder of a run: one with a saved model, or of the workspace by its name's beginning.

    Raises
    ------
    InputError
        If there is none, or several.
    """
    folder = Path(run)
    if (folder / MODEL).is_file() or (folder / HEAD).is_file():
        return folder
    kept = sorted(workspace.root.glob(f"models/*/{MODEL}"))
    kept += sorted(workspace.root.glob(f"models/*/{HEAD}"))
    folders = [path.parent for path in kept]
    found = [path for path in folders if path.name.startswith(run)]
    exact = [path for path in found if path.name == run]
    if len(found) == 1 or exact:
        return (exact or found)[0]
    if found:
        names = ", ".join(path.name for path in found[:4])
        raise InputError(f"{len(found)} runs begin with {run!r}: name one of them ({names}).")
    raise InputError(
        f"There is no run {run!r} with a kept model in {workspace.root}: name one of "
        f"{workspace.root / 'models'}, or a folder with {MODEL} or {HEAD}."
    )


def load_run(
    workspace: Workspace, run: str, *, device: str = "cpu", weights: Weights | None = None
) -> Applied:
    """Bring a run back.

    Parameters
    ----------
    run : str
        As for `find_run`.
    weights : Weights, optional
        For a probe whose backbone came from a file. A fine-tuned model holds its own.

    Raises
    ------
    InputError
        If there is no such run, it is damaged, or its backbone is not to be had with its weights.
    """
    folder = find_run(workspace, run)
    if (folder / MODEL).is_file():
        return _fine_tuned(folder, device)
    return _probe(workspace, folder, device, weights or Weights())


def _fine_tuned(folder: Path, device: str) -> Applied:
    import torch

    from frostline.extract.images.geometry import Geometry
    from frostline.finetune.conditions import Conditions
    from frostline.finetune.inputs.pixels import as_input
    from frostline.finetune.saved_model import load_model

    model, card = load_model(folder)
    model.to(device).to(memory_format=torch.channels_last)
    recipe, normalisation = card["hyperparameters"], card["normalisation"]
    mean, std = tuple(normalisation["mean"]), tuple(normalisation["std"])
    where = Conditions(mean, std, device, recipe["precision"])

    @torch.inference_mode()
    def probabilities(pixels: np.ndarray) -> np.ndarray:
        images = as_input(torch.from_numpy(pixels), normalisation, device)
        with where.autocast():
            logits = model(images).float()
        return logits.cpu().double().softmax(1).numpy()

    return Applied(
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
    )


def _probe(workspace: Workspace, folder: Path, device: str, weights: Weights) -> Applied:
    from frostline.extract.forward import forward_function
    from frostline.extract.images.geometry import Geometry
    from frostline.probe.heads.saved import read_head

    head, about = read_head(folder)
    spec = _embedding_spec(workspace, folder.name, about)
    backbone = _backbone(workspace, folder.name, about, spec, weights)
    embed = forward_function(backbone, spec["normalisation"], device, spec["compute"])
    return Applied(
        folder.name,
        about,
        about["classes"],
        Geometry.from_spec(spec["pixels"]["geometry"]),
        spec["pixels"]["channels"],
        spec["normalisation"],
        spec["compute"],
        EXTRACTED,
        backbone,
        head,
        lambda pixels: head.predict_proba(embed(pixels)),
    )


def _embedding_spec(workspace: Workspace, run: str, about: Mapping[str, Any]) -> dict[str, Any]:
    """How the embeddings were made that a head was trained on."""
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
    return dict(spec)


def _backbone(
    workspace: Workspace,
    run: str,
    about: Mapping[str, Any],
    spec: Mapping[str, Any],
    weights: Weights,
) -> Backbone:
    """The backbone of a probe, with the very weights that its embeddings were made with."""
    from frostline.extract.backbones.backbone import load_backbone
    from frostline.extract.backbones.own_module import SOURCE as OWN_MODULE

    source = weights.file or str(about["weights"])
    if source == OWN_MODULE or "transform" in spec["pixels"]["geometry"]:
        raise InputError(
            f"Run {run} was trained on embeddings of your own module or transform, which only your "
            "own code has: embed new images with it, and give them to the run's head."
        )
    kind, _, seed = source.partition(", seed ")
    if weights.file is None and kind not in ("random", "pretrained"):
        raise InputError(
            f"Run {run} needs {spec['backbone']} with weights from {source}: give that file by "
            "--weights."
        )
    backbone = load_backbone(
        spec["backbone"],
        weights=kind if weights.file is None else weights.file,
        weights_seed=int(seed or 0),
        feature=spec["feature"],
        image_size=spec["pixels"]["geometry"]["crop"],
        head_weights=Path(weights.head_file) if weights.head_file else None,
        digests=workspace.root / "weights.json",
    )
    for name, ours, theirs in (
        ("--weights", backbone.weights, spec["weights"]),
        ("--head-weights", backbone.head, spec.get("head", "")),
    ):
        if ours != theirs:
            raise InputError(
                f"Run {run} was trained on {spec['backbone']} with other weights than {source} "
                f"has here (digest {theirs[:12]}, not {ours[:12]}): give its file by {name}."
            )
    return backbone
