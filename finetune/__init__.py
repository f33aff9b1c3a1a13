"""End-to-end training of backbone and head.

Public names load on first use, so that importing this package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from frostline.finetune.conditions import Conditions
    from frostline.finetune.epochs import Epoch
    from frostline.finetune.keep import load_model, read_card
    from frostline.finetune.recipe import RECIPES, Recipe, make_recipe
    from frostline.finetune.run import Task, finetune_run

_HOME = {
    "RECIPES": "recipe",
    "Conditions": "conditions",
    "Epoch": "epochs",
    "Recipe": "recipe",
    "Task": "run",
    "finetune_run": "run",
    "load_model": "keep",
    "make_recipe": "recipe",
    "read_card": "keep",
}

__all__ = [
    "RECIPES",
    "Conditions",
    "Epoch",
    "Recipe",
    "Task",
    "finetune_run",
    "load_model",
    "make_recipe",
    "read_card",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
