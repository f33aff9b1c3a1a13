"""Files of Hugging Face models: in a local folder, in the hub's own cache, or to be downloaded."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import getproxies

from frostline.cache import InputError
from frostline.extract.backbones.facts.table import published

CONFIG, PREPROCESSOR, WEIGHTS = "config.json", "preprocessor_config.json", "model.safetensors"
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
    if importlib.util.find_spec("transformers") is None:
        raise InputError(
            f"Backbone {name!r} needs transformers: run `pip install 'frostline[hub]'`."
        )
    if Path(model).is_dir():
        if not (Path(model) / CONFIG).is_file():
            raise InputError(
                f"There is no backbone {name!r}: folder {model} has no {CONFIG}; give one that "
                "transformers' save_pretrained has made."
            )
    elif not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", model):
        raise InputError(
            f"There is no backbone {name!r}: write hf:ORG/NAME for a Hugging Face model, or "
            "hf:FOLDER for one in a folder that exists."
        )


def find_hub_file(model: str, file: str) -> Path | None:
    """Find a model's file if it is on this machine; no network is used."""
    if Path(model).is_dir():
        path = Path(model) / file
        return path if path.is_file() else None
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(model, file)
    return Path(found) if isinstance(found, str) else None


def hub_file(model: str, file: str) -> Path:
    """Find a model's file, or download it; InputError if it cannot be had."""
    found = find_hub_file(model, file)
    if found is not None:
        return found
    if Path(model).is_dir():
        only = " (weights are read from this one file alone)" if file == WEIGHTS else ""
        raise InputError(f"Backbone 'hf:{model}' lacks {Path(model) / file}{only}; add it there.")
    try:
        return download_hub_file(model, file)
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(
            f"{file} of backbone 'hf:{model}' is not on this machine and could not be downloaded: "
            f"put https://huggingface.co/{model} into a folder, with {CONFIG}, {PREPROCESSOR} and "
            f"{WEIGHTS}, and name it as hf:FOLDER.{access_words(f'hf:{model}', model, error)}"
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


def download_hub_file(repository: str, name: str) -> Path:
    """Download a file of a Hugging Face repository into the hub's own cache."""
    from huggingface_hub import constants, hf_hub_download

    _check_reachable(urlparse(constants.ENDPOINT).hostname or "")
    return Path(hf_hub_download(repository, name))


def _check_reachable(host: str) -> None:
    # Without a network the hub's client would try again and again for most of a minute.
    if not getproxies():
        socket.getaddrinfo(host, 443)


def config_digest(model: str) -> str:
    """Digest what in a model's configuration can change its numbers: BLAKE2b-128, hexadecimal."""
    config = read_hub_json(hub_file(model, CONFIG))
    telling = {key: value for key, value in config.items() if key not in SILENT}
    text = json.dumps(telling, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def read_hub_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds an object; InputError if it does not."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not JSON ({error}); fetch it again.") from error
    if not isinstance(found, dict):
        raise InputError(f"{path} holds no JSON object; fetch it again.")
    return found
