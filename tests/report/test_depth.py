"""Depth: validation chooses by one standard error, test is looked at once, and the words say so."""

from __future__ import annotations

import itertools
import re
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from depth_runs import BLOCKS, PLACES, READ, depth_run, reading, training
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg

from frostline.cache import InputError
from frostline.report import Predictions, compare, evaluate, save_figure
from frostline.report.depth.chart import depth_chart
from frostline.report.depth.choice import choose_depth, within_one_error
from frostline.report.depth.curve import TABLE_COLUMNS, Place, Point, depth_curves
from frostline.report.depth.sentences import depth_sentences
from frostline.report.figures.depth import depth_figure

BACKBONE = "effnet-lite0"
SCORES = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def curves_of(points, **options):
    names = {str(point.runs[0].meta["backbone"]) for point in points}
    return depth_curves(points, dict.fromkeys(sorted(names), PLACES), **options)


@given(SCORES, st.floats(0, 0.2), st.booleans(), st.randoms(use_true_random=False))
def test_the_choice_is_the_cheapest_within_one_error_of_the_best(scores, error, higher, random):
    values, costs = np.array(scores), np.array(random.sample(range(50), len(scores)), float)
    errors = error * np.array([random.random() for _ in values])
    within = within_one_error(values, errors, higher=higher)
    best = values.max() if higher else values.min()
    assert (within == (np.abs(values - best) <= errors + 1e-12)).all()
    place = choose_depth(values, errors, costs, higher=higher)
    assert within[place]
    assert costs[place] == costs[within].min()
    # Whatever is turned round, the same is chosen.
    assert choose_depth(-values, errors, costs, higher=not higher) == place


def test_ties_and_what_is_unknown():
    nan = float("nan")
    none = np.array([nan, nan])
    assert choose_depth(none, none, none, higher=True) is None
    scores, errors = np.array([0.7, nan, 0.8, 0.8]), np.full(4, nan)
    # No error is known: what equals the best alone is within.
    assert choose_depth(scores, errors, np.array([1.0, 0, 3, 2]), higher=True) == 3
    # Of equal cost the better one, and what costs nobody knows how much comes last.
    equal = np.array([0.79, 0.8, 0.78])
    spread = np.full(3, 0.05)
    assert choose_depth(equal, spread, np.array([1.0, 1, nan]), higher=True) == 1
    assert choose_depth(equal, spread, np.array([nan, nan, 5.0]), higher=True) == 2


def test_a_point_is_what_evaluate_says_of_its_run():
    points = reading()
    table = curves_of(points).table
    assert tuple(table.columns) == TABLE_COLUMNS
    assert table["block"].tolist() == list(BLOCKS)
    for point, row in zip(points, table.to_dict("records"), strict=True):
        for split, names in {
            "test": ("estimate", "low", "high"),
            "val": ("val_estimate",),
        }.items():
            found = evaluate(point.runs, split=split, metrics=["accuracy"])
            for name in names:
                expected = found[name.removeprefix("val_")].iloc[0]
                assert row[name] == pytest.approx(expected), name
    assert table["chosen"].sum() == 1
    (chosen,) = table[table["chosen"]].to_dict("records")
    behind = table["val_estimate"].max() - table["val_estimate"]
    assert (table["within"] == (behind <= table["val_difference_error"])).all()
    assert chosen["cost"] == table.loc[table["within"], "cost"].min()


def test_the_error_of_a_difference_is_that_of_compare():
    """Depths are scored on the same images: their difference is better known than either score."""
    points = reading() + training({"1": 1.5, "3": 2.6, "all": 1.6}, seeds=3)
    table = curves_of(points).table
    for road in ("read", "train"):
        rows = table.index[table["road"] == road]
        best = table.loc[rows, "val_estimate"].idxmax()
        assert table.loc[best, "val_difference_error"] == 0
        for row in rows.drop(best):
            runs = [
                Predictions(run.table[run.table["split"] == "val"].assign(split="test"), run.meta)
                for run in (*points[row].runs, *points[best].runs)
            ]
            (pair,) = compare(runs).to_dict("records")
            error = np.hypot(pair["group_error"], np.nan_to_num(pair["seed_error"]))
            assert table.loc[row, "val_difference_error"] == pytest.approx(error)
            assert error < np.hypot(*table.loc[[row, best], "val_error"])


