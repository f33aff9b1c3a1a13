"""Training: epochs for each learning rate; the validation set chooses the best."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from frostline.finetune.conditions import Conditions
from frostline.finetune.inputs.pixels import Part, held
from frostline.finetune.model import Classifier
from frostline.finetune.recipe import Recipe
from frostline.finetune.training.checkpoint import Checkpoints
from frostline.finetune.training.epochs import Epoch, Rows, Training, copied_state, load_partly
from frostline.finetune.training.evaluate import is_better
from frostline.finetune.unfreeze import trained_state


@dataclass
class Trained:
    """The result of a training.

    Attributes
    ----------
    best_epoch : int
        Counted from 1; the model holds its weights.
    history : list of dict
        The fields of `Epoch` for each.
    lr : float
        The learning rate, of several the one that was best.
    batch : int
        Images that were computed at a time.
    """

    best_epoch: int
    history: list[dict[str, Any]]
    lr: float
    batch: int

    @property
    def score(self) -> float:
        """The metric that selects, after the best epoch."""
        return float(self.history[self.best_epoch - 1]["score"])


def train(
    model: Classifier,
    parts: tuple[Part, Part],
    recipe: Recipe,
    conditions: Conditions,
    *,
    seed: int,
    places: Sequence[int] | None = None,
    checkpoints: Checkpoints | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
    on_rows: Callable[[Rows], None] | None = None,
    on_images: Callable[[int, int], None] | None = None,
) -> Trained:
    """Train what `unfreeze` marked, and leave the model with the weights of its best epoch.

    Interrupted or not, on a CPU with as many threads a seed gives the same weights bit for bit.

    Parameters
    ----------
    model, parts : Classifier, (Part, Part)
        What is moved to the device, and training and validation images.
    recipe : Recipe
        If it has several learning rates, each is trained from the same start.
    seed : int
        Of the order of images, of augmentation and of dropout.
    places : sequence of int, optional
        The place of each class in their order, where the metric that selects goes by it.
    checkpoints : Checkpoints, optional
        Where epochs are saved; training goes on from the last.
    on_epoch : callable, optional
        Called with each `Epoch` that is trained now.
    on_rows : callable, optional
        Called with all epochs there are, as dictionaries, at the start and after each.
    on_images : callable, optional
        Called after each step with how many images were trained on, and how many all epochs have.

    Raises
    ------
    InputError
        If the loss is not finite, the memory too small, or the metric that selects not defined.
    """
    device = torch.device(conditions.device)
    model.to(device).to(memory_format=torch.channels_last)
    on_device = held(parts[0], device), held(parts[1], device)
    start = copied_state(model, trained_state(model))
    rows: list[dict[str, Any]] = []
    chosen: tuple[Trained, dict[str, Tensor]] | None = None
    for number, lr in enumerate(recipe.lr, 1):
        load_partly(model, start)
        run = Training(model, on_device, recipe.with_rate(lr), conditions, seed, places)
        run.number, run.numbers, run.on_images = number, len(recipe.lr), on_images
        own = checkpoints.candidate(number) if checkpoints and run.numbers > 1 else checkpoints
        run.train(own, on_epoch, partial(_tell, on_rows, tuple(rows)))
        rows += run.history
        found = Trained(run.best_epoch, run.history, lr, run.stepper.together)
        if chosen is None or _preferred(found, chosen[0], recipe.select):
            chosen = found, run.best
    assert chosen is not None
    load_partly(model, chosen[1])
    return chosen[0]


def _tell(on_rows: Callable[[Rows], None] | None, earlier: Rows, now: Rows) -> None:
    if on_rows is not None:
        on_rows([*earlier, *now])


def _preferred(found: Trained, other: Trained, select: str) -> bool:
    """Say whether a candidate is better; of equal ones the smaller learning rate is."""
    if found.score == other.score:
        return found.lr < other.lr
    return is_better(found.score, other.score, select)
