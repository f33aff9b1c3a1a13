"""Adapters, norms, first blocks: what trains is what is said, and adapters are what they claim."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from finetune_toy import SIZE, draw, fill_workspace, load, make_task
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from frostline.cache import InputError, Store, Workspace, read_manifest
from frostline.cache.stamped import file_digests, write_json
from frostline.extract.backbones.backbone import load_backbone
from frostline.extract.forward import to_input
from frostline.finetune import Recipe, Task, load_model, make_recipe
from frostline.finetune.lora import merge_adapters
from frostline.finetune.model import Classifier
from frostline.finetune.run import finetune_run
from frostline.finetune.task import Execution
from frostline.finetune.training.epochs import Epoch
from frostline.finetune.training.optim import parameter_groups
from frostline.finetune.unfreeze import set_modes, trained_state, unfreeze
from frostline.report import read_predictions

Pixels = Callable[[], Store]
VIT, RESNET = "timm:test_vit", "timm:test_resnet"
# Fused qkv; convolutions; grouped ones among them; linear and depthwise ones.
NETWORKS = [VIT, RESNET, "timm:test_efficientnet", "timm:test_convnext"]


class TorchTransformer(nn.Module):
    """Blocks of PyTorch's own attention, as torchvision's vision transformers have them."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 16, 8, 8), Encoder(16), Encoder(16))

    def forward(self, images: Tensor) -> Tensor:
        return self.features(images).mean(dim=(2, 3))


