"""Figures of training: epochs are whole, a run that diverges flattens no other, costs are plain."""

from __future__ import annotations

import pandas as pd
import pytest

from frostline.report.figures.training import cost_figure, learning_figure


def history(losses: dict[str, float], epochs: int = 5) -> pd.DataFrame:
    """A panel a name, whose loss falls from a height."""
    rows = [
        {
            "panel": name,
            "run": name,
            "epoch": epoch,
            "train_loss": top / epoch,
            "val_loss": top / epoch,
            "best": epochs,
        }
        for name, top in losses.items()
        for epoch in range(1, epochs + 1)
    ]
    return pd.DataFrame(rows)


def test_epochs_are_whole():
    for axes in learning_figure(history({"one": 1.0, "two": 1.2})).axes:
        assert all(tick == int(tick) for tick in axes.get_xticks())


def test_a_run_that_diverges_flattens_no_other():
    figure = learning_figure(history({"one": 1.0, "two": 1.2, "three": 0.9, "wild": 80.0}))
    top = figure.axes[0].get_ylim()[1]
    assert {axes.get_ylim()[1] for axes in figure.axes} == {top}
    assert 1.2 < top < 4
    said = [[text.get_text() for text in axes.texts] for axes in figure.axes]
    assert said == [[], [], [], ["up to 80"]]
    alike = learning_figure(history({"one": 1.0, "two": 1.2}))
    assert alike.axes[0].get_ylim()[1] == pytest.approx(1.05 * 1.2)


def test_seconds_are_written_out():
    costs = pd.DataFrame(
        {
            "cost": ["seconds", "seconds", "parameters", "parameters"],
            "value": [0.3, 3000.0, 3e6, 9e7],
            "estimate": [0.7, 0.8, 0.7, 0.8],
            "name": ["a", "b", "a", "b"],
            "unfreeze": ["none", "all", "none", "all"],
            "way": ["frozen", "fine-tuned", "frozen", "fine-tuned"],
        }
    )
    figure = cost_figure(costs, "accuracy")
    figure.canvas.draw()
    labels = {
        axes.get_title(loc="left"): [text.get_text() for text in axes.get_xticklabels()]
        for axes in figure.axes
    }
    seconds = labels["Seconds of training"]
    assert {"0.3", "3,000"} <= set(seconds)
    assert not any(text.endswith(("m", "k")) for text in seconds)
    assert any(text.endswith("M") for text in labels["Parameters of the backbone"])


def test_the_best_log_loss_is_the_lowest_and_no_share():
    costs = pd.DataFrame(
        {
            "cost": "seconds",
            "value": [1.0, 1000.0],
            "estimate": [0.4, 1.3],
            "name": "net",
            "unfreeze": ["none", "all"],
            "way": ["frozen", "fine-tuned"],
        }
    )
    for metric, title, best, points in (
        ("log_loss", "Log loss", 0, [0.4, 1.3]),
        ("accuracy", "Accuracy (%)", 1, [40, 130]),
    ):
        figure = cost_figure(costs, metric)
        (axes,) = figure.axes
        assert title in [text.get_text() for text in [axes.yaxis.label, *figure.texts]]
        drawn = [line.get_ydata()[0] for line in axes.lines]
        assert drawn == points
        # The name is next to the best point.
        (name,) = axes.texts
        assert (name.get_position()[0] > 0.5) == bool(best)
