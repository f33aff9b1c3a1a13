"""The order of classes is said by someone, and one of two classes is positive."""

from __future__ import annotations

import re
from dataclasses import replace

import pandas as pd
import pytest
from sklearn import metrics as sk

from frostline.cache import InputError
from frostline.report import (
    Predictions,
    compare,
    comparison_sentences,
    evaluate,
    over_seeds,
    rank_methods,
    read_predictions,
    render,
    render_comparison,
    score_table,
    write_predictions,
    write_report,
)
from frostline.report.notes import texts
from frostline.report.page.answers import answer
from frostline.report.statistics.aggregate import aggregate_predictions
from frostline.report.statistics.sample import WHICH_IS_POSITIVE

GRADES = ("high", "low", "medium")  # as the alphabet has them
ORDER = ["low", "medium", "high"]
AMD = ("AMD", "Non-AMD")


def by_sklearn(one: Predictions, weights: str, labels: list[str]) -> float:
    table = one.table
    return sk.cohen_kappa_score(table["label"], table["prediction"], labels=labels, weights=weights)


def value(frame: pd.DataFrame, metric: str) -> float:
    return float(frame.loc[frame["metric"] == metric, "estimate"].iloc[0])


@pytest.fixture
def grades(run) -> Predictions:
    return run(GRADES, n=80, skill=1.0, dataset="tumours")


@pytest.mark.parametrize("weights", ["linear", "quadratic"])
def test_kappa_of_grades_goes_by_the_order_that_is_given(grades, weights):
    name = f"cohen_kappa_{weights}"
    frame = evaluate([grades], metrics=[name], classes=ORDER, ci="jackknife-t")
    assert value(frame, name) == pytest.approx(by_sklearn(grades, weights, ORDER), abs=1e-12)
    # The alphabet's order has another value, so that this test sees which was taken.
    assert abs(by_sklearn(grades, weights, ORDER) - by_sklearn(grades, weights, [*GRADES])) > 0.01


def test_without_an_order_ordinal_metrics_are_refused_everywhere(grades, run):
    other = run(GRADES, n=80, seed=1, dataset="tumours", backbone="vgg16")
    metric = "cohen_kappa_quadratic"
    text = (
        "cohen_kappa_quadratic goes by the order of the classes, and nothing says which that of "
        "run-0 is (high, low, medium): declare it from the lowest to the highest by --classes, or "
        "for good by `frostline index NAME … --classes …`; nothing is trained again."
    )
    for call in (
        lambda: evaluate([grades], metrics=[metric]),
        lambda: compare([grades, other], metric=metric),
        lambda: over_seeds([grades], metrics=[metric]),
        lambda: rank_methods([grades, other], metric=metric),
    ):
        with pytest.raises(InputError) as caught:
            call()
        assert str(caught.value) == text
    assert len(evaluate([grades], metrics=["cohen_kappa"]))
    found = compare([grades, other], metric=metric, classes=ORDER)
    assert found["estimate_a"].item() == pytest.approx(by_sklearn(grades, "quadratic", ORDER))
    assert len(rank_methods([grades, other], metric=metric, classes=ORDER, replicates=100)) == 2
    pooled = over_seeds([grades], metrics=[metric], classes=ORDER)
    assert value(pooled, metric) == pytest.approx(by_sklearn(grades, "quadratic", ORDER))


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (("G1", "G10", "G2"), ["G1", "G2", "G10"]),
        (("grade 1", "grade 2", "grade 3"), ["grade 1", "grade 2", "grade 3"]),
        (("10", "2", "3"), ["2", "3", "10"]),
    ],
)
def test_numbers_in_the_names_say_the_order(run, classes, expected):
    one = run(classes, n=80, skill=0.5)
    frame = evaluate([one], metrics=["cohen_kappa_linear"])
    wanted = by_sklearn(one, "linear", expected)
    assert value(frame, "cohen_kappa_linear") == pytest.approx(wanted, abs=1e-12)


def test_two_classes_have_one_order(run):
    one = run(AMD)
    frame = evaluate([one], metrics=["cohen_kappa_quadratic"])
    assert value(frame, "cohen_kappa_quadratic") == pytest.approx(by_sklearn(one, None, [*AMD]))