class Encoder(nn.Module):
    """Attention over the positions of a map, then a linear layer."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(dim, 2, batch_first=True)
        self.mlp = nn.Linear(dim, dim)

    def forward(self, maps: Tensor) -> Tensor:
        tokens = maps.flatten(2).transpose(1, 2)
        tokens = tokens + self.attention(tokens, tokens, tokens, need_weights=False)[0]
        return (tokens + self.mlp(tokens)).transpose(1, 2).reshape(maps.shape)


def tiny(backbone: str | nn.Module = VIT) -> Classifier:
    weights = "random" if isinstance(backbone, str) else "pretrained"
    return Classifier(load_backbone(backbone, weights=weights, image_size=SIZE), 3, seed=0)


def images(count: int = 4) -> Tensor:
    return torch.randn((count, 3, SIZE, SIZE), generator=torch.Generator().manual_seed(0))


def trained(model: nn.Module) -> list[str]:
    return [name for name, one in model.named_parameters() if one.requires_grad]


def shaken(model: Classifier) -> Classifier:
    """Move all that trains, as training does."""
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        if parameter.requires_grad:
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.data.add_(0.1 * noise)
    return model.eval()


@pytest.mark.parametrize("backbone", [*NETWORKS, TorchTransformer()], ids=str)
def test_adapters_begin_at_the_frozen_backbone_and_merge_into_it(backbone: Any) -> None:
    backbone = backbone if isinstance(backbone, str) else TorchTransformer()
    frozen, adapted = tiny(backbone), tiny(backbone)
    unfreeze(frozen, "none")
    blocks = unfreeze(adapted, "lora", make_recipe("paper", lora_r=4, lora_alpha=6))
    assert "stem" not in blocks
    with torch.inference_mode():
        begun, before = adapted.eval()(images()), frozen.eval()(images())
        assert torch.equal(begun, before)
        apart = shaken(adapted)(images())
    assert not torch.allclose(apart, before, atol=1e-3)
    # Each of them acts: an adapter that is never asked would have no gradient.
    adapted(images()).square().sum().backward()
    assert [
        n for n, one in adapted.named_parameters() if one.requires_grad and one.grad is None
    ] == []
    assert adapted.adapters is not None
    state = adapted.state_dict()
    frozen.head.load_state_dict(adapted.head.state_dict())
    merge_adapters(frozen, adapted.adapters, state)
    with torch.inference_mode():
        np.testing.assert_allclose(frozen(images()).softmax(1), apart.softmax(1), atol=1e-6)


@pytest.mark.parametrize("backbone", [VIT, RESNET])
def test_merging_is_that_of_peft(backbone: str) -> None:
    adapted, plain = tiny(backbone), tiny(backbone)
    unfreeze(adapted, "lora:2")
    assert adapted.adapters is not None
    merge_adapters(plain, adapted.adapters, shaken(adapted).state_dict())
    for name in adapted.adapters.target_modules:
        layer = adapted.backbone.get_submodule(name)
        layer.merge()
        ours = plain.backbone.get_submodule(name).weight
        torch.testing.assert_close(ours, layer.get_base_layer().weight, atol=1e-6, rtol=1e-6)


def test_models_of_hugging_face_have_adapters_that_merge(tmp_path: Path) -> None:
    import transformers

    size: Any = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
    config = transformers.Dinov2Config(**size, image_size=SIZE, patch_size=8)
    config.architectures = ["Dinov2Model"]
    config.save_pretrained(tmp_path)
    scale = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "size": {"shortest_edge": SIZE}}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(scale))
    adapted, plain = tiny(f"hf:{tmp_path}"), tiny(f"hf:{tmp_path}")
    blocks = unfreeze(adapted, "lora:2")
    assert blocks == ["network.encoder.layer.1", "network.encoder.layer.2"]
    assert adapted.adapters is not None
    assert len(adapted.adapters.target_modules) == 12
    plain.eval().head.load_state_dict(shaken(adapted).head.state_dict())
    merge_adapters(plain, adapted.adapters, adapted.state_dict())
    with torch.inference_mode():
        left, right = (one(images()).softmax(1) for one in (adapted, plain))
    np.testing.assert_allclose(left, right, atol=1e-6)


def test_what_trains_is_what_is_said() -> None:
    model = tiny()
    assert unfreeze(model, "lora:1", make_recipe("paper", lora_target_modules="qkv,mlp.fc1")) == [
        "blocks.5"
    ]
    layers = [f"backbone.blocks.5.{layer}" for layer in ("attn.qkv", "mlp.fc1")]
    assert trained(model) == [
        *(f"{layer}.lora_{letter}.default.weight" for layer in layers for letter in "AB"),
        *("head.weight", "head.bias"),
    ]
    assert sorted(trained(model)) == trained_state(model)
    assert model.adapters is not None
    assert model.adapters.target_modules == ["blocks.5.attn.qkv", "blocks.5.mlp.fc1"]
    model = tiny("timm:test_efficientnet")
    unfreeze(model, "lora")
    assert model.adapters is not None
    modules = dict(model.backbone.named_modules())
    for name in model.adapters.target_modules:
        assert modules[name].get_base_layer().groups == 1


def test_attention_of_pytorch_has_adapters_in_its_mlp_alone() -> None:
    model = tiny(TorchTransformer())
    unfreeze(model, "lora")
    assert model.adapters is not None
    assert model.adapters.target_modules == ["module.features.1.mlp", "module.features.2.mlp"]


@pytest.mark.parametrize(
    ("backbone", "asked", "message"),
    [
        (
            VIT,
            "kqv",
            "Backbone 'timm:test_vit' has no layer 'kqv' there: lora_target_modules takes "
            "all, or some of qkv, proj, fc1, fc2.",
        ),
        (
            VIT,
            "qkv,norm1",
            "Backbone 'timm:test_vit' cannot have LoRA in layer 'blocks.4.norm1' (a "
            "LayerNorm): lora_target_modules takes all, or some of qkv, proj, fc1, fc2.",
        ),
        (
            "timm:test_convnext",
            "conv_dw",
            "Backbone 'timm:test_convnext' cannot have LoRA in layer "
            "'stages.2.blocks.0.conv_dw' (a convolution with groups, dilation or other padding "
            "than zeros): lora_target_modules takes all, or some of downsample.1, fc1, fc2.",
        ),
        (
            TorchTransformer(),
            "out_proj",
            "Backbone 'TorchTransformer' cannot have LoRA in layer "
            "'module.features.1.attention.out_proj' (a NonDynamicallyQuantizableLinear): "
            "lora_target_modules takes all, or some of mlp.",
        ),
    ],
)
def test_layers_that_can_have_none(backbone: Any, asked: str, message: str) -> None:
    recipe = make_recipe("paper", lora_target_modules=asked)
    with pytest.raises(InputError) as caught:
        unfreeze(tiny(backbone), "lora:2", recipe)
    assert str(caught.value) == message


class Sharing(nn.Module):
    """A linear layer whose matrix is used without its forward function."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 8, 8), nn.Conv2d(8, 8, 1))
        self.qkv = nn.Linear(8, 8)

    def forward(self, images: Tensor) -> Tensor:
        vectors = self.features(images).mean(dim=(2, 3))
        return nn.functional.linear(vectors, self.qkv.weight)


