"""Hugging Face models from local folders, against transformers itself; no network is used."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from frostline.cache import InputError
from frostline.extract.backbones.backbone import empty_backbone, load_backbone
from frostline.extract.backbones.blocks import blocks
from frostline.extract.backbones.catalog import resolve
from frostline.extract.backbones.depths import backbone_depths
from frostline.extract.backbones.features import FEATURES
from frostline.extract.backbones.identity import identify_backbone
from frostline.extract.backbones.preprocessing import own_preprocessing
from frostline.protocols import protocol_inputs

transformers: Any = pytest.importorskip("transformers")

TINY = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": 56,
    "patch_size": 14,
}
# As microsoft/rad-dino has it, smaller.
PROCESSOR = {
    "do_center_crop": True,
    "crop_size": {"height": 56, "width": 56},
    "do_resize": True,
    "size": {"shortest_edge": 64},
    "resample": 3,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.5307] * 3,
    "image_std": [0.2583] * 3,
}


def save(folder: Path, model: Any, seed: int = 0) -> str:
    """A folder as save_pretrained makes it, with weights far from zero; its backbone's name."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    assert (folder / "model.safetensors").is_file()
    return f"hf:{folder}"


def dinov2(**changes: Any) -> Any:
    return transformers.Dinov2Model(transformers.Dinov2Config(**TINY, **changes))


def registers() -> Any:
    config = transformers.Dinov2WithRegistersConfig(**TINY, num_register_tokens=3)
    return transformers.Dinov2WithRegistersModel(config)


def vit() -> Any:
    return transformers.ViTModel(transformers.ViTConfig(**TINY))


def classifier() -> Any:
    return transformers.ViTForImageClassification(transformers.ViTConfig(**TINY, num_labels=5))


def resnet() -> Any:
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 2], layer_type="basic"
    )
    return transformers.ResNetModel(config)


def images(size: int) -> Tensor:
    return torch.randn((2, 3, size, size), generator=torch.Generator().manual_seed(3))


def hidden(folder: Path, size: int, **options: Any) -> Tensor:
    """What transformers itself gives for the images."""
    model = transformers.AutoModel.from_pretrained(folder, local_files_only=True).eval()
    with torch.inference_mode():
        return model(pixel_values=images(size), **options).last_hidden_state


@pytest.mark.parametrize("size", [56, 84])
@pytest.mark.parametrize(("make", "prefix"), [(dinov2, 1), (registers, 4), (vit, 1)])
def test_features_are_those_of_transformers(
    tmp_path: Path, make: Any, prefix: int, size: int
) -> None:
    name = save(tmp_path / "model", make())
    options = {"interpolate_pos_encoding": True} if make is vit and size != 56 else {}
    tokens = hidden(tmp_path / "model", size, **options)
    cls, mean = tokens[:, 0], tokens[:, prefix:].mean(dim=1)
    expected = {"cls": cls, "mean": mean, "cls+mean": torch.cat([cls, mean], dim=1)}
    expected["pre_logits"] = cls
    backbone = load_backbone(name, feature=list(expected), image_size=size)
    with torch.inference_mode():
        found = backbone.several(images(size), [backbone.find(feature) for feature in expected])
    for feature, values in zip(expected, found, strict=True):
        torch.testing.assert_close(values, expected[feature], msg=feature)
    assert (backbone.feature, backbone.dim) == ("cls", 16)
    assert load_backbone(name, image_size=size).feature == "cls"
    assert backbone.weights_source == "pretrained"


@pytest.mark.parametrize("make", [dinov2, registers, vit])
def test_every_depth_is_a_hidden_state_after_the_final_norm(tmp_path: Path, make: Any) -> None:
    name = save(tmp_path / "model", make())
    found = [one.feature for one in backbone_depths(name, 56) if one.feature]
    backbone = load_backbone(name, image_size=56)
    network = transformers.AutoModel.from_pretrained(tmp_path / "model").eval()
    with torch.inference_mode():
        states = network(pixel_values=images(56), output_hidden_states=True).hidden_states
        read = backbone.several(images(56), [backbone.find(feature) for feature in found])
        for state, values in zip(states[1:], read, strict=True):
            torch.testing.assert_close(values, network.layernorm(state)[:, 0])


