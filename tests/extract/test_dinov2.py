"""DINOv2 in timm's model against the official code's outputs (shared reference)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from frostline.cache import InputError
from frostline.extract.backbones.backbone import load_backbone
from frostline.extract.backbones.identity import identify_backbone
from frostline.extract.backbones.weights.dinov2 import convert_official, resample_position


def official_value(key: str, shape: list[int], rng: np.random.Generator) -> torch.Tensor:
    z = rng.standard_normal(shape, dtype=np.float32)
    if key == "norm.weight" or key.endswith((".norm1.weight", ".norm2.weight")):
        return torch.from_numpy(1 + np.float32(0.02) * z)
    if key.endswith("gamma"):
        return torch.from_numpy(np.float32(0.5) + np.float32(0.02) * z)
    return torch.from_numpy(np.float32(0.5 if key in ("pos_embed", "cls_token") else 0.02) * z)


@pytest.fixture(scope="module")
def parity(shared_data: Path) -> dict[str, Any]:
    path = shared_data.parent / "reference" / "dinov2_parity.npz"
    if not path.exists():
        pytest.skip("the official outputs are not at hand")
    with np.load(path) as stored:
        return dict(stored)


@pytest.fixture(scope="module")
def official_state(parity: dict[str, Any]) -> dict[str, torch.Tensor]:
    rng = np.random.Generator(np.random.PCG64(2024))
    return {
        str(key): official_value(str(key), json.loads(str(shape)), rng)
        for key, shape in zip(parity["keys"], parity["shapes"], strict=True)
    }


@pytest.fixture(scope="module")
def official_file(
    official_state: dict[str, torch.Tensor], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path = tmp_path_factory.mktemp("dinov2") / "dinov2_vits14_pretrain.pth"
    torch.save(official_state, path)
    return path


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    rng = np.random.Generator(np.random.PCG64(7))
    return torch.from_numpy(rng.standard_normal((2, 3, 224, 224), dtype=np.float32))


def test_the_class_token_is_the_default() -> None:
    backbone = load_backbone("dinov2-s", weights="random", image_size=28)
    assert (backbone.feature, backbone.dim) == ("cls", 384)


def test_features_equal_the_official_ones(
    parity: dict[str, Any], official_file: Path, images: torch.Tensor
) -> None:
    backbone = load_backbone("dinov2-s", weights=official_file, feature="cls+mean")
    with torch.inference_mode():
        found = backbone(images).numpy()
    assert backbone.dim == 768
    assert backbone.weights_source == "file dinov2_vits14_pretrain.pth"
    np.testing.assert_allclose(found[:, :384], parity["cls"], atol=1e-4)
    np.testing.assert_allclose(found[:, 384:], parity["patch_mean"], atol=1e-4)


def test_four_layers_and_the_official_linear_head_equal_the_official_ones(
    parity: dict[str, Any], official_file: Path, images: torch.Tensor, tmp_path: Path
) -> None:
    rng = np.random.Generator(np.random.PCG64(7))
    rng.standard_normal((2, 3, 224, 224), dtype=np.float32)
    weight, bias = (
        torch.from_numpy(np.float32(0.05) * rng.standard_normal(shape, dtype=np.float32))
        for shape in ((1000, 1920), (1000,))
    )
    head = tmp_path / "dinov2_vits14_linear4_head.pth"
    torch.save({"weight": weight, "bias": bias}, head)
    names = ("last4cls+mean", "imagenet-logits")
    backbone = load_backbone("dinov2-s", weights=official_file, feature=names, head_weights=head)
    with torch.inference_mode():
        found = backbone.several(images, [backbone.find(name) for name in names])
    np.testing.assert_allclose(found[0], parity["lc_input"], atol=1e-4)
    np.testing.assert_allclose(found[1], parity["lc_logits"], atol=1e-4)


def test_layouts_and_sizes_of_the_same_weights_have_the_same_digest(
    official_state: dict[str, torch.Tensor], official_file: Path, tmp_path: Path
) -> None:
    chunked = {
        f"backbone.{key.replace('blocks.', 'blocks.0.')}": value
        for key, value in official_state.items()
    }
    training = tmp_path / "teacher_checkpoint.pth"
    torch.save({"teacher": {**chunked, "dino_head.mlp.0.weight": torch.zeros(3)}}, training)
    # Of another image size, too: the digest names the weights before they are resampled.
    small = load_backbone("dinov2-s", weights=training, image_size=98)
    assert small.model.pos_embed.shape == (1, 50, 384)
    assert small.weights == identify_backbone("dinov2-s", weights=official_file).weights


def test_a_missing_tensor_is_named(official_state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    damaged = dict(official_state)
    del damaged["blocks.3.attn.qkv.bias"]
    damaged["norm.weight"] = torch.zeros(5)
    path = tmp_path / "damaged.pth"
    torch.save(damaged, path)
    with pytest.raises(InputError) as caught:
        load_backbone("dinov2-s", weights=path)
    assert str(caught.value) == (
        f"{path} does not fit backbone 'dinov2-s' in 2 tensors: "
        "the backbone wants blocks.3.attn.qkv.bias; norm.weight is 5 where 384 is wanted; "
        "give the weights of this very model."
    )


def test_an_image_size_that_is_no_multiple_of_the_patch_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        load_backbone("dinov2-s", weights="random", image_size=256)
    assert str(caught.value) == (
        "Backbone 'dinov2-s' takes images of a multiple of 14 pixels, not 256: "
        "set --image-size to one, such as 252."
    )


def test_a_position_embedding_of_the_right_size_is_left_alone() -> None:
    position = torch.randn(1, 17, 8)
    assert resample_position(position, (4, 4)) is position


def test_resampling_keeps_the_class_token_and_constant_positions() -> None:
    position = torch.ones(1, 37 * 37 + 1, 8)
    position[:, 0] = 3
    resampled = resample_position(position, (16, 16))
    assert resampled.shape == (1, 257, 8)
    assert torch.equal(resampled[:, 0], position[:, 0])
    torch.testing.assert_close(resampled[:, 1:], torch.ones(1, 256, 8))


def test_swiglu_and_register_names_become_those_of_timm() -> None:
    position = torch.randn(1, 5, 8)
    state = {
        "pos_embed": position,
        "cls_token": torch.ones(1, 1, 8),
        "mask_token": torch.zeros(1, 8),
        "register_tokens": torch.zeros(1, 4, 8),
        "blocks.0.mlp.w12.weight": torch.zeros(2),
        "blocks.0.mlp.w3.bias": torch.zeros(2),
    }
    converted = convert_official(state)
    assert set(converted) == {
        "pos_embed",
        "cls_token",
        "reg_token",
        "blocks.0.mlp.fc1.weight",
        "blocks.0.mlp.fc2.bias",
    }
    assert torch.equal(converted["cls_token"], 1 + position[:, :1])
    assert torch.equal(converted["pos_embed"], position[:, 1:])
