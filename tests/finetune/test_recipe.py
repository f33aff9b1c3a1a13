"""Recipes: the paper's values, and what a recipe cannot be."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frostline.cache import InputError
from frostline.finetune import RECIPES, Recipe, make_recipe


def test_the_papers_recipe() -> None:
    assert RECIPES["paper"].to_dict() == {
        "epochs": 100, "batch_size": 32, "optimizer": "adam", "lr": 1e-4, "weight_decay": 0.0,
        "schedule": "constant", "warmup_epochs": 0, "shuffle": True, "select": "accuracy",
        "micro_batch": 0, "layer_decay": 1.0, "clip_grad_norm": 0.0, "augmentation": [],
        "class_weights": "none", "label_smoothing": 0.0, "ema": 0.0, "patience": 0,
    }  # fmt: skip


def test_every_field_says_who_says_so() -> None:
    assert {field.metadata["from"] for field in fields(Recipe)} == {"paper", "code", "ours"}


def test_every_field_can_be_set() -> None:
    recipe = make_recipe("paper", epochs=3, optimizer="adamw", shuffle=False)
    assert (recipe.epochs, recipe.optimizer, recipe.shuffle) == (3, "adamw", False)
    assert make_recipe("standard", epochs=1).warmup_epochs == 0


def test_values_may_be_typed_as_text() -> None:
    recipe = make_recipe(
        "paper", epochs="3", lr="1e-4, 3e-4", shuffle="false", micro_batch="auto",
        augmentation="vertical_flip,random_crop", ema=".5",
    )  # fmt: skip
    assert (recipe.epochs, recipe.rates, recipe.shuffle) == (3, (1e-4, 3e-4), False)
    assert (recipe.micro_batch, recipe.ema) == ("auto", 0.5)
    assert recipe.augmentation == ("random_crop", "vertical_flip")
    assert make_recipe("paper", lr="1e-3").lr == 1e-3
    assert make_recipe("paper", micro_batch="4").micro_batch == 4
    assert make_recipe("paper", augmentation="none").augmentation == ()


def test_the_same_said_otherwise_is_the_same_recipe() -> None:
    assert make_recipe("paper", lr=[1e-4]) == RECIPES["paper"]
    flips = ["vertical_flip", "horizontal_flip"]
    assert make_recipe("paper", augmentation=flips) == make_recipe(
        "paper", augmentation=[*reversed(flips), flips[0]]
    )


@pytest.mark.parametrize("protocol", ["paper", "standard"])
def test_the_page_lists_every_field_with_its_default(protocol: str) -> None:
    page = (Path(__file__).parents[2] / "docs" / "finetuning.md").read_text()
    table = re.findall(r"^\| `(\w+)` \|[^|]*\| ([^|]*) \| (\w+) \| ([^|]*) \|$", page, re.MULTILINE)
    said = {name: make_recipe("paper", **{name: {"paper": a, "standard": b}[protocol].strip()})
            for name, a, _, b in table if name != "warmup_epochs"}  # fmt: skip
    for field in fields(Recipe):
        if field.name in said:
            expected = getattr(RECIPES[protocol], field.name)
            assert getattr(said[field.name], field.name) == expected, field.name
    assert {name: tag for name, _, tag, _ in table} == {
        field.name: field.metadata["from"] for field in fields(Recipe)
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lr": 0.0}, "lr of the recipe must be above 0, not 0.0."),
        ({"lr": float("nan")}, "lr of the recipe must be above 0, not nan."),
        ({"epochs": 0}, "epochs of the recipe must be 1 or more, not 0."),
        ({"batch_size": -1}, "batch_size of the recipe must be 1 or more, not -1."),
        ({"weight_decay": -0.1}, "weight_decay of the recipe must be 0 or more, not -0.1."),
        ({"optimizer": "sgd"}, "optimizer of the recipe must be one of adam, adamw, not 'sgd'."),
        (
            {"epochs": 5, "warmup_epochs": 5},
            "warmup_epochs of the recipe must be at least 0 and below epochs, not 5.",
        ),
        (
            {"learning_rate": 1e-3},
            "A recipe has no field 'learning_rate'; it has epochs, batch_size, optimizer, lr, "
            "weight_decay, schedule, warmup_epochs, shuffle, select, micro_batch, layer_decay, "
            "clip_grad_norm, augmentation, class_weights, label_smoothing, ema, patience.",
        ),
        ({"lr": "fast"}, "lr of the recipe must be a number or several, not 'fast'."),
        ({"lr": [1e-3, -1]}, "lr of the recipe must be above 0, not -1.0."),
        ({"lr": [1e-3, 1e-3]}, "lr of the recipe must be different numbers, not (0.001, 0.001)."),
        ({"epochs": "3.5"}, "epochs of the recipe must be a whole number, not '3.5'."),
        ({"ema": "much"}, "ema of the recipe must be a number, not 'much'."),
        ({"ema": 1}, "ema of the recipe must be at least 0 and below 1, not 1.0."),
        ({"shuffle": "maybe"}, "shuffle of the recipe must be true or false, not 'maybe'."),
        ({"patience": -1}, "patience of the recipe must be 0 or more, not -1."),
        ({"micro_batch": "big"}, "micro_batch of the recipe must be a whole number or auto, "
         "not 'big'."),
        ({"layer_decay": 0}, "layer_decay of the recipe must be above 0 and at most 1, not 0.0."),
        ({"class_weights": "rare"}, "class_weights of the recipe must be one of none, balanced, "
         "not 'rare'."),
        ({"augmentation": "spin"}, "augmentation of the recipe must be of random_crop, "
         "random_resized_crop, horizontal_flip, vertical_flip, color_jitter, rand_augment, "
         "not 'spin'."),
        ({"augmentation": "random_crop,random_resized_crop"}, "augmentation of the recipe must be "
         "one of the crops or the other, not ('random_crop', 'random_resized_crop')."),
        ({"select": "calibration_slope"}, "select of the recipe must be one of accuracy, "
         "balanced_accuracy, precision_weighted, recall_weighted, f1_weighted, precision_macro, "
         "recall_macro, f1_macro, specificity_macro, cohen_kappa, cohen_kappa_quadratic, "
         "matthews_corrcoef, roc_auc, roc_auc_ovr_weighted, average_precision, log_loss, "
         "brier_score_loss, calibration_error, not 'calibration_slope'."),
    ],
)  # fmt: skip
def test_what_a_recipe_cannot_be(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        make_recipe("paper", **changes)
    assert str(caught.value) == message


def test_an_unknown_protocol() -> None:
    with pytest.raises(InputError) as caught:
        make_recipe("papers")
    assert str(caught.value) == "There is no protocol 'papers'; choose paper or standard."


@given(st.integers(1, 50), st.data())
def test_the_learning_rate_rises_then_falls_to_zero(epochs: int, data: st.DataObject) -> None:
    warmup = data.draw(st.integers(0, epochs - 1))
    recipe = Recipe(epochs=epochs, schedule="cosine", warmup_epochs=warmup, lr=0.5)
    assert recipe.rate(warmup) == pytest.approx(0.5)
    assert recipe.rate(epochs) == pytest.approx(0)
    assert recipe.rate(0) == (0 if warmup else 0.5)
    rates = [recipe.rate(epoch / 4) for epoch in range(4 * warmup, 4 * epochs)]
    assert rates == sorted(rates, reverse=True)
