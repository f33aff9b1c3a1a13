"""How a network is trained: every choice a field, and where the paper's choices come from."""

from __future__ import annotations

import math
from importlib.util import find_spec
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
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
from frostline.extract.augmentation.settings import Augmentation, Positive, Share, listed, says
from frostline.report.statistics.metrics import METRICS, UNDIRECTED

SELECTIONS = tuple(name for name in METRICS if name not in UNDIRECTED)


def _known_metric(value: str) -> str:
    if value not in SELECTIONS:
        raise ValueError(f"one of {', '.join(SELECTIONS)}")
    return value


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


Rates = Annotated[
    tuple[Positive, ...],
    BeforeValidator(listed),
    AfterValidator(_different),
    PlainSerializer(_one_or_several),
]
Metric = Annotated[str, AfterValidator(_known_metric)]
Layers = Annotated[tuple[str, ...], BeforeValidator(listed), AfterValidator(_named_layers)]


def check_peft() -> None:
    """Check that the package peft, which adapters need, is installed; InputError if it is not."""
    if find_spec("peft") is None:
        raise InputError("Unfreeze lora needs peft: run `pip install 'frostline[lora]'`.")


# What a head alone does not have: it has no blocks.
OF_BLOCKS = ("layer_decay",)
# What adapters alone have, with the names of the package peft behind `lora_`.
OF_LORA = ("lora_r", "lora_alpha", "lora_target_modules")
MOST_RANK = 9999


class Recipe(Augmentation):
    """A recipe of training, with what changes its images; the defaults are the paper's.

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

    epochs: int = says("paper", 100, ge=1)
    batch_size: int = says("paper", 32, ge=1)
    optimizer: Literal["adam", "adamw"] = says("paper", "adam")
    lr: Rates = says("paper", (1e-4,))
    weight_decay: float = says("code", 0.0, ge=0)
    schedule: Literal["constant", "cosine"] = says("code", "constant")
    warmup_epochs: int = says("code", 0, ge=0)
    shuffle: bool = says("ours", True)
    select: Metric = says("code", "accuracy")
    micro_batch: Annotated[int, Field(ge=0)] | Literal["auto"] = says("ours", 0)
    layer_decay: float = says("code", 1.0, gt=0, le=1)
    clip_grad_norm: float = says("code", 0.0, ge=0)
    class_weights: Literal["none", "balanced"] = says("code", "none")
    label_smoothing: Share = says("code", 0.0)
    ema: Share = says("code", 0.0)
    patience: int = says("code", 0, ge=0)
    lora_r: int = says("ours", 8, ge=1, le=MOST_RANK)
    lora_alpha: Positive = says("ours", 8.0)
    lora_target_modules: Layers = says("ours", ("all",))

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
        idle = self.idle() | set(() if is_lora(unfreeze) else OF_LORA)
        return self.model_dump(mode="json", exclude=idle)

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