def test_a_network_without_tokens_gives_what_it_pools(tmp_path: Path) -> None:
    name = save(tmp_path / "model", resnet())
    backbone = load_backbone(name, image_size=64)
    with torch.inference_mode():
        found = backbone(images(64))
    torch.testing.assert_close(found, hidden(tmp_path / "model", 64).mean(dim=(2, 3)))
    assert (backbone.feature, backbone.dim) == ("pre_logits", 16)
    with pytest.raises(InputError, match="has no feature 'cls'; choose one of pre_logits, or"):
        load_backbone(name, image_size=64, feature="cls")


def test_a_classifiers_file_serves_without_its_head(tmp_path: Path) -> None:
    name = save(tmp_path / "model", classifier())
    backbone = load_backbone(name, image_size=56)
    model = transformers.ViTForImageClassification.from_pretrained(tmp_path / "model").eval()
    with torch.inference_mode():
        logits = model.classifier(backbone(images(56)))
        torch.testing.assert_close(logits, model(pixel_values=images(56)).logits)


def test_a_layer_and_a_feature_share_one_pass(tmp_path: Path) -> None:
    name = save(tmp_path / "model", dinov2())
    wanted = ["layer:network.encoder.layer.1", "cls", "pre_logits"]
    backbone = load_backbone(name, image_size=56, feature=wanted)
    with torch.inference_mode():
        layer, cls, pooled = backbone.several(images(56), [backbone.find(w) for w in wanted])
    model = transformers.AutoModel.from_pretrained(tmp_path / "model").eval()
    with torch.inference_mode():
        states = model(pixel_values=images(56), output_hidden_states=True).hidden_states
    torch.testing.assert_close(layer, states[2][:, 1:].mean(dim=1))
    torch.testing.assert_close(cls, pooled)


def test_the_digest_names_weights_and_configuration(tmp_path: Path) -> None:
    digests = tmp_path / "weights.json"
    first = save(tmp_path / "first", dinov2())
    twin = save(tmp_path / "twin", dinov2())
    other = save(tmp_path / "other", dinov2(), seed=1)
    known = {name: identify_backbone(name, digests=digests).weights for name in (first, twin)}
    assert known[first] == known[twin] != identify_backbone(other).weights
    assert load_backbone(first, image_size=56, digests=digests).weights == known[first]
    path = tmp_path / "first" / "config.json"
    said = json.loads(path.read_text())
    path.write_text(json.dumps(said | {"transformers_version": "9.9", "_name_or_path": "x"}))
    assert identify_backbone(first, digests=digests).weights == known[first]
    path.write_text(json.dumps(said | {"layer_norm_eps": 0.1}))
    assert identify_backbone(first, digests=digests).weights != known[first]


def test_random_weights_are_the_seeds(tmp_path: Path) -> None:
    name = save(tmp_path / "model", dinov2())
    (tmp_path / "model" / "model.safetensors").unlink()
    before = torch.random.get_rng_state()
    options: dict[str, Any] = {"weights": "random", "image_size": 56}
    first, again = (load_backbone(name, **options) for _ in range(2))
    other = load_backbone(name, weights_seed=1, **options)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert first.weights == again.weights != other.weights
    assert first.weights == identify_backbone(name, **options).weights
    assert first.weights_source == "random, seed 0"
    with torch.inference_mode():
        torch.testing.assert_close(first(images(56)), again(images(56)), rtol=0, atol=0)
        assert not torch.allclose(first(images(56)), other(images(56)))


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (dinov2, [f"network.encoder.layer.{number}" for number in range(3)]),
        (resnet, [f"network.encoder.stages.{number}" for number in range(2)]),
    ],
)
def test_blocks_hold_every_parameter_once(tmp_path: Path, make: Any, names: list[str]) -> None:
    name = save(tmp_path / "model", make())
    model = empty_backbone(name, image_size=56).model
    found = blocks(model)
    assert [block.name for block in found] == ["stem", *names]
    held = [parameter for block in found for parameter in block.parameters]
    assert sorted(held) == sorted(key for key, _ in model.named_parameters())


