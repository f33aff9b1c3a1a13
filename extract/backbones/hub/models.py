"""Hugging Face models as backbones: `hf:ORG/NAME`, or `hf:FOLDER` for one in a local folder.

They are built by transformers' own classes from `config.json`, or by timm from open_clip's; code
that comes with a model is never run.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor, nn

from frostline.cache import InputError
from frostline.cache.errors import READ_ERRORS
from frostline.extract.backbones.catalog import Entry
from frostline.extract.backbones.hub.open_clip import build_open_clip, convert_open_clip
from frostline.extract.backbones.hub.towers import convert_tower, find_projection, tower_config
from frostline.extract.backbones.hub_files import (
    CLIP,
    CONFIG,
    SIGLIP,
    configuration,
    is_open_clip,
)

BLOCKS = r"^network\.(?:encoder\.|model\.)?(?:layers?|stages|blocks)\.(\d+)"
NETWORK = "network."
PREVIOUS = (99999,)  # timm's number for: with the group before


class HubModel(nn.Module):
    """A transformers image model with the interface of timm's, without its pretraining head.

    Parameters
    ----------
    network : transformers.PreTrainedModel
        Takes `pixel_values`, gives `last_hidden_state` and, at times, `pooler_output`.
    interpolates : bool
        Whether its position embedding is to be resampled to the images.
    projection : nn.Linear, optional
        From the pooled vector to the space that an image tower shares with text.

    Attributes
    ----------
    own_feature : str
        What is taken as the embedding by default; "" where the pooling decides.
    """

    def __init__(
        self, network: Any, interpolates: bool, projection: nn.Linear | None = None
    ) -> None:
        super().__init__()
        self.network = network
        self.projection = projection
        kind = str(network.config.model_type)
        self.is_tower = kind in (*CLIP, *SIGLIP)
        # The last hidden state of CLIP is what its norm takes: only the class token passes it.
        self.norms_tokens = kind in CLIP
        self.options = {"interpolate_pos_encoding": True} if interpolates else {}
        if isinstance(getattr(getattr(network, "pooler", None), "dense", None), nn.Linear):
            # It served pretraining; the family's own image classifiers do without it, and most
            # files of weights lack it.
            network.pooler = None
        tokens = {name.rpartition(".")[2] for name, _ in network.named_parameters()}
        self._has_class_token = bool({"cls_token", "class_embedding"} & tokens)
        registers = int(getattr(network.config, "num_register_tokens", 0) or 0)
        first = {"cls_token", "class_embedding", "distillation_token"}
        self.num_prefix_tokens = len(tokens & first) + registers
        pools = "map" if kind in SIGLIP and hasattr(network, "head") else ""  # timm's word
        self.global_pool = "token" if self._has_class_token else pools
        self.own_feature = "pooler" if pools else ""

    @property
    def cls_token(self) -> bool | None:
        """True if the first token is a class token, else None."""
        return self._has_class_token or None

    def forward_both(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Give the last hidden state and the pooled vector [n, dim] of float [n, 3, height, width].

        The vector is the model's own `pooler_output`; where there is none, the class token, or
        the mean over positions where there is none of these either.
        """
        try:
            output = self.network(pixel_values=images, **self.options)
        except ValueError as error:  # transformers' checks of the image's size
            raise InputError(
                f"A {type(self.network).__name__} cannot take images of {images.shape[-1]} pixels "
                f"({str(error).splitlines()[0].rstrip('.')}): set --image-size to its own."
            ) from error
        hidden = output.last_hidden_state
        if self.norms_tokens:
            hidden = self.network.post_layernorm(hidden)
        pooled = getattr(output, "pooler_output", None)
        if pooled is not None:
            return hidden, pooled.flatten(1)
        if self._has_class_token:
            return hidden, hidden[:, 0]
        return hidden, hidden.mean(dim=1 if hidden.ndim == 3 else (2, 3))

    def forward(self, images: Tensor) -> Tensor:
        """Give the pooled vector, float [n, dim]."""
        return self.forward_both(images)[1]

    def group_matcher(self, coarse: bool = False) -> Mapping[str, Any]:
        """Say, in timm's way, which parameters form a block."""
        if not any(re.match(BLOCKS, name) for name, _ in self.named_parameters()):
            raise InputError(
                f"The blocks of a {type(self.network).__name__} are not known: "
                "it can be probed, and not fine-tuned."
            )
        return {
            "stem": r"^network\.(?:embeddings|embedder|pre_layrnorm)",
            "blocks": [(BLOCKS, None), (r"^network\.post_layernorm", PREVIOUS)],
            **({"pooler": r"^network\.head"} if self.own_feature else {}),
        }


