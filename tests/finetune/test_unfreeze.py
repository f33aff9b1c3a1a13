"""What trains, what stays, and in which mode each part is."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from frostline.cache import InputError
from frostline.extract.backbones.backbone import load_backbone
from frostline.finetune.model import Classifier
from frostline.finetune.unfreeze import set_modes, trained_state, unfreeze


def tiny(name: str = "timm:test_resnet", size: int = 32) -> Classifier:
    return Classifier(load_backbone(name, weights="random", image_size=size), 3, seed=0)


def trainable(model: nn.Module) -> set[str]:
    return {name.split(".")[1] for name, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize(
    ("how", "blocks"),
    [
        ("none", []),
        ("1", ["layer4"]),
        (2, ["layer3", "layer4"]),
        ("5", ["stem", "layer1", "layer2", "layer3", "layer4"]),
        ("all", ["stem", "layer1", "layer2", "layer3", "layer4"]),
    ],
)
def test_the_last_blocks_train(how: str | int, blocks: list[str]) -> None:
    model = tiny()
    assert unfreeze(model, how) == blocks
    expected = {"weight", "bias"} | {b for b in blocks if b != "stem"}
    assert trainable(model) == expected | ({"conv1", "bn1"} if "stem" in blocks else set())
    assert all(p.requires_grad for p in model.head.parameters())


def test_unfreezing_again_freezes_what_trained_before() -> None:
    model = tiny()
    unfreeze(model, "all")
    unfreeze(model, "none")
    assert trainable(model) == {"weight", "bias"}


def test_the_norm_after_the_last_block_trains_with_it() -> None:
    model = tiny("timm:test_vit")
    unfreeze(model, 1)
    assert trainable(model) == {"weight", "bias", "blocks", "norm"}
    assert all(p.requires_grad for p in model.backbone.norm.parameters())


def test_the_hidden_layers_of_a_vgg_are_its_classifier() -> None:
    model = tiny("torchvision:vgg11", 32)
    assert unfreeze(model, "classifier") == unfreeze(model, 1) == ["classifier"]
    set_modes(model)
    assert all(module.training for module in model.backbone.classifier.modules())
    assert not any(module.training for module in model.backbone.features.modules())


@pytest.mark.parametrize(
    "how", ["0", "6", "-1", "some", "classifier", "1.5", "", "lora:5", "first:0", "lora r=4"]
)
def test_what_cannot_be(how: str) -> None:
    with pytest.raises(InputError) as caught:
        unfreeze(tiny(), how)
    assert str(caught.value) == (
        "Unfreeze must be none, all, or a number from 1 to 5, or norm, lora, or lora:N or first:N "
        f"with N to 4, for backbone 'timm:test_resnet', not {how!r} (its blocks: stem, layer1, "
        "layer2, layer3, layer4)."
    )


def test_frozen_batch_norms_are_in_eval_mode_and_trained_ones_in_train_mode() -> None:
    model = tiny()
    unfreeze(model, 1)
    model.train()
    set_modes(model)
    modes = {
        name: module.training
        for name, module in model.named_modules()
        if isinstance(module, nn.BatchNorm2d)
    }
    assert modes
    for name, training in modes.items():
        assert training == name.startswith("backbone.layer4"), name


class _Dropouts(nn.Module):
    """Dropout before, inside and behind the blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.before = nn.Dropout()
        self.frozen = nn.Sequential(nn.Linear(2, 2), nn.Dropout())
        self.between = nn.Dropout()
        self.trained = nn.Sequential(nn.Linear(2, 2), nn.Dropout())
        self.behind = nn.Dropout()


def test_dropout_acts_only_behind_what_trains() -> None:
    model = tiny()
    model.backbone = _Dropouts().eval()
    model.backbone.frozen.requires_grad_(False)
    set_modes(model)
    modes = {name: child.training for name, child in model.backbone.named_children()}
    assert modes == {
        "before": False,
        "frozen": False,
        "between": False,
        "trained": True,
        "behind": True,
    }
    assert model.backbone.trained[1].training
    assert not model.backbone.frozen[1].training


@pytest.mark.parametrize("how", ["none", "1", "3", "all"])
def test_training_changes_only_the_trained_state(how: str) -> None:
    model = tiny()
    unfreeze(model, how)
    set_modes(model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model(torch.randn(4, 3, 32, 32)).square().sum().backward()
    optimizer.step()
    changed = {n for n, value in model.state_dict().items() if not torch.equal(value, before[n])}
    assert changed <= set(trained_state(model))
    assert "head.weight" in changed
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d) and m.training]
    assert len([name for name in changed if "running_mean" in name]) == len(norms)
    assert bool(norms) == (how != "none")


def test_no_activations_are_kept_for_frozen_blocks() -> None:
    model = tiny()
    unfreeze(model, 1)
    set_modes(model)
    seen = {}
    for name in ("layer3", "layer4"):
        layer = getattr(model.backbone, name)
        layer.register_forward_hook(lambda _, __, out, name=name: seen.update({name: out}))
    model(torch.randn(2, 3, 32, 32))
    assert not seen["layer3"].requires_grad
    assert seen["layer4"].requires_grad
