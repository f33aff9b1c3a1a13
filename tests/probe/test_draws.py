"""Draws nest, hold every class and know nothing of the backbone; folds select without their own."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frostline.probe.heads.scoring import METRICS
from frostline.probe.heads.training import pairs
from frostline.probe.sweep.draws import draw_order, drawn_rows, group_folds, validation_size
from frostline.probe.sweep.head_run import Data, HeadRun, TrainingSet
from frostline.probe.sweep.selection import select_folds
from frostline.probe.sweep.validation_scores import text_of


@st.composite
def images(draw: st.DrawFn) -> pd.DataFrame:
    """Groups of one to three images, some of several classes, in train and validation."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    groups = np.repeat(np.arange(30), rng.integers(1, 4, 30))
    label = rng.integers(0, 4, 30)[groups]
    label = np.where(rng.random(len(groups)) < 0.1, rng.integers(0, 4, len(groups)), label)
    return pd.DataFrame(
        {
            "image_id": [f"i{number}" for number in range(len(groups))],
            "group_id": [f"p{group}" for group in groups],
            "split": np.array(["train", "train", "val"])[groups % 3],
            "label": [f"c{code}" for code in label],
        }
    )


@given(images(), st.integers(0, 20), st.integers(0, 2**32))
def test_draws(table: pd.DataFrame, draw: int, seed: int) -> None:
    order = draw_order(table, "train", draw)
    train = table[table["split"] == "train"]
    assert sorted(order.groups) == sorted(train["group_id"].unique())
    shuffled = table.sample(frac=1, random_state=seed % 2**31).reset_index(drop=True)
    assert draw_order(shuffled, "train", draw) == order
    before: set[int] = set()
    for size in range(order.least, len(order.groups) + 1):
        rows = drawn_rows(table, order.groups[:size], "train")
        assert set(table["label"].iloc[rows]) == set(train["label"])
        assert table["group_id"].iloc[rows].nunique() == size
        assert set(table["split"].iloc[rows]) == {"train"}
        assert before < set(rows)
        before = set(rows)
    short = drawn_rows(table, order.groups[: order.least - 1], "train")
    assert set(table["label"].iloc[short]) < set(train["label"])


@given(images())
def test_validation_shrinks_along(table: pd.DataFrame) -> None:
    train, val = (draw_order(table, part, 0) for part in ("train", "val"))
    sizes = [validation_size(train, val, size) for size in range(1, len(train.groups) + 1)]
    assert sizes == sorted(sizes)
    assert sizes[-1] == len(val.groups)
    assert sizes[0] == max(val.least, 1)


def test_draws_differ() -> None:
    table = pd.DataFrame(
        {"group_id": [f"p{n}" for n in range(20)], "split": "train", "label": ["a", "b"] * 10}
    )
    assert len({tuple(draw_order(table, "train", draw).groups) for draw in range(10)}) == 10


@given(images(), st.integers(0, 5))
def test_folds_keep_groups_together(table: pd.DataFrame, repeat: int) -> None:
    if table.groupby("label")["group_id"].nunique().min() < 3:
        return
    fold = group_folds(table, 3, repeat, "mri")
    assert set(fold) == {0, 1, 2}
    assert (pd.Series(fold).groupby(table["group_id"]).nunique() == 1).all()
    order = np.random.default_rng(0).permutation(len(table))
    again = group_folds(table.iloc[order].reset_index(drop=True), 3, repeat, "mri")
    np.testing.assert_array_equal(again, fold[order])


@pytest.mark.parametrize("left_out", [0, 1, 2])
def test_a_fold_does_not_select_by_its_own_images(left_out: int) -> None:
    """Candidate 1 is best on the fold that is left out, and candidate 0 everywhere else."""
    candidates = ({"C": 1.0}, {"C": 2.0})
    rows = []
    for part, pair in enumerate(pairs(3)):
        for fold, scored in enumerate(pair):
            for number, candidate in enumerate(candidates):
                good = (number == 1) == (scored == left_out)
                scores = dict.fromkeys(METRICS, 1.0 if good else 0.0)
                rows.append(
                    {
                        "candidate": text_of(candidate),
                        "part": part,
                        "fold": fold,
                        "epoch": 0,
                        **scores,
                    }
                )
    data = Data("d", "b", "f", "k", "m")
    run = HeadRun(data, "logistic", candidates, {}, 0, TrainingSet(cv=(3, 0)), "accuracy")
    assert select_folds(run, pd.DataFrame(rows))[left_out].candidate == {"C": 1.0}


@pytest.mark.parametrize("images_of_a_group", [1, 3])
def test_every_fold_has_the_shares_of_the_classes(images_of_a_group: int) -> None:
    """Up to scikit-learn 1.7, shuffled folds held 0.04 to 0.37 of a class of 0.21."""
    groups = np.repeat(np.arange(200), images_of_a_group)
    label = np.where(np.arange(200) < 42, "rare", "usual")[groups]
    table = pd.DataFrame(
        {
            "image_id": [f"i{number:04d}" for number in range(len(groups))],
            "group_id": [f"p{group}" for group in groups],
            "label": label,
        }
    )
    for repeat in range(20):
        fold = group_folds(table, 5, repeat, "set")
        shares = (table["label"] == "rare").groupby(fold).mean()
        assert shares.between(0.18, 0.24).all(), repeat
        assert len(set(shares.index)) == 5
