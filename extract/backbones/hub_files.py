"""Files of Hugging Face models: in a local folder, in the hub's own cache, or to be downloaded.

A model is what `config.json` says, of transformers, or `open_clip_config.json`, of open_clip. Of a
model with an image and a text tower only the image tower's tensors are read.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import getproxies

from frostline.cache import InputError
from frostline.extract.backbones.facts.table import published

CONFIG, OPEN_CLIP = "config.json", "open_clip_config.json"
PREPROCESSOR, PROCESSOR = "preprocessor_config.json", "processor_config.json"
WEIGHTS = "model.safetensors"
INDEX = ".index.json"  # what the name of a list of shards ends in
# The first that is there is taken, as the libraries themselves do.
WEIGHTS_FILES = {
    CONFIG: (WEIGHTS, WEIGHTS + INDEX, "pytorch_model.bin", "pytorch_model.bin" + INDEX),
    OPEN_CLIP: ("open_clip_model.safetensors", "open_clip_pytorch_model.bin"),
}
# transformers' types of models whose image tower is taken, the whole and its image part alone.
CLIP = ("clip", "clip_vision_model")
SIGLIP = ("siglip", "siglip_vision_model")
# What the names of an image tower's tensors begin with; without the first, a file is one tower.
TOWER = ("vision_model.", "visual_projection.")
TRUNK = ("visual.",)  # of open_clip
# What a configuration says without changing any number that the model gives.
SILENT = {
    "_attn_implementation",
    "_name_or_path",
    "architectures",
    "dtype",
    "id2label",
    "label2id",
    "problem_type",
    "torch_dtype",
    "transformers_version",
}


def check_hub(name: str, model: str) -> None:
    """Raise InputError unless transformers is here and `model` may name a folder or repository."""
    if Path(model).is_dir():
        if not any((Path(model) / file).is_file() for file in WEIGHTS_FILES):
            raise InputError(
                f"There is no backbone {name!r}: folder {model} has no {CONFIG}; give one that "
                f"transformers' save_pretrained has made, or one of open_clip with {OPEN_CLIP}."
            )
    elif not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", model):
        raise InputError(
            f"There is no backbone {name!r}: write hf:ORG/NAME for a Hugging Face model, or "
            "hf:FOLDER for one in a folder that exists."
        )
    open_clip = not find_hub_file(model, CONFIG) and find_hub_file(model, OPEN_CLIP)
    if importlib.util.find_spec("transformers") is None and not open_clip:
        raise InputError(
            f"Backbone {name!r} needs transformers: run `pip install 'frostline[hub]'`."
        )


def find_hub_file(model: str, file: str) -> Path | None:
    """Find a model's file if it is on this machine; no network is used."""
    if Path(model).is_dir():
        path = Path(model) / file
        return path if path.is_file() else None
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(model, file)
    return Path(found) if isinstance(found, str) else None


def hub_file(model: str, *files: str) -> Path:
    """Find the first of a model's files that there is, or download it; InputError if none is."""
    for file in files:
        found = find_hub_file(model, file)
        if found is not None:
            return found
    if Path(model).is_dir():
        others = f" (or {', '.join(files[1:])})" if files[1:] else ""
        raise InputError(
            f"Backbone 'hf:{model}' lacks {Path(model) / files[0]}{others}; add it there."
        )
    try:
        return _download_first(model, files)
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(
            f"{files[0]} of backbone 'hf:{model}' is not on this machine and could not be "
            f"downloaded: put the files of https://huggingface.co/{model} into a folder, and name "
            f"it as hf:FOLDER.{access_words(f'hf:{model}', model, error)}"
        ) from error


def access_words(name: str, repository: str, error: Exception) -> str:
    """Say, after a download failed, how one gets access; "" where nothing says that one needs it.

    Parameters
    ----------
    name, repository : str
        Of the backbone, and of its repository at Hugging Face.
    error : Exception
        What the download ended with.
    """
    row = published().find(name)
    if row is not None and row.access:
        return f" {row.access}"
    if getattr(getattr(error, "response", None), "status_code", None) in (401, 403):
        return (
            f" The hub refused access: accept the terms at https://huggingface.co/{repository}, if "
            "there are any, and log in by `hf auth login`."
        )
    return ""


def _download_first(model: str, files: tuple[str, ...]) -> Path:
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    for file in files[:-1]:
        try:
            return download_hub_file(model, file)
        except LocalEntryNotFoundError:
            raise  # no connection
        except EntryNotFoundError:
            continue
    return download_hub_file(model, files[-1])


