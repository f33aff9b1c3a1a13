"""The training loop: deterministic, resumable, and honest about its best epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from finetune_toy import HALF, SIZE, draw
from hypothesis import given
from hypothesis import strategies as st

from frostline.cache import InputError
from frostline.extract.backbones.backbone import load_backbone
from frostline.finetune import Recipe
from frostline.finetune.conditions import Conditions
from frostline.finetune.inputs.batches import epoch_order
from frostline.finetune.inputs.pixels import HeldPixels, Part
from frostline.finetune.model import Classifier
from frostline.finetune.training.checkpoint import Checkpoints
from frostline.finetune.training.evaluate import predict
from frostline.finetune.training.train import Trained, train
from frostline.finetune.unfreeze import unfreeze

CPU = Conditions(HALF, HALF)
RECIPE = Recipe(epochs=3, batch_size=8, lr=(1e-3,))


def part(numbers: range) -> Part:
    pixels = torch.from_numpy(np.stack([draw(n) for n in numbers]))
    labels = torch.tensor([n % 3 for n in numbers])
    return Part(HeldPixels(pixels), labels, [f"i{n}" for n in numbers])


TRAIN, VAL = part(range(25)), part(range(100, 112))


def classifier(
    how: str = "all", name: str = "timm:test_resnet", seed: int = 0, **options: Any
) -> Classifier:
    backbone = load_backbone(name, weights="random", image_size=SIZE, **options)
    model = Classifier(backbone, 3, seed)
    unfreeze(model, how)
    return model


def fit(model: Classifier, recipe: Recipe = RECIPE, seed: int = 0, **options: Any) -> Trained:
    return train(model, (TRAIN, VAL), recipe, CPU, seed=seed, **options)


def same(left: Classifier, right: Classifier) -> bool:
    a, b = left.state_dict(), right.state_dict()
    return all(torch.equal(a[name], b[name]) for name in a)


def measured(trained: Trained) -> list[tuple[float, float, float]]:
    """What each epoch measured, without its time."""
    names = ("train_loss", "val_loss", "val_accuracy")
    return [tuple(epoch[name] for name in names) for epoch in trained.history]


@pytest.mark.parametrize("name", ["timm:test_resnet", "timm:test_vit"])
def test_it_learns(name: str) -> None:
    model = classifier(name=name)
    epochs: list[Any] = []
    recipe = Recipe(epochs=8, batch_size=8, lr=(2e-3,))
    trained = train(model, (part(range(72)), VAL), recipe, CPU, seed=0, on_epoch=epochs.append)
    assert [epoch.epoch for epoch in epochs] == list(range(1, 9))
    assert epochs[-1].train_loss < epochs[0].train_loss / 2
    best = trained.history[trained.best_epoch - 1]
    assert best["val_accuracy"] > 0.8
    assert not model.training


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    first, second, third = classifier(), classifier(), classifier()
    fit(first)
    torch.manual_seed(1234)  # the global state does not matter
    fit(second)
    fit(third, seed=1)
    assert same(first, second)
    assert not same(first, third)


def test_training_leaves_the_global_random_state_alone() -> None:
    before = torch.get_rng_state()
    fit(classifier(), Recipe(epochs=1, batch_size=8))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("how", ["none", "2", "all"])
def test_a_resumed_training_gives_the_same_weights(tmp_path: Path, how: str) -> None:
    undisturbed = classifier(how)
    expected = fit(undisturbed)

    def stop(epoch: Any) -> None:
        if epoch.epoch == 2:
            raise KeyboardInterrupt

    checkpoints = Checkpoints(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        fit(classifier(how), checkpoints=checkpoints, on_epoch=stop)
    resumed = classifier(how)
    epochs: list[Any] = []
    found = fit(resumed, checkpoints=checkpoints, on_epoch=epochs.append)
    assert [epoch.epoch for epoch in epochs] == [3]
    assert same(resumed, undisturbed)
    # The best epoch may lie before the interruption: the losses tell of the last one, too.
    assert measured(found) == measured(expected)


def test_dropout_resumes_the_same(tmp_path: Path) -> None:
    def with_dropout() -> Classifier:
        model = classifier("1", "timm:test_vit")
        model.backbone.blocks[5].mlp.drop1.p = 0.5
        return model

    expected = measured(fit(with_dropout()))
    two = Recipe(epochs=2, batch_size=8, lr=(1e-3,))
    fit(with_dropout(), two, checkpoints=Checkpoints(tmp_path))
    assert measured(fit(with_dropout(), checkpoints=Checkpoints(tmp_path))) == expected
    assert measured(fit(classifier("1", "timm:test_vit"))) != expected


def test_unfreeze_none_leaves_the_backbone_untouched() -> None:
    model = classifier("none")
    before = {name: value.clone() for name, value in model.backbone.state_dict().items()}
    head = model.head.weight.detach().clone()
    fit(model)
    for name, value in model.backbone.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert not torch.equal(model.head.weight, head)


def test_frozen_blocks_stay_and_trained_ones_move() -> None:
    model = classifier("1")
    before = {name: value.clone() for name, value in model.backbone.state_dict().items()}
    fit(model)
    moved = {n for n, v in model.backbone.state_dict().items() if not torch.equal(v, before[n])}
    assert moved
    assert all(name.startswith("layer4.") for name in moved)
    assert any("running_var" in name for name in moved)


def test_the_best_epoch_is_the_earliest_of_equals() -> None:
    model = classifier("none")
    tiny_steps = Recipe(epochs=4, batch_size=8, lr=(1e-12,))
    trained = fit(model, tiny_steps)
    assert len({epoch["val_accuracy"] for epoch in trained.history}) == 1
    assert trained.best_epoch == 1
    assert [epoch["best"] for epoch in trained.history] == [True, False, False, False]


@pytest.mark.parametrize("select", ["accuracy", "log_loss"])
def test_the_model_ends_with_its_best_epoch(select: str) -> None:
    recipe = Recipe(epochs=6, batch_size=8, lr=5e-3, select=select)
    model, again = classifier(), classifier()
    trained = fit(model, recipe)
    score = {"accuracy": "val_accuracy", "log_loss": "val_loss"}[select]
    scores = np.array([epoch[score] for epoch in trained.history])
    best = scores.argmax() if select == "accuracy" else scores.argmin()
    assert trained.best_epoch == best + 1
    # Training is the same up to there: stopping at the best epoch gives the same model.
    fit(again, Recipe(epochs=int(best) + 1, batch_size=8, lr=5e-3, select=select))
    assert same(model, again)


def test_accuracy_is_over_the_whole_validation_set() -> None:
    model = classifier()
    trained = fit(model, Recipe(epochs=1, batch_size=5, lr=(1e-3,)))  # 12 images: 5 + 5 + 2
    logits = predict(model, VAL, CPU, 12)
    accuracy = float((logits.argmax(1) == VAL.labels).double().mean())
    assert trained.history[0]["val_accuracy"] == accuracy


def test_a_loss_that_is_not_finite_names_epoch_batch_and_images() -> None:
    recipe = Recipe(epochs=2, batch_size=8, lr=1e-3, shuffle=False)
    model = classifier("none")
    model.head.weight.data[0, 0] = float("nan")
    with pytest.raises(InputError) as caught:
        fit(model, recipe)
    assert str(caught.value) == (
        "The loss is nan in epoch 1, batch 1 (images i0, i1, i2 and 5 more): "
        "try a lower learning rate than 0.001, or --precision float32."
    )


def test_predictions_do_not_depend_on_how_many_images_there_are() -> None:
    model = classifier()
    model.to(memory_format=torch.channels_last)
    whole = predict(model, VAL, CPU, 8)
    assert torch.equal(predict(model, part(range(100, 109)), CPU, 8), whole[:9])


def test_grey_is_the_same_as_three_equal_colours() -> None:
    model = classifier()
    grey = part(range(6))
    values = grey.pixels.batch(torch.arange(6))
    colour = Part(HeldPixels(values[..., None].expand(-1, -1, -1, 3)), grey.labels, grey.ids)
    torch.testing.assert_close(predict(model, grey, CPU, 6), predict(model, colour, CPU, 6))


@given(st.integers(1, 70), st.integers(1, 20), st.integers(0, 5), st.integers(1, 9))
def test_an_epoch_shows_every_image_once(count: int, batch: int, seed: int, epoch: int) -> None:
    recipe = Recipe(batch_size=batch)
    order = epoch_order(count, recipe, seed, epoch)
    assert sorted(torch.cat(order).tolist()) == list(range(count))
    assert all(len(indices) <= batch + 1 for indices in order)
    if batch > 1 and count > 1:
        assert all(len(indices) > 1 for indices in order)
    again = epoch_order(count, recipe, seed, epoch)
    assert all(torch.equal(a, b) for a, b in zip(order, again, strict=True))


def test_epochs_differ_in_their_order() -> None:
    orders = {tuple(torch.cat(epoch_order(50, Recipe(), 0, n)).tolist()) for n in range(1, 6)}
    assert len(orders) == 5
    unshuffled = epoch_order(5, Recipe(batch_size=2, shuffle=False), 0, 1)
    assert [indices.tolist() for indices in unshuffled] == [[0, 1], [2, 3, 4]]
