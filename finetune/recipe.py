"""How a network is trained: every choice a field, and where the paper's choices come from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cache
from typing import Any, Literal, get_type_hints

from frostline.cache import InputError
from frostline.report.statistics.metrics import METRICS

OPTIMIZERS = ("adam", "adamw")
SCHEDULES = ("constant", "cosine")
CLASS_WEIGHTS = ("none", "balanced")
# In the order in which they are applied.
CROPS = ("random_crop", "random_resized_crop")
AUGMENTATIONS = (*CROPS, "horizontal_flip", "vertical_flip", "color_jitter", "rand_augment")
# A slope of 1 and an intercept of 0 are the best: they have no direction.
SELECTIONS = tuple(
    name for name in METRICS if name not in ("calibration_slope", "calibration_intercept")
)


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
    lr : float or tuple of float
        Learning rate; of several the best on validation is kept.
    weight_decay : float
        Of matrices; AdamW's is decoupled.
    schedule : str
        "constant", or "cosine": falling to zero over the epochs.
    warmup_epochs : int
        Epochs in which the learning rate rises linearly to `lr`.
    shuffle : bool
        Whether training images come in a new order each epoch.
    select : str
        What chooses the best epoch on the validation set: "accuracy", "log_loss", or another name
        of `report.metrics`; of equal ones the earliest is taken.
    micro_batch : int or "auto"
        Images computed at a time, whose gradients are added up to those of the batch; 0: all.
    layer_decay : float
        Learning rate of a block by that of the block behind it.
    clip_grad_norm : float
        Greatest norm of the gradient; 0: any.
    augmentation : tuple of str
        Of `AUGMENTATIONS`, applied in that order.
    class_weights : str
        "none", or "balanced": each class weighs the same in the loss.
    label_smoothing : float
        Share of the target that is spread over all classes.
    ema : float
        Decay of the moving average of the weights that is validated and kept; 0: none.
    patience : int
        Epochs without a better one after which training stops; 0: never.
    """

    epochs: int = _says("paper", 100)
    batch_size: int = _says("paper", 32)
    optimizer: str = _says("paper", "adam")
    lr: float | tuple[float, ...] = _says("paper", 1e-4)
    weight_decay: float = _says("code", 0.0)
    schedule: str = _says("code", "constant")
    warmup_epochs: int = _says("code", 0)
    shuffle: bool = _says("ours", True)
    select: str = _says("code", "accuracy")
    micro_batch: int | Literal["auto"] = _says("ours", 0)
    layer_decay: float = _says("code", 1.0)
    clip_grad_norm: float = _says("code", 0.0)
    augmentation: tuple[str, ...] = _says("code", ())
    class_weights: str = _says("code", "none")
    label_smoothing: float = _says("code", 0.0)
    ema: float = _says("code", 0.0)
    patience: int = _says("code", 0)

    def __post_init__(self) -> None:
        for name, (fits, rule) in _RULES.items():
            _check(name, getattr(self, name), fits(getattr(self, name)), rule)
        warmup = self.warmup_epochs
        _check("warmup_epochs", warmup, 0 <= warmup < self.epochs, "at least 0 and below epochs")
        for name, known in _CHOICES.items():
            value = getattr(self, name)
            _check(name, value, value in known, f"one of {', '.join(known)}")
        for rate in self.rates:
            _check("lr", rate, math.isfinite(rate) and rate > 0, "above 0")
        if not isinstance(self.lr, float):
            _check("lr", self.lr, 0 < len(set(self.rates)) == len(self.rates), "different numbers")
        self._check_augmentation()
        # One way to say the same, as the run is named by it.
        object.__setattr__(self, "lr", self.rates[0] if len(self.rates) == 1 else self.rates)
        ordered = tuple(name for name in AUGMENTATIONS if name in self.augmentation)
        object.__setattr__(self, "augmentation", ordered)

    def _check_augmentation(self) -> None:
        for name in self.augmentation:
            rule = f"of {', '.join(AUGMENTATIONS)}"
            _check("augmentation", name, name in AUGMENTATIONS, rule)
        both = set(CROPS) <= set(self.augmentation)
        _check("augmentation", self.augmentation, not both, "one of the crops or the other")

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON has them."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @property
    def rates(self) -> tuple[float, ...]:
        """The learning rates, among which the validation set chooses."""
        return self.lr if isinstance(self.lr, tuple) else (self.lr,)

    @property
    def crops(self) -> bool:
        """Whether images are cropped by chance, from a square larger than what is seen."""
        return bool(set(CROPS) & set(self.augmentation))

    def with_rate(self, lr: float) -> Recipe:
        """The recipe with one learning rate."""
        return replace(self, lr=lr)

    def rate(self, epoch: float) -> float:
        """The learning rate after `epoch` epochs, a fraction within them."""
        (lr,) = self.rates
        if epoch < self.warmup_epochs:
            return lr * epoch / self.warmup_epochs
        if self.schedule == "constant":
            return lr
        done = (epoch - self.warmup_epochs) / (self.epochs - self.warmup_epochs)
        return lr * (1 + math.cos(math.pi * min(done, 1.0))) / 2


