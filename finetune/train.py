"""The training loop: epochs over a split, the best of them by the validation set."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from frostline.cache import InputError
from frostline.extract.embed import COMPUTE, to_input
from frostline.finetune.checkpoint import Checkpoint, Checkpoints
from frostline.finetune.model import Classifier
from frostline.finetune.pixels import Part, held, read_ahead
from frostline.finetune.recipe import Recipe
from frostline.finetune.seeds import derived_seed, random_state
from frostline.finetune.unfreeze import set_modes, trained_state
from frostline.probe.stacked import shuffles

# Looking at a loss waits for the device, so losses are looked at in groups.
LOOK_EVERY = 50
SHOWN = 3


@dataclass(frozen=True)
class Conditions:
    """Where and how to compute.

    Attributes
    ----------
    mean, std : (float, float, float)
        Statistics of images in 0 to 1, by which they are normalised.
    device : str
    precision : str
        "float32", or "bfloat16" or "float16" for mixed precision.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    device: str = "cpu"
    precision: str = "float32"

    @property
    def normalisation(self) -> dict[str, list[float]]:
        """Mean and std as lists."""
        return {"mean": list(self.mean), "std": list(self.std)}

    def autocast(self) -> torch.autocast:
        """Mixed precision, or nothing for float32."""
        mixed = self.precision != "float32"
        return torch.autocast(torch.device(self.device).type, COMPUTE[self.precision], mixed)


@dataclass(frozen=True)
class Epoch:
    """What an epoch measured.

    Attributes
    ----------
    epoch, epochs : int
        Its number from 1, and how many there will be.
    train_loss, val_loss : float
        Mean cross-entropy an image.
    val_accuracy : float
        Over the whole validation set.
    best : bool
        Whether it is the best so far.
    images_per_second : float
        Of training.
    seconds : float
        Of training and validation.
    """

    epoch: int
    epochs: int
    train_loss: float
    val_loss: float
    val_accuracy: float
    best: bool
    images_per_second: float
    seconds: float


@dataclass
class Trained:
    """The end of a training.

    Attributes
    ----------
    best_epoch : int
        Counted from 1; the model holds its weights.
    history : list of dict
        The fields of `Epoch` for each.
    """

    best_epoch: int
    history: list[dict[str, Any]]