def test_test_images_choose_nothing():
    """Labels of test images may be turned round: the choice stays, its score does not."""
    points = reading()
    before = curves_of(points).table
    for point in points:
        table = point.runs[0].table
        turned = table["label"].map({"well": "sick", "sick": "well"})
        table["label"] = turned.where(table["split"] == "test", table["label"])
    after = curves_of(points).table
    assert after["chosen"].tolist() == before["chosen"].tolist()
    for name in ("val_error", "val_difference_error"):
        assert (after[name] == before[name]).all()
    assert (after["estimate"] < before["estimate"]).all()


def test_differences_are_those_of_compare():
    points = reading() + training({"1": 1.5, "3": 2.6, "all": 1.6})
    found = curves_of(points)
    table = found.table
    read, train = (
        table[(table["road"] == r) & table["chosen"]].index[0] for r in ("read", "train")
    )
    asked = found.differences.set_index("question")
    assert list(asked.index) == ["last layer", "training"]
    last = len(PLACES) - 1
    for question, a, b in (("last layer", read, last), ("training", train, read)):
        (alone,) = compare([*points[a].runs, *points[b].runs]).to_dict("records")
        mine = asked.loc[question]
        assert mine["difference"] == pytest.approx(alone["difference"])
        assert mine["p"] == pytest.approx(alone["p"], abs=0.01)
        # Both are one family.
        assert mine["low"] <= alone["low"] + 1e-3
        assert mine["high"] >= alone["high"] - 1e-3
        assert mine["p_adjusted"] >= mine["p"]
    assert found.majority == pytest.approx(
        evaluate(points[0].runs, metrics=["accuracy"])["estimate"].iloc[-1]
    )


def test_the_answer_commits_as_far_as_the_data_allow():
    many = curves_of(reading((0.2, 0.4, 1.0, 2.6, 2.6, 2.6, 1.4, 0.6), patients=600))
    text = depth_sentences(many)
    assert text[0].startswith(
        f"Read {BACKBONE} at block 3 of 7 (blocks.2, 32% of its forward pass): accuracy "
    )
    assert text[2].startswith("Its last layer is ")
    assert " points worse [" in text[2]
    few = depth_sentences(curves_of(reading()))
    assert few[2].startswith("The test images do not decide whether its last layer is better: ")
    assert "test groups would decide a difference of this size" in few[2]


def test_the_answer_says_how_the_rule_came_to_it():
    read = reading((0.2, 0.4, 1.0, 1.5, 1.6, 1.7, 1.4, 1.2))
    found = curves_of(read + training({"1": 1.5, "3": 2.6, "all": 1.6}, seeds=2))
    text = depth_sentences(found)
    for road, start in (("read", "It is the "), ("train", "Of the trainings, ")):
        part = found.table[found.table["road"] == road]
        (chosen,) = part[part["chosen"]].to_dict("records")
        behind = 100 * (part["val_estimate"].max() - chosen["val_estimate"])
        (said,) = [sentence for sentence in text if sentence.startswith(start)]
        if behind:
            assert "the cheapest within one standard error of the best on validation, " in said
            assert f", which was {behind:.1f} points better there." in said
        else:
            assert "the best on validation; nothing cheaper came within" in said
    assert (
        "It is the cheapest within one standard error of the best on validation, block " in text[1]
    )


def test_the_last_layer_may_be_the_answer():
    found = curves_of(reading((*tuple(sorted(READ))[:-1], 3.5)))
    text = depth_sentences(found)
    assert text[0].startswith(f"Read {BACKBONE} at its last layer: accuracy")
    assert text[1] == (
        "It is the best on validation; nothing cheaper came within one standard error of it."
    )
    assert found.differences.empty


@pytest.mark.parametrize(("skill", "word"), [(4.5, "better"), (0.1, "worse")])
def test_what_training_adds_is_said_with_its_cost(skill, word):
    found = curves_of(reading(patients=600) + training({"3": skill}, seeds=3, patients=600))
    text = "\n".join(depth_sentences(found))
    (said,) = re.findall(r"Training the last 3 blocks is [0-9.]+ points (\w+) ", text)
    assert said == word
    # Three seeds of 300 s; a pass of 4 s and a head of 2 s.
    assert ", at 150 times the time that embedding and reading took" in text


