"""Recipes: the paper's values, and what a recipe cannot be."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frostline.cache import InputError
from frostline.finetune import RECIPES, Recipe, make_recipe

# Who says so, of each field.
SOURCES = {
    name: field.json_schema_extra["from"]
    for name, field in Recipe.model_fields.items()
    if isinstance(field.json_schema_extra, dict)
}


def test_the_papers_recipe() -> None:
    assert RECIPES["paper"].to_dict() == {
        "epochs": 100,
        "batch_size": 32,
        "optimizer": "adam",
        "lr": 1e-4,
        "weight_decay": 0.0,
        "schedule": "constant",
        "warmup_epochs": 0,
        "shuffle": True,
        "select": "accuracy",
        "micro_batch": 0,
        "layer_decay": 1.0,
        "clip_grad_norm": 0.0,
        "augmentation": [],
        "class_weights": "none",
        "label_smoothing": 0.0,
        "ema": 0.0,
        "patience": 0,
    }


def test_every_field_says_who_says_so() -> None:
    assert set(SOURCES) == set(Recipe.model_fields)
    assert set(SOURCES.values()) == {"paper", "code", "ours"}


def test_every_field_can_be_set() -> None:
    recipe = make_recipe("paper", epochs=3, optimizer="adamw", shuffle=False)
    assert (recipe.epochs, recipe.optimizer, recipe.shuffle) == (3, "adamw", False)
    assert make_recipe("standard", epochs=1).warmup_epochs == 0


def test_values_may_be_typed_as_text() -> None:
    recipe = make_recipe(
        "paper",
        epochs="3",
        lr="1e-4, 3e-4",
        shuffle="false",
        micro_batch="auto",
        augmentation="vertical_flip,random_crop",
        ema=".5",
    )
    assert (recipe.epochs, recipe.lr, recipe.shuffle) == (3, (1e-4, 3e-4), False)
    assert (recipe.micro_batch, recipe.ema) == ("auto", 0.5)
    assert recipe.augmentation == ("random_crop", "vertical_flip")
    assert make_recipe("paper", lr="1e-3").lr == (1e-3,)
    assert make_recipe("paper", micro_batch="4").micro_batch == 4
    assert make_recipe("paper", augmentation="none").augmentation == ()


def test_strengths_of_augmentations() -> None:
    typed = make_recipe("paper", degrees="10", scale="0.9, 1.1", gaussian_noise=".02")
    assert typed == make_recipe("paper", degrees=10, scale=[0.9, 1.1], gaussian_noise=0.02)
    assert Recipe(**typed.to_dict()) == typed
    kept = {"degrees": 10.0, "scale": [0.9, 1.1], "gaussian_noise": 0.02}
    assert typed.to_dict() == RECIPES["paper"].to_dict() | kept
    # What changes nothing is not said, and runs are called what they were called before.
    nothing = make_recipe("paper", degrees=0, translate=0, scale="1,1", shear=0, gaussian_noise=0)
    assert nothing.to_dict() == RECIPES["paper"].to_dict()
    assert not nothing.augments


@pytest.mark.parametrize(
    "changes",
    [
        {"augmentation": "vertical_flip"},
        {"degrees": 1},
        {"translate": 0.1},
        {"scale": "1,1.2"},
        {"shear": 1},
        {"gaussian_noise": 0.01},
    ],
)
def test_any_augmentation_augments(changes: dict[str, Any]) -> None:
    recipe = make_recipe("paper", **changes)
    assert recipe.augments
    assert recipe.warps == (not changes.keys() & {"augmentation", "gaussian_noise"})


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
    assert {name: tag for name, _, tag, _ in table} == SOURCES
    column = {"paper": 1, "standard": 3}[protocol]
    assert (
        make_recipe(protocol, **{row[0]: row[column].strip() for row in table}) == RECIPES[protocol]
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lr": 0.0}, "The recipe: lr must be greater than 0, not 0.0."),
        ({"lr": float("nan")}, "The recipe: lr must be a finite number, not nan."),
        ({"epochs": 0}, "The recipe: epochs must be greater than or equal to 1, not 0."),
        (
            {"batch_size": -1},
            "The recipe: batch_size must be greater than or equal to 1, not -1.",
        ),
        ({"optimizer": "sgd"}, "The recipe: optimizer must be 'adam' or 'adamw', not 'sgd'."),
        (
            {"epochs": 5, "warmup_epochs": 5},
            "The recipe: warmup_epochs must be less than epochs, not 5.",
        ),
        (
            {"learning_rate": 1e-3},
            "The recipe has no field 'learning_rate': there are augmentation, degrees, "
            "translate, scale, shear, gaussian_noise, epochs, batch_size, optimizer, lr, "
            "weight_decay, schedule, warmup_epochs, shuffle, select, micro_batch, layer_decay, "
            "clip_grad_norm, class_weights, label_smoothing, ema, patience, lora_r, lora_alpha, "
            "lora_target_modules.",
        ),
        ({"lr": "fast"}, "The recipe: lr must be a valid number, not 'fast'."),
        ({"lr": [1e-3, -1]}, "The recipe: lr.1 must be greater than 0, not -1."),
        (
            {"lr": [1e-3, 1e-3]},
            "The recipe: lr must be one or several different numbers, not [0.001, 0.001].",
        ),
        ({"lr": []}, "The recipe: lr must be one or several different numbers, not []."),
        ({"epochs": "3.5"}, "The recipe: epochs must be a valid integer, not '3.5'."),
        ({"epochs": 3.5}, "The recipe: epochs must be a valid integer, not 3.5."),
        ({"ema": 1}, "The recipe: ema must be less than 1, not 1."),
        ({"shuffle": "maybe"}, "The recipe: shuffle must be a valid boolean, not 'maybe'."),
        (
            {"micro_batch": "big"},
            "The recipe: micro_batch must be a valid integer or 'auto', not 'big'.",
        ),
        (
            {"micro_batch": 33},
            "The recipe: micro_batch must be at most the batch_size, 32, or 0 for the whole batch, "
            "not 33.",
        ),
        (
            {"batch_size": "4", "micro_batch": "8"},
            "The recipe: micro_batch must be at most the batch_size, 4, or 0 for the whole batch, "
            "not '8'.",
        ),
        ({"layer_decay": 0}, "The recipe: layer_decay must be greater than 0, not 0."),
        (
            {"class_weights": "rare"},
            "The recipe: class_weights must be 'none' or 'balanced', not 'rare'.",
        ),
        (
            {"augmentation": "spin"},
            "The recipe: augmentation must be none, or some of random_crop, random_resized_crop, "
            "horizontal_flip, vertical_flip, color_jitter, rand_augment, not 'spin'.",
        ),
        ({"degrees": 181}, "The recipe: degrees must be less than or equal to 180, not 181."),
        ({"translate": "1"}, "The recipe: translate must be less than 1, not '1'."),
        ({"shear": 90}, "The recipe: shear must be less than 90, not 90."),
        (
            {"gaussian_noise": -0.1},
            "The recipe: gaussian_noise must be greater than or equal to 0, not -0.1.",
        ),
        *(
            (
                {"scale": scale},
                f"The recipe: scale must be two numbers, the smaller one first, not {scale!r}.",
            )
            for scale in ("0.9", "1.1, 0.9", [0.9, 1, 1.1], 0.5)
        ),
        ({"scale": "0,1"}, "The recipe: scale must be greater than 0, not '0'."),
        (
            {"augmentation": "random_crop,random_resized_crop"},
            "The recipe: augmentation must be one of the crops or the other, not "
            "'random_crop,random_resized_crop'.",
        ),
        (
            {"select": "calibration_slope"},
            "The recipe: select must be one of accuracy, balanced_accuracy, precision_weighted, "
            "recall_weighted, f1_weighted, precision_macro, recall_macro, f1_macro, "
            "specificity_macro, cohen_kappa, cohen_kappa_linear, cohen_kappa_quadratic, "
            "mean_absolute_error, matthews_corrcoef, roc_auc, "
            "roc_auc_ovr_weighted, average_precision, log_loss, brier_score_loss, "
            "calibration_error, not 'calibration_slope'.",
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
    recipe = Recipe(epochs=epochs, schedule="cosine", warmup_epochs=warmup, lr=(0.5,))
    assert recipe.rate(warmup) == pytest.approx(0.5)
    assert recipe.rate(epochs) == pytest.approx(0)
    assert recipe.rate(0) == (0 if warmup else 0.5)
    rates = [recipe.rate(epoch / 4) for epoch in range(4 * warmup, 4 * epochs)]
    assert rates == sorted(rates, reverse=True)
