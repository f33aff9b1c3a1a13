"""How a network is trained: every choice a field, and where the paper's choices come from."""

from __future__ import annotations

import math
from importlib.util import find_spec
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationInfo,
    field_validator,
)

from frostline.cache.errors import InputError
from frostline.cache.tables.unfreezing import is_lora
from frostline.cache.validation import validated
from frostline.report.statistics.metrics import METRICS, UNDIRECTED

# In the order in which they are applied.
CROPS = ("random_crop", "random_resized_crop")
AUGMENTATIONS = (*CROPS, "horizontal_flip", "vertical_flip", "color_jitter", "rand_augment")
SELECTIONS = tuple(name for name in METRICS if name not in UNDIRECTED)


def _listed(value: Any) -> Any:
    """Read `a, b` as two values and `none` as no value, as people type them."""
    parts = [part.strip() for part in value.split(",")] if isinstance(value, str) else value
    parts = parts if isinstance(parts, list | tuple) else [parts]
    return [] if parts == ["none"] else parts


def _known_metric(value: str) -> str:
    if value not in SELECTIONS:
        raise ValueError(f"one of {', '.join(SELECTIONS)}")
    return value


def _in_order(names: tuple[str, ...]) -> tuple[str, ...]:
    """Put augmentations in the order in which they are applied, each once."""
    if not set(names) <= set(AUGMENTATIONS):
        raise ValueError(f"none, or some of {', '.join(AUGMENTATIONS)}")
    if set(CROPS) <= set(names):
        raise ValueError("one of the crops or the other")
    return tuple(name for name in AUGMENTATIONS if name in names)


def _rising(scale: tuple[float, ...]) -> tuple[float, ...]:
    if len(scale) != 2 or scale[0] > scale[1]:
        raise ValueError("two numbers, the smaller one first")
    return scale


def _different(rates: tuple[float, ...]) -> tuple[float, ...]:
    if not 0 < len(set(rates)) == len(rates):
        raise ValueError("one or several different numbers")
    return rates


def _one_or_several(rates: tuple[float, ...]) -> float | tuple[float, ...]:
    return rates[0] if len(rates) == 1 else rates


