"""How a network is trained: every choice a field, and where the paper's choices come from."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from frostline.cache import InputError

OPTIMIZERS = ("adam", "adamw")
SCHEDULES = ("constant", "cosine")
SELECTIONS = ("accuracy", "log_loss")


def _says(source: str, default: Any) -> Any:
    return field(default=default, metadata={"from": source})


@dataclass(frozen=True)
class Recipe:
    """A recipe of training; the defaults are the paper's.

    The `from` of each field's metadata says who says so: *paper* (the text), *code* (the authors'
    published code), *ours*.

    Attributes
    ----------
    epochs, batch_size : int
    optimizer : str
        "adam" or "adamw".
    lr : float
        Learning rate.
    weight_decay : float
        Of matrices; AdamW's is decoupled.
    schedule : str
        "constant", or "cosine": falling to zero over the epochs.
    warmup_epochs : int
        Epochs in which the learning rate rises linearly to `lr`.
    shuffle : bool
        Whether training images come in a new order each epoch.
    select : str
        What chooses the best epoch on the validation set: "accuracy" or "log_loss"; of equal ones
        the earliest is taken.
    """

    epochs: int = _says("paper", 100)
    batch_size: int = _says("paper", 32)
    optimizer: str = _says("paper", "adam")
    lr: float = _says("paper", 1e-4)
    weight_decay: float = _says("code", 0.0)
    schedule: str = _says("code", "constant")
    warmup_epochs: int = _says("code", 0)
    shuffle: bool = _says("ours", True)
    select: str = _says("code", "accuracy")

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            _check(name, getattr(self, name), getattr(self, name) >= 1, "1 or more")
        _check("lr", self.lr, math.isfinite(self.lr) and self.lr > 0, "above 0")
        _check("weight_decay", self.weight_decay, 0 <= self.weight_decay < math.inf, "0 or more")
        warmup = self.warmup_epochs
        _check("warmup_epochs", warmup, 0 <= warmup < self.epochs, "at least 0 and below epochs")
        for name, known in _CHOICES.items():
            value = getattr(self, name)
            _check(name, value, value in known, f"one of {', '.join(known)}")

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON has them."""
        return asdict(self)

    def rate(self, epoch: float) -> float:
        """The learning rate after `epoch` epochs, a fraction within them."""
        if epoch < self.warmup_epochs:
            return self.lr * epoch / self.warmup_epochs
        if self.schedule == "constant":
            return self.lr
        done = (epoch - self.warmup_epochs) / (self.epochs - self.warmup_epochs)
        return self.lr * (1 + math.cos(math.pi * min(done, 1.0))) / 2


_CHOICES = {"optimizer": OPTIMIZERS, "schedule": SCHEDULES, "select": SELECTIONS}


def make_recipe(protocol: str, **changes: Any) -> Recipe:
    """The recipe of a protocol with some fields changed.

    Raises
    ------
    InputError
        If there is no such protocol or field, or a value cannot be.
    """
    if protocol not in RECIPES:
        raise InputError(f"There is no protocol {protocol!r}; choose {' or '.join(RECIPES)}.")
    known = [each.name for each in fields(Recipe)]
    for name in changes:
        if name not in known:
            raise InputError(f"A recipe has no field {name!r}; it has {', '.join(known)}.")
    base = RECIPES[protocol].to_dict() | changes
    if "epochs" in changes and "warmup_epochs" not in changes:
        base["warmup_epochs"] = min(base["warmup_epochs"], base["epochs"] - 1)
    return Recipe(**base)


def _check(name: str, value: Any, fits: bool, rule: str) -> None:
    if not fits:
        raise InputError(f"{name} of the recipe must be {rule}, not {value!r}.")


PAPER = Recipe()
STANDARD = Recipe(
    epochs=30,
    optimizer="adamw",
    weight_decay=0.05,
    schedule="cosine",
    warmup_epochs=3,
    select="log_loss",
)
RECIPES = {"paper": PAPER, "standard": STANDARD}
