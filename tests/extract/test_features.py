"""Features against the libraries' own models, alone and several in one pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from frostline.cache import InputError
from frostline.extract.backbones.backbone import load_backbone
from frostline.extract.backbones.identity import identify_backbone
from frostline.extract.backbones.pooling import pool_positions

RANDOM: dict[str, Any] = {"weights": "random", "image_size": 32}


def whole_model(name: str, path: Path) -> nn.Module:
    """A library's model with its classifier, saved to a file."""
    library, _, model = name.partition(":")
    torch.manual_seed(0)
    made: nn.Module = (
        timm.create_model(model, **({"img_size": 32} if "vit" in model else {}))
        if library == "timm"
        else torchvision.models.get_model(model, weights=None)
    )
    torch.save(made.state_dict(), path)
    return made.eval()


@pytest.mark.parametrize(
    "name",
    ["timm:test_vit", "timm:test_resnet", "timm:test_nfnet", "torchvision:mobilenet_v3_small"],
)
def test_logits_are_those_of_the_whole_model(name: str, tmp_path: Path) -> None:
    whole = whole_model(name, tmp_path / "w.pth")
    backbone = load_backbone(
        name, weights=tmp_path / "w.pth", feature="imagenet-logits", image_size=32
    )
    images = torch.randn(3, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(backbone(images), whole(images))
    assert backbone.dim == 1000


def test_the_head_has_a_digest_of_its_own(tmp_path: Path) -> None:
    path, digests = tmp_path / "w.pth", tmp_path / "digests.json"
    whole = whole_model("timm:test_resnet", path)
    options: dict[str, Any] = {"weights": path, "feature": "imagenet-logits", "digests": digests}
    found = identify_backbone("timm:test_resnet", **options)
    loaded = load_backbone("timm:test_resnet", **options)
    assert (loaded.weights, loaded.head) == (found.weights, found.head)
    assert found.weights == load_backbone("timm:test_resnet", weights=path).weights
    changed = {**whole.state_dict(), "fc.bias": torch.ones(1000)}
    torch.save(changed, path)
    again = identify_backbone("timm:test_resnet", **options)
    assert (again.weights == found.weights, again.head == found.head) == (True, False)


def test_a_head_from_a_file_finds_the_feature_it_takes(tmp_path: Path) -> None:
    head = tmp_path / "head.safetensors"
    images = torch.randn(2, 3, 32, 32)
    for feature, width in (("pre_logits", 64), ("cls+mean", 128), ("last4cls+mean", 320)):
        weight, bias = torch.randn(7, width), torch.randn(7)
        save_file({"weight": weight, "bias": bias}, head)
        logits = load_backbone(
            "timm:test_vit", feature="imagenet-logits", head_weights=head, **RANDOM
        )
        base = load_backbone("timm:test_vit", feature=feature, **RANDOM)
        with torch.inference_mode():
            expected = base(images) @ weight.T + bias
            torch.testing.assert_close(logits(images), expected)
    save_file({"weight": torch.randn(7, 65), "bias": torch.randn(7)}, head)
    with pytest.raises(InputError, match="takes 65 numbers, and this backbone gives pre_logits 64"):
        load_backbone("timm:test_vit", feature="imagenet-logits", head_weights=head, **RANDOM)
    save_file({"a": torch.randn(7, 64), "b": torch.randn(7, 64)}, head)
    with pytest.raises(InputError, match="is no linear head: --head-weights takes a file of one"):
        load_backbone("timm:test_vit", feature="imagenet-logits", head_weights=head, **RANDOM)


def test_without_a_classifier_it_says_how_to_give_one() -> None:
    with pytest.raises(InputError) as caught:
        load_backbone("dinov2-s", weights="random", feature="imagenet-logits", image_size=28)
    assert str(caught.value) == (
        "Backbone 'dinov2-s' (random, seed 0) has no classifier for 'imagenet-logits': give a "
        "linear head with --head-weights FILE, such as "
        "https://dl.fbaipublicfiles.com/dinov2/dinov2_vits14/dinov2_vits14_linear4_head.pth."
    )


@pytest.mark.parametrize("name", ["timm:test_vit", "timm:test_resnet"])
def test_several_features_in_one_pass_equal_each_alone(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    vit = ["cls", "mean", "cls+mean", "last4cls+mean", "layer:blocks.2", "layer:patch_embed"]
    names = ["pre_logits", *(vit if "vit" in name else ["layer:layer2", "layer:act1"])]
    backbone = load_backbone(name, feature=names, **RANDOM)
    images = torch.randn(2, 3, 32, 32)
    passes = []
    run = type(backbone.model).forward_features
    monkeypatch.setattr(
        type(backbone.model),
        "forward_features",
        lambda self, x: (passes.append(1), run(self, x))[1],
    )
    with torch.inference_mode():
        together = backbone.several(images, [backbone.find(name) for name in names])
        assert len(passes) == 1
        for feature, found in zip(names, together, strict=True):
            assert torch.equal(load_backbone(name, feature=feature, **RANDOM)(images), found)
    assert backbone.feature == "pre_logits"
    assert not any(module._forward_hooks for module in backbone.model.modules())


def test_the_last_four_class_tokens_each_pass_the_final_norm() -> None:
    backbone = load_backbone("timm:test_vit", feature="last4cls+mean", **RANDOM)
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        layers = backbone.model.get_intermediate_layers(
            images, n=4, norm=True, return_prefix_tokens=True
        )
        expected = [prefix[:, 0] for _, prefix in layers] + [layers[-1][0].mean(1)]
        torch.testing.assert_close(backbone(images), torch.cat(expected, 1))


def test_a_layer_is_pooled_over_its_positions() -> None:
    images = torch.randn(2, 3, 32, 32)
    seen = {}
    resnet = load_backbone("timm:test_resnet", feature="layer:layer2", **RANDOM)
    resnet.model.layer2.register_forward_hook(lambda *a: seen.update(map=a[2].clone()))
    vit = load_backbone("timm:test_vit", feature="layer:blocks.1", **RANDOM)
    vit.model.blocks[1].register_forward_hook(lambda *a: seen.update(tokens=a[2].clone()))
    swin = load_backbone("torchvision:swin_t", feature="layer:features.1", **RANDOM)
    swin.model.features[1].register_forward_hook(lambda *a: seen.update(last=a[2].clone()))
    with torch.inference_mode():
        assert torch.equal(resnet(images), seen["map"].mean((2, 3)))
        assert torch.equal(vit(images), seen["tokens"][:, 1:].mean(1))
        assert torch.equal(swin(images), seen["last"].mean((1, 2)))
    assert (resnet.dim, vit.dim, swin.dim) == (48, 64, 96)


def test_a_layer_that_a_later_one_writes_into_is_kept_as_it_was() -> None:
    # timm's act1 is in place, after bn1.
    backbone = load_backbone("timm:test_resnet", feature="layer:bn1", **RANDOM)
    assert backbone.model.act1.inplace
    with torch.inference_mode():
        assert (backbone(torch.randn(4, 3, 32, 32)) < 0).any()


NOT_RUN = "encoder.layers.encoder_layer_0.self_attention.out_proj"


@pytest.mark.parametrize(
    ("name", "layer", "message"),
    [
        ("resnet18", "layer9", "has no layer 'layer9'; the nearest names are layer"),
        ("resnet18", "", "has no layer ''"),
        ("resnet18", "layer1.0.relu", "Layer 'layer1.0.relu' runs several times a pass"),
        ("vit_b_16", NOT_RUN, f"Layer '{NOT_RUN}' is not run for an image: choose another one"),
    ],
)
def test_a_layer_that_cannot_be_had_is_named(name: str, layer: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        load_backbone(f"torchvision:{name}", feature=f"layer:{layer}", **RANDOM)
    assert message in str(caught.value)


def test_a_map_with_as_many_channels_as_sides_is_read_in_the_layers_own_order() -> None:
    output = torch.randn(2, 4, 4, 4)
    conv = nn.Conv2d(4, 4, 1)
    assert torch.equal(pool_positions(nn.Identity(), conv, output), output.mean((2, 3)))
    with pytest.raises(InputError, match="whose output has 1 axes cannot be pooled"):
        pool_positions(nn.Identity(), conv, torch.randn(3))
