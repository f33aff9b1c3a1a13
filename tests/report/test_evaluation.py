"""Scores, intervals and the majority row, as `evaluate` reports them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from frostline.cache import InputError
from frostline.report import Predictions, evaluate, read_predictions
from frostline.report.notes import texts
from frostline.report.statistics.evaluation import COLUMNS
from frostline.report.statistics.intervals.bounds import percentile_bounds
from frostline.report.statistics.intervals.intervals import BOOTSTRAP_MEAN
from frostline.report.statistics.sample import INDEPENDENT, NO_GROUPS


def row(frame, metric="accuracy", run=None):
    chosen = frame[frame["metric"] == metric]
    return chosen[chosen["run"] == run].iloc[0] if run else chosen.iloc[0]


def test_long_form(run):
    frame = evaluate([run()], replicates=500, ci="percentile")
    assert tuple(frame.columns) == COLUMNS
    one = row(frame)
    table = run().table
    assert one["estimate"] == pytest.approx((table["label"] == table["prediction"]).mean())
    assert one["low"] < one["estimate"] < one["high"]
    assert one["unit"] == "group"
    assert one["n_units"] == table["group_id"].nunique()
    assert one["n_images"] == 60
    assert one["method"] == "percentile"
    assert one["replicates"] == 500
    assert one["notes"] == ()


def test_interval_agrees_with_resampling_rows(run):
    """The usual way, group by group in pandas, gives the same interval up to its own noise."""
    table = run().table
    right = (table["label"] == table["prediction"]).groupby(table["group_id"]).agg(["sum", "count"])
    draws = np.random.default_rng(3).integers(0, len(right), size=(20_000, len(right)))
    sums = right.to_numpy()[draws].sum(axis=1)
    low, high = np.quantile(sums[:, 0] / sums[:, 1], [0.025, 0.975])
    one = row(evaluate([run()], ci="percentile"))
    assert one["low"] == pytest.approx(low, abs=0.01)
    assert one["high"] == pytest.approx(high, abs=0.01)


def test_order_of_rows_changes_nothing(run):
    shuffled = run()
    shuffled.table = shuffled.table.sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(
        evaluate([run()], replicates=300), evaluate([shuffled], replicates=300)
    )


def test_majority_row_comes_from_training_counts(run):
    """Training's commonest class is the answer even where the test set's is another."""
    one = run(class_counts={"NORMAL": 70, "PNEUMONIA": 30})
    frame = evaluate([one], replicates=300)
    score = row(frame, run="majority-chest")
    assert score["estimate"] == pytest.approx((one.table["label"] == "NORMAL").mean())
    (note,) = score["notes"]
    assert (note.text, note.classes) == ("The majority class is that of training.", ("NORMAL",))
    assert row(frame, "balanced_accuracy", "majority-chest")["estimate"] == 0.5


def test_one_majority_row_for_each_data_set_and_test_set(run):
    other_rows = run(n=40, run="c")
    frame = evaluate(
        [run(run="a"), run(seed=1, run="b"), other_rows, run(run="d", dataset="skin")],
        replicates=100,
    )
    majority = [name for name in frame["run"].unique() if "majority" in name]
    assert majority == ["majority-chest", "majority-chest #2", "majority-skin"]


def test_no_majority_row_without_counts(run):
    frame = evaluate([run(class_counts=None)], replicates=100)
    assert frame["run"].unique().tolist() == ["run-0"]
    assert texts(row(frame)["notes"]) == [
        "There is no majority row: class counts of training are not given."
    ]


def test_counts_of_one_run_serve_all_of_its_test_set(run):
    frame = evaluate([run(run="a"), run(run="b", class_counts=None)], replicates=100)
    assert frame["run"].unique().tolist() == ["a", "b", "majority-chest"]
    assert row(frame, run="b")["notes"] == ()


def test_images_as_units_are_said(run):
    by_image = row(evaluate([run()], unit="image", replicates=100))
    assert (by_image["unit"], by_image["n_units"]) == ("image", 60)
    assert texts(by_image["notes"]) == [INDEPENDENT.text]
    without = run()
    without.table["group_id"] = None
    assert texts(row(evaluate([without], replicates=100))["notes"]) == [NO_GROUPS.text]


def test_groups_of_one_image_need_no_assumption(run):
    alone = run()
    alone.table["group_id"] = alone.table["image_id"]
    one = row(evaluate([alone], replicates=100))
    assert (one["unit"], one["n_units"], one["notes"]) == ("image", 60, ())


def test_a_class_that_is_never_predicted_is_said(run):
    one = run()
    one.table["prediction"] = "PNEUMONIA"
    frame = evaluate([one], replicates=100)
    assert not any("never" in text for text in texts(row(frame)["notes"]))
    (note,) = row(frame, metric="precision_weighted")["notes"]
    assert note.text == "Precision counts as 0 for a class that is never predicted."
    assert (note.classes, note.runs, note.dataset) == (("NORMAL",), ("run-0",), "chest")
    majority = row(frame, run="majority-chest", metric="precision_weighted")
    assert not any("never" in text for text in texts(majority["notes"]))


def test_replicate_mean_is_labelled_and_as_narrow_as_the_papers(run):
    """Published: chest X-ray 83.82 [83.77, 83.86] with n = 624 and 5,000 replicates."""
    right = np.arange(624) < 523
    table = pd.DataFrame(
        {
            "image_id": np.arange(624).astype(str),
            "group_id": "one",
            "split": "test",
            "label": "a",
            "prediction": np.where(right, "a", "b"),
        }
    )
    published = Predictions(table, {**run().meta, "classes": ["a", "b"], "class_counts": None})
    one = row(evaluate([published], ci="replicate-mean"))
    assert one["replicates"] == 5000
    assert (one["unit"], one["n_units"]) == ("image", 624)
    assert texts(one["notes"])[1:] == [INDEPENDENT.text, BOOTSTRAP_MEAN.text]
    assert one["high"] - one["low"] == pytest.approx(0.0009, abs=0.0001)
    honest = row(evaluate([published], ci="percentile", unit="image"))
    assert (honest["low"], honest["high"]) == pytest.approx((0.809, 0.867), abs=0.002)


def test_a_flawless_run_is_not_certain(run):
    flawless = run(skill=50.0)
    one = row(evaluate([flawless]))
    assert (one["estimate"], one["high"], one["method"]) == (1.0, 1.0, "clopper-pearson")
    images = flawless.table["group_id"].value_counts()
    effective = images.sum() ** 2 / (images**2).sum()
    assert one["low"] == pytest.approx(0.025 ** (1 / effective))
    assert row(evaluate([flawless], ci="percentile"))["low"] == 1.0


def test_split_is_chosen_and_its_absence_said(run):
    mixed = run()
    mixed.table.loc[:19, "split"] = "val"
    assert row(evaluate([mixed], replicates=100))["n_images"] == 40
    assert row(evaluate([mixed], split="val", replicates=100))["n_images"] == 20
    assert row(evaluate([mixed], split="all", replicates=100))["n_images"] == 60
    mixed.table["split"] = None
    one = row(evaluate([mixed], replicates=100))
    assert (one["n_images"], one["split"]) == (60, "all")
    assert texts(one["notes"]) == ["There is no split column: all rows are scored."]


def test_rows_without_label_are_left_out_and_said(run):
    partly = run()
    partly.table.loc[:4, "label"] = None
    one = row(evaluate([partly], replicates=100))
    assert one["n_images"] == 55
    assert texts(one["notes"]) == ["Left out: 5 rows without a label."]


def test_runs_of_one_name_are_told_apart(run):
    frame = evaluate([run(), run()], replicates=100)
    assert frame["run"].unique().tolist() == ["run-0", "run-0 #2", "majority-chest"]


def test_undefined_replicates():
    values = np.linspace(0, 1, 1000)
    values[:5] = np.nan
    low, high, note = percentile_bounds(values)
    assert low == pytest.approx(0.03, abs=0.01)
    assert high == pytest.approx(0.975, abs=0.01)
    assert note == "Undefined in 5 of 1000 replicates."
    values[:20] = np.nan
    low, high, note = percentile_bounds(values)
    assert np.isnan([low, high]).all()
    assert note == "No interval: undefined in 2.0% of replicates."


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ci": "wald"}, "There is no interval 'wald': choose from auto, percentile, "),
        ({"unit": "slice"}, "There is no unit 'slice': choose from group, image."),
        ({"replicates": 1}, "1 replicate cannot make an interval: ask for 1000 or more."),
        ({"split": "tset"}, "run-0: no row is of split 'tset', but of test: choose one of them."),
        ({"metrics": ["f2"]}, "There is no metric 'f2': choose from accuracy, "),
    ],
)
def test_wrong_options(run, options, message):
    with pytest.raises(InputError) as caught:
        evaluate([run()], **options)
    assert str(caught.value).startswith(message)


def test_nothing_to_score(run):
    with pytest.raises(InputError, match=r"^There are no predictions to evaluate: "):
        evaluate([])
    unlabelled = run()
    unlabelled.table["label"] = None
    with pytest.raises(InputError, match=r"^run-0: no row of split 'test' has a label: "):
        evaluate([unlabelled])


def test_paths_and_foreign_files(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("true_label,prediction,split\na,a,test\nb,a,test\na,a,train\n")
    frame = evaluate([path], replicates=100)
    assert frame["run"].unique().tolist() == ["mine", "majority"]
    assert row(frame)["estimate"] == 0.5
    assert read_predictions(path).meta["class_counts"] == {"a": 1, "b": 0}


def test_names_of_classes_may_hold_any_mark(run):
    """No text is taken apart again: classes come as they are called, in the notes' own field."""
    odd = ("nevus; benign", "melanoma: thick", "a, b never predicts c")
    one = run(odd)
    one.table["prediction"] = odd[0]
    frame = evaluate([one], metrics=["precision_macro"], replicates=100)
    notes = [note for note in row(frame, metric="precision_macro")["notes"] if note.classes]
    assert [note.classes for note in notes if "never" in note.text] == [(odd[1],), (odd[2],)]
    assert {name for note in notes for name in note.classes} == set(odd)
    assert not any(mark in note.text for note in notes for mark in odd)
