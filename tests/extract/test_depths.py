"""Depths: where backbones can be read, in one numbering with `--unfreeze`, and what is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from frostline.cache import InputError, Store, Workspace
from frostline.extract.backbones.backbone import Backbone, load_backbone
from frostline.extract.backbones.blocks import blocks
from frostline.extract.backbones.depths import backbone_depths, depths
from frostline.extract.backbones.identity import identify_backbone, identify_features
from frostline.extract.embed import Extraction, embed_features, embedding_spec
from frostline.extract.images.geometry import Geometry
from frostline.extract.index import index_dataset
from frostline.extract.pixels import pixel_source

from .test_embed import NORMALISATION, make_images

SMALL: dict[str, Any] = {"weights": "random", "image_size": 32}
# What is read behind each block, by backbone and feature.
READ = {
    ("effnet-lite0", "blocks"): [
        "layer:stem",
        *(f"layer:blocks.{n}" for n in range(6)),
        "pre_logits",
    ],
    ("timm:test_vit", "blocks"): [None, *(f"layer:blocks.{n}:cls" for n in range(5)), "cls"],
    ("timm:test_vit", "blocks:cls+mean"): [
        "layer:stem:cls+mean",
        *(f"layer:blocks.{n}:cls+mean" for n in range(5)),
        "cls+mean",
    ],
    # It averages its patches itself.
    ("timm:beit_base_patch16_224", "blocks"): [
        "layer:stem:mean",
        *(f"layer:blocks.{n}:mean" for n in range(11)),
        "pre_logits",
    ],
    # Its class token comes in behind these blocks.
    ("timm:cait_xxs24_224", "blocks"): [
        "layer:stem",
        *(f"layer:blocks.{n}" for n in range(23)),
        "cls",
    ],
    ("torchvision:vit_b_16", "blocks"): [
        None,
        *(f"layer:encoder.layers.encoder_layer_{n}:cls" for n in range(11)),
        "pre_logits",
    ],
    ("densenet121", "blocks"): [
        "layer:stem",
        *(f"layer:features.transition{n}" for n in (1, 2, 3)),
        "pre_logits",
    ],
    ("vgg16", "blocks"): [
        *(f"layer:features.{n}" for n in (4, 9, 16, 23)),
        "layer:avgpool",
        "pre_logits",
    ],
    # Several tensors go from one of its blocks to the next.
    ("timm:hrnet_w18_small", "blocks"): ["layer:stem", None, None, None, None, "pre_logits"],
}


@pytest.mark.parametrize(("name", "feature"), READ)
def test_depths_go_from_input_to_output(name: str, feature: str) -> None:
    found = backbone_depths(name, 224, feature)
    assert [depth.feature for depth in found] == READ[name, feature]
    first = int(found[0].block != "stem")
    assert [depth.number for depth in found] == list(range(first, len(found) + first))
    assert [depth.behind for depth in found] == list(range(len(found)))[::-1]
    costs = [depth.cost for depth in found]
    assert costs == sorted(costs)
    assert 0 < costs[0] < costs[-1] == 1


def test_what_lies_behind_a_depth_is_what_unfreeze_trains() -> None:
    from frostline.finetune.model import Classifier
    from frostline.finetune.unfreeze import unfreeze

    found = backbone_depths("timm:test_resnet", 32)
    model = Classifier(load_backbone("timm:test_resnet", **SMALL), 2, 0)
    for place, depth in enumerate(found[:-1]):
        assert unfreeze(model, depth.behind) == [later.block for later in found[place + 1 :]]


def test_cost_is_that_of_the_forward_pass() -> None:
    # 4.09 billion multiplications, as torchvision's page has it; the first convolution's own.
    found = backbone_depths("resnet50")
    assert round(found[-1].macs / 1e9, 2) == 4.09
    assert found[0].macs == 112 * 112 * 64 * 3 * 7 * 7
    # Blocks of a vision transformer cost the same, attention included.
    vit = [depth.macs for depth in backbone_depths("timm:test_vit", 32)]
    assert len(set(np.diff(vit))) == 1


@pytest.mark.parametrize(
    ("name", "feature", "message"),
    [
        (
            "effnet-lite0",
            "blocks:cls",
            "Backbone 'effnet-lite0' has no class token for 'blocks:cls'",
        ),
        ("timm:test_vit", "blocks:max", "There is no feature 'blocks:max': choose blocks, or"),
        ("timm:cait_xxs24_224", "blocks:cls", "has no class token: choose blocks"),
        ("timm:poolformer_s12", "blocks", "The blocks of backbone 'timm:poolformer_s12' are not"),
    ],
)
def test_depths_that_cannot_be_had_are_refused(name: str, feature: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        backbone_depths(name, 224, feature)


def test_one_feature_is_not_several() -> None:
    with pytest.raises(InputError, match="Feature 'blocks' stands for one of each block"):
        identify_backbone("timm:test_vit", feature="blocks", **SMALL)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("layer:layer1:cls", "cannot pool a layer by 'cls'"),
        ("layer:stem:cls", "cannot pool a layer by 'cls'"),
        ("layer:nothing:cls", "has no layer 'nothing'"),
    ],
)
def test_a_cnn_has_no_tokens_to_pool(layer: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_backbone("timm:test_resnet", feature=layer, **SMALL)


def test_a_layer_without_a_class_token_is_named() -> None:
    with pytest.raises(InputError, match="A layer Conv2d of this backbone gives no class token"):
        load_backbone("timm:test_vit", feature="layer:patch_embed.proj:cls", **SMALL)


def every_depth(backbone: Backbone, images: Tensor, feature: str = "blocks") -> list[Tensor]:
    """What is read at all depths of a backbone, in one pass."""
    found = backbone_depths(backbone.name, images.shape[-1], feature)
    names = [depth.feature for depth in found if depth.feature]
    with torch.inference_mode():
        return backbone.several(images, [backbone.find(name) for name in names])


def test_a_vision_transformer_is_read_as_dinov2_reads_its_layers() -> None:
    backbone = load_backbone("timm:test_vit", **SMALL)
    images = torch.randn(3, 3, 32, 32)
    with torch.inference_mode():
        layers = backbone.model.get_intermediate_layers(
            images, n=6, norm=True, return_prefix_tokens=True
        )
    classes = [prefix[:, 0] for _, prefix in layers]
    both = [torch.cat([prefix[:, 0], patches.mean(1)], 1) for patches, prefix in layers]
    torch.testing.assert_close(every_depth(backbone, images), classes)
    torch.testing.assert_close(every_depth(backbone, images, "blocks:cls+mean")[1:], both)


def by_hand(model: nn.Module, images: Tensor) -> list[Tensor]:
    """The blocks of an EfficientNet, one after the other."""
    net: Any = model
    x = net.bn1(net.conv_stem(images))
    pooled = [x.mean((2, 3))]
    for block in net.blocks:
        x = block(x)
        pooled.append(x.mean((2, 3)))
    return [*pooled[:-1], net.bn2(net.conv_head(x)).mean((2, 3))]


def test_a_cnn_is_averaged_behind_each_block() -> None:
    backbone = load_backbone("effnet-lite0", image_size=64)  # its ImageNet weights
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        expected = by_hand(backbone.model, images)
    torch.testing.assert_close(every_depth(backbone, images), expected)


@pytest.mark.parametrize("name", ["densenet121", "torchvision:swin_t", "timm:test_convnext"])
def test_what_is_read_is_what_enters_the_next_block(name: str) -> None:
    backbone = load_backbone(name, weights="random", image_size=64)
    entering: list[Tensor] = []
    for block in blocks(backbone.model)[1:]:

        def keep(module: nn.Module, inputs: tuple[Tensor]) -> None:
            entering.append(inputs[0].clone())

        backbone.model.get_submodule(block.first_module).register_forward_pre_hook(keep)
    *read, last = every_depth(backbone, torch.randn(2, 3, 64, 64))
    for output, found in zip(entering, read, strict=True):
        last_axis = output.shape[-1] == found.shape[-1] and output.shape[1] == output.shape[2]
        torch.testing.assert_close(found, output.mean((1, 2) if last_axis else (2, 3)))
    assert last.shape[1] == backbone.dim


def test_nothing_but_what_is_read_is_kept() -> None:
    backbone = load_backbone("timm:test_vit", **SMALL)
    for feature in ("blocks", "blocks:cls+mean"):
        for kept in every_depth(backbone, torch.randn(2, 3, 32, 32), feature)[:-1]:
            assert kept.untyped_storage().nbytes() == 4 * kept.numel()


class Stages(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        layers = [nn.Sequential(nn.Conv2d(n, 2 * n, 3), nn.ReLU()) for n in (3, 6, 12)]
        self.features = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        return self.features(images)  # type: ignore[no-any-return]


def test_an_own_module_is_read_at_its_stages_and_left_as_it_is() -> None:
    module = Stages()
    found = identify_features(module, ["blocks"], image_size=16)
    names = [one.feature for one in found]
    assert names == ["layer:stem", "layer:module.features.1", "pre_logits"]
    backbone = load_backbone(module, feature=names, image_size=16)
    images = torch.randn(2, 3, 16, 16)
    with torch.inference_mode():
        read = backbone.several(images, [backbone.find(name) for name in names])
        for number, pooled in enumerate(read, start=1):
            torch.testing.assert_close(pooled, module.features[:number](images).mean((2, 3)))
    assert module.training
    assert all(parameter.requires_grad for parameter in module.parameters())


def test_blocks_that_do_not_run_in_order_are_refused() -> None:
    class Backwards(Stages):
        def forward(self, images: Tensor) -> Tensor:
            for number in (1, 0, 2):
                images = self.features[number](images)
            return images

    module = Backwards()
    module.features[0], module.features[1] = module.features[1], module.features[0]
    with pytest.raises(InputError, match="do not run one after the other"):
        depths(module, "Backwards", 16)


# the stores


@pytest.fixture
def fill(tmp_path: Path) -> Callable[..., list[Extraction]]:
    """Embed 11 images by features of a tiny backbone."""
    manifest = index_dataset(
        Workspace(tmp_path), "set", roots=[make_images(tmp_path / "images", 11)]
    )

    def run(workspace: Path, *features: str, **options: Any) -> list[Extraction]:
        place = Workspace(workspace)
        known = identify_features("timm:test_resnet", features, **SMALL)
        names = [one.feature for one in known]
        source = pixel_source(place, manifest, Geometry("shorter", 32, 32))
        specs = [
            embedding_spec(source, "timm:test_resnet", known[0].weights, name, NORMALISATION)
            for name in names
        ]

        def load() -> Backbone:
            return load_backbone("timm:test_resnet", feature=names, **SMALL)

        return embed_features(place, source, specs, load, batch=2, **options)

    return run


def rows(workspace: Path, done: Extraction) -> dict[bytes, bytes]:
    store = Store.open(Workspace(workspace).embeddings("set", "timm:test_resnet") / done.key)
    assert len(store) == len(store.distinct_rows())  # none is there twice
    values = store.read(np.arange(len(store)))
    return {key.tobytes(): row.tobytes() for key, row in zip(store.keys, values, strict=True)}


def test_each_depth_has_the_key_and_the_numbers_of_that_feature_alone(
    tmp_path: Path, fill: Callable[..., list[Extraction]]
) -> None:
    together = fill(tmp_path / "together", "blocks")
    assert [one.feature for one in together] == [
        "layer:stem",
        *(f"layer:layer{n}" for n in (1, 2, 3)),
        "pre_logits",
    ]
    for one in together:
        (alone,) = fill(tmp_path / "alone", one.feature)
        assert alone.key == one.key
        assert rows(tmp_path / "alone", alone) == rows(tmp_path / "together", one)


def test_a_stopped_extraction_adds_what_each_store_lacks(
    tmp_path: Path, fill: Callable[..., list[Extraction]]
) -> None:
    def stop(done: int, total: int) -> None:
        if done > 4:
            raise KeyboardInterrupt

    whole, place = tmp_path / "whole", tmp_path / "stopped"
    with pytest.raises(KeyboardInterrupt):
        fill(place, "blocks", progress=stop)
    (ahead,) = fill(place, "layer:layer2", shard=(0, 2))
    done = fill(place, "blocks")
    added = {one.feature: one.embedded for one in done}
    assert ahead.embedded > 0
    assert added.pop("layer:layer2") + ahead.embedded == added["pre_logits"] < 11
    assert len(set(added.values())) == 1
    for one, expected in zip(done, fill(whole, "blocks"), strict=True):
        assert rows(place, one) == rows(whole, expected)
    assert [one.embedded for one in fill(place, "blocks")] == [0] * 5


def test_shards_fill_every_store(tmp_path: Path, fill: Callable[..., list[Extraction]]) -> None:
    for part in (0, 1):
        fill(tmp_path / "shards", "blocks", shard=(part, 2))
    done = fill(tmp_path / "shards", "blocks")
    assert [one.embedded for one in done] == [0] * 5
    for one, expected in zip(done, fill(tmp_path / "whole", "blocks"), strict=True):
        assert rows(tmp_path / "shards", one) == rows(tmp_path / "whole", expected)


def test_onnx_gives_the_same_depths(tmp_path: Path, fill: Callable[..., list[Extraction]]) -> None:
    pytest.importorskip("onnxruntime")
    exported = fill(tmp_path / "onnx", "blocks", engine="onnx")
    for one, expected in zip(exported, fill(tmp_path / "torch", "blocks"), strict=True):
        mine, theirs = rows(tmp_path / "onnx", one), rows(tmp_path / "torch", expected)
        for key, row in theirs.items():
            found, wanted = (np.frombuffer(each, np.float32) for each in (mine[key], row))
            np.testing.assert_allclose(found, wanted, atol=1e-4)
