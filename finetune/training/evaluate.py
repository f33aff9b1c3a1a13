"""Predict images with a model, and score the predictions of validation images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from frostline.cache import InputError
from frostline.extract.augmentation.augment import centre_crop
from frostline.finetune.conditions import Conditions
from frostline.finetune.inputs.pixels import Part, as_input, read_ahead
from frostline.finetune.model import Classifier
from frostline.finetune.parallel import gather_shares, share
from frostline.report.statistics.metrics import (
    METRICS,
    compute_metrics,
    confusion_matrix,
    of_probabilities,
)
from frostline.report.statistics.scores import Scores, compute_scores


class Measured(NamedTuple):
    """Scores of the validation images, or of the groups that they make.

    Attributes
    ----------
    loss : float
        Mean of -log of the true class's probability.
    accuracy : float
        Over the whole validation set.
    score : float
        What selects.
    """

    loss: float
    accuracy: float
    score: float


@torch.inference_mode()
def predict(model: Classifier, part: Part, conditions: Conditions, batch_size: int) -> Tensor:
    """Compute logits, float32 [images, classes] on the CPU, in the order of the part.

    The last batch is filled up, so that no image's numbers depend on how many there are. Of
    several processes each predicts its share, and all have all logits.
    """
    model.eval()
    device = torch.device(conditions.device)
    mine = share(len(part))
    batches = [
        mine[torch.arange(start, start + batch_size).clamp(max=len(mine) - 1)]
        for start in range(0, len(mine), batch_size)
    ]
    logits = [torch.zeros(0, model.head.out_features, device=device)]
    for _, pixels in read_ahead(part, batches, device):
        seen = pixels.to(device, non_blocking=True)
        seen = centre_crop(seen, conditions.crop) if conditions.crop else seen
        with conditions.autocast():
            logits.append(model(as_input(seen, conditions.normalisation, device)).float())
    return gather_shares(torch.cat(logits)[: len(mine)].cpu(), len(part), device)


def measure(
    logits: Tensor,
    labels: Tensor,
    select: str,
    places: Sequence[int] | None = None,
    groups: Tensor | None = None,
) -> Measured:
    """Score the validation images; those without a known label (-1) count in accuracy alone.

    Parameters
    ----------
    places : sequence of int, optional
        The place of each class in their order, by which ordinal metrics go; else that of training.
    groups : int64 [images], optional
        Number of each image's group, where groups are scored: each gets the mean of its images'
        probabilities, as in test scores.

    Raises
    ------
    InputError
        If the metric that selects is not defined on them.
    """
    if groups is not None:
        logits, labels = _by_group(logits, labels, groups)
    known = labels >= 0
    accuracy = float((logits.argmax(1) == labels).double().mean())
    loss = float(functional.cross_entropy(logits[known].double(), labels[known]))
    if select in ("accuracy", "log_loss"):
        return Measured(loss, accuracy, accuracy if select == "accuracy" else loss)
    truth = labels[known].numpy()
    probabilities = logits[known].double().softmax(1).numpy()
    score = _score(truth, probabilities, select, places)
    if np.isnan(score) and np.isfinite(loss):
        raise InputError(
            f"The metric {select} is not defined on the validation images (they may lack a "
            "class): select by another, such as log_loss."
        )
    return Measured(loss, accuracy, score)


def _by_group(logits: Tensor, labels: Tensor, groups: Tensor) -> tuple[Tensor, Tensor]:
    """Give each group the log of its images' mean probabilities, float64, and their one label."""
    count = int(groups.max()) + 1
    sums = torch.zeros(count, logits.shape[1], dtype=torch.float64)
    sums.index_add_(0, groups, logits.double().softmax(1))
    means = sums / groups.bincount(minlength=count)[:, None]
    own = torch.full((count,), -1).scatter_reduce_(0, groups, labels, "amax")
    # As scikit-learn's log_loss: a probability of 0 costs a finite number.
    return means.clamp(min=torch.finfo(torch.float64).eps).log(), own


def _score(
    truth: np.ndarray, probabilities: np.ndarray, name: str, places: Sequence[int] | None
) -> float:
    if of_probabilities(name):
        return float(compute_scores(Scores(truth, probabilities), [name])[name][0])
    count = probabilities.shape[1]
    place = np.arange(count) if places is None else np.array(places)
    matrix = confusion_matrix(place[truth], place[probabilities.argmax(1)], count)
    return float(compute_metrics(matrix, [name])[name])


def is_better(score: float, than: float, select: str) -> bool:
    """Say whether a score is better than another; equal ones are not."""
    return score > than if METRICS[select].higher else score < than