def download_hub_file(repository: str, name: str) -> Path:
    """Download a file of a Hugging Face repository into the hub's own cache."""
    from huggingface_hub import constants, hf_hub_download

    _check_reachable(urlparse(constants.ENDPOINT).hostname or "")
    return Path(hf_hub_download(repository, name))


def _check_reachable(host: str) -> None:
    # Without a network the hub's client would try again and again for most of a minute.
    if not getproxies():
        socket.getaddrinfo(host, 443)


def configuration(model: str) -> Path:
    """Find the file that says what a model is: of transformers, or else of open_clip."""
    return hub_file(model, CONFIG, OPEN_CLIP)


def is_open_clip(model: str) -> bool:
    """Tell whether a model is in open_clip's layout."""
    return configuration(model).name == OPEN_CLIP


def find_hub_weights(model: str) -> Path | None:
    """Find a model's weights, or the list of their shards, if all are here; no network is used."""
    config = next((one for one in WEIGHTS_FILES if find_hub_file(model, one)), "")
    files = WEIGHTS_FILES.get(config, ())
    path = next((found for file in files if (found := find_hub_file(model, file))), None)
    if path is None or not path.name.endswith(INDEX):
        return path
    here = [find_hub_file(model, shard) for shard in needed_shards(path, tensor_prefixes(model))]
    return path if all(here) else None


def hub_weights(model: str) -> Path:
    """Find or download a model's weights: one file, or the list of their shards with those needed.

    Raises
    ------
    InputError
        If they cannot be had.
    """
    path = hub_file(model, *WEIGHTS_FILES[configuration(model).name])
    if path.name.endswith(INDEX):
        for shard in needed_shards(path, tensor_prefixes(model)):
            hub_file(model, shard)
    return path


def tensor_prefixes(model: str) -> tuple[str, ...]:
    """Say what the names of the tensors that a model needs begin with; empty: it needs all."""
    path = configuration(model)
    if path.name == OPEN_CLIP:
        return TRUNK
    return TOWER if read_hub_json(path).get("model_type") in (*CLIP, *SIGLIP) else ()


def chosen_names(names: Iterable[str], prefixes: tuple[str, ...]) -> list[str]:
    """Choose the names that begin with one of `prefixes`; all, if none begins with the first."""
    listed = list(names)
    if not prefixes or not any(name.startswith(prefixes[0]) for name in listed):
        return listed
    return [name for name in listed if name.startswith(prefixes)]


def needed_shards(index: Path, prefixes: tuple[str, ...]) -> list[str]:
    """List the names of the files that hold the needed tensors.

    Parameters
    ----------
    index : Path
        JSON, whose `weight_map` gives the file of each tensor.

    Raises
    ------
    InputError
        If it is no such list, or a file's name leads out of the folder.
    """
    places = read_hub_json(index).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise InputError(f"{index} has no weight_map that names files of weights; fetch it again.")
    shards = sorted({places[name] for name in chosen_names(places, prefixes)}, key=str)
    for shard in shards:
        if not isinstance(shard, str) or Path(shard).name != shard:
            raise InputError(f"{index} names {shard!r}, which is no file next to it; fetch it.")
    return shards


def config_digest(model: str) -> str:
    """Digest what in a model's configuration can change its numbers: BLAKE2b-128, hexadecimal."""
    path = configuration(model)
    telling = _about_images(read_hub_json(path), path.name)
    text = json.dumps(telling, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _about_images(config: Mapping[str, Any], file: str) -> dict[str, Any]:
    """Leave out what changes no number of the image tower."""
    if file == OPEN_CLIP:
        model = config.get("model_cfg", config)
        return {key: model.get(key) for key in ("embed_dim", "vision_cfg", "quick_gelu")}
    said = {key: value for key, value in config.items() if key not in SILENT}
    if config.get("model_type") not in (*CLIP, *SIGLIP):
        return said
    vision = config.get("vision_config")
    inner = vision.items() if isinstance(vision, dict) else ()
    kept = {key: value for key, value in inner if key not in SILENT}
    return {key: value for key, value in said.items() if not key.startswith("text_")} | {
        "vision_config": kept
    }


def read_hub_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds an object; InputError if it does not."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not JSON ({error}); fetch it again.") from error
    if not isinstance(found, dict):
        raise InputError(f"{path} holds no JSON object; fetch it again.")
    return found
