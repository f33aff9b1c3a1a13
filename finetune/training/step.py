"""One step of the optimiser: a batch, in as many parts as memory and processes ask for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from frostline.cache import InputError
from frostline.extract.augmentation.augment import augment, centre_crop
from frostline.extract.augmentation.chance import Chance
from frostline.extract.forward import sent
from frostline.finetune.conditions import Conditions
from frostline.finetune.inputs.batches import Place, split_batch
from frostline.finetune.inputs.chance import draw_chance
from frostline.finetune.inputs.pixels import Part, as_input
from frostline.finetune.memory import largest_that_fits
from frostline.finetune.model import Classifier
from frostline.finetune.parallel import (
    data_parallel,
    least_over_ranks,
    ranks,
    shared_batch_norm,
)
from frostline.finetune.recipe import Recipe
from frostline.finetune.seeds import random_state
from frostline.finetune.training.optim import make_optimizer, set_rate
from frostline.finetune.unfreeze import set_modes, trained_state


class Stepper:
    """Steps of an optimiser on batches of images.

    Parameters
    ----------
    model : Classifier
        On its device; `unfreeze` has marked what trains.
    part : Part
        Training images.
    recipe : Recipe
        With one learning rate.
    conditions : Conditions

    Attributes
    ----------
    size : int
        Images computed at a time, at most; more than a batch has where it is not split.
    """

    def __init__(
        self, model: Classifier, part: Part, recipe: Recipe, conditions: Conditions
    ) -> None:
        self.model, self.part = model, part
        self.recipe, self.conditions = recipe, conditions
        self.device = torch.device(conditions.device)
        self.optimizer = make_optimizer(model, recipe, self.device)
        self.scaler = self._new_scaler()
        self.class_weight = class_weights(part.labels, model.head.out_features, recipe)
        weight = self.class_weight
        self.loss_weight = None if weight is None else weight.to(self.device)
        # The whole batch, which may have taken the one image that was left over.
        given = recipe.micro_batch
        self.size = given if isinstance(given, int) and given else recipe.batch_size + 1
        self.forward: nn.Module = model

    def _new_scaler(self) -> torch.amp.GradScaler:
        return torch.amp.GradScaler(
            self.device.type, enabled=self.conditions.precision == "float16"
        )

    def find_size(self, indices: Tensor) -> None:
        """Set `size` to what fits into memory, by steps on these images that are taken back."""
        pixels = self.part.pixels.batch(indices)
        most = math.ceil(len(indices) / ranks())
        size = largest_that_fits(lambda size: self._fits(size, indices[:size], pixels), most)
        if least_over_ranks(size, self.device) < most:
            self.size = least_over_ranks(size, self.device)

    @property
    def together(self) -> int:
        """The most images that are computed together."""
        return min(self.size, math.ceil(self.recipe.batch_size / ranks()))

    def start(self) -> None:
        """Share the work with the other processes, and compile, if asked to."""
        shared_batch_norm(self.model, self.device)
        unused = ranks() > 1 and self._has_unused()
        self.forward = data_parallel(self.model, self.device, unused)
        if self.conditions.compiled:
            self.forward = compiled(self.forward)

    def step(self, place: Place, indices: Tensor, pixels: Tensor, rate: float) -> Tensor:
        """Take a step on a batch.

        Parameters
        ----------
        indices : int64 [n]
            The images of the batch.
        pixels : uint8 [m, h, w] or [m, h, w, 3], or activations
            Of `own_rows(n)` of them.
        rate : float
            Learning rate.

        Returns
        -------
        float32 scalar
            This process's part of the mean loss of the batch.
        """
        set_rate(self.optimizer, rate)
        labels = self.part.labels[indices]
        total = self._weight_of(labels)
        chance = draw_chance(indices, place) if self.recipe.augments else None
        self.optimizer.zero_grad(set_to_none=True)
        losses = []
        pieces = list(split_batch(len(indices), self.size))
        first = int(pieces[0].rows[0])
        for number, (rows, counts) in enumerate(pieces):
            start = int(rows[0]) - first  # rows follow each other, so that nothing is copied
            here = pixels[start : start + len(rows)]
            images = self._input(here, chance.of(rows) if chance else None)
            with self._summing(number == len(pieces) - 1):
                loss = self._loss(images, labels[rows]) / total
                loss = loss if counts else loss * 0
                # DistributedDataParallel takes the mean over processes, and the sum is wanted.
                self.scaler.scale(loss * ranks()).backward()  # type: ignore[no-untyped-call]
            losses.append(loss.detach().float())
        self._update()
        return losses[0] if len(losses) == 1 else torch.stack(losses).sum()

    def _input(self, pixels: Tensor, chance: Chance | None) -> Tensor:
        crop = self.conditions.crop
        # Before they are cropped: a part of an image's rows does not go there in one piece.
        pixels = pixels.to(self.device, non_blocking=True)
        if chance is not None:
            pixels = augment(pixels, self.recipe, crop or pixels.shape[1], chance)
        elif crop:
            pixels = centre_crop(pixels, crop)
        return as_input(pixels, self.conditions.normalisation, self.device)

    def _loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """Sum the images' losses."""
        with self.conditions.autocast(), _compiling(self.conditions.compiled):
            return functional.cross_entropy(
                self.forward(images),
                sent(labels, self.device),
                self.loss_weight,
                reduction="sum",
                label_smoothing=self.recipe.label_smoothing,
            )

    def _weight_of(self, labels: Tensor) -> float:
        """Give what the sum of losses is divided by, like PyTorch's weighted mean."""
        if self.class_weight is None:
            return float(len(labels))
        return float(self.class_weight[labels].sum())

    @contextmanager
    def _summing(self, last: bool) -> Iterator[None]:
        """Let gradients add up here, and go to the other processes with the last part alone."""
        inner = getattr(self.forward, "_orig_mod", self.forward)
        if last or not isinstance(inner, DistributedDataParallel):
            yield
            return
        with inner.no_sync():
            yield

    def _update(self) -> None:
        if self.recipe.clip_grad_norm:
            self.scaler.unscale_(self.optimizer)
            trained = [p for p in self.model.parameters() if p.requires_grad]
            nn.utils.clip_grad_norm_(trained, self.recipe.clip_grad_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def _fits(self, size: int, indices: Tensor, pixels: Tensor) -> bool:
        names = trained_state(self.model)
        state = self.model.state_dict()
        before = {name: state[name].cpu().clone() for name in names}
        # A step that memory ended in the middle leaves a scaler that takes no other.
        kept, self.scaler = self.scaler, self._new_scaler()
        set_modes(self.model)
        try:
            with random_state(0, self.device):
                chance = draw_chance(indices, Place(0, 0, 0)) if self.recipe.augments else None
                loss = self._loss(self._input(pixels[:size], chance), self.part.labels[indices])
                self.scaler.scale(loss / size).backward()  # type: ignore[no-untyped-call]
                self._update()
            return True
        except torch.OutOfMemoryError:
            return False
        finally:
            self.optimizer.zero_grad(set_to_none=True)
            self.optimizer.state.clear()
            self.scaler = kept
            self.model.load_state_dict(before, strict=False)

    def _has_unused(self) -> bool:
        """Say whether some parameters that train have no part in the logits."""
        trained = [p for p in self.model.parameters() if p.requires_grad]
        self.model.eval()
        images = self._input(self.part.pixels.batch(torch.zeros(1, dtype=torch.int64)), None)
        logits = self.model(images).sum()
        gradients = torch.autograd.grad(logits, trained, allow_unused=True)
        return any(gradient is None for gradient in gradients)


def class_weights(labels: Tensor, classes: int, recipe: Recipe) -> Tensor | None:
    """Give the weight of each class in the loss, float32 [classes]; None if all weigh the same.

    Balanced: n / (K n_k), as `sklearn.utils.class_weight.compute_class_weight`.
    """
    if recipe.class_weights == "none":
        return None
    counts = torch.bincount(labels, minlength=classes)
    return (len(labels) / (classes * counts)).float()


def compiled(model: nn.Module) -> nn.Module:
    """Compile a model by `torch.compile`.

    Raises
    ------
    InputError
        If it is not available here.
    """
    with _compiling(True):
        module: nn.Module = torch.compile(model)  # type: ignore[assignment]
        return module


@contextmanager
def _compiling(wanted: bool) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if not wanted or isinstance(error, torch.OutOfMemoryError):
            raise
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"Compiling by torch.compile does not work here ({reason}): leave out --compile."
        ) from error
