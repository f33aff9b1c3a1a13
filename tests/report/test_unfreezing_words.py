"""How much was trained, in words: tables, sentences, figures and methods call it alike."""

from __future__ import annotations

import pytest

from frostline.cache.tables.unfreezing import Unfreezing, is_lora, parse_unfreezing
from frostline.report.manuscript.methods import _trained_words
from frostline.report.statistics.names import freeze_word, trained_word, tuning_words, way_of


@pytest.mark.parametrize(
    ("unfreeze", "cell", "words", "sentence", "methods"),
    [
        ("none", "Y", "frozen", "fine-tuned (none)", "none"),
        ("all", "N", "fine-tuned", "fine-tuned", "all blocks"),
        ("1", "last 1", "last block fine-tuned", "with its last block tuned", "the last block"),
        (
            *("3", "last 3", "last 3 blocks fine-tuned", "with its last 3 blocks tuned"),
            "the last 3 blocks",
        ),
        (
            *("first:2", "first 2", "first 2 blocks fine-tuned", "with its first 2 blocks tuned"),
            "the stem and the first 2 blocks",
        ),
        (
            *("norm", "norms", "norms and biases fine-tuned", "with its norms and biases tuned"),
            "norms and biases [@zaken2022]",
        ),
        (
            *("lora r=8", "LoRA, rank 8", "LoRA, rank 8", "with LoRA of rank 8"),
            "low-rank adapters (LoRA) of rank 8 [@hu2022]",
        ),
        (
            *("lora:4 r=8", "LoRA, rank 8, last 4", "LoRA, rank 8, last 4 blocks"),
            "with LoRA of rank 8 in its last 4 blocks",
            "low-rank adapters (LoRA) of rank 8 in the last 4 blocks [@hu2022]",
        ),
        ("lora:1", "LoRA, last 1", "LoRA, last block", "with LoRA in its last block", None),
        ("classifier", "classifier", "fine-tuned (classifier)", "fine-tuned (classifier)", None),
        ("ours", "ours", "fine-tuned (ours)", "fine-tuned (ours)", "ours"),
    ],
)
def test_words(unfreeze: str, cell: str, words: str, sentence: str, methods: str | None) -> None:
    assert freeze_word(unfreeze) == cell
    assert trained_word(unfreeze) == words
    assert tuning_words(unfreeze) == sentence
    if methods is not None and unfreeze != "none":
        assert _trained_words(unfreeze) == methods
    ways = {"none": "frozen", "all": "fine-tuned"}
    other = "LoRA" if unfreeze.startswith("lora") else "part fine-tuned"
    assert way_of(unfreeze) == ways.get(unfreeze, other)


@pytest.mark.parametrize(
    "text", ["lora:0", "lora:", "lora:-1", "LORA", "first", "first:0", "", "٣"]
)
def test_what_is_none_of_them(text: str) -> None:
    assert parse_unfreezing(text) is None
    assert not is_lora(text)


def test_numbers_are_read() -> None:
    assert parse_unfreezing(4) == Unfreezing("last", 4)
    assert parse_unfreezing("lora:4 r=16") == Unfreezing("lora", 4, 16)
    assert parse_unfreezing("lora") == Unfreezing("lora")