def _named_layers(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names or not all(names) or ("all" in names and len(names) > 1):
        raise ValueError("all, or names of layers such as qkv,proj")
    return tuple(dict.fromkeys(names))


Share = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
Rates = Annotated[
    tuple[Positive, ...],
    BeforeValidator(_listed),
    AfterValidator(_different),
    PlainSerializer(_one_or_several),
]
Scale = Annotated[tuple[Positive, ...], BeforeValidator(_listed), AfterValidator(_rising)]
Metric = Annotated[str, AfterValidator(_known_metric)]
Augmentation = Annotated[tuple[str, ...], BeforeValidator(_listed), AfterValidator(_in_order)]
Layers = Annotated[tuple[str, ...], BeforeValidator(_listed), AfterValidator(_named_layers)]


def check_peft() -> None:
    """Check that the package peft, which adapters need, is installed; InputError if it is not."""
    if find_spec("peft") is None:
        raise InputError("Unfreeze lora needs peft: run `pip install 'frostline[lora]'`.")


def _says(source: Literal["paper", "code", "ours"], default: Any, **rule: Any) -> Any:
    return Field(default, json_schema_extra={"from": source}, **rule)


# What a head alone does not have: it has no blocks.
OF_BLOCKS = ("layer_decay",)
# What adapters alone have, with the names of the package peft behind `lora_`.
OF_LORA = ("lora_r", "lora_alpha", "lora_target_modules")
# Strengths of an affine change, and of all augmentations that have one.
WARPS = ("degrees", "translate", "scale", "shear")
STRENGTHS = (*WARPS, "gaussian_noise")
MOST_RANK = 9999


class Recipe(BaseModel):
    """A recipe of training; the defaults are the paper's.

    Who says so is the `from` of each field's `json_schema_extra`: *paper* (the text), *code* (the
    authors' published code), *ours*. Values may be text, as they are typed on a command line.

    Attributes
    ----------
    epochs, batch_size : int
    optimizer : str
        "adam" or "adamw".
    lr : tuple of float
        Learning rates, among which the validation set chooses.
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
        of `frostline.report.statistics.metrics`; of equal ones the earliest is taken.
    micro_batch : int or "auto"
        Images computed at a time, at most a batch, whose gradients are added up to those of the
        batch; 0: all.
    layer_decay : float
        Learning rate of a block by that of the block behind it.
    clip_grad_norm : float
        Greatest norm of the gradient; 0: any.
    augmentation : tuple of str
        Of `AUGMENTATIONS`, applied in that order.
    degrees, shear : float
        Most degrees by which images are rotated, and sheared along their rows, either way.
    translate : float
        Most by which they are moved, as a share of their side.
    scale : (float, float)
        Least and greatest factor by which they are made larger.
    gaussian_noise : float
        Standard deviation of noise, as a share of the brightest value.
    class_weights : str
        "none", or "balanced": each class weighs the same in the loss.
    label_smoothing : float
        Share of the target that is spread over all classes.
    ema : float
        Decay of the moving average of the weights that is validated and kept; 0: none.
    patience : int
        Epochs without a better one after which training stops; 0: never.
    lora_r : int
        Rank of the adapters of `--unfreeze lora`.
    lora_alpha : float
        Their product counts `lora_alpha / lora_r` times.
    lora_target_modules : tuple of str
        Layers that get one: "all", or ends of their names.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    epochs: int = _says("paper", 100, ge=1)
    batch_size: int = _says("paper", 32, ge=1)
    optimizer: Literal["adam", "adamw"] = _says("paper", "adam")
    lr: Rates = _says("paper", (1e-4,))
    weight_decay: float = _says("code", 0.0, ge=0)
    schedule: Literal["constant", "cosine"] = _says("code", "constant")
    warmup_epochs: int = _says("code", 0, ge=0)
    shuffle: bool = _says("ours", True)
    select: Metric = _says("code", "accuracy")
    micro_batch: Annotated[int, Field(ge=0)] | Literal["auto"] = _says("ours", 0)
    layer_decay: float = _says("code", 1.0, gt=0, le=1)
    clip_grad_norm: float = _says("code", 0.0, ge=0)
    augmentation: Augmentation = _says("code", ())
    degrees: float = _says("code", 0.0, ge=0, le=180)
    translate: Share = _says("code", 0.0)
    scale: Scale = _says("code", (1.0, 1.0))
    shear: float = _says("code", 0.0, ge=0, lt=90)
    gaussian_noise: Share = _says("code", 0.0)
    class_weights: Literal["none", "balanced"] = _says("code", "none")
    label_smoothing: Share = _says("code", 0.0)
    ema: Share = _says("code", 0.0)
    patience: int = _says("code", 0, ge=0)
    lora_r: int = _says("ours", 8, ge=1, le=MOST_RANK)
    lora_alpha: Positive = _says("ours", 8.0)
    lora_target_modules: Layers = _says("ours", ("all",))

    @field_validator("micro_batch")
    @classmethod
    def _is_of_a_batch(cls, given: int | str, info: ValidationInfo) -> int | str:
        most = info.data.get("batch_size", math.inf)
        if isinstance(given, int) and given > most:
            raise ValueError(f"at most the batch_size, {most}, or 0 for the whole batch")
        return given

    @field_validator("warmup_epochs")
    @classmethod
    def _ends_before_training(cls, warmup: int, info: ValidationInfo) -> int:
        if warmup >= info.data.get("epochs", math.inf):
            raise ValueError("less than epochs")
        return warmup

    def to_dict(self, unfreeze: str = "all") -> dict[str, Any]:
        """Give the fields that act as JSON has them: `lr` is a number where there is one alone.

        Left out are strengths of augmentations that change nothing and, where `unfreeze` is no
        "lora", those of adapters: so the ids of runs from before there were any hold.
        """
        idle = set(STRENGTHS) - self._strengths() | set(() if is_lora(unfreeze) else OF_LORA)
        return self.model_dump(mode="json", exclude=idle)

    @property
    def augments(self) -> bool:
        """Whether images are changed by chance."""
        return bool(self.augmentation or self._strengths())

    @property
    def warps(self) -> bool:
        """Whether images are rotated, moved, scaled or sheared."""
        return bool(self._strengths() & set(WARPS))

    def _strengths(self) -> set[str]:
        """Name the strengths with which something changes."""
        fields = type(self).model_fields
        return {name for name in STRENGTHS if getattr(self, name) != fields[name].default}

    @property
    def crops(self) -> bool:
        """Whether images are cropped by chance, from a square larger than what is seen."""
        return bool(set(CROPS) & set(self.augmentation))

    def with_rate(self, lr: float) -> Recipe:
        """Give the recipe with one learning rate."""
        return self.model_copy(update={"lr": (lr,)})

    def rate(self, epoch: float) -> float:
        """Give the learning rate after `epoch` epochs, a fraction within them."""
        (lr,) = self.lr
        if epoch < self.warmup_epochs:
            return lr * epoch / self.warmup_epochs
        if self.schedule == "constant":
            return lr
        done = (epoch - self.warmup_epochs) / (self.epochs - self.warmup_epochs)
        return lr * (1 + math.cos(math.pi * min(done, 1.0))) / 2


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


def make_recipe(protocol: str, **changes: Any) -> Recipe:
    """Change some fields of a protocol's recipe; values may be text, as one types them.

    Where `epochs` is changed alone, the warm-up is shortened to fit.

    Raises
    ------
    InputError
        If there is no such protocol or field, or a value cannot be.
    """
    if protocol not in RECIPES:
        raise InputError(f"There is no protocol {protocol!r}; choose {' or '.join(RECIPES)}.")
    base = RECIPES[protocol]
    fields = {**base.model_dump(), "warmup_epochs": 0, **changes}
    recipe = validated(Recipe, fields, "The recipe", "field")
    if "warmup_epochs" in changes:
        return recipe
    return recipe.model_copy(update={"warmup_epochs": min(base.warmup_epochs, recipe.epochs - 1)})