def train(
    model: Classifier,
    parts: tuple[Part, Part],
    recipe: Recipe,
    conditions: Conditions,
    *,
    seed: int,
    checkpoints: Checkpoints | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> Trained:
    """Train what `unfreeze` marked, and leave the model with the weights of its best epoch.

    On a CPU with the same number of threads the same seed gives the same weights bit for bit,
    whether or not training was interrupted on the way.

    Parameters
    ----------
    model : Classifier
        Moved to the device.
    parts : (Part, Part)
        Training and validation images.
    recipe : Recipe
    conditions : Conditions
    seed : int
        Of the order of images and of dropout.
    checkpoints : Checkpoints, optional
        Where each epoch is saved; if there are any, training goes on from the last.
    on_epoch : callable, optional
        Called with each `Epoch` that is trained now.

    Raises
    ------
    InputError
        If the loss is not finite, with the epoch, the batch and its images.
    """
    run = _Training(model, parts, recipe, conditions, seed)
    if checkpoints is not None:
        run.resume(checkpoints.load())
    while run.epoch < recipe.epochs:
        measured = run.train_epoch()
        if checkpoints is not None:
            checkpoints.save(run.checkpoint())
        if on_epoch is not None:
            on_epoch(measured)
    _load_partly(model, run.best)
    return Trained(run.best_epoch, run.history)


class _Training:
    """The state of a training between epochs."""

    def __init__(
        self,
        model: Classifier,
        parts: tuple[Part, Part],
        recipe: Recipe,
        conditions: Conditions,
        seed: int,
    ) -> None:
        self.device = torch.device(conditions.device)
        self.model = model.to(self.device).to(memory_format=torch.channels_last)
        self.train_part, self.val_part = (held(part, self.device) for part in parts)
        self.recipe, self.conditions, self.seed = recipe, conditions, seed
        self.optimizer = _optimizer(model, recipe, self.device)
        self.scaler = torch.amp.GradScaler(
            self.device.type, enabled=conditions.precision == "float16"
        )
        self.names = trained_state(model)
        # Batch norm needs two images; a head by itself has none.
        self.alone = not any(p.requires_grad for p in model.backbone.parameters())
        self.epoch, self.best_epoch = 0, 0
        self.history: list[dict[str, Any]] = []
        self.best: dict[str, Tensor] = {}

    def train_epoch(self) -> Epoch:
        """Train one epoch, measure it on the validation set, and keep it if it is the best."""
        self.epoch += 1
        set_modes(self.model)
        started = time.perf_counter()
        with random_state(derived_seed(self.seed, "modules", self.epoch), self.device):
            train_loss = self._pass()
        seconds = time.perf_counter() - started
        val_loss, val_accuracy = self._validate()
        better = self._is_better(val_loss, val_accuracy)
        if better:
            self.best, self.best_epoch = self._weights(), self.epoch
        measured = Epoch(
            self.epoch,
            self.recipe.epochs,
            train_loss,
            val_loss,
            val_accuracy,
            better,
            len(self.train_part) / seconds,
            time.perf_counter() - started,
        )
        self.history.append(asdict(measured))
        return measured

    def _pass(self) -> float:
        """One pass over the training images; the mean loss an image."""
        order = epoch_order(
            len(self.train_part), self.recipe, self.seed, self.epoch, alone=self.alone
        )
        losses: list[Tensor] = []
        for step, (indices, pixels) in enumerate(read_ahead(self.train_part, order)):
            self._set_rate(self.epoch - 1 + step / len(order))
            losses.append(self._step(indices, pixels))
            if len(losses) % LOOK_EVERY == 0:
                self._check_finite(losses, order)
        self._check_finite(losses, order)
        sizes = torch.tensor([len(indices) for indices in order], dtype=torch.float64)
        return float(torch.stack(losses).double().cpu() @ sizes / sizes.sum())

    def _step(self, indices: Tensor, pixels: Tensor) -> Tensor:
        labels = self.train_part.labels[indices].to(self.device)
        images = to_input(pixels, self.conditions.normalisation, self.device)
        with self.conditions.autocast():
            loss = functional.cross_entropy(self.model(images), labels)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss.detach().float()

    def _set_rate(self, epoch: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.rate(epoch)

    def _check_finite(self, losses: list[Tensor], order: list[Tensor]) -> None:
        finite = torch.isfinite(torch.stack(losses)).cpu()
        if bool(finite.all()):
            return
        batch = int((~finite).nonzero()[0])
        ids = [self.train_part.ids[int(index)] for index in order[batch]]
        more = f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
        raise InputError(
            f"The loss is {float(losses[batch])} in epoch {self.epoch}, batch {batch + 1} (images "
            f"{', '.join(ids[:SHOWN])}{more}): try a lower learning rate or --precision float32."
        )

    def _validate(self) -> tuple[float, float]:
        logits = predict(self.model, self.val_part, self.conditions, self.recipe.batch_size)
        labels = self.val_part.labels
        known = labels >= 0
        accuracy = float((logits.argmax(1) == labels).double().mean())
        loss = functional.cross_entropy(logits[known].double(), labels[known])
        return float(loss), accuracy

    def _is_better(self, val_loss: float, val_accuracy: float) -> bool:
        if not self.best_epoch:
            return True
        best = self.history[self.best_epoch - 1]
        if self.recipe.select == "accuracy":
            return val_accuracy > float(best["val_accuracy"])
        return val_loss < float(best["val_loss"])

    def _weights(self) -> dict[str, Tensor]:
        state = self.model.state_dict()
        return {name: state[name].detach().cpu().clone().contiguous() for name in self.names}

    def checkpoint(self) -> Checkpoint:
        """The state as it is to be saved."""
        optimizer = {"optimizer": self.optimizer.state_dict(), "scaler": self.scaler.state_dict()}
        return Checkpoint(
            self.epoch, self.history, self._weights(), self.best, self.best_epoch, optimizer
        )

    def resume(self, checkpoint: Checkpoint | None) -> None:
        """Go on from a checkpoint, if there is one."""
        if checkpoint is None:
            return
        _load_partly(self.model, checkpoint.weights)
        self.optimizer.load_state_dict(checkpoint.optimizer["optimizer"])
        self.scaler.load_state_dict(checkpoint.optimizer["scaler"])
        self.epoch, self.best_epoch = checkpoint.epoch, checkpoint.best_epoch
        self.history, self.best = checkpoint.history, checkpoint.best


def epoch_order(
    count: int, recipe: Recipe, seed: int, epoch: int, *, alone: bool = False
) -> list[Tensor]:
    """The batches of an epoch: numbers of images, each once, in the order of a probe.

    The order follows from seed and epoch alone, so that a resumed training continues the same.
    Unless an image may stand `alone`, the last batch takes a single one that is left over.
    """
    order = torch.arange(count)
    if recipe.shuffle:
        order = next(islice(shuffles(count, seed), epoch - 1, None))
    batches = list(torch.split(order, recipe.batch_size))
    if not alone and len(batches) > 1 and len(batches[-1]) == 1:
        # Batch norm has no variance in a batch of one.
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches


@torch.inference_mode()
def predict(model: Classifier, part: Part, conditions: Conditions, batch_size: int) -> Tensor:
    """Logits, float32 [images, classes] on the CPU, in the order of the part.

    The last batch is filled up, so that no image's numbers depend on how many there are.
    """
    model.eval()
    device = torch.device(conditions.device)
    batches = [
        torch.arange(start, start + batch_size).clamp(max=len(part) - 1)
        for start in range(0, len(part), batch_size)
    ]
    logits = []
    for _, pixels in read_ahead(part, batches):
        images = to_input(pixels, conditions.normalisation, device)
        with conditions.autocast():
            logits.append(model(images).float())
    return torch.cat(logits)[: len(part)].cpu()


def _optimizer(model: nn.Module, recipe: Recipe, device: torch.device) -> torch.optim.Optimizer:
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    # Biases and norms are vectors: weight decay is for matrices.
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[recipe.optimizer]
    return kind(groups, lr=recipe.lr, fused=device.type == "cuda")


def _load_partly(model: nn.Module, state: dict[str, Tensor]) -> None:
    model.load_state_dict(state, strict=False)
