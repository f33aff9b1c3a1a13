"""Image towers of open_clip's files against open_clip itself, where it is installed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from frostline.cache import InputError
from frostline.extract.backbones.backbone import empty_backbone, load_backbone
from frostline.extract.backbones.blocks import blocks
from frostline.extract.backbones.catalog import resolve
from frostline.extract.backbones.depths import backbone_depths
from frostline.extract.backbones.identity import identify_backbone
from frostline.extract.backbones.preprocessing import own_preprocessing

TEXT = {"context_length": 8, "vocab_size": 32, "width": 16, "heads": 2, "layers": 1}
OWN = {"image_size": 32, "patch_size": 8, "width": 16, "layers": 3, "head_width": 8}
# As microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224 has it, smaller.
TIMM = {
    "timm_model_name": "test_vit",
    "timm_model_pretrained": False,
    "timm_pool": "",
    "timm_proj": "linear",
    "image_size": 160,
}
PREPROCESS = {"mean": [0.48, 0.46, 0.41], "std": [0.27, 0.26, 0.28]}
EXACT = {"rtol": 0, "atol": 2e-6}


def write(folder: Path, vision: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Write `open_clip_config.json`, and give what it says of the model."""
    folder.mkdir(exist_ok=True)
    model = {"embed_dim": 12, "vision_cfg": vision, "text_cfg": TEXT, **more}
    said = {"model_cfg": model, "preprocess_cfg": PREPROCESS}
    (folder / "open_clip_config.json").write_text(json.dumps(said))
    return model


