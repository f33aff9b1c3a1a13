"""Image towers of models with two, from images to a trained block and a file of ONNX."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from frostline.cli import app
from frostline.extract.backbones.backbone import empty_backbone
from frostline.extract.images.decode import decode
from frostline.extract.images.geometry import Geometry
from frostline.report import read_predictions

from .conftest import make_images

transformers: Any = pytest.importorskip("transformers")

VISION = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": 32,
    "patch_size": 8,
}
TEXT = {**VISION, "num_hidden_layers": 1, "vocab_size": 64, "max_position_embeddings": 8}
TEXT |= {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
CPU = ("--device", "cpu")
Command = Callable[..., str]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_images(tmp_path_factory.mktemp("towers") / "images", 40)


@pytest.fixture
def command(
    tmp_path: Path,
    images: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Command:
    """Run `frostline ARGUMENTS` in a folder where the images are indexed; its standard output."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> str:
        capsys.readouterr()
        assert not app([str(argument) for argument in arguments], standalone_mode=False)
        return capsys.readouterr().out.strip()

    run("index", "set", "--root", images, "--group-pattern", r"(patient\d+)")
    return run


def clip(folder: Path) -> None:
    config = transformers.CLIPConfig(vision_config=VISION, text_config=TEXT, projection_dim=12)
    torch.manual_seed(0)
    transformers.CLIPModel(config).save_pretrained(folder, max_shard_size="20KB")


def siglip(folder: Path) -> None:
    torch.manual_seed(0)
    config = transformers.SiglipConfig(vision_config=VISION, text_config=TEXT)
    transformers.SiglipModel(config).save_pretrained(folder)


def open_clip(folder: Path) -> None:
    """As open_clip lays it out, with timm's model as image tower."""
    folder.mkdir()
    vision = {"timm_model_name": "test_vit", "timm_pool": "", "image_size": 32}
    model = {"embed_dim": 12, "vision_cfg": vision, "text_cfg": {}}
    said = {"model_cfg": model, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3}}
    (folder / "open_clip_config.json").write_text(json.dumps(said))
    state = empty_backbone(f"hf:{folder}", image_size=32).model.state_dict()
    state["head.proj.weight"] = state.pop("projection.weight")
    named = {f"visual.trunk.{key}".replace("trunk.head.", "head."): v for key, v in state.items()}
    save_file(named, folder / "open_clip_model.safetensors")


@pytest.mark.parametrize(
    ("make", "own", "last"),
    [
        (clip, "cls", "network.encoder.layers.1"),
        pytest.param(siglip, "pooler", "network.head", marks=pytest.mark.slow),
        pytest.param(open_clip, "cls", "blocks.5", marks=pytest.mark.slow),
    ],
)
def test_a_tower_is_embedded_read_at_every_depth_and_trained(
    tmp_path: Path, images: Path, command: Command, make: Any, own: str, last: str
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    make(tmp_path / "model")
    processor = {"size": {"height": 32, "width": 32}, "image_mean": [0.5] * 3}
    processor |= {"image_std": [0.5] * 3, "resample": 3}
    (tmp_path / "model" / "preprocessor_config.json").write_text(json.dumps(processor))
    tower = ("--dataset", "set", "--backbone", "hf:model", "--protocol", "standard")
    command("extract", *tower, *CPU)
    if own == "cls":
        command("extract", *tower, "--feature", "projection", *CPU)
    listed = command("cache", "ls")
    assert own in listed
    assert ("projection" in listed) is (own == "cls")

    command("depth", *tower, "--train", "1", "--epochs", 1, "--cv", "none", *CPU)
    table = Path("frostline-workspace/reports/depth-set/tables/depth.csv").read_text()
    assert last in table
    trained = command(
        *("finetune", *tower, "--unfreeze", 1, "--epochs", 2, "--boundary", "on", *CPU)
    )
    run = read_predictions(trained)
    assert run.meta["boundary"]["block"] == last
    command("export", "--run", run.run, "--to", "onnx")
    session = onnxruntime.InferenceSession(f"{run.run}.onnx", providers=["CPUExecutionProvider"])
    about = session.get_modelmeta().custom_metadata_map
    geometry = Geometry.from_spec(json.loads(about["geometry"]))
    test = run.table[run.table["split"] == "test"]
    pixels = [decode(images / name, None, geometry, about["channels"]) for name in test["image_id"]]
    (found,) = session.run(None, {"images": np.stack(pixels)})
    names = [f"prob_{name}" for name in run.classes]
    np.testing.assert_allclose(found, test[names].to_numpy(), atol=1e-4)
