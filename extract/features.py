"""What is taken from a backbone as its embedding: one function a feature, in one table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from frostline.cache import InputError


@dataclass(frozen=True)
class Feature:
    """A way to make one vector an image.

    Attributes
    ----------
    compute : callable
        (model, images float [n, 3, height, width]) to float [n, dim].
    suits : callable
        Whether a model can give this feature.
    """

    compute: Callable[[nn.Module, Tensor], Tensor]
    suits: Callable[[nn.Module], bool]


def _pre_logits(model: nn.Module, images: Tensor) -> Tensor:
    return model(images)


def _cls(model: nn.Module, images: Tensor) -> Tensor:
    return _after_pooling(model, _tokens(model, images)[:, 0])


def _mean(model: nn.Module, images: Tensor) -> Tensor:
    return _mean_of_patches(model, _tokens(model, images))


def _cls_mean(model: nn.Module, images: Tensor) -> Tensor:
    tokens = _tokens(model, images)
    return torch.cat([_after_pooling(model, tokens[:, 0]), _mean_of_patches(model, tokens)], dim=1)


def _tokens(model: nn.Module, images: Tensor) -> Tensor:
    """Class, register and patch tokens after the final norm: [n, tokens, width]."""
    return model.forward_features(images)  # type: ignore[operator]


def _mean_of_patches(model: nn.Module, tokens: Tensor) -> Tensor:
    prefix = int(model.num_prefix_tokens)  # type: ignore[arg-type]
    return _after_pooling(model, tokens[:, prefix:].mean(dim=1))


def _after_pooling(model: nn.Module, pooled: Tensor) -> Tensor:
    # Some models of timm put their final norm behind the pooling; it is the identity in all others.
    norm = getattr(model, "fc_norm", None)
    return pooled if norm is None else norm(pooled)


def has_class_token(model: nn.Module) -> bool:
    """Whether this is a timm vision transformer with a class token."""
    return getattr(model, "cls_token", None) is not None and hasattr(model, "num_prefix_tokens")


FEATURES: dict[str, Feature] = {
    "pre_logits": Feature(_pre_logits, lambda model: True),
    "cls": Feature(_cls, has_class_token),
    "mean": Feature(_mean, has_class_token),
    "cls+mean": Feature(_cls_mean, has_class_token),
}


def available_features(model: nn.Module) -> list[str]:
    """Names of the features that a model can give."""
    return [name for name, feature in FEATURES.items() if feature.suits(model)]


def default_feature(model: nn.Module) -> str:
    """`cls` for a transformer that pools by its class token, else what its classifier sees."""
    pools_token = getattr(model, "global_pool", None) == "token"
    return "cls" if has_class_token(model) and pools_token else "pre_logits"


def find_feature(name: str, model: nn.Module, backbone: str) -> Feature:
    """Look a feature's name up for a model.

    Raises
    ------
    InputError
        If there is no such feature, or the model cannot give it.
    """
    if name not in FEATURES or not FEATURES[name].suits(model):
        raise InputError(
            f"Backbone {backbone!r} has no feature {name!r}; "
            f"choose one of {', '.join(available_features(model))}."
        )
    return FEATURES[name]


def feature_dim(feature: Feature, model: nn.Module, image_size: int) -> int:
    """Length of a feature's vector, found by one forward pass over an empty image."""
    parameter = next(model.parameters())
    image = torch.zeros(
        (1, 3, image_size, image_size), device=parameter.device, dtype=parameter.dtype
    )
    with torch.inference_mode():
        return int(feature.compute(model, image).shape[1])