def spread(model: Any) -> Any:
    """Give a model weights far from zero."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model.eval()


def save(folder: Path, vision: dict[str, Any], **more: Any) -> Any:
    """Save a model in open_clip's layout; its whole, of open_clip's own classes."""
    open_clip = pytest.importorskip("open_clip")
    config = write(folder, vision, **more)
    kind = open_clip.model.CustomTextCLIP if "timm_model_name" in vision else open_clip.model.CLIP
    model = spread(kind(**config))
    save_file(dict(model.state_dict()), folder / "open_clip_model.safetensors")
    return model


def images(size: int) -> Tensor:
    return torch.randn((2, 3, size, size), generator=torch.Generator().manual_seed(3))


def features(name: str, wanted: list[str], size: int) -> list[Tensor]:
    backbone = load_backbone(name, feature=wanted, image_size=size)
    with torch.inference_mode():
        return backbone.several(images(size), [backbone.find(one) for one in wanted])


@pytest.mark.parametrize(
    ("vision", "more"),
    [
        (OWN, {}),
        (OWN, {"quick_gelu": True}),
        (TIMM, {}),
        ({**TIMM, "timm_pool": "avg", "timm_proj": "mlp", "timm_proj_bias": True}, {}),
        ({**TIMM, "timm_pool": "token", "timm_proj": ""}, {}),
        ({**TIMM, "timm_model_name": "test_convnext", "timm_pool": ""}, {}),
        ({**TIMM, "timm_model_name": "test_convnext", "timm_pool": "avg", "timm_proj": ""}, {}),
    ],
)
def test_the_projection_is_what_open_clip_gives(
    tmp_path: Path, vision: dict[str, Any], more: dict[str, Any]
) -> None:
    model = save(tmp_path, vision, **more)
    size = vision["image_size"]
    with torch.inference_mode():
        expected = model.encode_image(images(size))
    projected, pooled = features(f"hf:{tmp_path}", ["projection", "pre_logits"], size)
    torch.testing.assert_close(projected, expected, **EXACT)
    head = getattr(model.visual, "head", None)
    with torch.inference_mode():
        if head:
            torch.testing.assert_close(head(pooled), expected, **EXACT)
        elif vision is OWN:
            torch.testing.assert_close(pooled @ model.visual.proj, expected, **EXACT)


def test_a_tower_that_pools_by_attention_has_a_pooler_alone(tmp_path: Path) -> None:
    vision = {"timm_model_name": "test_vit4", "timm_pool": "map", "timm_proj": "none"}
    model = save(tmp_path, {**vision, "image_size": 160})
    name = f"hf:{tmp_path}"
    with torch.inference_mode():
        expected = model.encode_image(images(160))
    assert load_backbone(name, image_size=160).feature == "pooler"
    torch.testing.assert_close(features(name, ["pooler"], 160)[0], expected, **EXACT)
    with pytest.raises(InputError, match="has no feature 'projection'; choose one of pre_l"):
        load_backbone(name, feature="projection", image_size=160)


def test_pickled_weights_and_another_size(tmp_path: Path) -> None:
    model = save(tmp_path, OWN)
    name = f"hf:{tmp_path}"
    expected = features(name, ["cls", "projection"], 32)
    digest = identify_backbone(name, image_size=32).weights
    (tmp_path / "open_clip_model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "open_clip_pytorch_model.bin")
    for found, value in zip(features(name, ["cls", "projection"], 32), expected, strict=True):
        torch.testing.assert_close(found, value, rtol=0, atol=0)
    assert identify_backbone(name, image_size=32).weights == digest
    assert identify_backbone(name, image_size=48).weights == digest
    assert features(name, ["cls"], 48)[0].shape == (2, 16)
    text = {k: v + 1 if not k.startswith("visual.") else v for k, v in model.state_dict().items()}
    torch.save(text, tmp_path / "open_clip_pytorch_model.bin")
    assert identify_backbone(name, image_size=32).weights == digest
    (tmp_path / "open_clip_pytorch_model.bin").unlink()
    with pytest.raises(InputError, match=r"lacks .*open_clip_model\.safetensors \(or open_clip_py"):
        load_backbone(name, image_size=32)
    text = {k: v for k, v in model.state_dict().items() if not k.startswith("visual.")}
    save_file(text, tmp_path / "open_clip_model.safetensors")
    with pytest.raises(InputError, match=r"does not fit backbone .*: it has .*; the backbone want"):
        load_backbone(name, image_size=32)


@pytest.mark.parametrize("vision", [OWN, TIMM])
def test_depths_end_in_the_class_token(tmp_path: Path, vision: dict[str, Any]) -> None:
    write(tmp_path, vision)
    name, size = f"hf:{tmp_path}", int(vision["image_size"])
    model = empty_backbone(name, image_size=size).model
    found = blocks(model)
    assert [block.name for block in found][:3] == ["stem", "blocks.0", "blocks.1"]
    assert found[-1].name == f"blocks.{len(found) - 2}"
    held = [parameter for block in found for parameter in block.parameters]
    assert sorted(held) == sorted(key for key, _ in model.named_parameters())
    assert "projection.weight" in found[-1].parameters
    assert backbone_depths(name, size)[-1].feature == "cls"


def test_preprocessing_is_that_of_its_file(tmp_path: Path) -> None:
    write(tmp_path, OWN)
    own = own_preprocessing(resolve(f"hf:{tmp_path}"))
    assert (own.resize, own.resize_to, own.size, own.interpolation) == (
        *("shorter", 32, 32),
        "bicubic",
    )
    assert (own.mean, own.std) == ((0.48, 0.46, 0.41), (0.27, 0.26, 0.28))
    path = tmp_path / "open_clip_config.json"
    said = json.loads(path.read_text())
    said["preprocess_cfg"] = {"size": [48, 48], "interpolation": "bilinear"}
    said["preprocess_cfg"]["resize_mode"] = "squash"
    path.write_text(json.dumps(said))
    own = own_preprocessing(resolve(f"hf:{tmp_path}"))
    assert (own.resize, own.size, own.interpolation) == ("squash", 48, "bilinear")
    assert own.mean == (0.48145466, 0.4578275, 0.40821073)  # open_clip's default
    said["preprocess_cfg"]["resize_mode"] = "longest"
    path.write_text(json.dumps(said))
    with pytest.raises(InputError, match="resized and normalised .*; its preprocess_cfg needs m"):
        own_preprocessing(resolve(f"hf:{tmp_path}"))


@pytest.mark.parametrize(
    ("vision", "match"),
    [
        ({**OWN, "attentional_pool": True}, "with attentional_pool True, which Frostline cannot"),
        ({**OWN, "layers": [3, 4, 6, 3]}, r"with layers \[3, 4, 6, 3\], which Frostline cannot"),
        ({**OWN, "eva": 1}, "with eva 1, which Frostline cannot build by timm"),
        ({**TIMM, "timm_model_name": "hf-hub:a/b"}, "with timm_model_name 'hf-hub:a/b', which"),
        ({**TIMM, "timm_pool": "abs_attn"}, "with timm_pool 'abs_attn', which Frostline cannot"),
        ({**TIMM, "timm_proj": "conv"}, "with timm_proj 'conv', which Frostline cannot"),
        ({**OWN, "width": "wide"}, r"cannot be built for images of 32 pixels from open_clip_con"),
    ],
)
def test_what_timm_cannot_build_is_refused(
    tmp_path: Path, vision: dict[str, Any], match: str
) -> None:
    write(tmp_path, vision)
    with pytest.raises(InputError, match=match) as caught:
        empty_backbone(f"hf:{tmp_path}", image_size=32)
    assert str(caught.value).endswith(".")


def test_wrong_files_and_sizes_are_named(tmp_path: Path) -> None:
    write(tmp_path, OWN)
    with pytest.raises(InputError, match="takes images of a multiple of 8 pixels, not 60: set"):
        empty_backbone(f"hf:{tmp_path}", image_size=60)
    (tmp_path / "open_clip_config.json").write_text('{"model_cfg": {"text_cfg": {}}}')
    with pytest.raises(InputError, match="has no model_cfg with embed_dim and a vision_cfg: give"):
        empty_backbone(f"hf:{tmp_path}", image_size=32)
    (tmp_path / "open_clip_config.json").write_text("{")
    with pytest.raises(InputError, match=r"open_clip_config\.json is not JSON"):
        empty_backbone(f"hf:{tmp_path}", image_size=32)
