"""Trained models on disk: weights as safetensors, everything else as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from frostline.cache import InputError, atomic_write
from frostline.cache.stamped import check_files, file_digests, read_json, write_json
from frostline.extract.backbones.backbone import empty_backbone, load_backbone
from frostline.extract.backbones.own_module import SOURCE as OWN_MODULE
from frostline.finetune.model import Classifier

FORMAT, VERSION = "frostline-model", 2
WEIGHTS, CARD = "model.safetensors", "model.json"
REMEDY = "delete {folder} and train again"


def save_model(folder: Path, model: Classifier, card: Mapping[str, Any]) -> None:
    """Write a model's weights, then its card: a folder with a card is whole.

    Parameters
    ----------
    folder : Path
        `models/<run>`.
    card : mapping
        What the model is: `backbone`, `feature`, `classes`, `pixels`, `normalisation` and anything
        that is JSON.
    """
    state = {name: value.cpu().contiguous() for name, value in model.state_dict().items()}
    with atomic_write(folder / WEIGHTS) as temporary:
        save_file(state, temporary)
    files = file_digests(folder, [WEIGHTS])
    write_json(folder / CARD, FORMAT, VERSION, {**card, "files": files})


def read_card(folder: Path) -> dict[str, Any]:
    """Read what is known of a saved model.

    Raises
    ------
    InputError
        If there is no model, its card is damaged, or a newer release wrote it.
    """
    path = folder / CARD
    if not path.is_file():
        raise InputError(f"There is no fine-tuned model in {folder}: check the run's name.")
    return read_json(path, FORMAT, VERSION, remedy=REMEDY.format(folder=folder))


def load_model(folder: Path, module: nn.Module | None = None) -> tuple[Classifier, dict[str, Any]]:
    """Read a model and its card; the model is in eval mode on the CPU.

    Parameters
    ----------
    module : nn.Module, optional
        Where the backbone was a module of your own: another one like it, whatever its weights.

    Raises
    ------
    InputError
        If there is no model, it is damaged, or a module is needed, or does not fit.
    """
    card = read_card(folder)
    name, feature = card["backbone"], card["feature"]
    size = int(card["pixels"]["geometry"]["crop"])
    own = card["weights"] == OWN_MODULE
    if own and module is None:
        raise InputError(
            f"The backbone of the model in {folder} is a module of your own, {name!r}: give one "
            "like it in Python, such as `ws.predict(run, images, module=...)`."
        )
    if module is not None and not own:
        raise InputError(f"The backbone of the model in {folder} is {name!r}: give no module.")
    if module is None:
        backbone = empty_backbone(name, feature=feature, image_size=size)
    else:
        backbone = load_backbone(module, feature=feature, image_size=size, name=name)
    model = Classifier(backbone, len(card["classes"]), seed=0)
    check_files(folder / CARD, card, REMEDY.format(folder=folder))
    try:
        model.load_state_dict(load_file(folder / WEIGHTS))
    except (SafetensorError, OSError, RuntimeError) as error:
        raise InputError(
            f"{folder / WEIGHTS} is damaged or of another model: {REMEDY.format(folder=folder)}."
        ) from error
    return model.eval(), card
