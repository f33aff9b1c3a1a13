"""A function of your own where a metric's name goes: the example of the docs, and mistakes."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import frostline
from frostline.cache import InputError
from frostline.report import compare, evaluate, over_seeds, rank_methods, write_predictions

DOCS = Path(__file__).resolve().parents[2] / "docs" / "statistics.md"


def share_right(truth, prediction, probabilities):
    return (truth == prediction).mean()


def test_the_example_of_the_docs(run, tmp_path, monkeypatch, capsys):
    one = run()
    write_predictions(tmp_path / "run.parquet", one.table, one.meta)
    other = run(seed=1, skill=-1.0)
    write_predictions(tmp_path / "other.parquet", other.table, other.meta)
    monkeypatch.chdir(tmp_path)
    text = DOCS.read_text(encoding="utf-8").partition("test_own_metric.py -->")[2]
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert code is not None
    names: dict[str, object] = {}
    exec(compile(code[1], str(DOCS), "exec"), names)
    frame = names["scores"]
    row = frame[frame["metric"] == "missed"].iloc[0]
    sick = one.table[one.table["label"] == "PNEUMONIA"]
    assert row["estimate"] == pytest.approx((sick["prediction"] != "PNEUMONIA").mean())
    assert row["low"] < row["estimate"] < row["high"]
    assert "missed" in capsys.readouterr().out
    pair = names["found"].iloc[0]
    assert pair["estimate_a"] == row["estimate"]
    # Fewer are missed by the first, and that is better.
    assert pair["difference"] < 0
    assert pair["verdict"] == "better"


def test_it_is_the_bootstrap_over_groups_that_the_same_metric_has(run):
    one = run(n=200, n_groups=50)
    frame = evaluate(
        [one], metrics=["accuracy", share_right], ci="percentile", replicates=4000
    ).set_index(["run", "metric"])
    own, ours = (frame.loc[("run-0", name)] for name in ("share_right", "accuracy"))
    assert own["estimate"] == pytest.approx(ours["estimate"])
    assert (own["n_units"], own["unit"], own["method"]) == (
        ours["n_units"],
        "group",
        "percentile",
    )
    for name in ("low", "high"):
        assert own[name] == pytest.approx(ours[name], abs=0.006)
    shuffled = run(n=200, n_groups=50)
    shuffled.table = shuffled.table.sample(frac=1, random_state=1)
    again = evaluate([shuffled], metrics=[share_right], ci="percentile", replicates=4000).iloc[0]
    assert (again["low"], again["high"]) == (own["low"], own["high"])


def test_probabilities_come_in_the_order_of_the_classes(run):
    one = run()

    def first_is_normal(truth, prediction, probabilities):
        return ((probabilities[:, 0] > 0.5) == (prediction == "NORMAL")).mean()

    assert evaluate([one], metrics=[first_is_normal], replicates=100)["estimate"][0] == 1
    one.table = one.table.drop(columns=["prob_NORMAL", "prob_PNEUMONIA"])

    def without(truth, prediction, probabilities):
        return float(probabilities is None)

    assert evaluate([one], metrics=[without], replicates=100)["estimate"][0] == 1


def test_a_replicate_without_a_value_counts_as_undefined(run):
    def brittle(truth, prediction, probabilities):
        if len(set(truth[:9])) < 2:
            raise ValueError("one class")
        return np.nan if truth[0] == truth[1] else 0.5

    row = evaluate([run()], metrics=[brittle], replicates=200).iloc[0]
    assert np.isnan(row["low"])
    assert row["notes"][0].text.startswith("No interval: undefined in ")
    assert row["notes"][0].metrics == ("brittle",)


def test_mistakes_are_sentences(run):
    def broken(truth, prediction, probabilities):
        return truth.no_such_thing

    def accuracy(truth, prediction, probabilities):
        return 0.5

    for metric, options, message in (
        (broken, {}, "Your metric broken failed: AttributeError: "),
        (accuracy, {}, "There is a metric 'accuracy' already: give your function another name."),
        (lambda t, p, q: 0.5, {}, "A metric without a name cannot be in a table: "),
        (share_right, {"ci": "bca"}, "share_right is a function of your own, which has the "),
    ):
        with pytest.raises(InputError) as caught:
            evaluate([run()], metrics=[metric], replicates=100, **options)
        assert str(caught.value).startswith(message)
    with pytest.raises(InputError, match="^A function of your own is scored by "):
        rank_methods([run(), run(seed=1, unfreeze="all")], metric=share_right)


def test_the_face_takes_it_too(run):
    assert frostline.evaluate(run(), metrics=[share_right], replicates=100)["metric"][0] == (
        "share_right"
    )


@pytest.mark.parametrize("n_groups", [8, 50])
def test_comparing_by_it_is_comparing_by_the_same_metric(run, n_groups):
    runs = [run(n_groups=n_groups), run(seed=1, skill=0.5, n_groups=n_groups)]
    own, ours = (
        compare(runs, metric=metric, margin=0.1, replicates=2000).iloc[0]
        for metric in (share_right, "accuracy")
    )
    for name in ("estimate_a", "difference"):
        assert own[name] == pytest.approx(ours[name]), name
    # Of a function there are pseudo-values; of accuracy what groups contribute is known.
    for name in ("low", "high", "group_error", "equivalence_p", "p"):
        assert own[name] == pytest.approx(ours[name], abs=0.03), name
    assert own["metric"] == "share_right"


def test_seeds_are_pooled_by_it(run):
    runs = [run(seed=s, run=f"s{s}") for s in range(3)]
    for seed, one in enumerate(runs):
        one.meta["seed"] = seed
    frame = over_seeds(runs, metrics=["accuracy", share_right])
    ours, own = frame.to_dict("records")
    assert own["estimate"] == pytest.approx(ours["estimate"])
    for name in ("group_error", "seed_error", "df"):  # of pseudo-values here, of sums there
        assert own[name] == pytest.approx(ours[name], rel=0.1), name
