"""The format survives a round trip, others' tables are read, and each mistake has its sentence."""

from __future__ import annotations

import json
import os

import pandas as pd
import pyarrow.parquet as pq
import pytest

from frostline.cache import InputError
from frostline.report import evaluate, read_predictions, write_predictions
from frostline.report.notes import texts
from frostline.report.predictions import META_KEYS, OF_SCORES


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_round_trip(run, tmp_path, suffix):
    one = run(hyperparameters={"lr": 1e-4}, train_fraction=0.5, unfreeze="2")
    path = tmp_path / "deep" / f"run{suffix}"
    write_predictions(path, one.table, one.meta)
    back = read_predictions(path)
    assert set(META_KEYS) <= set(back.meta)
    assert back.meta["format_version"] == 2
    assert {key: back.meta[key] for key in one.meta} == one.meta
    assert back.table.columns.tolist() == one.table.columns.tolist()
    for name in one.table:
        pd.testing.assert_series_equal(back.table[name], one.table[name], check_dtype=False)
    assert not [name for name in os.listdir(path.parent) if name.startswith(".tmp")]


def test_unlabelled_rows_and_no_groups_round_trip(run, tmp_path):
    one = run()
    table = one.table.drop(columns=["group_id", "split", "label"])
    write_predictions(tmp_path / "new.csv", table, one.meta)
    back = read_predictions(tmp_path / "new.csv").table
    assert back[["group_id", "split", "label"]].isna().all(axis=None)


def test_classes_that_look_like_missing_values_are_classes(run, tmp_path):
    one = run(("NA", "None", "nan", "1.0"))
    for path in (tmp_path / "r.csv", tmp_path / "r.parquet"):
        write_predictions(path, one.table, one.meta)
        assert read_predictions(path).table["label"].tolist() == one.table["label"].tolist()