def build_hub(entry: Entry, image_size: int) -> nn.Module:
    """Build a model by its configuration, with random weights from the global random state.

    Returns
    -------
    nn.Module
        A `HubModel`; of open_clip timm's model with, at times, a `projection`.

    Raises
    ------
    InputError
        If transformers has no such image model, or it cannot take the image size.
    """
    if is_open_clip(entry.model):
        return build_open_clip(entry, image_size)
    transformers: Any = importlib.import_module("transformers")
    folder = configuration(entry.model).parent
    try:
        with _quiet():
            config = transformers.AutoConfig.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
            images = tower_config(entry, config)
            network = transformers.AutoModel.from_config(
                images, trust_remote_code=False, dtype=torch.float32
            )
    except InputError:
        raise
    except (AttributeError, RuntimeError, StrictDataclassError, *READ_ERRORS) as error:
        raise InputError(
            f"Backbone {entry.name!r} cannot be built by transformers from {folder / CONFIG} "
            f"({_said(error)}): give a model of its own classes."
        ) from error
    if network.main_input_name != "pixel_values":
        raise InputError(
            f"Backbone {entry.name!r} is a {type(network).__name__}, which is no model of images "
            "alone: give one that is."
        )
    _check_patches(entry, images, image_size)
    # In some releases of transformers the tower is inside another module.
    network = getattr(network, "vision_model", network)
    return HubModel(network, _must_interpolate(network, image_size), find_projection(config))


def _said(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    # Of a field that is wrong, the second line says how.
    wanted = lines[:2] if isinstance(error, StrictDataclassError) else lines[:1]
    return " ".join(line.strip() for line in wanted).rstrip(".")


def _must_interpolate(network: Any, image_size: int) -> bool:
    own = getattr(network.config, "image_size", None)
    sides = set(own) if isinstance(own, (list, tuple)) else {own}
    accepts = "interpolate_pos_encoding" in inspect.signature(network.forward).parameters
    return accepts and sides != {image_size}


def _check_patches(entry: Entry, config: Any, image_size: int) -> None:
    patch = getattr(config, "patch_size", None)
    # Their embedding would leave the rest of an image out without a word.
    if isinstance(patch, int) and patch and image_size % patch:
        raise InputError(
            f"Backbone {entry.name!r} takes images of a multiple of {patch} pixels, "
            f"not {image_size}: set --image-size to one, such as "
            f"{image_size // patch * patch or patch}."
        )


def convert_hub(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Put a file's tensors under the names that this release of transformers gives them.

    Task heads are left out, and so is what the file lacks: nothing is made up.
    """
    if not isinstance(model, HubModel):
        return convert_open_clip(state, model)
    if model.is_tower:
        return convert_tower(state, model)
    network: Any = model.network
    with torch.random.fork_rng(devices=[]), _quiet():
        try:
            loaded, found = type(network).from_pretrained(
                None,
                config=network.config,
                state_dict=state,
                output_loading_info=True,
                use_safetensors=True,
                ignore_mismatched_sizes=True,
                dtype=torch.float32,
            )
        except (RuntimeError, ValueError) as error:
            raise InputError(
                f"The weights do not fit a {type(network).__name__} "
                f"({str(error).strip().splitlines()[0].rstrip('.')}): give those of this model."
            ) from error
    absent = set(found["missing_keys"])
    # Of the shape they have in the file, so that it is named.
    misfits = {key: torch.empty(shape, device="meta") for key, shape, _ in found["mismatched_keys"]}
    wanted = model.state_dict()
    tensors = loaded.state_dict() | misfits
    named = {NETWORK + key: value for key, value in tensors.items() if key not in absent}
    return {key: value for key, value in named.items() if key in wanted}


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence progress bars and reports from transformers: mismatches are named by Frostline."""
    logging: Any = importlib.import_module("transformers.utils.logging")
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
