"""ONNX Runtime gives PyTorch's embeddings, in the same store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from frostline.cache import InputError, Store, Workspace
from frostline.extract import engine
from frostline.extract.backbones.backbone import load_backbone
from frostline.extract.forward import several_forward

from .test_embed import NORMALISATION, extract, make_images, stored

pytest.importorskip("onnxruntime")


def cosines(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return (left.astype(float) * right).sum(axis=1) / norms


@pytest.mark.parametrize(
    ("name", "features"),
    [
        ("effnet-lite0", ["pre_logits", "layer:blocks.3"]),
        ("timm:test_vit", ["cls", "cls+mean", "last4cls+mean"]),
        ("timm:test_resnet", ["pre_logits"]),
        ("torchvision:densenet121", ["pre_logits"]),
    ],
)
def test_embeddings_agree_to_seven_digits(name: str, features: list[str]) -> None:
    backbone = load_backbone(name, weights="random", image_size=64, feature=features)
    pixels = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)
    images = torch.from_numpy(pixels)
    options: tuple[Any, ...] = (backbone, features, NORMALISATION, "cpu", "float32")
    for slow, fast in zip(
        several_forward(*options)(images), several_forward(*options, "onnx")(images), strict=True
    ):
        assert (fast.dtype, fast.shape) == (torch.float32, slow.shape)
        assert cosines(slow.numpy(), fast.numpy()).min() >= engine.COSINE


def test_the_engine_is_recorded_and_no_part_of_the_key(tmp_path: Path) -> None:
    root = make_images(tmp_path / "images", 5)
    backbone = load_backbone("timm:test_vit", weights="random", image_size=64)
    slow, fast = Workspace(tmp_path / "slow"), Workspace(tmp_path / "fast")
    first, second = extract(slow, root, backbone), extract(fast, root, backbone, engine="onnx")
    assert first.key == second.key
    store = Store.open(fast.embeddings("set", "timm:test_vit") / second.key)
    assert store.provenance["engine"].startswith("onnxruntime ")
    rows = stored(fast, second)
    for image_id, row in stored(slow, first).items():
        assert cosines(row[None], rows[image_id][None]).min() >= engine.COSINE
    assert extract(slow, root, backbone, engine="onnx").embedded == 0


def test_what_it_cannot_do_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = load_backbone("timm:test_vit", weights="random", image_size=32)
    with pytest.raises(InputError, match="Engine 'onnx' computes float32 on a CPU, not bfloat16"):
        several_forward(backbone, ["cls"], NORMALISATION, "cpu", "bfloat16", "onnx")
    images, cls = torch.randn(2, 3, 32, 32), backbone.find("cls")
    with monkeypatch.context() as patch, torch.inference_mode():
        patch.setattr(engine, "_session", lambda model: lambda images: [torch.ones(2, 64)])
        with pytest.raises(InputError, match=r"differ from PyTorch's \(cosine .*--engine torch"):
            engine.onnx_features(backbone, [cls], images)
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with (
        pytest.raises(InputError, match=r"pip install 'frostline\[onnx\]'"),
        torch.inference_mode(),
    ):
        engine.onnx_features(backbone, [cls], images)
