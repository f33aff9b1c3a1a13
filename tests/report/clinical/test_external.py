"""Differences between internal and external scores, and how often their intervals cover."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from frostline.report import Predictions
from frostline.report.clinical.external import internal_and_external
from frostline.report.clinical.external_table import external_table
from frostline.report.statistics.comparisons.methods import group_methods
from frostline.report.statistics.evaluation import score
from frostline.report.statistics.methods import tabulate_methods
from frostline.report.tables.formats import WRITERS

SPREAD = 0.8  # of patients and of images, on the logit scale


class Hospitals:
    """Trials with patients of one to three images, who are easy or hard, and seeds that matter."""

    def __init__(self, seed: int, seed_spread: float = 0.0, own_spread: float = 0.0) -> None:
        self.rng = np.random.default_rng(seed)
        self.seed_spread, self.own_spread = seed_spread, own_spread

    def runs(
        self, dataset: str, patients: int, level: float, effects: np.ndarray
    ) -> list[Predictions]:
        rng = self.rng
        group = np.repeat(np.arange(patients), rng.integers(1, 4, patients))
        truth = rng.integers(0, 2, patients)[group]
        hard = rng.normal(0, SPREAD, patients)[group] + rng.normal(0, SPREAD, len(group))
        own = rng.normal(0, self.own_spread, len(effects))
        found = []
        for seed, effect in enumerate(effects + own):
            right = rng.random(len(group)) < expit(logit(level) + effect + hard)
            table = pd.DataFrame(
                {
                    "image_id": [f"{dataset}{row}" for row in range(len(group))],
                    "group_id": [f"{dataset}-{one}" for one in group],
                    "split": "test",
                    "label": truth.astype(str),
                    "prediction": np.where(right, truth, 1 - truth).astype(str),
                }
            )
            meta = {"run": f"{dataset}{seed}", "dataset": dataset, "backbone": "net", "seed": seed}
            meta |= {"classes": ["0", "1"], "unfreeze": "all", "head": "linear"}
            if dataset != "a":
                meta |= {"trained_on": "a", "trained_run": f"a{seed}"}
            found.append(Predictions(table, meta))
        return found

    def trial(
        self, patients: tuple[int, int], levels: tuple[float, float], seeds: int, metric: str
    ) -> pd.Series:
        effects = self.rng.normal(0, self.seed_spread, seeds)
        runs = [
            run
            for dataset, *how in zip("ab", patients, levels, strict=True)
            for run in self.runs(dataset, *how, effects)
        ]
        return compared(runs, metric).iloc[0]

    def truth(self, levels: tuple[float, float]) -> float:
        """The expected difference in accuracy."""
        spread = (2 * SPREAD**2 + self.seed_spread**2 + self.own_spread**2) ** 0.5
        hard = np.random.default_rng(1).normal(0, spread, 1_000_000)
        internal, external = (expit(logit(level) + hard).mean() for level in levels)
        return float(external - internal)


def compared(runs: list[Predictions], metric: str = "accuracy") -> pd.DataFrame:
    rows = score(runs)
    shown = tabulate_methods(group_methods(rows), [metric], {})
    return internal_and_external(rows, [metric], shown)


def test_with_one_seed_the_interval_follows_from_the_two_that_are_shown() -> None:
    for metric in ("accuracy", "balanced_accuracy", "f1_macro"):
        row = Hospitals(0).trial((60, 90), (0.9, 0.8), 1, metric)
        assert row["difference"] == pytest.approx(
            row["external_estimate"] - row["internal_estimate"]
        )
        below = row["external_estimate"] - row["external_low"]
        above = row["internal_high"] - row["internal_estimate"]
        assert row["difference"] - row["low"] == pytest.approx(np.hypot(below, above))
        below = row["internal_estimate"] - row["internal_low"]
        above = row["external_high"] - row["external_estimate"]
        assert row["high"] - row["difference"] == pytest.approx(np.hypot(below, above))
        assert np.isnan(row["seed_error"])


def test_it_is_that_of_welch_where_both_are_far_from_their_ends() -> None:
    """Of many patients, one image each, the distances are those of two proportions."""
    row = Hospitals(3).trial((3000, 2500), (0.75, 0.6), 1, "accuracy")
    both = [(row[f"{side}_high"] - row[f"{side}_low"]) / 2 for side in ("internal", "external")]
    assert (row["high"] - row["low"]) / 2 == pytest.approx(np.hypot(*both), rel=0.01)


def test_what_a_seed_does_to_both_is_no_difference() -> None:
    """Seeds that differ by one number in both hospitals add far less than they do to each."""
    together = Hospitals(1, seed_spread=1.0)
    effects = np.array([-1.2, 0.0, 1.2])
    runs = [*together.runs("a", 400, 0.8, effects), *together.runs("b", 400, 0.8, effects)]
    row = compared(runs).iloc[0]
    apart = compared([*runs[:3], *together.runs("b", 400, 0.8, effects[::-1])]).iloc[0]
    assert row["seed_error"] < 0.25 * apart["seed_error"]
    assert row["high"] - row["low"] < 0.5 * (apart["high"] - apart["low"])
    assert row["n_seeds"] == 3


def test_seeds_that_one_side_lacks_are_left_out_of_both() -> None:
    hospitals = Hospitals(2, seed_spread=0.5)
    effects = np.array([-0.5, 0.0, 0.5])
    internal, external = (hospitals.runs(one, 50, 0.8, effects) for one in "ab")
    row = compared([*internal, *external[:2]]).iloc[0]
    assert row["n_seeds"] == 2
    mean = np.mean([(run.table["label"] == run.table["prediction"]).mean() for run in internal[:2]])
    assert row["internal_estimate"] == pytest.approx(mean)
    assert compared(internal).empty


def test_every_format_has_the_table() -> None:
    hospitals = Hospitals(4)
    runs = [run for one in "ab" for run in hospitals.runs(one, 50, 0.8, np.zeros(1))]
    table = external_table(compared(runs), "accuracy", {"a0": "net, fine-tuned"})
    for write in WRITERS.values():
        text = write(table)
        assert "net, fine-tuned" in text
        assert "trained on a" in text
    assert "It is not tested" in WRITERS["md"](table)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("patients", "levels", "seeds", "spreads"),
    [
        ((30, 40), (0.9, 0.8), 1, (0.0, 0.0)),
        ((75, 75), (0.8, 0.7), 1, (0.0, 0.0)),
        ((75, 200), (0.9, 0.8), 3, (0.4, 0.3)),
    ],
)
def test_intervals_cover(
    patients: tuple[int, int],
    levels: tuple[float, float],
    seeds: int,
    spreads: tuple[float, float],
) -> None:
    hospitals = Hospitals(7, *spreads)
    truth, trials = hospitals.truth(levels), 400
    hits = 0
    for _ in range(trials):
        row = hospitals.trial(patients, levels, seeds, "accuracy")
        hits += bool(row["low"] <= truth <= row["high"])
    assert 0.92 <= hits / trials <= 1.0