@pytest.mark.parametrize("positive", AMD)
def test_the_positive_class_is_chosen_and_named(run, positive):
    one = run(AMD, n=200, skill=0.7)
    metrics = ["average_precision", "roc_auc", "accuracy"]
    frame = evaluate([one], metrics=metrics, positive=positive)
    truth, score = one.table["label"], one.table[f"prob_{positive}"]
    wanted = sk.average_precision_score(truth, score, pos_label=positive)
    assert value(frame, "average_precision") == pytest.approx(wanted, abs=1e-12)
    auc = sk.roc_auc_score(truth == positive, score)
    assert value(frame, "roc_auc") == pytest.approx(auc, abs=1e-12)
    headings = [column.heading for column in score_table(frame).columns]
    assert f"Average precision (positive: {positive})" in headings
    assert f"ROC AUC (positive: {positive})" in headings
    assert "Accuracy" in headings
    for format in ("markdown", "latex", "json"):
        assert positive in render(frame, format)
    # The same as the order says it: the last of two is positive.
    order = sorted(AMD, key=lambda name: name == positive)
    given = evaluate([one], metrics=metrics, classes=order)
    pd.testing.assert_frame_equal(given.drop(columns="notes"), frame.drop(columns="notes"))
    for one, text in (
        (given, f"The order of the classes is the given one ({', '.join(order)})."),
        (frame, f"The positive class is the given one ({positive})."),
    ):
        assert text in " ".join(render(one).split())


def test_what_does_not_hang_on_the_order_is_the_same_in_any(run):
    one = run(AMD, n=900, n_groups=600, skill=1.5)
    metrics = ["accuracy", "f1_macro", "recall[AMD]", "roc_auc", "log_loss", "brier_score_loss"]
    shown = ["metric", "estimate", "low", "high", "method"]
    for how in ({}, {"ci": "percentile"}, {"ci": "bca", "stratified": True}):
        frames = [
            evaluate([one], metrics=metrics, replicates=300, classes=order, **how)[shown]
            for order in (AMD, AMD[::-1])
        ]
        pd.testing.assert_frame_equal(*frames, rtol=1e-12)
    three = [run(GRADES, n=300, seed=i, backbone=f"b{i}", dataset="tumours") for i in range(3)]
    shown = ["difference", "low", "high", "p", "p_adjusted"]
    for metric in ("accuracy", "f1_macro", "log_loss"):
        found = [compare(three, metric=metric, classes=order)[shown] for order in (GRADES, ORDER)]
        pd.testing.assert_frame_equal(*found, rtol=1e-9)


def test_a_doubtful_positive_class_is_said(run):
    def said(names: tuple[str, str], metric: str = "average_precision", **given: object) -> str:
        return render(evaluate([run(names)], metrics=[metric], **given))

    text = "chooses the positive class: not declared, it is the last in the list of classes"
    flat = " ".join(said(AMD).split())
    assert f"{text} (Non-AMD)." in flat
    assert WHICH_IS_POSITIVE.text.removesuffix(".") in flat
    for named in (
        said(("NORMAL", "PNEUMONIA")),
        said(("0", "1")),
        said(AMD, positive="AMD"),
        said(AMD, classes=["Non-AMD", "AMD"]),
        said(AMD, "accuracy"),
        said(AMD, "roc_auc"),  # it is the same of either class
    ):
        assert text not in " ".join(named.split())


def test_sentences_name_the_positive_class(run):
    pair = [run(AMD, n=200), run(AMD, n=200, seed=1, unfreeze="all", skill=0.5)]
    metric = "average_precision"
    found = compare(pair, metric=metric, positive="AMD")
    assert found["positive"].item() == "AMD"
    assert "average precision (positive: AMD) +" in comparison_sentences(found)[0]
    assert "Paired comparisons of average precision (positive: AMD)" in render_comparison(
        found, "latex"
    )
    declared = [one.in_order(["Non-AMD", "AMD"]) for one in pair]
    sentences = answer(evaluate(declared, metrics=[metric]), metric, declared)
    assert len(sentences) == 2
    assert all("average precision (positive: AMD)" in text for text in sentences)


def test_data_sets_of_other_positive_classes_each_name_theirs(run):
    chest, eyes = run(), run(AMD, dataset="eyes").in_order(["Non-AMD", "AMD"])
    table = score_table(evaluate([chest, eyes], metrics=["average_precision"]))
    assert table.columns[1].heading == "Average precision"
    text = " ".join(render(evaluate([chest, eyes], metrics=["average_precision"])).split())
    assert "The positive class (chest: PNEUMONIA; eyes: AMD)." in text


def test_what_cannot_be_an_order_or_a_positive_class(run, grades):
    for given, text in (
        ({"classes": ["low", "high"]}, "run-0 has the class 'medium', which --classes does not "),
        ({"classes": ["low", "low", "high"]}, "--classes names 'low' twice (low, low, high): "),
        ({"classes": ["low"]}, "--classes names one class (low): name all of them, from "),
        ({"positive": "low"}, "--positive is for two classes, and run-0 has 3 (high, low, medium)"),
        ({"positive": "grave"}, "--positive 'grave' is no class of run-0: it has high, low, "),
    ):
        with pytest.raises(InputError) as caught:
            evaluate([grades], **given)
        assert str(caught.value).startswith(text)
        assert str(caught.value).endswith(".")
    # A class that no run has is no fault: one list serves several data sets.
    evaluate([grades], classes=["none", *ORDER])