def test_own_preprocessing_is_the_files(tmp_path: Path) -> None:
    name = save(tmp_path / "model", dinov2())
    inputs = protocol_inputs("standard", name, None, {})
    geometry = inputs.geometry
    assert (geometry.resize, geometry.resize_to, geometry.crop) == ("shorter", 64, 56)
    assert geometry.interpolation == "bicubic"
    own = own_preprocessing(resolve(name))
    assert own.mean == pytest.approx([0.5307] * 3)
    assert own.std == pytest.approx([0.2583] * 3)

    path = tmp_path / "model" / "preprocessor_config.json"
    squash = {"size": {"height": 56, "width": 56}, "resample": 2, "do_rescale": True}
    squash |= {"rescale_factor": 1 / 127.5, "image_mean": [1, 1, 1], "image_std": [1, 1, 1]}
    path.write_text(json.dumps(squash))
    geometry = protocol_inputs("standard", name, None, {}).geometry
    assert (geometry.resize, geometry.resize_to, geometry.crop) == ("squash", 56, 56)
    # Pixels from 0 to 2 less 1 are those from 0 to 1 less a half, by a half.
    assert own_preprocessing(resolve(name)).mean == pytest.approx([0.5] * 3)
    assert own_preprocessing(resolve(name)).std == pytest.approx([0.5] * 3)

    path.write_text(json.dumps({**squash, "resample": 1}))
    with pytest.raises(InputError, match=r"does not say in a known way .* resample 2 or 3\.$"):
        own_preprocessing(resolve(name))
    path.unlink()
    with pytest.raises(
        InputError, match=r"lacks .*preprocessor_config\.json \(or .*; add it there\.$"
    ):
        own_preprocessing(resolve(name))


def test_a_wrong_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"folder .* has no config\.json; give one that"):
        resolve(f"hf:{tmp_path}")
    with pytest.raises(InputError, match=r"write hf:ORG/NAME for .*, or hf:FOLDER for one in a"):
        resolve(f"hf:{tmp_path / 'nothing'}")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(InputError, match="is a BertModel, which is no model of images alone"):
        empty_backbone(f"hf:{tmp_path}")
    (tmp_path / "config.json").write_text('{"model_type": "unheard-of"}')
    with pytest.raises(InputError, match="cannot be built by transformers from"):
        empty_backbone(f"hf:{tmp_path}")


def test_code_beside_a_model_is_never_run(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "own", "auto_map": {"AutoConfig": "own.Own"}})
    )
    (tmp_path / "own.py").write_text("raise SystemExit('it was run')\n")
    with pytest.raises(InputError, match="cannot be built by transformers from"):
        empty_backbone(f"hf:{tmp_path}")


def test_weights_that_do_not_fit_or_are_not_there_are_named(tmp_path: Path) -> None:
    name = save(tmp_path / "model", dinov2())
    path = tmp_path / "model" / "model.safetensors"
    save(tmp_path / "wide", dinov2(mlp_ratio=2))
    with pytest.raises(InputError, match=r"does not fit .*fc1\.weight is 32x16 where 64x16 is"):
        load_backbone(name, weights=tmp_path / "wide" / path.name, image_size=56)
    path.unlink()
    with pytest.raises(
        InputError, match=r"lacks .*model\.safetensors \(or .*bin\.index\.json\); a"
    ):
        load_backbone(name, image_size=56)


def test_sizes_that_do_not_fit_are_errors(tmp_path: Path) -> None:
    name = save(tmp_path / "model", dinov2())
    with pytest.raises(InputError, match="takes images of a multiple of 14 pixels, not 60: set"):
        load_backbone(name, image_size=60)


def test_a_repository_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("frostline.extract.backbones.hub_files.getproxies", dict)
    monkeypatch.setattr("socket.getaddrinfo", unreachable)
    with pytest.raises(InputError) as caught:
        load_backbone("hf:microsoft/rad-dino")
    assert str(caught.value) == (
        "config.json of backbone 'hf:microsoft/rad-dino' is not on this machine and could not be "
        "downloaded: put the files of https://huggingface.co/microsoft/rad-dino into a folder, and "
        "name it as hf:FOLDER."
    )


def test_without_transformers_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "transformers" else find(name)
    )
    with pytest.raises(InputError) as caught:
        resolve("hf:microsoft/rad-dino")
    assert str(caught.value) == (
        "Backbone 'hf:microsoft/rad-dino' needs transformers: run `pip install 'frostline[hub]'`."
    )


def test_features_on_offer(tmp_path: Path) -> None:
    model = load_backbone(save(tmp_path / "model", dinov2()), image_size=56).model
    suited = [name for name, feature in FEATURES.items() if feature.suits(model)]
    assert suited == ["pre_logits", "cls", "mean", "cls+mean"]
