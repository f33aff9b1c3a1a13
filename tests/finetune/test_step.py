"""Steps of the optimiser: parts of a batch add up to the batch, and memory that runs out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from finetune_toy import HALF
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight
from test_train import CPU, TRAIN, VAL, classifier, fit, measured
from torch.nn import functional

from frostline.cache import InputError
from frostline.extract.forward import to_input
from frostline.finetune import Recipe
from frostline.finetune.conditions import Conditions
from frostline.finetune.inputs.batches import Place, split_batch
from frostline.finetune.memory import largest_that_fits
from frostline.finetune.model import Classifier
from frostline.finetune.training.checkpoint import Checkpoints
from frostline.finetune.training.optim import layer_scales
from frostline.finetune.training.step import Stepper, class_weights
from frostline.finetune.training.train import train

VIT = "timm:test_vit"  # has no batch norm
PLACE = Place(0, 1, 0)


def gradients(indices: torch.Tensor, **fields: Any) -> dict[str, torch.Tensor]:
    """The gradients of one step on some training images."""
    model = classifier(name=VIT)
    stepper = Stepper(model, TRAIN, Recipe(**{"batch_size": 25, **fields}), CPU)
    stepper.step(PLACE, indices, TRAIN.pixels.batch(indices), 1e-3)
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


UNEVEN = torch.tensor([0, 3, 6, 9, 1, 4, 2, 12, 15, 7, 18])  # classes in very different numbers


@pytest.mark.parametrize("size", [1, 2, 4, 7, 11])
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"class_weights": "balanced", "label_smoothing": 0.1},
        {
            "augmentation": ("random_resized_crop", "horizontal_flip", "color_jitter"),
            "degrees": 20,
            "translate": 0.1,
            "gaussian_noise": 0.05,
        },
    ],
    ids=["plain", "weighted", "augmented"],
)
def test_gradients_of_parts_add_up_to_those_of_the_batch(size: int, fields: dict[str, Any]) -> None:
    whole, parts = gradients(UNEVEN, **fields), gradients(UNEVEN, micro_batch=size, **fields)
    assert whole.keys() == parts.keys()
    for name, gradient in whole.items():
        torch.testing.assert_close(parts[name], gradient, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("fields", [{}, {"class_weights": "balanced", "label_smoothing": 0.2}])
def test_the_loss_is_pytorchs(fields: dict[str, Any]) -> None:
    model = classifier("none", VIT)
    recipe = Recipe(batch_size=25, micro_batch=4, **fields)
    pixels, labels = TRAIN.pixels.batch(UNEVEN), TRAIN.labels[UNEVEN]
    weight = class_weights(TRAIN.labels, 3, recipe)
    with torch.no_grad():
        logits = model(to_input(pixels, CPU.normalisation, "cpu"))
        smoothing = recipe.label_smoothing
        expected = functional.cross_entropy(logits, labels, weight, label_smoothing=smoothing)
    found = Stepper(model, TRAIN, recipe, CPU).step(PLACE, UNEVEN, pixels, 1e-3)
    torch.testing.assert_close(found, expected)


def test_balanced_weights_are_scikit_learns() -> None:
    labels = torch.tensor([0, 0, 0, 0, 1, 2, 2])
    found = class_weights(labels, 3, Recipe(class_weights="balanced"))
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels.numpy())
    torch.testing.assert_close(found, torch.from_numpy(expected).float())
    assert class_weights(labels, 3, Recipe()) is None


@given(st.integers(1, 60), st.integers(1, 70), st.integers(1, 5))
def test_every_image_of_a_batch_counts_once_in_one_process(
    count: int, size: int, processes: int
) -> None:
    counted: list[int] = []
    parts = set()
    with pytest.MonkeyPatch.context() as patch:
        for number in range(processes):
            patch.setattr("frostline.finetune.parallel.ranks", lambda: processes)
            patch.setattr("frostline.finetune.inputs.batches.ranks", lambda: processes)
            patch.setattr("frostline.finetune.parallel.rank", lambda number=number: number)
            pieces = list(split_batch(count, size))
            parts.add(len(pieces))
            assert all(1 <= len(piece.rows) <= size for piece in pieces)
            for rows, counts in pieces:
                counted += rows.tolist() if counts else []
                assert counts or len(rows) == 1
    assert sorted(counted) == list(range(count))
    assert len(parts) == 1  # every process does as many


def test_gradients_are_shortened_to_their_greatest_norm() -> None:
    free, clipped = gradients(UNEVEN), gradients(UNEVEN, clip_grad_norm=0.01)
    norm = torch.stack([g.norm() for g in free.values()]).norm()
    assert norm > 0.1
    for name, gradient in clipped.items():
        torch.testing.assert_close(gradient, free[name] * 0.01 / norm, rtol=1e-3, atol=1e-7)


def test_blocks_far_from_the_head_learn_slowly() -> None:
    model = classifier()
    scales = layer_scales(model, 0.5)
    assert {name.split(".")[1]: scale for name, scale in scales.items()} == {
        "conv1": 0.5**5,
        "bn1": 0.5**5,
        "layer1": 0.5**4,
        "layer2": 0.5**3,
        "layer3": 0.5**2,
        "layer4": 0.5,
    }
    recipe = Recipe(batch_size=8, layer_decay=0.5)
    stepper = Stepper(model, TRAIN, recipe, CPU)
    stepper.step(PLACE, UNEVEN, TRAIN.pixels.batch(UNEVEN), 0.4)
    rates = {}
    for group in stepper.optimizer.param_groups:
        rates |= {id(parameter): group["lr"] for parameter in group["params"]}
    for name, parameter in model.named_parameters():
        assert rates[id(parameter)] == pytest.approx(0.4 * scales.get(name, 1.0)), name


def small_memory(
    patch: pytest.MonkeyPatch, images: int, seen: list[int]
) -> Callable[..., torch.Tensor]:
    """A device that holds the training of so many images at once."""
    forward = Classifier.forward

    def limited(self: Classifier, batch: torch.Tensor) -> torch.Tensor:
        seen.append(len(batch))
        if len(batch) > images:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, batch)

    patch.setattr(Classifier, "forward", limited)
    return limited


@pytest.mark.parametrize(("fits", "found"), [(100, 24), (23, 16), (16, 16), (3, 2), (1, 1)])
def test_auto_takes_the_largest_part_that_fits(
    monkeypatch: pytest.MonkeyPatch, fits: int, found: int
) -> None:
    seen: list[int] = []
    small_memory(monkeypatch, fits, seen)
    recipe = Recipe(epochs=1, batch_size=24, micro_batch="auto")
    trained = fit(classifier(name=VIT), recipe)
    assert trained.batch == found
    # The last of 25 images goes with the 24 before it.
    assert max(size for size in seen if size <= fits) == {24: 25}.get(found, found)
    again: list[int] = []
    monkeypatch.undo()
    small_memory(monkeypatch, fits, again)
    model = classifier(name=VIT)
    fit(model, Recipe(epochs=1, batch_size=24, micro_batch=0 if found == 24 else found))
    assert again == seen[-len(again) :]  # what was tried left nothing behind


@pytest.mark.parametrize("name", ["timm:test_resnet", VIT])
def test_what_auto_tries_is_taken_back(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    small_memory(monkeypatch, 5, [])
    fields: dict[str, Any] = {"epochs": 2, "batch_size": 8, "optimizer": "adamw"}
    tried, told = classifier(name=name), classifier(name=name)
    found = fit(tried, Recipe(**fields, micro_batch="auto"))
    expected = fit(told, Recipe(**fields, micro_batch=4))
    assert found.batch == expected.batch == 4
    assert measured(found) == measured(expected)


def test_memory_that_ends_between_gradients_and_step_leaves_no_scaler_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of float16, whose scaler takes a batch's gradients once."""
    clip, calls = torch.nn.utils.clip_grad_norm_, [0]

    def limited(*arguments: Any) -> torch.Tensor:
        calls[0] += 1
        if calls[0] == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return clip(*arguments)

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", limited)
    recipe = Recipe(batch_size=8, micro_batch="auto", clip_grad_norm=1.0)
    stepper = Stepper(classifier(name=VIT), TRAIN, recipe, replace(CPU, precision="float16"))
    scale = stepper.scaler.get_scale()
    stepper.find_size(torch.arange(8))
    assert (stepper.size, calls[0]) == (4, 2)
    assert stepper.scaler.get_scale() == scale
    stepper.step(PLACE, torch.arange(8), TRAIN.pixels.batch(torch.arange(8)), 0.1)


