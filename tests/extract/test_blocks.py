"""Blocks of backbones, in order, each parameter once."""

from __future__ import annotations

import pytest

from frostline.extract.backbones.architectures import build_model
from frostline.extract.backbones.blocks import blocks
from frostline.extract.backbones.catalog import resolve

EXPECTED = {
    "timm:test_vit": ["stem", *(f"blocks.{n}" for n in range(6))],
    "timm:test_resnet": ["stem", "layer1", "layer2", "layer3", "layer4"],
    "timm:cait_xxs24_224": ["stem", *(f"blocks.{n}" for n in range(24))],
    "effnet-lite0": ["stem", *(f"blocks.{n}" for n in range(7))],
    "resnet50": ["stem", "layer1", "layer2", "layer3", "layer4"],
    "densenet121": ["stem", *(f"features.denseblock{n}" for n in range(1, 5))],
    "torchvision:vgg11": [
        "features.0",
        "features.3",
        "features.6",
        "features.11",
        "features.16",
        "classifier",
    ],
    "torchvision:convnext_tiny": ["stem", "features.1", "features.2", "features.4", "features.6"],
    "torchvision:shufflenet_v2_x0_5": ["stem", "stage2", "stage3", "stage4", "conv5"],
    "torchvision:mnasnet0_5": ["stem", *(f"layers.{n}" for n in range(8, 14))],
    "torchvision:mobilenet_v3_small": [
        "stem",
        *(f"features.{n}" for n in range(1, 13)),
        "classifier",
    ],
}


@pytest.mark.parametrize("name", EXPECTED)
def test_blocks(name: str) -> None:
    model, _ = build_model(resolve(name), 224, 0)
    found = blocks(model)
    assert [block.name for block in found] == EXPECTED[name]
    listed = [parameter for block in found for parameter in block.parameters]
    assert sorted(listed) == sorted(parameter for parameter, _ in model.named_parameters())


def test_the_norm_after_the_last_block_belongs_to_it() -> None:
    vit, _ = build_model(resolve("timm:test_vit"), 32, 0)
    last = blocks(vit)[-1]
    assert {"norm.weight", "norm.bias"} <= set(last.parameters)
    assert vit.norm in last.modules
    densenet, _ = build_model(resolve("densenet121"), 32, 0)
    assert densenet.features.norm5 in blocks(densenet)[-1].modules


def test_batch_norms_are_among_the_modules() -> None:
    resnet, _ = build_model(resolve("timm:test_resnet"), 32, 0)
    by_name = {block.name: block for block in blocks(resnet)}
    assert resnet.layer3[0].bn1 in by_name["layer3"].modules
    assert resnet.bn1 in by_name["stem"].modules
