"""OpenVINO and ONNX Runtime give PyTorch's embeddings, in the same store."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from frostline.cache import InputError, Store, Workspace
from frostline.extract import engine
from frostline.extract.backbones.backbone import load_backbone
from frostline.extract.embed import Extraction
from frostline.extract.forward import several_forward

from .test_embed import NORMALISATION, extract, make_images, stored


def cosines(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return (left.astype(float) * right).sum(axis=1) / norms


@pytest.fixture(autouse=True)
def both_are_here() -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("openvino")


def provenance(workspace: Workspace, done: Extraction) -> dict[str, Any]:
    return Store.open(workspace.embeddings("set", "timm:test_vit") / done.key).provenance


@pytest.mark.parametrize("fast", ["onnx", "openvino"])
@pytest.mark.parametrize(
    ("name", "features"),
    [
        ("effnet-lite0", ["pre_logits", "layer:blocks.3"]),
        ("timm:test_vit", ["cls", "cls+mean", "last4cls+mean"]),
        ("timm:test_resnet", ["pre_logits"]),
        ("torchvision:densenet121", ["pre_logits"]),
    ],
)
def test_embeddings_agree_to_seven_digits(name: str, features: list[str], fast: str) -> None:
    backbone = load_backbone(name, weights="random", image_size=64, feature=features)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 64, 64, 3), dtype=np.uint8)
    options: tuple[Any, ...] = (backbone, features, NORMALISATION, "cpu", "float32")
    slow, quick = several_forward(*options), several_forward(*options, [fast])
    batches = [torch.from_numpy(batch) for batch in pixels]
    # Both batches first: memory of the first is not used again while its rows are.
    for expected, found in zip(
        [slow(one) for one in batches], [quick(one) for one in batches], strict=True
    ):
        for left, right in zip(expected, found, strict=True):
            assert (right.dtype, right.shape) == (torch.float32, left.shape)
            assert cosines(left.numpy(), right.numpy()).min() >= engine.COSINE


@pytest.mark.parametrize("fast", ["onnx", "openvino"])
def test_the_engine_is_recorded_and_no_part_of_the_key(tmp_path: Path, fast: engine.Engine) -> None:
    root = make_images(tmp_path / "images", 5)
    backbone = load_backbone("timm:test_vit", weights="random", image_size=64)
    slow, quick = Workspace(tmp_path / "slow"), Workspace(tmp_path / "quick")
    first, second = extract(slow, root, backbone), extract(quick, root, backbone, engine=fast)
    assert first.key == second.key
    assert provenance(quick, second)["engine"].startswith(f"{engine.PACKAGES[fast]} ")
    rows = stored(quick, second)
    for image_id, row in stored(slow, first).items():
        assert cosines(row[None], rows[image_id][None]).min() >= engine.COSINE
    assert extract(slow, root, backbone, engine=fast).embedded == 0


def test_auto_is_the_fastest_that_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    many = ("cpu", "float32", engine.AUTO_BATCHES)
    assert engine.choose_engines("auto", *many) == ["openvino", "onnx", "torch"]
    assert engine.choose_engines("onnx", *many) == ["onnx"]
    assert engine.choose_engines("auto", "cpu", "float32", engine.AUTO_BATCHES - 1) == ["torch"]
    assert engine.choose_engines("auto", "cpu", "bfloat16", 99) == ["torch"]
    assert engine.choose_engines("auto", "cuda:0", "float32", 99) == ["torch"]
    monkeypatch.setattr(engine, "find_spec", lambda name: name == "onnxruntime" or None)
    assert engine.choose_engines("auto", *many) == ["onnx", "torch"]


def test_auto_takes_the_fastest_of_those_that_agree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What does not agree is said; the provenance names what computes."""
    root = make_images(tmp_path / "images", 16)
    backbone = load_backbone("timm:test_vit", weights="random", image_size=64)
    monkeypatch.setattr(engine, "AUTO_BATCHES", 8)
    wrong = lambda model: lambda images: [torch.ones(2, 64)]  # noqa: E731
    took = {"openvino": 1.0, "onnx": 2.0, "torch": 3.0}
    order = iter(["torch", "openvino", "onnx"])
    monkeypatch.setattr(engine, "_seconds", lambda run, example: took[next(order)])
    whole = Workspace(tmp_path / "whole")
    done = extract(whole, root, backbone, batch=2)
    assert provenance(whole, done)["engine"].startswith("openvino ")
    monkeypatch.setattr(engine, "_openvino", wrong)
    order = iter(["torch", "onnx"])
    monkeypatch.setattr(engine, "_seconds", lambda run, example: took[next(order)])
    with pytest.warns(UserWarning, match=r"^OpenVINO's .* differ .*: .* goes on without"):
        done = extract(Workspace(tmp_path / "other"), root, backbone, batch=2)
    assert provenance(Workspace(tmp_path / "other"), done)["engine"].startswith("onnxruntime ")
    monkeypatch.setattr(engine, "_onnxruntime", wrong)
    images, cls = torch.ones(2, 3, 64, 64), backbone.find("cls")
    with torch.no_grad(), pytest.warns(UserWarning, match=r"^ONNX Runtime's .* goes on without it"):
        assert engine.make_features(["onnx", "torch"], backbone, [cls], images)[0] == "torch"


def test_the_faster_of_two_batches_is_what_an_engine_takes() -> None:
    waits = iter([0.05, 0.0])
    assert engine._seconds(lambda images: time.sleep(next(waits)), torch.ones(1)) < 0.04


def test_what_it_cannot_do_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="Engine 'onnx' computes float32 on a CPU, not bfloat16"):
        engine.choose_engines("onnx", "cpu", "bfloat16", 99)
    backbone = load_backbone("timm:test_vit", weights="random", image_size=32)
    images, cls = torch.randn(2, 3, 32, 32), backbone.find("cls")
    with monkeypatch.context() as patch, torch.inference_mode():
        patch.setattr(engine, "_onnxruntime", lambda model: lambda images: [torch.ones(2, 64)])
        with pytest.raises(InputError, match=r"differ from PyTorch's \(cosine .*--engine torch"):
            engine.make_features(["onnx"], backbone, [cls], images)
    named: list[tuple[engine.Engine, str]] = [("onnx", "onnxruntime"), ("openvino", "openvino")]
    for name, package in named:
        with monkeypatch.context() as patch, torch.no_grad():
            patch.setattr(engine, f"_{package}", broken)
            with pytest.raises(InputError, match=r"imported \(no libgomp\): use --engine"):
                engine.make_features([name], backbone, [cls], images)
        monkeypatch.setitem(__import__("sys").modules, package, None)
        with pytest.raises(InputError, match=rf"pip install 'frostline\[{name}\]'.*engine torch"):
            engine.choose_engines(name, "cpu", "float32", 1)


def broken(model: bytes) -> engine.Features:
    raise ImportError("no libgomp")


def test_a_network_that_cannot_be_exported_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone, tried = load_backbone("timm:test_vit", weights="random", image_size=32), []

    def refuse(*args: Any, **options: Any) -> None:
        tried.append(args)
        raise RuntimeError("no such operator")

    monkeypatch.setattr(torch.onnx, "export", refuse)
    images, cls = torch.randn(2, 3, 32, 32), backbone.find("cls")
    with pytest.warns(UserWarning, match=r"exported .* operator\): --engine auto goes on"):
        found = engine.make_features(["openvino", "onnx", "torch"], backbone, [cls], images)
    assert (found[0], len(tried)) == ("torch", 1)
    with pytest.raises(InputError, match="cannot be exported to ONNX"):
        engine.make_features(["onnx"], backbone, [cls], images)