def test_a_resumed_training_keeps_the_part_that_was_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    fields: dict[str, Any] = {"batch_size": 8, "micro_batch": "auto"}
    with monkeypatch.context() as patch:
        small_memory(patch, 5, [])
        fit(classifier(), Recipe(epochs=1, **fields), checkpoints=Checkpoints(tmp_path))
    trained = fit(classifier(), Recipe(epochs=2, **fields), checkpoints=Checkpoints(tmp_path))
    assert trained.batch == 4


@pytest.mark.parametrize(
    ("batch_size", "fits", "message"),
    [
        (
            24,
            20,
            "The device ran out of memory with 24 images at a time: use --batch-size auto, or "
            "--set micro_batch=16.",
        ),
        (
            16,
            10,
            "The device ran out of memory with 16 images at a time: use --batch-size auto, or "
            "--set micro_batch=8.",
        ),
        (
            1,
            0,
            "The device's memory does not hold the training of one image: use --precision "
            "bfloat16, a smaller --image-size, or unfreeze fewer blocks.",
        ),
    ],
)
def test_memory_that_runs_out_says_what_to_try(
    monkeypatch: pytest.MonkeyPatch, batch_size: int, fits: int, message: str
) -> None:
    small_memory(monkeypatch, fits, [])
    with pytest.raises(InputError) as caught:
        fit(classifier(name=VIT), Recipe(epochs=1, batch_size=batch_size))
    assert str(caught.value) == message


