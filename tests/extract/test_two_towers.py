"""Image towers of CLIP, SigLIP and open_clip against their own libraries; no network is used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from frostline.cache import InputError
from frostline.extract.backbones.backbone import empty_backbone, load_backbone
from frostline.extract.backbones.blocks import blocks
from frostline.extract.backbones.catalog import resolve
from frostline.extract.backbones.depths import backbone_depths
from frostline.extract.backbones.identity import identify_backbone
from frostline.extract.backbones.preprocessing import own_preprocessing

transformers: Any = pytest.importorskip("transformers")

VISION = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": 32,
    "patch_size": 8,
}
TEXT = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "vocab_size": 64,
    "max_position_embeddings": 8,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
EXACT = {"rtol": 0, "atol": 1e-6}


PROCESSOR = {
    "image_processor_type": "SiglipImageProcessor",
    "size": {"height": 32, "width": 32},
    "resample": 2,
    "image_mean": [0.5] * 3,
    "image_std": [0.5] * 3,
}


def save(model: Any, folder: Path, **options: Any) -> str:
    """Save a model as transformers does; its backbone's name."""
    model.save_pretrained(folder, **options)
    (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    return f"hf:{folder}"


def images(size: int = 32) -> Tensor:
    return torch.randn((2, 3, size, size), generator=torch.Generator().manual_seed(3))


def spread(model: Any, seed: int = 0) -> Any:
    """Give a model weights far from zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model.eval()


def clip() -> Any:
    config = transformers.CLIPConfig(vision_config=VISION, text_config=TEXT, projection_dim=12)
    return spread(transformers.CLIPModel(config))


def clip_vision() -> Any:
    return spread(transformers.CLIPVisionModel(transformers.CLIPVisionConfig(**VISION)))


def clip_projecting() -> Any:
    config = transformers.CLIPVisionConfig(**VISION, projection_dim=12)
    return spread(transformers.CLIPVisionModelWithProjection(config))


def siglip() -> Any:
    config = transformers.SiglipConfig(vision_config=VISION, text_config=TEXT)
    return spread(transformers.SiglipModel(config))


def siglip_vision() -> Any:
    return spread(transformers.SiglipVisionModel(transformers.SiglipVisionConfig(**VISION)))


def features(name: str, wanted: list[str], size: int = 32, **options: Any) -> list[Tensor]:
    backbone = load_backbone(name, feature=wanted, image_size=size, **options)
    with torch.inference_mode():
        return backbone.several(images(size), [backbone.find(one) for one in wanted])


@pytest.mark.parametrize("size", [32, 48])
@pytest.mark.parametrize("make", [clip, clip_vision, clip_projecting])
def test_clip_gives_its_class_token_before_and_after_the_projection(
    tmp_path: Path, make: Any, size: int
) -> None:
    model = make()
    save(model, tmp_path / "model")
    name = f"hf:{tmp_path / 'model'}"
    vision = getattr(model, "vision_model", model)
    with torch.inference_mode():
        own = vision(pixel_values=images(size), interpolate_pos_encoding=size != 32)
        tokens = vision.post_layernorm(own.last_hidden_state)
    assert load_backbone(name, image_size=size).feature == "cls"
    cls, pooled, mean = features(name, ["cls", "pre_logits", "mean"], size)
    torch.testing.assert_close(cls, own.pooler_output, **EXACT)
    torch.testing.assert_close(pooled, own.pooler_output, **EXACT)
    torch.testing.assert_close(mean, tokens[:, 1:].mean(dim=1), **EXACT)
    if make is clip_vision:
        with pytest.raises(InputError, match="has no feature 'projection'; choose one of pre_log"):
            load_backbone(name, feature="projection", image_size=size)
        return
    (projected,) = features(name, ["projection"], size)
    with torch.inference_mode():
        expected = model.visual_projection(own.pooler_output)
        if make is clip and size == 32:
            found = model.get_image_features(pixel_values=images(size))
            torch.testing.assert_close(projected, getattr(found, "pooler_output", found), **EXACT)
    torch.testing.assert_close(projected, expected, **EXACT)


@pytest.mark.parametrize("size", [32, 48])
@pytest.mark.parametrize("make", [siglip, siglip_vision])
def test_siglip_gives_its_pooler(tmp_path: Path, make: Any, size: int) -> None:
    model = make()
    save(model, tmp_path / "model")
    name = f"hf:{tmp_path / 'model'}"
    vision = getattr(model, "vision_model", model)
    with torch.inference_mode():
        own = vision(pixel_values=images(size), interpolate_pos_encoding=size != 32)
    assert load_backbone(name, image_size=size).feature == "pooler"
    found = features(name, ["pooler", "layer:network.post_layernorm"], size)
    torch.testing.assert_close(found[0], own.pooler_output, **EXACT)
    torch.testing.assert_close(found[1], own.last_hidden_state.mean(dim=1), **EXACT)
    with pytest.raises(InputError, match="has no feature 'cls'; choose one of pre_logits, pooler"):
        load_backbone(name, feature="cls", image_size=size)


def test_every_depth_of_clip_is_a_hidden_state_after_the_final_norm(tmp_path: Path) -> None:
    model = clip()
    save(model, tmp_path)
    found = backbone_depths(f"hf:{tmp_path}", 32)
    layers = [f"network.encoder.layers.{number}" for number in range(3)]
    assert [one.block for one in found] == ["stem", *layers]
    assert [one.behind for one in found] == [3, 2, 1, 0]
    read = [one.feature for one in found if one.feature]
    with torch.inference_mode():
        states = model.vision_model(images(), output_hidden_states=True).hidden_states
        expected = [model.vision_model.post_layernorm(state[:, 0]) for state in states[1:]]
    for wanted, values in zip(expected, features(f"hf:{tmp_path}", read), strict=True):
        torch.testing.assert_close(values, wanted, **EXACT)


def test_the_depths_of_siglip_end_in_its_pooler(tmp_path: Path) -> None:
    model = siglip()
    save(model, tmp_path)
    found = backbone_depths(f"hf:{tmp_path}", 32)
    layers = [f"network.encoder.layers.{number}" for number in range(3)]
    assert [one.block for one in found] == ["stem", *layers, "network.head"]
    read = [str(one.feature) for one in found]
    assert read[-1] == "pooler"
    with torch.inference_mode():
        states = model.vision_model(images(), output_hidden_states=True).hidden_states
        states = [*states[:3], model.vision_model.post_layernorm(states[3])]
    for state, values in zip(states, features(f"hf:{tmp_path}", read), strict=False):
        torch.testing.assert_close(values, state.mean(dim=1), **EXACT)


@pytest.mark.parametrize("make", [clip, siglip])
def test_blocks_hold_every_parameter_once(tmp_path: Path, make: Any) -> None:
    save(make(), tmp_path)
    model = empty_backbone(f"hf:{tmp_path}", image_size=32).model
    held = [parameter for block in blocks(model) for parameter in block.parameters]
    assert sorted(held) == sorted(key for key, _ in model.named_parameters())
    assert not any("text" in key for key in held)


def test_every_layout_of_files_gives_the_same_tower(tmp_path: Path) -> None:
    model = clip()
    wanted = ["cls", "projection"]
    save(model, tmp_path / "one")
    save(model, tmp_path / "shards", max_shard_size="10KB")
    assert len(list((tmp_path / "shards").glob("model-*.safetensors"))) > 2
    state = load_file(tmp_path / "one" / "model.safetensors")
    # As transformers 4 wrote them, with the numbers of positions as tensors.
    state["vision_model.embeddings.position_ids"] = torch.arange(17)[None]
    for folder, dtype in (("pickled", torch.float32), ("half", torch.float16)):
        (tmp_path / folder).mkdir()
        said = (tmp_path / "one" / "config.json").read_text()
        (tmp_path / folder / "config.json").write_text(said)
        kept = {k: v.to(dtype) if v.is_floating_point() else v for k, v in state.items()}
        torch.save(kept, tmp_path / folder / "pytorch_model.bin")
        (tmp_path / folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    expected = features(f"hf:{tmp_path / 'one'}", wanted)
    for folder in ("shards", "pickled"):
        for found, value in zip(features(f"hf:{tmp_path / folder}", wanted), expected, strict=True):
            torch.testing.assert_close(found, value, rtol=0, atol=0, msg=folder)
    half = features(f"hf:{tmp_path / 'half'}", wanted)[0]
    assert 0 < (half - expected[0]).abs().max() < 0.1
    digests = {
        folder: identify_backbone(f"hf:{tmp_path / folder}", image_size=32).weights
        for folder in ("one", "shards", "half")
    }
    assert digests["one"] == digests["shards"] != digests["half"]


def test_the_digest_is_of_the_image_tower_alone(tmp_path: Path) -> None:
    save(clip(), tmp_path / "model")
    name, path = f"hf:{tmp_path / 'model'}", tmp_path / "model" / "model.safetensors"
    digest = identify_backbone(name, image_size=32).weights
    state = load_file(path)
    save_file({k: v + 1 if "text" in k else v for k, v in state.items()}, path)
    assert identify_backbone(name, image_size=32).weights == digest
    said = json.loads((path.parent / "config.json").read_text())
    said["text_config"]["num_hidden_layers"] = 7
    (path.parent / "config.json").write_text(json.dumps(said))
    assert identify_backbone(name, image_size=32).weights == digest
    key = "vision_model.embeddings.class_embedding"
    save_file(state | {key: state[key] + 1}, path)
    assert identify_backbone(name, image_size=32).weights != digest


def test_a_shard_that_changed_is_digested_again(tmp_path: Path) -> None:
    save(siglip(), tmp_path / "model", max_shard_size="10KB")
    name, digests = f"hf:{tmp_path / 'model'}", tmp_path / "weights.json"
    first = identify_backbone(name, image_size=32, digests=digests).weights
    assert identify_backbone(name, image_size=32, digests=digests).weights == first
    index = json.loads((tmp_path / "model" / "model.safetensors.index.json").read_text())
    path = tmp_path / "model" / index["weight_map"]["vision_model.head.probe"]
    save_file({key: value + 1 for key, value in load_file(path).items()}, path)
    assert identify_backbone(name, image_size=32, digests=digests).weights != first


def test_only_shards_with_the_tower_are_read(tmp_path: Path) -> None:
    save(clip(), tmp_path, max_shard_size="10KB")
    path = tmp_path / "model.safetensors.index.json"
    places = json.loads(path.read_text())["weight_map"]
    tower = {shard for key, shard in places.items() if key.startswith(("vision_model", "visual_"))}
    others = set(places.values()) - tower
    assert others
    for shard in others:
        (tmp_path / shard).unlink()
    assert load_backbone(f"hf:{tmp_path}", image_size=32).weights
    first = sorted(tower)[0]
    content = (tmp_path / first).read_bytes()
    (tmp_path / first).write_bytes(content[:-100])
    with pytest.raises(InputError, match=rf"{first} is no file of weights, or it was cut off: cop"):
        load_backbone(f"hf:{tmp_path}", image_size=32)
    (tmp_path / first).unlink()
    with pytest.raises(InputError, match=rf"lacks .*{first}; add it there\.$"):
        load_backbone(f"hf:{tmp_path}", image_size=32)
    with pytest.raises(InputError, match=rf"names {first}, which is not next to it; copy it there"):
        load_backbone(f"hf:{tmp_path}", image_size=32, weights=path)
    state = load_file(tmp_path / sorted(tower)[1])
    (tmp_path / first).write_bytes(content)
    lost = next(key for key in state if key.startswith("vision_model."))
    kept = {key: value for key, value in state.items() if key != lost}
    save_file(kept, tmp_path / sorted(tower)[1])
    with pytest.raises(InputError, match=rf"says that .* holds {lost}, and it does not: fe"):
        load_backbone(f"hf:{tmp_path}", image_size=32)
    path.write_text(json.dumps({"weight_map": {"vision_model.a": "../model.safetensors"}}))
    with pytest.raises(InputError, match=r"names '\.\./model\.safetensors', which is no file next"):
        load_backbone(f"hf:{tmp_path}", image_size=32)
    path.write_text("{}")
    with pytest.raises(InputError, match=r"has no weight_map that names files of weights; fetch"):
        load_backbone(f"hf:{tmp_path}", image_size=32)


def test_a_snapshot_of_the_hub_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = siglip()
    cache = tmp_path / "hub" / "models--google--tiny-siglip"
    save(model, cache / "snapshots" / "0123abc", max_shard_size="10KB")
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("0123abc")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    with torch.inference_mode():
        expected = model.vision_model(images()).pooler_output
    (found,) = features("hf:google/tiny-siglip", ["pooler"])
    torch.testing.assert_close(found, expected, **EXACT)


def test_pickled_objects_are_refused(tmp_path: Path) -> None:
    save(clip(), tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(clip(), tmp_path / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"holds Python objects, which could run code when they"):
        load_backbone(f"hf:{tmp_path}", image_size=32)


def test_models_without_a_known_image_tower_are_refused(tmp_path: Path) -> None:
    def refused(config: Any) -> str:
        config.save_pretrained(tmp_path)
        with pytest.raises(InputError) as caught:
            empty_backbone(f"hf:{tmp_path}", image_size=32)
        return str(caught.value)

    assert "is a text tower (clip_text_model), which sees no images: give the model with" in (
        refused(transformers.CLIPTextConfig(**TEXT))
    )
    assert "is a text tower (siglip_text_model)" in refused(transformers.SiglipTextConfig(**TEXT))
    assert "is a SigLIP 2 model of NaFlex, which takes patches of images of any shape: give" in (
        refused(transformers.Siglip2Config())
    )
    assert "is of type clipseg, which is no model of images alone: of models of images and t" in (
        refused(transformers.CLIPSegConfig())
    )


def test_weights_of_a_text_tower_do_not_fit(tmp_path: Path) -> None:
    save(clip(), tmp_path)
    path = tmp_path / "model.safetensors"
    text = {key: value for key, value in load_file(path).items() if "text" in key}
    save_file(text, path)
    with pytest.raises(
        InputError, match=r"does not fit .* tensors: it has .*text.*; the backbone "
    ):
        load_backbone(f"hf:{tmp_path}", image_size=32)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        # google/siglip2-base-patch16-224 and google/medsiglip-448, smaller.
        (
            {
                "image_processor_type": "SiglipImageProcessor",
                "size": {"height": 48, "width": 48},
                "resample": 2,
            },
            ("squash", 48, 48, "bilinear"),
        ),
        # openai/clip-vit-base-patch32: numbers alone, of its processor the shorter side.
        (
            {
                "feature_extractor_type": "CLIPFeatureExtractor",
                "size": 48,
                "crop_size": 48,
                "do_center_crop": True,
                "resample": 3,
            },
            ("shorter", 48, 48, "bicubic"),
        ),
        (
            {
                "image_processor_type": "ConvNextImageProcessor",
                "size": {"shortest_edge": 224},
                "crop_pct": 0.875,
                "resample": 3,
            },
            ("shorter", 256, 224, "bicubic"),
        ),
        (
            {
                "image_processor_type": "ConvNextImageProcessor",
                "size": {"shortest_edge": 384},
                "crop_pct": 0.875,
                "resample": 3,
            },
            ("squash", 384, 384, "bicubic"),
        ),
    ],
)
@pytest.mark.parametrize("file", ["preprocessor_config.json", "processor_config.json"])
def test_preprocessing_is_that_of_the_processors_file(
    tmp_path: Path, said: dict[str, Any], expected: tuple[Any, ...], file: str
) -> None:
    clip().save_pretrained(tmp_path)
    said = {**said, "image_mean": [0.5] * 3, "image_std": [0.25] * 3}
    nested = {"image_processor": said} if file.startswith("processor") else said
    (tmp_path / file).write_text(json.dumps(nested))
    own = own_preprocessing(resolve(f"hf:{tmp_path}"))
    assert (own.resize, own.resize_to, own.size, own.interpolation) == expected
    assert own.std == pytest.approx((0.25,) * 3)
