"""Training with one learning rate, epoch by epoch; a stopped training goes on where it was."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from frostline.cache import InputError
from frostline.finetune.conditions import Conditions
from frostline.finetune.inputs.batches import Place, epoch_order, own_rows
from frostline.finetune.inputs.pixels import Part, read_ahead
from frostline.finetune.memory import out_of_memory
from frostline.finetune.model import Classifier
from frostline.finetune.parallel import barrier, rank, sum_over_ranks
from frostline.finetune.recipe import Recipe
from frostline.finetune.seeds import derived_seed, random_state
from frostline.finetune.training.checkpoint import Checkpoint, Checkpoints
from frostline.finetune.training.evaluate import Measured, is_better, measure, predict
from frostline.finetune.training.optim import WeightAverage
from frostline.finetune.training.step import Stepper
from frostline.finetune.unfreeze import set_modes, trained_state

# Looking at a loss waits for the device, so losses are looked at in groups.
LOOK_EVERY = 50
SHOWN = 3
Rows = Sequence[dict[str, Any]]


@dataclass(frozen=True)
class Epoch:
    """The measurements of one epoch.

    Attributes
    ----------
    epoch, epochs : int
        Its number from 1, and how many there will be.
    train_loss : float
        Mean loss an image, as it is minimised.
    val_loss : float
        Mean cross-entropy an image, or a group where groups are scored.
    val_accuracy : float
        Over the whole validation set, of images or groups.
    best : bool
        Whether it is the best so far.
    images_per_second : float
        Of training.
    seconds : float
        Of training and validation.
    score : float
        The metric that selects.
    lr : float
        Learning rate at its end.
    candidate, candidates : int
        Which of the learning rates is tried, from 1, and of how many.
    """

    epoch: int
    epochs: int
    train_loss: float
    val_loss: float
    val_accuracy: float
    best: bool
    images_per_second: float
    seconds: float
    score: float
    lr: float
    candidate: int = 1
    candidates: int = 1


class Training:
    """The state of a training between epochs."""

    def __init__(
        self,
        model: Classifier,
        parts: tuple[Part, Part],
        recipe: Recipe,
        conditions: Conditions,
        seed: int,
        places: Sequence[int] | None = None,
    ) -> None:
        self.device = torch.device(conditions.device)
        self.model = model
        self.train_part, self.val_part = parts
        self.recipe, self.conditions, self.seed = recipe, conditions, seed
        self.places = places
        self.stepper = Stepper(model, self.train_part, recipe, conditions)
        self.names = trained_state(model)
        self.average = WeightAverage(model, self.names, recipe.ema) if recipe.ema else None
        # Batch norm needs two images; a head by itself has none.
        self.alone = not any(p.requires_grad for p in model.backbone.parameters())
        self.number, self.numbers = 1, 1
        self.on_images: Callable[[int, int], None] | None = None
        self.epoch, self.best_epoch = 0, 0
        self.history: list[dict[str, Any]] = []
        self.best: dict[str, Tensor] = {}

    def train(
        self,
        checkpoints: Checkpoints | None,
        on_epoch: Callable[[Epoch], None] | None,
        on_rows: Callable[[Rows], None],
    ) -> None:
        """Train the epochs that are not done."""
        found = checkpoints.load() if checkpoints else None
        if found is not None:
            self.resume(found)
            on_rows(self.history)
        if self.done:
            return
        if found is None and self.recipe.micro_batch == "auto":
            self.stepper.find_size(max(self._order(1), key=len))
        self.stepper.start()
        self._tell(self.epoch)
        while not self.done:
            measured = self.train_epoch()
            if checkpoints is not None and rank() == 0:
                checkpoints.save(self.checkpoint())
            on_rows(self.history)
            if on_epoch is not None:
                on_epoch(measured)
        barrier()

    @property
    def done(self) -> bool:
        """Whether all epochs are trained, or none was better for too long."""
        patience = self.recipe.patience
        stuck = patience > 0 and self.epoch - self.best_epoch >= patience
        return self.epoch >= self.recipe.epochs or stuck

    def train_epoch(self) -> Epoch:
        """Train one epoch, measure it on the validation set, and keep it if it is the best."""
        self.epoch += 1
        started = time.perf_counter()
        try:
            train_loss, seconds = self._pass(), time.perf_counter() - started
            found = self._validate()
        except torch.OutOfMemoryError as error:
            raise InputError(out_of_memory(self.stepper.together)) from error
        measured = Epoch(
            self.epoch,
            self.recipe.epochs,
            train_loss,
            found.loss,
            found.accuracy,
            self._is_better(found.score),
            len(self.train_part) / seconds,
            time.perf_counter() - started,
            found.score,
            self.recipe.rate(self.epoch),
            self.number,
            self.numbers,
        )
        if measured.best:
            self.best_epoch = self.epoch
        self.history.append(asdict(measured))
        return measured

    def _pass(self) -> float:
        """Pass once over the training images; give the mean loss of an image."""
        set_modes(self.model)
        order = self._order(self.epoch)
        own = [indices[own_rows(len(indices))] for indices in order]
        losses: list[Tensor] = []
        # Several processes draw differently.
        purpose: list[str | int] = ["modules", self.epoch, *([rank()] if rank() else [])]
        with random_state(derived_seed(self.seed, *purpose), self.device):
            for number, (_, pixels) in enumerate(read_ahead(self.train_part, own, self.device)):
                rate = self.recipe.rate(self.epoch - 1 + number / len(order))
                place = Place(self.seed, self.epoch, number)
                losses.append(self.stepper.step(place, order[number], pixels, rate))
                if self.average is not None:
                    self.average.update((self.epoch - 1) * len(order) + number)
                if len(losses) % LOOK_EVERY == 0:
                    self._check_finite(losses, own)
                self._tell(self.epoch - 1 + (number + 1) / len(order))
        self._check_finite(losses, own)
        sizes = torch.tensor([len(indices) for indices in order], dtype=torch.float64)
        means = sum_over_ranks(torch.stack(losses), self.device)
        return float(means.double().cpu() @ sizes / sizes.sum())

    def _tell(self, epochs: float) -> None:
        """Tell how many images were trained on, of those of all epochs and learning rates."""
        if self.on_images is not None:
            each, epochs = len(self.train_part), epochs + (self.number - 1) * self.recipe.epochs
            self.on_images(round(epochs * each), self.numbers * self.recipe.epochs * each)

    def _order(self, epoch: int) -> list[Tensor]:
        count = len(self.train_part)
        return epoch_order(count, self.recipe, self.seed, epoch, alone=self.alone)

    def _check_finite(self, losses: list[Tensor], order: list[Tensor]) -> None:
        finite = torch.isfinite(torch.stack(losses)).cpu()
        if bool(finite.all()):
            return
        batch = int((~finite).nonzero()[0])
        ids = [self.train_part.ids[int(index)] for index in order[batch]]
        more = f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
        raise InputError(
            f"The loss is {float(losses[batch])} in epoch {self.epoch}, batch {batch + 1} (images "
            f"{', '.join(ids[:SHOWN])}{more}): {self._remedy}."
        )

    @property
    def _remedy(self) -> str:
        (lr,) = self.recipe.lr
        return f"try a lower learning rate than {lr:g}, or --precision float32"

    def _validate(self) -> Measured:
        """Measure the weights, or their average, and keep them if they are the best."""
        with self.average.in_model() if self.average else nullcontext():
            logits = predict(self.model, self.val_part, self.conditions, self.stepper.together)
            if not bool(torch.isfinite(logits).all()):
                raise InputError(
                    f"Training diverged: after epoch {self.epoch} the network gives no finite "
                    f"numbers for the validation images: {self._remedy}."
                )
            val, select = self.val_part, self.recipe.select
            found = measure(logits, val.labels, select, self.places, val.groups)
            if self._is_better(found.score):
                self.best = copied_state(self.model, self.names)
        return found

    def _is_better(self, score: float) -> bool:
        if not self.best_epoch:
            return True
        best = float(self.history[self.best_epoch - 1]["score"])
        return is_better(score, best, self.recipe.select)

    def checkpoint(self) -> Checkpoint:
        """Give the state to save."""
        stepper = self.stepper
        return Checkpoint(
            self.epoch,
            self.history,
            copied_state(self.model, self.names),
            self.best,
            self.best_epoch,
            {"optimizer": stepper.optimizer.state_dict(), "scaler": stepper.scaler.state_dict()},
            self.average.state() if self.average else {},
            stepper.size,
        )

    def resume(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint."""
        load_partly(self.model, checkpoint.weights)
        saved, optimizer = checkpoint.optimizer["optimizer"], self.stepper.optimizer
        for group, own in zip(saved["param_groups"], optimizer.param_groups, strict=True):
            group["fused"] = own["fused"]  # a matter of the device, which may be another now
        optimizer.load_state_dict(saved)
        self.stepper.scaler.load_state_dict(checkpoint.optimizer["scaler"])
        self.stepper.size = checkpoint.micro_batch
        if self.average is not None:
            self.average.load(checkpoint.average)
        self.epoch, self.best_epoch = checkpoint.epoch, checkpoint.best_epoch
        self.history, self.best = checkpoint.history, checkpoint.best


def copied_state(model: nn.Module, names: Sequence[str]) -> dict[str, Tensor]:
    """Copy some tensors of a model to the CPU."""
    state = model.state_dict()
    return {name: state[name].detach().cpu().clone().contiguous() for name in names}


def load_partly(model: nn.Module, state: dict[str, Tensor]) -> None:
    """Put some tensors into a model."""
    model.load_state_dict(state, strict=False)