def test_a_matrix_that_is_used_past_its_layer_has_none() -> None:
    model = tiny(Sharing())
    unfreeze(model, "lora")
    assert model.adapters is not None
    assert not any("qkv" in name for name in model.adapters.target_modules)
    with pytest.raises(InputError, match="is used without its forward function"):
        unfreeze(tiny(Sharing()), "lora", make_recipe("paper", lora_target_modules="qkv"))


@pytest.mark.parametrize("value", ["none", "all,qkv", ""])
def test_no_such_targets(value: str) -> None:
    with pytest.raises(InputError, match="all, or names of layers such as qkv,proj"):
        make_recipe("paper", lora_target_modules=value)


def test_without_peft_a_sentence(monkeypatch: pytest.MonkeyPatch, workspace: Workspace) -> None:
    monkeypatch.setattr("frostline.finetune.recipe.find_spec", lambda _: None)

    def never() -> Any:
        raise AssertionError

    with pytest.raises(InputError) as caught:
        finetune_run(workspace, make_task(unfreeze="lora"), never, never)
    assert str(caught.value) == ("Unfreeze lora needs peft: run `pip install 'frostline[lora]'`.")


def test_norms_and_biases_train_and_batch_norms_move() -> None:
    model = tiny(RESNET)
    assert unfreeze(model, "norm") == ["stem", "layer1", "layer2", "layer3", "layer4"]
    norms = {n for n, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)}
    assert {name.rpartition(".")[0] for name in trained(model)} == norms | {"head"}
    set_modes(model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model(images())
    moved = {n for n, value in model.state_dict().items() if not torch.equal(value, before[n])}
    assert {n for n in moved if "running_mean" in n} == {f"{n}.running_mean" for n in norms}
    assert moved <= set(trained_state(model))
    vit = tiny()
    unfreeze(vit, "norm")
    kinds = {name.rpartition(".")[2] for name in trained(vit)}
    assert kinds == {"weight", "bias"}
    assert all("norm" in n or "head" in n for n in trained(vit) if n.endswith("weight"))
    assert "backbone.patch_embed.proj.bias" in trained(vit)
    assert "backbone.cls_token" not in trained(vit)


def test_adapters_leave_batch_norms_alone() -> None:
    model = tiny(RESNET)
    unfreeze(model, "lora")
    set_modes(model)
    before = {n: value.clone() for n, value in model.named_buffers()}
    model(images())
    assert before
    assert all(torch.equal(value, before[n]) for n, value in model.named_buffers())


@pytest.mark.parametrize(
    ("backbone", "how", "blocks"),
    [
        (RESNET, "first:1", ["stem", "layer1"]),
        (RESNET, "first:4", ["stem", "layer1", "layer2", "layer3", "layer4"]),
        (VIT, "first:2", ["stem", "blocks.0", "blocks.1"]),
    ],
)
def test_the_first_blocks_train(backbone: str, how: str, blocks: list[str]) -> None:
    model = tiny(backbone)
    assert unfreeze(model, how) == blocks
    inside = tuple(f"backbone.{name}." for name in blocks[1:])
    behind = [n for n in trained(model) if n.startswith(("backbone.layer", "backbone.blocks"))]
    assert behind
    assert all(name.startswith(inside) for name in behind)
    assert any(name.startswith(("backbone.conv1", "backbone.cls_token")) for name in trained(model))


def test_adapters_learn_at_the_rate_of_their_block() -> None:
    model = tiny()
    unfreeze(model, "lora:2")
    recipe = Recipe(layer_decay=0.5, weight_decay=0.1, optimizer="adamw")
    names = {id(one): name for name, one in model.named_parameters()}
    found = {
        names[id(one)]: (group["lr_scale"], group["weight_decay"])
        for group in parameter_groups(model, recipe)
        for one in group["params"]
    }
    assert found["backbone.blocks.5.mlp.fc1.lora_A.default.weight"] == (0.5, 0.1)
    assert found["backbone.blocks.4.mlp.fc1.lora_B.default.weight"] == (0.25, 0.1)
    assert found["head.weight"] == (1.0, 0.1)
    assert sorted(found) == sorted(trained(model))


def lora_task(how: str = "lora:2", backbone: str = VIT, **changes: Any) -> Task:
    recipe = Recipe(epochs=2, batch_size=8, lr=(1e-2,), lora_r=2)
    own = {"weights": load(backbone).weights, "unfreeze": how, "recipe": recipe}
    return make_task(backbone, **(own | changes))


def probabilities(workspace: Workspace, run: str) -> np.ndarray:
    table = read_predictions(workspace.predictions(run)).table
    return table.filter(regex="^prob_").to_numpy()


@pytest.mark.parametrize("backbone", [VIT, RESNET])
def test_from_the_boundary_as_from_pixels_in_the_store_of_the_last_blocks(
    workspace: Workspace, open_pixels: Pixels, tmp_path: Path, backbone: str
) -> None:
    def train(place: Workspace, how: str, boundary: str) -> tuple[np.ndarray, Any]:
        task = lora_task(how, backbone)
        execution = Execution(boundary=boundary)
        run, _ = finetune_run(place, task, open_pixels, lambda: load(backbone), execution)
        meta = read_predictions(place.predictions(run)).meta
        return probabilities(place, run), meta["boundary"]

    kept, about = train(workspace, "lora:2", "on")
    pixels, none = train(fill_workspace(tmp_path / "other"), "lora:2", "off")
    np.testing.assert_allclose(kept, pixels, atol=1e-6)
    assert none is None
    assert train(workspace, "2", "on")[1] == about


def test_the_kept_model_is_small_and_gives_the_predictions(
    workspace: Workspace, open_pixels: Pixels
) -> None:
    run, _ = finetune_run(workspace, lora_task(), open_pixels, lambda: load(VIT))
    folder = workspace.model(run)
    model, card = load_model(folder)
    assert not any("lora" in name for name in model.state_dict())
    table = read_predictions(workspace.predictions(run)).table
    pixels = torch.from_numpy(np.stack([draw(int(n[1:4])) for n in table["image_id"]]))
    with torch.inference_mode():
        logits = model(to_input(pixels, card["normalisation"], "cpu"))
    np.testing.assert_allclose(logits.softmax(1), probabilities(workspace, run), atol=1e-6)
    state = load_file(folder / "model.safetensors")
    layers = [
        f"blocks.{n}.{e}" for n in (4, 5) for e in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    ]
    assert card["adapters"] == {"r": 2, "lora_alpha": 8.0, "target_modules": layers}
    assert len(state) == 2 * len(layers) + 2
    whole = sum(one.nbytes for one in model.state_dict().values())
    assert (folder / "model.safetensors").stat().st_size < whole / 20
    assert (card["format_version"], card["unfreeze"]) == (3, "lora:2 r=2")
    assert card["weights_digest"] == load(VIT).weights
    assert "holds the adapters and the head alone" in (folder / "README.md").read_text()


def test_adapters_need_the_weights_that_they_were_trained_on(
    workspace: Workspace, open_pixels: Pixels
) -> None:
    task = lora_task(weights="0" * 32)
    run, _ = finetune_run(workspace, task, open_pixels, lambda: load(VIT))
    with pytest.raises(InputError, match="was trained on timm:test_vit with other weights than"):
        load_model(workspace.model(run))
    task = lora_task(weights_source="file own.pth", seed=1)
    run, _ = finetune_run(workspace, task, open_pixels, lambda: load(VIT))
    with pytest.raises(InputError, match="needs timm:test_vit with weights from file own.pth"):
        load_model(workspace.model(run))


# All that has a state of its own.
STATEFUL = Recipe(
    epochs=2,
    batch_size=8,
    lr=(1e-3,),
    optimizer="adamw",
    weight_decay=0.05,
    schedule="cosine",
    micro_batch=3,
    layer_decay=0.7,
    augmentation=("horizontal_flip",),
    ema=0.9,
    lora_r=3,
)


class StoppedError(Exception):
    """Training is stopped after an epoch."""


def stop(epoch: Epoch) -> None:
    raise StoppedError


@pytest.mark.parametrize(("how", "backbone"), [("lora:2", VIT), ("lora", RESNET), ("norm", RESNET)])
def test_a_stopped_training_goes_on_bit_for_bit(
    workspace: Workspace, open_pixels: Pixels, tmp_path: Path, how: str, backbone: str
) -> None:
    task = lora_task(how, backbone, recipe=STATEFUL)
    other = fill_workspace(tmp_path / "other")
    whole, _ = finetune_run(other, task, open_pixels, lambda: load(backbone))
    with pytest.raises(StoppedError):
        finetune_run(workspace, task, open_pixels, lambda: load(backbone), Execution(on_epoch=stop))
    run, _ = finetune_run(workspace, task, open_pixels, lambda: load(backbone))
    assert run == whole
    kept, again = (load_file(w.model(run) / "model.safetensors") for w in (other, workspace))
    assert kept.keys() == again.keys()
    assert all(torch.equal(value, again[name]) for name, value in kept.items())
    assert np.array_equal(probabilities(other, run), probabilities(workspace, run))


def test_rank_alpha_and_targets_make_other_runs_where_there_are_adapters(
    workspace: Workspace,
) -> None:
    manifest = read_manifest(workspace.manifest("toy"))
    changes = ({"lora_r": 4}, {"lora_alpha": 1.0}, {"lora_target_modules": ("qkv",)})
    for how, count in (("lora", 4), ("lora:1", 4), ("1", 1), ("norm", 1), ("first:1", 1)):
        task = make_task(unfreeze=how)
        recipes = [task.recipe, *(task.recipe.model_copy(update=one) for one in changes)]
        runs = {replace(task, recipe=one).run_id(manifest) for one in recipes}
        assert len(runs) == count, how


def test_a_damaged_file_of_adapters_is_a_sentence(
    workspace: Workspace, open_pixels: Pixels
) -> None:

    run, _ = finetune_run(workspace, lora_task(), open_pixels, lambda: load(VIT))
    folder = workspace.model(run)
    state = load_file(folder / "model.safetensors")
    del state["backbone.blocks.5.mlp.fc1.lora_A.default.weight"]
    save_file(state, folder / "model.safetensors")
    with pytest.raises(InputError, match="model.safetensors"):
        load_model(folder)
    card = json.loads((folder / "model.json").read_text())
    kept = {k: v for k, v in card.items() if k not in ("format", "format_version", "files")}
    files = file_digests(folder, ["model.safetensors"])
    write_json(folder / "model.json", "frostline-model", 3, {**kept, "files": files})
    with pytest.raises(InputError, match="is damaged or of another model"):
        load_model(folder)
