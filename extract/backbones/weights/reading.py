"""Weights from files: reading them safely, and finding the backbone in what they hold."""

from __future__ import annotations

import pickle
import warnings
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from frostline.cache import InputError
from frostline.cache.errors import READ_ERRORS
from frostline.extract.backbones.hub_files import (
    INDEX,
    chosen_names,
    needed_shards,
    read_hub_json,
)

State = dict[str, Tensor]

# Where checkpoints put the tensors, the first that has some wins; DINOv2's training saves
# "teacher", most other code "state_dict" or "model". An average of the weights is what was
# evaluated, so it comes first.
WRAPPERS = (
    "teacher",
    "state_dict_ema",
    "model_ema",
    "ema",
    "state_dict",
    "model_state_dict",
    "model",
    "params",
)
PREFIXES = ("module.", "teacher.", "backbone.", "model.", "net.", "encoder.")
# Of two networks in one file the one that is used afterwards: the average, MoCo's query.
USED = ("teacher", "ema", "encoder_q")
# What torch says of files that hold more than tensors.
PICKLED = ("unsupported global", "unsupported class", "trying to call reduce", "torchscript")


def read_weights(path: Path, prefixes: tuple[str, ...] = ()) -> State:
    """Read a checkpoint's tensors by name; nothing in the file can run code.

    Parameters
    ----------
    path : Path
        `.safetensors`, or a file of `torch.save` (read with `weights_only=True`) that holds the
        tensors directly or under one of `WRAPPERS`; or Hugging Face's `.index.json`, which names
        several such files next to it.
    prefixes : tuple of str
        What the names of the tensors that are needed begin with; others are left unread where the
        file allows it. All are needed if it is empty, or no name begins with the first of them.

    Raises
    ------
    InputError
        If the file is not there, is damaged, or holds anything but tensors.
    """
    if not path.is_file():
        raise InputError(f"There is no weights file {path}; check the path given as --weights.")
    whole = _read_shards if path.name.endswith(INDEX) else _read_file
    state = _unprefixed(whole(path, prefixes))
    if not state:
        raise InputError(f"{path} holds no tensors; it must be a model's state dict.")
    return {name: state[name] for name in chosen_names(state, prefixes)}


def _read_shards(index: Path, prefixes: tuple[str, ...]) -> State:
    """Read the needed tensors from the files that a list names, each from its own."""
    shards = needed_shards(index, prefixes)
    state: State = {}
    for shard in shards:
        path = index.with_name(shard)
        if not path.is_file():
            raise InputError(f"{index} names {shard}, which is not next to it; copy it there.")
        state |= _read_file(path, prefixes)
    places = read_hub_json(index)["weight_map"]
    names = chosen_names(places, prefixes)
    absent = [name for name in names if name not in state]
    if absent:
        raise InputError(
            f"{index} says that {places[absent[0]]} holds {absent[0]}, and it does not: fetch both "
            "again."
        )
    return {name: state[name] for name in names}


def _read_file(path: Path, prefixes: tuple[str, ...]) -> State:
    try:
        loaded = _load(path, prefixes)
    except (pickle.UnpicklingError, AssertionError, AttributeError, *READ_ERRORS) as error:
        raise _unreadable(path, error) from error
    return _unwrapped(loaded, path)


def _unreadable(path: Path, error: Exception) -> InputError:
    """Say what is wrong with a file, in words of its own: a library's are for programmers."""
    if isinstance(error, OSError) and error.strerror:
        return InputError(f"{path} cannot be read: {error.strerror}.")
    if any(word in str(error).lower() for word in PICKLED):
        return InputError(
            f"{path} holds Python objects, which could run code when they are read: where it was "
            "made, save the tensors alone with `torch.save(model.state_dict(), 'weights.pth')`."
        )
    return InputError(
        f"{path} is no file of weights, or it was cut off: copy it again; it must be .safetensors "
        "or a file that torch.save wrote."
    )


def _load(path: Path, prefixes: tuple[str, ...]) -> object:
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="pt") as file:
                return {name: file.get_tensor(name) for name in chosen_names(file.keys(), prefixes)}
        except SafetensorError as error:
            raise ValueError(str(error)) from error
    with warnings.catch_warnings():
        # Of files that are refused anyway.
        warnings.simplefilter("ignore")
        return torch.load(path, map_location="cpu", weights_only=True)


def _unwrapped(loaded: object, path: Path) -> State:
    while isinstance(loaded, Mapping):
        inner = next((k for k in WRAPPERS if _has_tensors(loaded.get(k))), None)
        if inner is None:
            return {str(k): v for k, v in loaded.items() if isinstance(v, Tensor)}
        loaded = loaded[inner]
    raise InputError(
        f"{path} holds a {type(loaded).__name__} where a model's state dict was expected."
    )


def _has_tensors(loaded: object) -> bool:
    return isinstance(loaded, Mapping) and any(
        isinstance(value, Tensor) or (key in WRAPPERS and _has_tensors(value))
        for key, value in loaded.items()
    )


def _unprefixed(state: State) -> State:
    for prefix in PREFIXES:
        # A training checkpoint holds its loss heads, too: those are left out.
        inside = {k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)}
        if inside and (prefix == "backbone." or len(inside) == len(state)):
            state = inside
    return state


def found_inside(state: State, wanted: Collection[str]) -> State:
    """Take the backbone out of a larger network, where its names stand behind a prefix.

    That is the prefix behind which most of its names are, at least half of them, and more than
    without any; `module.encoder_q.` and so on.

    Raises
    ------
    InputError
        If the backbone is there several times, and none of them is known to be what is used.
    """
    counts = Counter(prefix for name in state for prefix in _prefixes(name, wanted))
    most = max(counts.values(), default=0)
    if counts[""] == most or 2 * most < len(wanted):
        return state
    equal = [prefix for prefix, count in counts.items() if count == most]
    used = [prefix for prefix in equal if set(USED) & set(prefix.split("."))]
    if len(equal) > 1 and len(used) != 1:
        raise InputError(
            f"The weights hold the backbone {len(equal)} times, behind {', '.join(equal[:3])}: "
            "save the one that you mean in a file of its own."
        )
    (chosen,) = used if len(equal) > 1 else equal
    inside = {name.removeprefix(chosen): name for name in state if name.startswith(chosen)}
    return {name: state[full] for name, full in inside.items()}


def _prefixes(name: str, wanted: Collection[str]) -> Iterator[str]:
    """Yield what stands before a wanted name at the end of this one."""
    start = 0
    while True:
        if name[start:] in wanted:
            yield name[:start]
        start = name.find(".", start) + 1
        if start == 0:
            return