def test_what_is_better_in_a_loss_is_not_said_to_add():
    points = reading(patients=600) + training({"3": 4.5}, seeds=3, patients=600)
    text = "\n".join(depth_sentences(curves_of(points, metric="log_loss")))
    assert re.search(r"Training the last 3 blocks is 0\.\d+ better \[0\.", text)


def test_reading_of_unknown_time_says_nothing_of_time():
    read = reading(patients=600)
    for point in read:
        point.runs[0].meta["embedding_seconds"] = None
    points = read + training({"3": 4.5}, seeds=3, patients=600)
    text = "\n".join(depth_sentences(curves_of(points)))
    assert "Training the last 3 blocks is " in text
    assert "the time" not in text


def test_training_that_took_no_longer_says_nothing_of_time():
    points = [replace(point, seconds=1.0) for point in training({"3": 4.5}, seeds=3, patients=600)]
    text = "\n".join(depth_sentences(curves_of(reading(patients=600) + points)))
    assert "Training the last 3 blocks is " in text
    assert "the time" not in text


def test_no_difference_is_neither_better_nor_worse():
    """As many right, of other images."""
    points = reading()
    mine, last = (point.runs[0].table for point in (points[3], points[-1]))
    for table in (mine, last):
        table["prediction"] = table["label"]
    flipped = {"well": "sick", "sick": "well"}
    test = np.flatnonzero(mine["split"] == "test")
    for table, rows in ((mine, test[:10]), (last, test[10:20])):
        column = table.columns.get_loc("prediction")
        table.iloc[rows, column] = table.iloc[rows]["label"].map(flipped)
    text = depth_sentences(curves_of([points[3], points[-1]]))
    assert text[2].startswith(
        "The test images do not decide whether its last layer is better: 0.0 points ["
    )


def test_one_group_of_validation_is_named():
    points = reading()
    for point in points:
        (run,) = point.runs
        val = run.table["split"] == "val"
        run.table.loc[val, "group_id"] = "one patient"
    assert "Validation has one group, whose best score alone chose the depth." in depth_sentences(
        curves_of(points)
    )


def all_right(point, but=0):
    """A point that has every validation image right, but one of some patients."""
    table = point.runs[0].table
    table["prediction"] = table["prediction"].where(table["split"] == "test", table["label"])
    wrong = table[table["split"] == "val"].drop_duplicates("group_id").index[:but]
    rows = table["label"].iloc[wrong].map({"well": "sick", "sick": "well"})
    table.iloc[wrong, table.columns.get_loc("prediction")] = rows.to_numpy()
    return point


@pytest.mark.parametrize(("wrong", "depth"), [(0, 3), (1, 3), (2, 7)])
def test_one_patient_more_is_no_better_and_two_are(wrong, depth):
    points = reading()
    chosen = curves_of([all_right(points[3], wrong), all_right(points[-1])]).table
    images = (points[0].runs[0].table["split"] == "val").sum()
    if wrong == 1:
        assert chosen["val_difference_error"].iloc[0] == pytest.approx(1 / images)
    (row,) = chosen[chosen["chosen"]].to_dict("records")
    assert row["depth"] == depth


def test_ties_and_the_cheapest_are_said():
    points = reading()
    tied = depth_sentences(curves_of([all_right(points[3], 0), all_right(points[-1], 0)]))
    assert tied[1] == "It is as good on validation as its last layer, and cheaper."
    alone = depth_sentences(curves_of([all_right(points[3], 0), reading()[-1]]))
    assert alone[1] == "It is the best on validation, and the cheapest."


def test_a_training_that_lacks_seeds_is_not_chosen_yet():
    whole = training({"1": 1.0, "3": 3.5}, seeds=2)
    last = Point(whole[1].road, whole[1].place, whole[1].runs[:1])
    for points, chosen in ((whole, [False, True]), ([whole[0], last], [True, False])):
        table = curves_of([*reading(), *points]).table
        assert table.loc[table["road"] == "train", "chosen"].tolist() == chosen
    # What is no candidate is not compared with in words either.
    said = depth_sentences(curves_of([*reading(), whole[0], last]))[-1]
    assert said == (
        "Of the trainings that have all their seeds, that of the last block is the only one."
    )