def test_runs_that_are_shown_together_have_one_order(run):
    plain, other = run(AMD), run(AMD, seed=1, backbone="vgg16")
    said = other.in_order(["Non-AMD", "AMD"])
    frame = evaluate([plain, said], metrics=["average_precision"])
    assert set(frame["positive"]) == {"AMD"}
    against = plain.in_order(["AMD", "Non-AMD"])
    with pytest.raises(InputError, match=r"^run-0 and run-1 declare different orders of their cl"):
        evaluate([against, said], metrics=["average_precision"])
    frame = evaluate([against, said], metrics=["average_precision"], positive="AMD")
    assert set(frame["positive"]) == {"AMD"}
    # Class lists in any order, as the columns of somebody's probabilities give them.
    meta = {**other.meta, "classes": ["Non-AMD", "AMD"]}
    frame = evaluate([plain, replace(other, meta=meta)], metrics=["average_precision"])
    assert set(frame["positive"]) == {"Non-AMD"}


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_a_file_keeps_its_declared_order(grades, tmp_path, suffix):
    declared = grades.in_order(ORDER)
    columns = [name for name in declared.table if name.startswith("prob_")]
    assert columns == ["prob_low", "prob_medium", "prob_high"]
    assert list(declared.meta["class_counts"]) == ORDER
    write_predictions(tmp_path / f"run{suffix}", declared.table, declared.meta)
    back = read_predictions(tmp_path / f"run{suffix}")
    assert (back.classes, back.declared) == (ORDER, True)
    assert [name for name in back.table if name.startswith("prob_")] == columns
    frame = evaluate([back], metrics=["cohen_kappa_quadratic"])
    assert value(frame, "cohen_kappa_quadratic") == pytest.approx(
        by_sklearn(grades, "quadratic", ORDER)
    )


def test_the_page_and_its_figures_name_the_positive_class(run, tmp_path):
    pair = [run(AMD, n=80), run(AMD, n=80, seed=1, unfreeze="all")]
    declared = [one.in_order(["Non-AMD", "AMD"]) for one in pair]
    how = {"title": "Eyes", "primary": "average_precision", "replicates": 100}
    files = write_report(tmp_path, declared, figure_formats=["svg"], **how)
    for name, axis in (
        ("roc-1", "False positive rate (positive: AMD)"),
        ("precision-recall-1", "Recall (positive: AMD)"),
        ("decision-1", "Threshold probability (positive: AMD)"),
        ("reliability-1", "Mean confidence (positive: AMD)"),
        ("forest-1", "Average precision (positive: AMD) (%) with 95% interval"),
    ):
        assert axis in files[f"figures/{name}.svg"].read_text(), name
    page = files["index.html"].read_text()
    assert "ROC curves (positive: AMD)" in page
    assert "Average precision (positive: AMD)" in page
    assert "average precision (positive: AMD)" in files["answer.txt"].read_text().replace("\n", " ")
    assert "Average precision (positive: AMD)" in files["tables/scores.tex"].read_text()
    # Another order is another page, from the same predictions.
    undeclared = write_report(tmp_path, pair, figure_formats=["svg"], **how)
    assert "(positive: Non-AMD)" in undeclared["figures/roc-1.svg"].read_text()


def test_confusion_and_scores_of_classes_are_in_the_declared_order(grades, tmp_path):
    declared = grades.in_order(ORDER)
    files = write_report(
        tmp_path, [declared], title="Grades", figure_formats=["svg"], replicates=100
    )
    table = pd.read_csv(files["tables/classes.csv"])
    assert table["class"].tolist() == ORDER
    page = files["index.html"].read_text()
    assert re.findall(r'<th scope="row"><bdi>(\w+)<', page)[:3] == ORDER


def test_notes_of_a_run_without_probabilities_say_nothing_of_positives(run):
    one = run(AMD)
    bare = replace(one, table=one.table[[c for c in one.table if not c.startswith("prob_")]])
    frame = evaluate([bare], metrics=["accuracy"])
    assert not any("positive" in text for notes in frame["notes"] for text in texts(notes))


def test_ties_go_by_name_whatever_the_order(run):
    one = run(AMD, class_counts=dict.fromkeys(AMD, 5))
    pair = one.table.iloc[:2].assign(group_id="both", label="AMD", prediction=[*AMD])
    pair = pair[[name for name in pair if not name.startswith("prob_")]]
    for order in (AMD, AMD[::-1]):
        frame = evaluate([one], metrics=["recall[AMD]"], classes=order, replicates=100)
        assert frame.loc[frame["head"] == "majority class", "estimate"].tolist() == [1.0]
        voted = aggregate_predictions(replace(one, table=pair).in_order(order), "vote")
        assert voted.table["prediction"].tolist() == ["AMD"]
