"""Trained models on disk: weights as safetensors, everything else as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from frostline.cache import InputError, atomic_write
from frostline.cache.stamped import check_files, file_digests, read_json, write_json
from frostline.extract.backbones.backbone import (
    Backbone,
    Made,
    empty_backbone,
    load_again,
    load_backbone,
)
from frostline.extract.backbones.own_module import SOURCE as OWN_MODULE
from frostline.finetune.lora import adapter_names, merge_adapters
from frostline.finetune.model import Adapters, Classifier
from frostline.finetune.unfreeze import trained_state

# Version 3 is of adapters alone, which release 0.2 does not know.
FORMAT, VERSION, WHOLE = "frostline-model", 3, 2
WEIGHTS, CARD = "model.safetensors", "model.json"
REMEDY = "delete {folder} and train again"


def save_model(folder: Path, model: Classifier, card: Mapping[str, Any]) -> None:
    """Write a model's weights, then its card: a folder with a card is whole.

    Of a model with adapters these and the head alone are written: the card says by which weights
    of the backbone they are completed.

    Parameters
    ----------
    folder : Path
        `models/<run>`.
    card : mapping
        What the model is: `backbone`, `feature`, `classes`, `pixels`, `normalisation` and anything
        that is JSON; with adapters `weights`, `weights_digest` and `adapters`.
    """
    state = {name: value.cpu().contiguous() for name, value in model.state_dict().items()}
    if model.adapters is not None:
        state = {name: state[name] for name in trained_state(model)}
    with atomic_write(folder / WEIGHTS) as temporary:
        save_file(state, temporary)
    files = file_digests(folder, [WEIGHTS])
    version = WHOLE if model.adapters is None else VERSION
    write_json(folder / CARD, FORMAT, version, {**card, "files": files})


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


def load_model(
    folder: Path,
    module: nn.Module | None = None,
    weights: str | None = None,
    digests: Path | None = None,
) -> tuple[Classifier, dict[str, Any]]:
    """Read a model and its card; the model is in eval mode on the CPU.

    Adapters are merged into the weights of the backbone, which is loaded again.

    Parameters
    ----------
    module : nn.Module, optional
        Where the backbone was a module of your own: another one like it, whatever its weights;
        for adapters with the weights that it had.
    weights : str, optional
        The file of the backbone's weights, for adapters on such.
    digests : Path, optional
        As of `load_backbone`, for adapters.

    Raises
    ------
    InputError
        If there is no model, it is damaged, or a module is needed, or does not fit; or the weights
        that adapters need are not to be had.
    """
    card = read_card(folder)
    name = card["backbone"]
    own = card["weights"] == OWN_MODULE
    if own and module is None:
        raise InputError(
            f"The backbone of the model in {folder} is a module of your own, {name!r}: give one "
            "like it in Python, such as `ws.predict(run, images, module=...)`."
        )
    if module is not None and not own:
        raise InputError(f"The backbone of the model in {folder} is {name!r}: give no module.")
    adapters = Adapters(**card["adapters"]) if card.get("adapters") else None
    backbone = _backbone(folder, card, module, weights, digests)
    model = Classifier(backbone, len(card["classes"]), seed=0)
    check_files(folder / CARD, card, REMEDY.format(folder=folder))
    try:
        _fill(model, load_file(folder / WEIGHTS), adapters)
    except (SafetensorError, OSError, RuntimeError, LookupError) as error:
        raise InputError(
            f"{folder / WEIGHTS} is damaged or of another model: {REMEDY.format(folder=folder)}."
        ) from error
    return model.eval(), card


def _backbone(
    folder: Path,
    card: Mapping[str, Any],
    module: nn.Module | None,
    weights: str | None,
    digests: Path | None,
) -> Backbone:
    """Build the backbone of a card: empty, or with its weights where adapters need them."""
    name, feature = card["backbone"], card["feature"]
    size = int(card["pixels"]["geometry"]["crop"])
    if module is not None:
        backbone = load_backbone(module, feature=feature, image_size=size, name=name)
        if card.get("adapters") and backbone.weights != card["weights_digest"]:
            raise InputError(
                f"The model in {folder} is adapters of a module of your own, {name!r}, with other "
                "weights: give the module as it was before training."
            )
        return backbone
    if not card.get("adapters"):
        return empty_backbone(name, feature=feature, image_size=size)
    made = Made(folder.name, name, feature, size, card["weights"], card["weights_digest"])
    return load_again(made, file=weights, digests=digests)


def _fill(model: Classifier, state: dict[str, Tensor], adapters: Adapters | None) -> None:
    """Put what was trained into a model; LookupError where adapters lack one."""
    if adapters is None:
        model.load_state_dict(state)
        return
    merge_adapters(model, adapters, state)
    merged = {name for _, *pair in adapter_names(adapters) for name in pair}
    head = {name: value for name, value in state.items() if name not in merged}
    if {f"head.{name}" for name in model.head.state_dict()} != head.keys():
        raise LookupError("it has no head, or more than that")
    model.load_state_dict(head, strict=False)
