"""A trained model at rest: weights as safetensors, everything else as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from frostline.cache import InputError, atomic_write
from frostline.cache.stamped import read_json, write_json
from frostline.extract.backbones.backbone import empty_backbone
from frostline.finetune.model import Classifier

FORMAT, VERSION = "frostline-model", 1
WEIGHTS, CARD = "model.safetensors", "model.json"


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
    write_json(folder / CARD, FORMAT, VERSION, card)


def read_card(folder: Path) -> dict[str, Any]:
    """Read what a model at rest is.

    Raises
    ------
    InputError
        If there is no model, its card is damaged, or a newer release wrote it.
    """
    path = folder / CARD
    if not path.is_file():
        raise InputError(f"There is no fine-tuned model in {folder}: check the run's name.")
    return read_json(path, FORMAT, VERSION, remedy=f"delete {folder} and train again")


def load_model(folder: Path) -> tuple[Classifier, dict[str, Any]]:
    """Read a model and its card; the model is in eval mode on the CPU."""
    card = read_card(folder)
    size = int(card["pixels"]["geometry"]["crop"])
    backbone = empty_backbone(card["backbone"], feature=card["feature"], image_size=size)
    model = Classifier(backbone, len(card["classes"]), seed=0)
    try:
        model.load_state_dict(load_file(folder / WEIGHTS))
    except (SafetensorError, OSError, RuntimeError) as error:
        raise InputError(
            f"{folder / WEIGHTS} is damaged or of another model: delete {folder} and train again."
        ) from error
    return model.eval(), card