def test_validation_that_says_nothing_of_the_test_set_is_named():
    honest, shifted = (curves_of(reading(shift=shift, patients=400)) for shift in (0.0, 1.2))
    assert not any("does not speak" in text for text in depth_sentences(honest))
    assert any(
        text.startswith("Validation does not speak for this test set: what was chosen for reading")
        for text in depth_sentences(shifted)
    )


def test_what_validation_cannot_speak_for_is_said_once():
    points = reading(shift=1.2, patients=400) + training({"3": 1.8}, patients=400)
    points += reading((0.5,) * 8, shift=1.2, patients=400, backbone="other")
    found = curves_of(points)
    (said,) = [text for text in depth_sentences(found) if "does not speak" in text]
    assert re.search(r"what was chosen scored [0-9.]+ to [0-9.]+% on validation and [0-9.]+", said)
    assert said.endswith("and depths were chosen on validation.")
    # Of one backbone of two: which.
    points = reading(shift=1.2, patients=400) + reading(patients=400, backbone="other")
    (said,) = [text for text in depth_sentences(curves_of(points)) if "does not speak" in text]
    assert f"what was chosen for reading of {BACKBONE} scored " in said


def test_without_validation_nothing_is_chosen():
    points = []
    for point in reading():
        (run,) = point.runs
        tested = Predictions(run.table[run.table["split"] == "test"], run.meta)
        points.append(Point("read", point.place, [tested]))
    found = curves_of(points)
    assert not found.table["chosen"].any()
    assert depth_sentences(found) == [
        f"No depth of {BACKBONE} is chosen, because no run was scored on validation images."
    ]
    assert "validation" in depth_chart(found, 80)


def test_losses_are_better_when_lower():
    found = curves_of(reading(), metric="log_loss")
    behind = found.table["val_estimate"] - found.table["val_estimate"].min()
    assert (found.table["within"] == (behind <= found.table["val_difference_error"])).all()
    assert "points" not in " ".join(depth_sentences(found)[:3])


def test_the_chart_fits_its_terminal_and_shows_every_point():
    points = reading() + training({"1": 1.5, "all": 1.6})
    found = curves_of(points)
    for width in (60, 80, 120):
        lines = depth_chart(found, width).splitlines()
        assert max(map(len, lines)) <= width
        assert len(lines) == 3 + len(points)
    assert sum("◀ chosen" in line for line in lines) == 2
    assert sum("■" in line for line in lines[:-1]) == 2


def test_the_chart_ends_where_the_metric_does():
    points = reading()
    for point in points:
        (run,) = point.runs
        run.table["prediction"] = run.table["label"]
        run.table["group_id"] = "one patient"
    lines = depth_chart(curves_of(points), 80).splitlines()
    assert lines[0] == f"{BACKBONE}: Accuracy (%) on test images, 95% intervals"
    losses = depth_chart(curves_of(reading(), metric="log_loss"), 80).splitlines()
    assert losses[0].endswith(": Log loss on test images, 95% intervals, lower is better")
    assert lines[1].split() == ["50.0", "100.0"]


def test_panels_of_the_chart_are_set_apart():
    found = curves_of(reading() + reading(backbone="other"))
    assert depth_chart(found, 80).split("\n\n")[1].startswith("other: ")


@pytest.mark.parametrize("names", [[f"features.{3 * i}" for i in range(6)], ["a" * 10] * 5])
def test_names_of_blocks_do_not_overlap(names):
    places = [Place(i, name, len(names) - i, (i + 1) / 6) for i, name in enumerate(names)]
    points = [replace(one, place=place) for one, place in zip(reading(), places, strict=False)]
    figure = depth_figure(depth_curves(points, {BACKBONE: places}).table, {BACKBONE: places})
    figure.canvas.draw()
    texts = figure.axes[0].get_xticklabels()
    boxes = [text.get_window_extent() for text in texts]
    slanted = texts[0].get_rotation() > 0
    assert slanted or all(a.x1 < b.x0 for a, b in itertools.pairwise(boxes))
    assert all(box.x1 <= figure.bbox.x1 for box in boxes)