def test_not_even_one_image() -> None:
    with pytest.raises(InputError, match="does not hold the training of one image"):
        largest_that_fits(lambda size: False, 8)


def test_a_compiled_training_or_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe(epochs=1, batch_size=8)
    through: list[torch.nn.Module] = []

    def noted(model: torch.nn.Module) -> torch.nn.Module:
        through.append(model)
        return model

    monkeypatch.setattr(torch, "compile", noted)
    compiled = Conditions(HALF, HALF, compiled=True)
    train(classifier(name=VIT), (TRAIN, VAL), recipe, compiled, seed=0)
    assert len(through) == 1

    def missing(model: torch.nn.Module) -> torch.nn.Module:
        raise RuntimeError("Dynamo is not supported on Python 9.\nMore lines.")

    monkeypatch.setattr(torch, "compile", missing)
    with pytest.raises(InputError) as caught:
        train(classifier(name=VIT), (TRAIN, VAL), recipe, compiled, seed=0)
    assert str(caught.value) == (
        "Compiling by torch.compile does not work here (Dynamo is not supported on Python 9.): "
        "leave out --compile."
    )


@pytest.mark.slow
def test_a_training_that_is_really_compiled() -> None:
    recipe = Recipe(epochs=1, batch_size=5)
    plain = fit(classifier(name=VIT), recipe)
    compiled = Conditions(HALF, HALF, compiled=True)
    found = train(classifier(name=VIT), (TRAIN, VAL), recipe, compiled, seed=0)
    assert found.history[0]["train_loss"] == pytest.approx(plain.history[0]["train_loss"], rel=1e-4)
