"""Options of `extract` and `finetune`, and fields of a study: each acts or is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from frostline.cache import InputError
from frostline.cli import USAGE_ERROR, app
from frostline.commands.groups import RecipeOptions
from frostline.finetune import Recipe
from frostline.study.file import ProtocolEntry, parse_study

from .conftest import Run
from .tiny_training import TINY, make_stripes


@pytest.fixture
def indexed_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The data set `set` in the current folder."""
    monkeypatch.chdir(tmp_path)
    make_stripes(Path("images"), 12)
    app(["index", "set", "--root", "images"], standalone_mode=False)


def test_a_field_for_blocks_is_refused_where_none_trains(frostline: Run) -> None:
    done = frostline(*TINY, "--unfreeze", "none", "--set", "layer_decay=0.5")
    assert (done.returncode, done.stderr) == (
        2,
        "Error: With unfreeze none the head alone trains, and layer_decay is for blocks: leave it "
        "out, or let blocks train.\n",
    )


def test_a_setting_that_is_none_of_the_recipes(frostline: Run) -> None:
    done = frostline(*TINY, "--lr", "1e-3,1e-4", "--set", "emma=0.9")
    assert (done.returncode, done.stderr) == (
        2,
        "Error: The recipe has no field 'emma': there are augmentation, degrees, "
        "translate, scale, shear, gaussian_noise, epochs, batch_size, optimizer, lr, "
        "weight_decay, schedule, warmup_epochs, shuffle, select, micro_batch, layer_decay, "
        "clip_grad_norm, class_weights, label_smoothing, ema, patience, lora_r, lora_alpha, "
        "lora_target_modules.\n",
    )


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("ema", "--set is FIELD=VALUE, such as ema=0.999, not 'ema'."),
        ("lr=1e-4", "The field 'lr' is given twice: give it once."),
    ],
)
def test_a_setting_that_cannot_be(setting: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        RecipeOptions(lr="1e-3", setting=[setting]).changes()
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("finetune", "--weights-seed", "3"),
            "--weights-seed is for --weights random, not 'pretrained': leave it out.",
        ),
        (
            ("extract", "--weights-seed", "0", "--weights", "x.pth"),
            "--weights-seed is for --weights random, not 'x.pth': leave it out.",
        ),
        (
            ("extract", "--head-weights", "x.pth"),
            "--head-weights is for --feature imagenet-logits: leave it out.",
        ),
        (
            ("extract", "--fail-on-skip"),
            "--fail-on-skip is for --on-error skip: give both, or neither.",
        ),
        (
            ("extract", "--engine", "onnx", "--precision", "bfloat16"),
            "--engine onnx computes float32 on a CPU, not bfloat16 on cpu: leave out --device and "
            "--precision, or use --engine torch.",
        ),
        (
            ("extract", "--shard", "0/2"),
            "--shard is not for torchrun, whose processes are the shards: leave it out.",
        ),
        (
            ("finetune", "--feature", "imagenet-logits"),
            "Feature 'imagenet-logits' is for `extract`: choose one to train on.",
        ),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(
    indexed_here: None,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    message: str,
) -> None:
    if "--shard" in arguments:
        monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError) as caught:
        app([*arguments, "-d", "set", "-b", "effnet-lite0"], standalone_mode=False)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("arguments", "choices"),
    [
        (("finetune", "--protocol", "best"), "'paper', 'standard'"),
        (("finetune", "--boundary", "maybe"), "'auto', 'on', 'off'"),
        (("finetune", "--precision", "float8"), "'float32', 'bfloat16', 'float16'"),
        (("extract", "--engine", "tensorrt"), "'torch', 'onnx'"),
        (("extract", "--on-error", "no"), "'stop', 'skip'"),
    ],
)
def test_closed_lists_are_choices(arguments: tuple[str, ...], choices: str) -> None:
    with pytest.raises(USAGE_ERROR) as caught:
        app([*arguments, "-d", "set", "-b", "effnet-lite0"], standalone_mode=False)
    assert choices in caught.value.format_message()


def test_settings_are_read_from_text() -> None:
    found = RecipeOptions(epochs=3, setting=["lr=1e-3,1e-4", "select=f1_macro"]).changes()
    assert found == {"epochs": 3, "lr": "1e-3,1e-4", "select": "f1_macro"}


def study(**protocol: Any) -> Any:
    return {
        "name": "s",
        "datasets": {"a": {"root": "x"}},
        "backbones": ["resnet50"],
        "protocols": {"p": protocol},
    }


def test_every_field_of_a_recipe_can_be_set_in_a_study() -> None:
    assert Recipe.model_fields.keys() <= ProtocolEntry.model_fields.keys()
    entry = parse_study(
        study(
            recipe="standard",
            unfreeze="all",
            batch="auto",
            lr=["1e-3", 1e-4],
            ema="0.99",
            augmentation="horizontal_flip",
            degrees=10,
            scale=[0.9, 1.1],
            select="roc_auc",
            epochs=4,
        ),
        "s.yaml",
    ).protocols["p"]
    assert entry.changes() == {
        "micro_batch": "auto",
        "lr": (1e-3, 1e-4),
        "ema": 0.99,
        "epochs": 4,
        "augmentation": ("horizontal_flip",),
        "degrees": 10.0,
        "scale": (0.9, 1.1),
        "select": "roc_auc",
    }
    assert parse_study(study(batch=8), "s.yaml").protocols["p"].changes() == {"batch_size": 8}


@pytest.mark.parametrize(
    ("protocol", "message"),
    [
        ({"ema": 2}, "protocols.p.ema must be less than 1, not 2."),
        ({"batch": 0}, "protocols.p.batch must be greater than or equal to 1 or 'auto', not 0."),
        ({"lr": 0}, "protocols.p.lr must be greater than 0, not 0."),
        (
            {"unfreeze": "all", "recipe": "standard", "warmup_epochs": 40},
            "protocols.p: The recipe: warmup_epochs must be less than epochs, not 40.",
        ),
        (
            {"batch": 8, "batch_size": 4},
            "protocols.p: The keys batch and batch_size say the same: give one of them.",
        ),
        (
            {"unfreeze": "none", "lr": [1e-3, 1e-4]},
            "protocols.p: A head on cached embeddings takes one lr: `frostline sweep` compares "
            "several.",
        ),
    ],
)
def test_what_a_study_cannot_set(protocol: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_study(study(**protocol), "s.yaml")
    assert str(caught.value) == f"s.yaml: {message}"