def test_a_failed_write_leaves_the_old_file(run, tmp_path, monkeypatch):
    path = tmp_path / "run.parquet"
    write_predictions(path, run().table, run().meta)
    before = path.read_bytes()

    def full(*_args, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(OSError, match="No space left"):
        write_predictions(path, run(seed=1).table, run().meta)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["run.parquet"]


def test_the_papers_csv(tmp_path):
    """Their last row is "Overall", not an image; numbers may be 1 in one column, 1.0 in another."""
    path = tmp_path / "dinov2.csv"
    path.write_text(
        "image_name,prediction,true_label\na.png,1,1.0\nb.png,0,1.0\nc.png,0,0.0\nOverall,0.67,\n"
    )
    back = read_predictions(path)
    assert back.table["image_id"].tolist() == ["a.png", "b.png", "c.png"]
    assert back.table["label"].tolist() == ["1", "1", "0"]
    assert back.classes == ["0", "1"]
    assert texts(back.notes) == ['The last row, "Overall", is no image and was left out.']
    assert back.run == "dinov2"


def test_foreign_columns(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_bytes("\ufefftarget,prediction,prob_x,prob_y,age\nx,x,0.75,0.25,40\n".encode())
    back = read_predictions(path)
    assert back.classes == ["x", "y"]
    assert back.table["image_id"].isna().all()
    assert back.table["age"].tolist() == ["40"]
    assert back.meta["backbone"] is None


def test_foreign_parquet(tmp_path):
    path = tmp_path / "mine.parquet"
    pd.DataFrame({"label": [10, 9, 2], "prediction": [10, 2, 2]}).to_parquet(path)
    assert read_predictions(path).classes == ["2", "9", "10"]


@pytest.mark.parametrize(
    ("classes", "decimals", "row"),
    [
        (3, 2, [0.33] * 3),  # sums to 0.99
        (6, 2, [0.17] * 6),  # 1.02
        (14, 2, [0.07] * 14),  # 0.98
        (2, 3, [0.505, 0.505]),
        (100, 2, [0.01] * 70 + [0.0] * 30),
        (7, 1, [0.1] * 7),
    ],
)
def test_rounded_probabilities_pass_and_are_said(tmp_path, classes, decimals, row):
    path = tmp_path / "rounded.csv"
    header = ",".join(f"prob_{number}" for number in range(classes))
    cells = ",".join(f"{value:.{decimals}f}" for value in row)
    path.write_text(f"label,prediction,{header}\n" + f"0,0,{cells}\n" * 3)
    back = read_predictions(path)
    assert [text[:24] for text in texts(back.notes)] == [f"Probabilities have {decimals} dec"]
    path.write_text(f"label,prediction,{header}\n" + f"0,0,{cells}9\n" * 3)
    if classes > 3:  # one more decimal allows a tenth of it
        with pytest.raises(InputError, match="the probabilities sum to .*, not 1"):
            read_predictions(path)


def test_label_rules_are_those_of_index(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text(
        "image_id,group_id,split,label,prediction\n"
        "001,A,Test,Mass,Mass\n1,a,TRAIN,mass,Mass \n2,b,valid,cyst,cyst\n3,b,fold 1,cyst,Mass\n"
    )
    back = read_predictions(path)
    assert back.table["split"].tolist() == ["test", "train", "val", "fold 1"]
    assert back.table["image_id"].tolist() == ["001", "1", "2", "3"]
    assert texts(back.notes) == [
        "The labels 'Mass' and 'mass' differ in blanks or case only, and count as different.",
        "The groups 'A' and 'a' differ in blanks or case only, and count as different.",
        "The images '001' and '1' differ in zeros in front or behind only, and count as different.",
    ]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["", "{}"])
def test_neither_separators_nor_those_behind_a_row_shift_columns(tmp_path, separator, end):
    """Once, a comma at the end of rows made the label the prediction: accuracy 0 for 1."""
    path, rows = tmp_path / "t.csv", [f"{i % 2},{i % 2},{(i + 1) % 2}" for i in range(40)]
    text = "\n".join(["label,prediction,second_choice", *(row + end.format(",") for row in rows)])
    path.write_text(text.replace(",", separator))
    assert evaluate([path], metrics=["accuracy"])["estimate"].tolist() == [1.0]


HEAD = "image_id,label,prediction,prob_a,prob_b\n"
WRONG = {
    "prediction column": (
        "label,guess\na,a\n",
        "{}: no column prediction; it has label, guess: rename or add one, or map it by --columns.",
    ),
    "both columns": (
        "truth,guess\na,a\n",
        "{}: no column label (or true_label) and no column prediction; it has truth, guess: "
        "rename or add one, or map it by --columns; `frostline predictions import` takes labels "
        "from a data set.",
    ),
    "empty file": ("", "{}: the file is empty; it needs a header and rows."),
    "no rows": (HEAD, "{}: there are no rows; give a file with one row an image."),
    "duplicate": (
        HEAD + "i,a,a,1,0\nj,b,b,0,1\ni,a,a,1,0\n",
        "{}, row 3 (line 4): image_id 'i' occurs twice; keep one row an image.",
    ),
    "NaN": (
        HEAD + "i,a,a,1,0\nj,a,a,,1\n",
        "{}, row 2 (line 3): a probability is missing or NaN; fill it.",
    ),
    "text for number": (
        HEAD + "i,a,a,high,0\n",
        "{}, row 1 (line 2): prob_a is 'high', not a number; write a number.",
    ),
    "negative": (
        HEAD + "i,a,a,1.5,-0.5\nj,a,a,2,-1\n",
        f"{{}}, row 1 (line 2), and 1 more: a probability is negative; {OF_SCORES}.",
    ),
    "sum": (
        HEAD + "i,a,a,0.7,0.7\n",
        f"{{}}, row 1 (line 2): the probabilities sum to 1.4, not 1; {OF_SCORES}.",
    ),
    "label": (
        HEAD + "i,c,a,1,0\n",
        "{}, row 1 (line 2): label 'c' is not in the class list (a, b); "
        "correct the label or the class list.",
    ),
    "prediction": (
        HEAD + "i,a,c,1,0\n",
        "{}, row 1 (line 2): prediction 'c' is not in the class list (a, b); "
        "correct the prediction or the class list.",
    ),
    "empty prediction": (
        HEAD + "i,a,,1,0\n",
        "{}, row 1 (line 2): the prediction is empty; fill it or remove the row.",
    ),
    "half the groups": (
        "label,prediction,group_id\na,a,g\na,a,\n",
        "{}, row 2 (line 3): group_id is empty while other rows have one; "
        "fill it in every row or in none.",
    ),
    "ragged": (
        "label,prediction\na,a\na,a,a,a\n",
        "{}, row 3 (the header is row 1): it has 4 fields and the header 2; correct that row, and "
        "quote cells that hold a comma.",
    ),
    "several labels": (
        "label,prediction\nMass,Mass\nMass|Cyst,Mass\n",
        "{}, row 2 (line 3), column label: the label 'Mass|Cyst' is several labels, and Frostline "
        "is for one label an image: write one in each cell (one column a finding, with yes and no, "
        "makes one data set a finding), or, if it is one class, name it without '|', ',' or ';'.",
    ),
    "measurements": (
        "label,prediction\n" + "".join(f"{i},{i * 1.37:.2f}\n" for i in range(12)),
        "{}, row 1 (line 2), column label: the label '0' is one of 12 different numbers, a "
        "measurement such as an age and no class, and Frostline is for classes: make a column of "
        "classes (such as 'under 60' and '60 and over'), or, if the numbers are names of classes, "
        "write them with a letter in front.",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_files(tmp_path, name):
    text, message = WRONG[name]
    path = tmp_path / "wrong.csv"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_predictions(path)
    assert str(caught.value) == message.format(path)


def test_other_wrong_files(tmp_path):
    def sentence(name):
        with pytest.raises(InputError) as caught:
            read_predictions(tmp_path / name)
        return str(caught.value).removeprefix(f"{tmp_path}/")

    (tmp_path / "a.parquet").write_bytes(b"PAR1 but no more")
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "latin.csv").write_bytes("label,prediction\né,é\n".encode("latin-1"))
    assert sentence("no.csv").startswith("no.csv: there is no such file; ")
    damaged = sentence("a.parquet")
    assert damaged.startswith("a.parquet is damaged (")
    assert damaged.endswith("): make it again.")
    assert sentence("a.txt").startswith("a.txt: predictions are read from .parquet or .csv; ")
    assert sentence("latin.csv").startswith("latin.csv: not UTF-8 text (line 2 has the byte 0xe9")


def test_a_newer_version_is_refused_with_the_remedy(run, tmp_path):
    path = tmp_path / "run.parquet"
    write_predictions(path, run().table, run().meta)
    data = pq.read_table(path)
    meta = json.loads(data.schema.metadata[b"frostline"]) | {"format_version": 3}
    pq.write_table(data.replace_schema_metadata({b"frostline": json.dumps(meta)}), path)
    with pytest.raises(InputError) as caught:
        read_predictions(path)
    assert str(caught.value) == (
        f"{path} has format version 3, this release reads up to 2: install a newer Frostline."
    )


def test_what_may_not_be_written(run, tmp_path):
    one = run()

    def sentence(table, meta, name="run.parquet"):
        with pytest.raises(InputError) as caught:
            write_predictions(tmp_path / name, table, meta)
        assert not list(tmp_path.iterdir())
        return str(caught.value).removeprefix(f"{tmp_path}/")

    assert sentence(one.table, one.meta, "run.xlsx") == (
        "run.xlsx: predictions are written as .parquet or .csv; choose one."
    )
    assert sentence(one.table, {**one.meta, "run": None}).startswith(
        "run.parquet: the metadata names no run; "
    )
    assert sentence(one.table, {**one.meta, "classes": ["a", "a"]}).startswith(
        "run.parquet: the class list is not of distinct texts; "
    )
    assert sentence(one.table.drop(columns="image_id"), one.meta).startswith(
        "run.parquet, row 1, and 59 more: image_id is empty; "
    )
    assert sentence(one.table.drop(columns="prob_NORMAL"), one.meta) == (
        "run.parquet: no column 'prob_NORMAL'; give one probability column for every class."
    )