def test_the_picture_has_a_panel_for_each_backbone(tmp_path):
    points = reading() + training({"1": 1.5, "3": 1.8, "all": 1.6})
    points += [Point("scratch", None, [depth_run(0.9, unfreeze="all", weights="random (seed 0)")])]
    points += reading((0.4,) * 8, backbone="$x_1$ <b>")
    found = curves_of(points)
    places = {**found.places, "$x_1$ <b>": [*PLACES, Place(8, "more", 0, 1.0)]}
    figure = depth_figure(found.table, places, found.majority)
    assert [axes.get_title(loc="left") for axes in figure.axes] == [BACKBONE, "$x_1$ <b>"]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == [
        *("read here, nothing trained", "train what lies behind", "validation", "chosen"),
        *("from scratch", "majority class"),
    ]
    names = [text.get_text() for text in figure.axes[0].get_xticklabels()]
    assert names == ["none", *BLOCKS]
    for kind in ("png", "pdf", "svg"):
        save_figure(figure, tmp_path / f"depth.{kind}", dpi=300)
        assert (tmp_path / f"depth.{kind}").stat().st_size > 5_000


def test_few_backbones_of_the_same_blocks_are_one_panel():
    names = [BACKBONE, "$x_1$ <b>", "other"]
    points = [point for name in names for point in reading((0.4,) * 8, backbone=name)]
    points += training({"1": 1.5, "all": 1.6})
    found = curves_of(points)
    (axes,) = depth_figure(found.table, found.places, found.majority).axes
    assert axes.get_title(loc="left") == ""
    legend = depth_figure(found.table, found.places).legends[0]
    assert [text.get_text() for text in legend.get_texts()][:3] == names
    # Each has its colour, in the lines of both roads as in the shares of its cost.
    costs = [text.get_color() for text in axes.texts if text.get_text() == "100%"]
    lines = [line.get_color() for line in axes.lines if line.get_marker() == "o"]
    assert costs == [line.get_color() for line in legend.get_lines()[:3]]
    assert set(costs) <= set(lines)
    (trained,) = [line for line in axes.lines if line.get_marker() == "s"]
    assert trained.get_color() == costs[0]
    # Four are too many, and other blocks have other names.
    four = curves_of([*points, *reading((0.4,) * 8, backbone="fourth")])
    assert len(depth_figure(four.table, four.places).axes) == 4
    shorter = {**found.places, "other": found.places["other"][1:]}
    assert len(depth_figure(found.table, shorter).axes) == 3


@pytest.mark.parametrize("width", [4.0, 8.0])
def test_a_legend_ends_within_its_picture(width):
    """Names of backbones may be long, and words after a cross-validation are."""
    names = ["timm:vit_base_patch14_reg4_dinov2.lvd142m", "hf:openai/clip-vit-base-patch16"]
    points = [point for name in names for point in reading((0.4,) * 8, backbone=name)]
    found = curves_of([*points, *training({"1": 1.5, "all": 1.6})])
    again = found.table[found.table["chosen"].astype(bool)].assign(road="nested", chosen=False)
    nested = pd.concat([found.table, again[again["feature"].notna()].iloc[:1]], ignore_index=True)
    for table in (found.table, nested):
        figure = depth_figure(table, found.places, 0.5, width=width)
        box = figure.legends[0].get_window_extent(FigureCanvasAgg(figure).get_renderer())
        assert box.x1 / figure.dpi <= width
        assert len(figure.legends[0].get_texts()) >= 5


def test_the_chart_names_what_is_trained_as_the_option_does():
    points = reading() + training({"1": 1.5, "3": 1.8, "all": 1.6})
    points += [Point("scratch", None, [depth_run(0.9, unfreeze="all", weights="random (seed 0)")])]
    names = [re.split("  +", line)[0] for line in depth_chart(curves_of(points), 80).splitlines()]
    assert set(names) >= {*BLOCKS, "train all", "train last 1", "train last 3", "from scratch"}


def test_nothing_to_show_is_one_sentence():
    with pytest.raises(InputError, match="There is no depth to show"):
        depth_curves([], {})


def test_two_runs_with_other_test_sets_are_refused():
    points = [*reading(), *training({"1": 3.0}, patients=100)]
    with pytest.raises(InputError):
        curves_of(points)


def test_letters_that_the_font_lacks_are_one_sentence(tmp_path):
    found = curves_of(reading((0.4,) * 8, backbone="日本語の網"))
    figure = depth_figure(found.table, found.places, found.majority)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        save_figure(figure, tmp_path / "depth.png")
    assert [str(one.message) for one in said] == [
        "Letters of some names are not in the font of the figures, and are boxes there."
    ]
