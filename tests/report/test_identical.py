"""Two methods with the same predictions: one answer wherever they are compared."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from frostline.cli import app
from frostline.report import (
    Predictions,
    compare,
    comparison_sentences,
    render_comparison,
    write_predictions,
)
from frostline.report.page.page import write_report

SAME = "identical predictions"


@pytest.fixture(scope="module")
def frozen(run):
    return run(n_groups=60, backbone="vgg16")


@pytest.fixture(scope="module")
def tuned(frozen):
    """The same predictions under the name of another method."""
    meta = {**frozen.meta, "run": "tuned", "unfreeze": "all"}
    return Predictions(frozen.table.copy(), meta)


def test_a_file_with_itself_is_one_answer_without_interval_or_p(frozen, tmp_path, capsys):
    path = tmp_path / "one.parquet"
    write_predictions(path, frozen.table, frozen.meta)
    other = shutil.copy(path, tmp_path / "other.parquet")
    for pair in ([path, path], [path, other]):
        app(["compare", *map(str, pair)], standalone_mode=False)
        said = " ".join(capsys.readouterr().out.split())
        assert f" give {SAME}: accuracy " in said
        assert not any(word in said for word in ("[", "interval", " p ", "nan", "undecided"))


def test_every_output_says_the_same(frozen, tuned, tmp_path):
    frame = compare([frozen, tuned], family="freezing", margin=0.02)
    assert frame["verdict"].tolist() == [SAME]
    assert frame[["low", "high", "p", "p_adjusted"]].isna().all(axis=None)
    (said,) = comparison_sentences(frame)
    assert said.startswith(
        f"On chest, vgg16 (frozen) and vgg16 (fine-tuned) give {SAME}: accuracy "
    )
    (one,) = json.loads(render_comparison(frame, "json"))
    assert (one["verdict"], one["p"], one["low"]) == (SAME, None, None)
    for format in ("latex", "markdown"):
        row = next(line for line in render_comparison(frame, format).splitlines() if SAME in line)
        assert "[" not in row
        assert row.count("\N{EN DASH}") + row.count("--") >= 2
    page = write_report(tmp_path, [frozen, tuned], title="Same", replicates=50)
    page = page["index.html"].read_text()
    assert f"Freezing vgg16 on chest changes nothing: {SAME} fine-tuned, accuracy" in page
    assert f"; {SAME}: vgg16 (fine-tuned)" in page
    assert "separate it" not in page
    assert "nan" not in page.partition("<script")[0].lower()


def test_what_a_metric_does_not_see_is_no_difference_to_it(frozen, tuned):
    moved = Predictions(tuned.table.copy(), tuned.meta)
    columns = [name for name in moved.table if name.startswith("prob_")]
    moved.table[columns] = moved.table[columns] ** 2
    moved.table[columns] /= moved.table[columns].sum(axis=1).to_numpy()[:, None]
    assert compare([frozen, moved])["verdict"].tolist() == [SAME]
    assert compare([frozen, moved], metric="log_loss")["verdict"].tolist() != [SAME]
    assert compare([frozen, tuned], metric="log_loss")["verdict"].tolist() == [SAME]


def test_equal_counts_of_other_images_are_not_identical(frozen, tuned):
    """Of a patient's images each run got another one wrong."""
    table = frozen.table.assign(group_id="one", prediction=frozen.table["label"])
    pair = [Predictions(table.copy(), one.meta) for one in (frozen, tuned)]
    first, second = table.index[table["label"] == "NORMAL"][:2]
    for one, place in zip(pair, (first, second), strict=True):
        one.table["group_id"] = [f"patient-{i // 30}" for i in range(len(table))]
        one.table.loc[[first, second], "group_id"] = "both"
        one.table.loc[place, "prediction"] = "PNEUMONIA"
    (row,) = compare(pair).to_dict("records")
    assert (row["verdict"], row["p"]) == ("undecided", 1)
    sizes = pair[0].table["group_id"].value_counts()
    bound = 1 - 0.025 ** ((sizes**2).sum() / sizes.sum() ** 2)
    assert (row["low"], row["high"]) == pytest.approx((-bound, bound))
    (row,) = compare(pair, metric="recall_macro").to_dict("records")
    assert "equally good in every group" in row["notes"][0].text


def test_seeds_in_another_order_are_identical_and_others_keep_their_p(run):
    def method(unfreeze, seeds, skill=2.0):
        return [
            Predictions(
                run(seed=seed, skill=skill, n_groups=60).table,
                {**run().meta, "run": f"{unfreeze}-{i}", "unfreeze": unfreeze, "seed": i},
            )
            for i, seed in enumerate(seeds)
        ]

    alike = [*method("none", (1, 2, 3)), *method("all", (3, 1, 2)), *method("2", (4, 5, 6), -1.0)]
    frame = compare(alike)
    assert frame["verdict"].tolist() == ["better", "better", SAME]
    assert frame["difference"].iloc[-1] == 0
    assert frame["family_size"].tolist() == [3, 3, 3]
    assert np.isfinite(frame["p_adjusted"].iloc[:2].astype(float)).all()