_RULES: Mapping[str, Any] = {
    "epochs": (lambda value: value >= 1, "1 or more"),
    "batch_size": (lambda value: value >= 1, "1 or more"),
    "micro_batch": (lambda value: value == "auto" or value >= 0, "auto, or 0 or more"),
    "weight_decay": (lambda value: 0 <= value < math.inf, "0 or more"),
    "layer_decay": (lambda value: 0 < value <= 1, "above 0 and at most 1"),
    "clip_grad_norm": (lambda value: 0 <= value < math.inf, "0 or more"),
    "label_smoothing": (lambda value: 0 <= value < 1, "at least 0 and below 1"),
    "ema": (lambda value: 0 <= value < 1, "at least 0 and below 1"),
    "patience": (lambda value: value >= 0, "0 or more"),
}
_CHOICES = {
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "select": SELECTIONS,
    "class_weights": CLASS_WEIGHTS,
}
_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def make_recipe(protocol: str, **changes: Any) -> Recipe:
    """The recipe of a protocol with some fields changed; values may be text, as one types them.

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
    base = asdict(RECIPES[protocol]) | {name: _typed(name, changes[name]) for name in changes}
    if "epochs" in changes and "warmup_epochs" not in changes:
        base["warmup_epochs"] = min(base["warmup_epochs"], base["epochs"] - 1)
    return Recipe(**base)


def _typed(name: str, value: Any) -> Any:
    """A value of a field's type, from itself or from text: `1e-4`, `true`, `a,b`, `none`."""
    from pydantic import TypeAdapter, ValidationError

    kind = _types()[name]
    if name in ("lr", "augmentation") and isinstance(value, str):
        parts = [part.strip() for part in value.split(",")]
        value = parts[0] if name == "lr" and len(parts) == 1 else parts
    if name == "augmentation" and list(value) == ["none"]:
        value = ()
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError:
        rule = {"lr": "a number or several", "micro_batch": "a whole number or auto"}.get(name)
        rule = rule or _KINDS.get(kind, f"of {', '.join(AUGMENTATIONS)}")
        raise InputError(f"{name} of the recipe must be {rule}, not {value!r}.") from None


@cache
def _types() -> dict[str, Any]:
    return get_type_hints(Recipe)


def _check(name: str, value: Any, fits: bool, rule: str) -> None:
    if not fits:
        raise InputError(f"{name} of the recipe must be {rule}, not {value!r}.")


PAPER = Recipe()
STANDARD = Recipe(
    epochs=30,
    optimizer="adamw",
    lr=(1e-4, 3e-4, 1e-3),
    weight_decay=0.05,
    schedule="cosine",
    warmup_epochs=3,
    select="log_loss",
    layer_decay=0.75,
    clip_grad_norm=1.0,
)
RECIPES = {"paper": PAPER, "standard": STANDARD}
