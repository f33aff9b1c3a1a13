"""Recipes: the paper's values, and what a recipe cannot be."""

from __future__ import annotations

from dataclasses import fields
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
    }  # fmt: skip


def test_every_field_says_who_says_so() -> None:
    assert {field.metadata["from"] for field in fields(Recipe)} == {"paper", "code", "ours"}


def test_every_field_can_be_set() -> None:
    recipe = make_recipe("paper", epochs=3, optimizer="adamw", shuffle=False)
    assert (recipe.epochs, recipe.optimizer, recipe.shuffle) == (3, "adamw", False)
    assert make_recipe("standard", epochs=1).warmup_epochs == 0


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
            "weight_decay, schedule, warmup_epochs, shuffle, select.",
        ),
    ],
)
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
