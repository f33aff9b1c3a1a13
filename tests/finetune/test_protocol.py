"""What a recipe's fields do in training: averages, patience, several learning rates, selection."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk
from test_train import CPU, VAL, classifier, fit, measured, part, same

from frostline.cache import InputError
from frostline.finetune import Recipe
from frostline.finetune.inputs.pixels import HeldPixels
from frostline.finetune.recipe import SELECTIONS
from frostline.finetune.training.checkpoint import Checkpoints
from frostline.finetune.training.evaluate import measure, predict
from frostline.finetune.training.optim import WeightAverage
from frostline.finetune.training.train import Trained, _preferred, train
from frostline.probe.heads.scoring import score_heads

FEW = Recipe(epochs=4, batch_size=8, lr=(1e-3,))


def test_an_average_follows_the_weights() -> None:
    layer = torch.nn.BatchNorm1d(2)
    average = WeightAverage(layer, list(layer.state_dict()), 0.5)
    expected = torch.ones(2, dtype=torch.float64)
    for steps in range(6):
        with torch.no_grad():
            layer.weight += 1
        layer.num_batches_tracked += 1
        average.update(steps)
        decay = min(0.5, (1 + steps) / (10 + steps))
        expected = decay * expected + (1 - decay) * (2.0 + steps)
    torch.testing.assert_close(average.values["weight"].double(), expected)
    assert int(average.values["num_batches_tracked"]) == 6
    with average.in_model():
        torch.testing.assert_close(layer.weight.detach().double(), expected)
    assert torch.equal(layer.weight.detach(), torch.full((2,), 7.0))


def test_what_is_validated_and_kept_is_the_average() -> None:
    plain, averaged = classifier(), classifier()
    without = fit(plain, FEW)
    trained = fit(averaged, FEW.model_copy(update={"ema": 0.99}))
    # Training itself is the same.
    losses = [[epoch["train_loss"] for epoch in run.history] for run in (without, trained)]
    assert losses[0] == losses[1]
    assert measured(without) != measured(trained)
    best = trained.history[trained.best_epoch - 1]
    found = measure(predict(averaged, VAL, CPU, 8), VAL.labels, "accuracy")
    assert (found.loss, found.accuracy) == (best["val_loss"], best["val_accuracy"])


def test_training_stops_when_nothing_gets_better(tmp_path: Path) -> None:
    still = Recipe(epochs=9, batch_size=8, lr=(1e-12,), patience=3)
    trained = fit(classifier("none"), still, checkpoints=Checkpoints(tmp_path))
    assert trained.best_epoch == 1
    assert len(trained.history) == 4
    epochs: list[Any] = []
    again = fit(
        classifier("none"), still, checkpoints=Checkpoints(tmp_path), on_epoch=epochs.append
    )
    assert epochs == []
    assert again.history == trained.history
    assert len(fit(classifier("none"), still.model_copy(update={"patience": 0})).history) == 9


def test_the_best_of_several_learning_rates_is_kept() -> None:
    rates = (1e-12, 1e-3, 3e-4)
    recipe = FEW.model_copy(update={"lr": rates, "select": "log_loss"})
    model = classifier(name="timm:test_vit")
    rows: list[Any] = []
    trained = fit(model, recipe, on_rows=rows.append)
    alone = {}
    for lr in rates:
        one = classifier(name="timm:test_vit")
        alone[lr] = one, fit(one, recipe.with_rate(lr))
    best = min(rates, key=lambda lr: alone[lr][1].score)
    assert trained.lr == best
    # Each starts anew: it is as if it had been alone.
    assert measured(trained) == measured(alone[best][1])
    assert same(model, alone[best][0])
    everything = [
        (number, *values) for number, lr in enumerate(rates, 1) for values in measured(alone[lr][1])
    ]
    names = ("candidate", "train_loss", "val_loss", "val_accuracy")
    assert [tuple(row[name] for name in names) for row in rows[-1]] == everything
    assert all(row["candidates"] == 3 for row in rows[-1])


def test_of_equal_learning_rates_the_smallest_is_kept() -> None:
    tiny = Recipe(epochs=1, batch_size=8, lr=(3e-12, 1e-12, 2e-12))
    assert fit(classifier("none"), tiny).lr == 1e-12


@pytest.mark.parametrize("stopped", [(1, 2), (1, 4), (2, 1)])
def test_several_learning_rates_go_on_where_they_stopped(
    tmp_path: Path, stopped: tuple[int, int]
) -> None:
    recipe = FEW.model_copy(update={"lr": (1e-3, 3e-3)})
    undisturbed = classifier()
    expected = fit(undisturbed, recipe)

    def stop(epoch: Any) -> None:
        if (epoch.candidate, epoch.epoch) == stopped:
            raise KeyboardInterrupt

    checkpoints = Checkpoints(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        fit(classifier(), recipe, checkpoints=checkpoints, on_epoch=stop)
    resumed = classifier()
    epochs: list[Any] = []
    rows: list[Any] = []
    found = fit(
        resumed, recipe, checkpoints=checkpoints, on_epoch=epochs.append, on_rows=rows.append
    )
    assert len(epochs) == 8 - 4 * (stopped[0] - 1) - stopped[1]
    assert len(rows[-1]) == 8
    assert same(resumed, undisturbed)
    assert measured(found) == measured(expected)


def test_balanced_classes_change_what_is_learnt() -> None:
    common = [n for n in range(60) if n % 3 == 0 or n < 6]  # two images of each rare class
    everything = part(range(60))
    uneven = replace(
        everything,
        pixels=HeldPixels(everything.pixels.batch(torch.tensor(common))),
        labels=everything.labels[common],
        ids=[everything.ids[n] for n in common],
    )
    recipe = Recipe(epochs=1, batch_size=8, lr=(1e-3,))
    of_rare = []
    for how in ("none", "balanced"):
        model = classifier("none", "timm:test_vit")
        train(model, (uneven, VAL), recipe.model_copy(update={"class_weights": how}), CPU, seed=0)
        of_rare.append(float(predict(model, VAL, CPU, 8).softmax(1)[:, 1:].mean()))
    assert of_rare[1] > of_rare[0]


TRUTH = torch.tensor([0, 1, 2, 0, 1, 2, 0, 0])


@pytest.mark.parametrize("weights", ["linear", "quadratic"])
def test_ordinal_metrics_go_by_the_places_of_the_classes(weights: str) -> None:
    logits = torch.randn(8, 3, generator=torch.Generator().manual_seed(3))
    called, name = logits.argmax(1), f"cohen_kappa_{weights}"
    found = [measure(logits, TRUTH, name, places).score for places in ([0, 1, 2], [1, 2, 0])]
    theirs = [
        sk.cohen_kappa_score(TRUTH, called, labels=order, weights=weights)
        for order in ([0, 1, 2], [2, 0, 1])
    ]
    assert found == pytest.approx(theirs)
    assert theirs[0] != pytest.approx(theirs[1])


@pytest.mark.parametrize("name", SELECTIONS)
def test_any_metric_selects(name: str) -> None:
    generator = torch.Generator().manual_seed(3)
    good = torch.eye(3)[TRUTH] * 9
    noise = torch.randn(8, 3, generator=generator)
    scores = [measure(logits, TRUTH, name).score for logits in (good, noise, good * -1)]
    lower = name in (*("log_loss", "brier_score_loss", "calibration_error"), "mean_absolute_error")
    assert scores[0] < scores[1] if lower else scores[0] > scores[1]
    probabilities = noise.double().softmax(1).numpy()
    theirs = {
        "balanced_accuracy": lambda: sk.balanced_accuracy_score(TRUTH, probabilities.argmax(1)),
        "roc_auc": lambda: sk.roc_auc_score(TRUTH, probabilities, multi_class="ovr"),
        "log_loss": lambda: sk.log_loss(TRUTH, probabilities),
    }
    if name in theirs:
        assert scores[1] == pytest.approx(theirs[name]())


def test_images_without_a_known_label_do_not_select() -> None:
    logits = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    more = torch.cat([logits, torch.full((2, 3), 99.0)])
    unknown = torch.cat([TRUTH, torch.tensor([-1, -1])])
    for name in ("roc_auc", "log_loss", "f1_macro"):
        assert measure(more, unknown, name).score == measure(logits, TRUTH, name).score


def test_groups_are_scored_as_those_of_heads() -> None:
    logits = torch.randn(8, 3, generator=torch.Generator().manual_seed(0)) * 3
    labels, groups = torch.tensor([0, 1, 2, 2, 1, 0, 0, 2]), torch.tensor([0, 1, 2, 2, 1, 0, 0, 3])
    probabilities = logits.double().softmax(1).numpy()
    theirs = score_heads(probabilities[None], labels.numpy(), groups.numpy())
    for name, (score,) in theirs.items():
        found = measure(logits, labels, name, groups=groups)
        assert found.score == pytest.approx(score), name
        assert (found.accuracy, found.loss) == pytest.approx(
            (theirs["accuracy"][0], theirs["log_loss"][0])
        )
    assert measure(logits, labels, "log_loss").score != pytest.approx(theirs["log_loss"][0])
    # A group without a known label counts in accuracy alone.
    unknown = torch.where(groups == 3, -1, labels)
    found = measure(logits, unknown, "accuracy", groups=groups)
    own = score_heads(probabilities[None, :7], labels.numpy()[:7], groups.numpy()[:7])
    assert found.accuracy == pytest.approx(own["accuracy"][0] * 3 / 4)
    assert found.loss == pytest.approx(own["log_loss"][0])


def test_a_metric_that_is_not_defined_says_so() -> None:
    with pytest.raises(InputError) as caught:
        measure(torch.randn(4, 3), torch.tensor([0, 0, 1, 1]), "roc_auc")
    assert str(caught.value) == (
        "The metric roc_auc is not defined on the validation images (they may lack a class): "
        "select by another, such as log_loss."
    )


@pytest.mark.parametrize("select", ["roc_auc", "brier_score_loss"])
def test_the_best_epoch_is_best_by_what_selects(select: str) -> None:
    trained = fit(classifier(), Recipe(epochs=5, batch_size=8, lr=(5e-3,), select=select))
    scores = np.array([epoch["score"] for epoch in trained.history])
    best = scores.argmin() if select == "brier_score_loss" else scores.argmax()
    assert trained.best_epoch == best + 1
    assert trained.score == scores[best]


@given(st.floats(0, 1), st.floats(0, 1), st.sampled_from(["accuracy", "log_loss"]))
def test_candidates_are_ordered_by_score_then_by_learning_rate(
    left: float, right: float, select: str
) -> None:
    one, other = (Trained(1, [{"score": s}], lr, 8) for s, lr in ((left, 1e-3), (right, 1e-4)))
    if left == right:
        assert _preferred(other, one, select)
        assert not _preferred(one, other, select)
    else:
        assert _preferred(one, other, select) == ((left > right) == (select == "accuracy"))
