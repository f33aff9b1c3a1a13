"""Tables of others are read by a mapping of their columns; each mistake has its sentence."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import frostline
from frostline.cache import InputError
from frostline.cache.tables.columns import parse_columns
from frostline.report import read_predictions, write_predictions
from frostline.report.notes import texts
from frostline.report.predictions import OF_SCORES, predictions_from

# As a Kaggle notebook might write it: the truth in one column, an index in another, an age.
LESIONS = """,lesion,dx,predicted_lesion,mel,nv,bkl,age
ISIC_1,HAM_1,mel,nv,0.4,0.5,0.1,50
ISIC_2,HAM_1,nv,nv,0.1,0.9,0,50
ISIC_3,HAM_2,bkl,mel,0.7,0.1,0.2,35
"""
BY_NAME = {
    "image_id": "Unnamed: 0",
    "group_id": "lesion",
    "label": "dx",
    "prediction": "predicted_lesion",
    "prob": "*",
}


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".tsv", " of Excel.csv", "table"])
def test_the_columns_of_others_are_taken_by_name(tmp_path, suffix):
    path = write(tmp_path / f"theirs{suffix}", LESIONS)
    if suffix == ".tsv":
        write(path, LESIONS.replace(",", "\t"))
    elif suffix == " of Excel.csv":
        path.write_bytes(b"\xef\xbb\xbf" + LESIONS.replace(",", ";").replace("\n", "\r\n").encode())
    elif suffix in (".parquet", "table"):
        frame = pd.read_csv(path)
        frame.to_parquet(path)
    if suffix == "table":
        found = predictions_from(frame, "table 1", BY_NAME)
    else:
        found = read_predictions(path, BY_NAME)
    assert found.table["image_id"].tolist() == ["ISIC_1", "ISIC_2", "ISIC_3"]
    assert found.table["group_id"].tolist() == ["HAM_1", "HAM_1", "HAM_2"]
    assert found.table["label"].tolist() == ["mel", "nv", "bkl"]
    assert found.table["prediction"].tolist() == ["nv", "nv", "mel"]
    assert found.classes == ["mel", "nv", "bkl"]
    assert found.table[["prob_mel", "prob_nv", "prob_bkl"]].to_numpy().tolist() == [
        [0.4, 0.5, 0.1],
        [0.1, 0.9, 0.0],
        [0.7, 0.1, 0.2],
    ]
    assert found.table["age"].astype(int).tolist() == [50, 50, 35]
    assert texts(found.notes) == [
        "Probabilities are by the columns mel, nv, bkl; other columns of numbers were left out: "
        "age."
    ]


def test_scores_are_those_of_the_format(run, tmp_path):
    """The same numbers under other names give the same table."""
    own = run(n=40).table
    theirs = own.rename(
        columns={"image_id": "file", "label": "truth", "prediction": "guess", "group_id": "patient"}
        | {name: f"{name.removeprefix('prob_')} (p)" for name in own if name.startswith("prob_")}
    )
    theirs.to_csv(tmp_path / "theirs.csv", index=False)
    own.to_csv(tmp_path / "own.csv", index=False)
    columns = {"image_id": "file", "label": "truth", "prediction": "guess", "group_id": "patient"}
    columns["prob"] = "* (p)"
    options = {"replicates": 100, "metrics": ["accuracy", "roc_auc", "log_loss"]}
    left = frostline.evaluate(tmp_path / "own.csv", **options)
    right = frostline.evaluate(tmp_path / "theirs.csv", columns=columns, **options)
    numbers = ["metric", "estimate", "low", "high", "n_units"]
    pd.testing.assert_frame_equal(left[numbers], right[numbers])
    both = [tmp_path / "theirs.csv", own]
    with pytest.raises(InputError, match="table 2: no column 'file', which columns names for"):
        frostline.compare(both, columns=columns, replicates=100)
    found = frostline.compare([theirs, theirs.iloc[::-1]], columns=columns, replicates=100)
    assert found["difference"].tolist() == [0.0]
    points = frostline.operating_points(theirs, 0.5, columns=columns)
    assert set(points["run"]) == {"table 1"}


def test_one_hot_labels_and_scores_that_are_no_probabilities(tmp_path):
    """As in ISIC 2018: its truth is one-hot, its confidences need not sum to 1."""
    names = ["MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC"]
    truth, scores = np.eye(7)[[1, 0, 6]], np.random.default_rng(0).random((3, 7))
    scores[[0, 1, 2], [1, 1, 6]] = 2
    frame = pd.DataFrame(truth, columns=[f"{name}_true" for name in names])
    frame = frame.join(pd.DataFrame(scores, columns=names)).assign(image=["a", "b", "c"])
    path = tmp_path / "isic.csv"
    frame.to_csv(path, index=False)
    columns = {"image_id": "image", "label": "*_true", "prediction": "*"}
    found = read_predictions(path, columns)
    assert found.table["label"].tolist() == ["NV", "MEL", "VASC"]
    assert found.table["prediction"].tolist() == ["NV", "NV", "VASC"]
    assert list(found.table.columns) == ["image_id", "group_id", "split", "label", "prediction"]
    assert texts(found.notes) == [f"Predictions are by the columns {', '.join(names)}."]
    assert found.classes == names
    marked = [f"{name}_true" for name in names]
    frame.astype(dict.fromkeys(marked, bool)).to_csv(path, index=False)  # as get_dummies has it
    assert read_predictions(path, columns).table.equals(found.table)
    frame.to_csv(path, index=False)
    frame.loc[1, "NV_true"] = 1
    frame.to_csv(path, index=False)
    with pytest.raises(InputError, match="row 2 .line 3.: of MEL_true, .* mark one class an image"):
        read_predictions(path, columns)
    frame.loc[1, [f"{name}_true" for name in names]] = None
    frame.to_csv(path, index=False)
    assert read_predictions(path, columns).table["label"].isna().tolist() == [False, True, False]


def test_a_submission_has_columns_of_numbers_alone(tmp_path):
    """Without labels a star alone is every other column of numbers; the row's index is none."""
    path = write(tmp_path / "s.csv", ",image,mel,nv,site\n0,a,0.6,0.4,back\n1,b,0.2,0.8,arm\n")
    frame = pd.read_csv(path).assign(label=["mel", "nv"])
    columns = {"image_id": "image", "prob": "*"}
    with pytest.raises(InputError, match="no column label .*, or map it by --columns; `frostline"):
        read_predictions(path, columns)
    found = predictions_from(frame, "table 1", columns)
    assert found.table["prediction"].tolist() == ["mel", "nv"]
    assert "Predictions are the classes of the greatest probabilities." in texts(found.notes)


@pytest.mark.parametrize("one", ["1", "1.0"])
def test_columns_are_named_like_whole_numbers(tmp_path, one):
    zero = one.replace("1", "0")
    path = write(tmp_path / "sk.csv", f"0,1,y_true\n0.2,0.8,{one}\n0.7,0.3,{zero}\n")
    found = read_predictions(path, {"label": "y_true", "prob": "*"})
    assert found.classes == ["0", "1"]


@pytest.mark.parametrize("truth", ["1", "1.0"])
def test_of_two_classes_the_probability_of_one_is_enough(tmp_path, truth):
    """What scikit-learn's users save: y_true and y_score."""
    rows = f"{truth},0.9\n0,0.2\n{truth},0.4\n0,0.6\n"
    path = write(tmp_path / "sk.csv", f"y_true,y_score\n{rows}")
    columns = {"label": "y_true", "prob_1": "y_score"}
    found = read_predictions(path, columns)
    assert found.classes == ["0", "1"]
    assert found.table["prediction"].tolist() == ["1", "0", "0", "1"]
    scores = frostline.evaluate(path, columns=columns, metrics=["roc_auc", "accuracy"])
    assert scores["estimate"].tolist() == [0.75, 0.5]
    assert scores["positive"].tolist() == ["1", ""]
    names = found.table.columns.tolist()
    assert names.index("prob_0") < names.index("prob_1")


def test_the_one_named_is_positive_whatever_its_name(tmp_path):
    path = write(tmp_path / "sk.csv", "label,risk\nill,0.9\nwell,0.2\nill,0.4\nwell,0.6\n")
    found = read_predictions(path, {"prob_ill": "risk"})
    assert found.classes == ["well", "ill"]
    assert frostline.evaluate(found, metrics=["roc_auc"])["estimate"].item() == 0.75


def test_what_is_mapped_counts_and_not_what_has_the_name(tmp_path):
    """As of timm's inference.py, whose column `label` is what was predicted."""
    text = "filename,label,prob_x,p_a,p_b,truth,prediction\nf,b,9,0.3,0.7,a,old\n"
    path = write(tmp_path / "timm.csv", text)
    columns = {"image_id": "filename", "prediction": "label", "label": "truth", "prob": "p_*"}
    found = read_predictions(path, columns)
    assert found.table[["label", "prediction"]].to_numpy().tolist() == [["a", "b"]]
    assert found.classes == ["a", "b"]
    assert not {"filename", "truth", "prob_x", "p_a"} & set(found.table)
    del columns["label"]
    with pytest.raises(InputError, match="no column label"):
        read_predictions(path, columns)


def test_files_of_frostline_stay_as_they_are(run, tmp_path):
    one = run(n=40)
    write_predictions(tmp_path / "own.parquet", one.table, one.meta)
    one.table.rename(columns={"label": "truth"}).to_csv(tmp_path / "theirs.csv", index=False)
    both, columns = [tmp_path / "own.parquet", tmp_path / "theirs.csv"], {"label": "truth"}
    found = frostline.evaluate(both, columns=columns, metrics=["accuracy"], replicates=100)
    assert found["estimate"].iloc[0] == found["estimate"].iloc[1]
    with pytest.raises(InputError) as caught:
        frostline.evaluate(both[0], columns=columns)
    assert str(caught.value) == (
        "columns is for tables of others, and Frostline wrote all of these: leave it out."
    )


def test_the_grammar_of_the_option():
    assert parse_columns(None) is None
    assert parse_columns(["label=a b,prob=*", "image_id = x=y "]) == {
        "label": "a b",
        "prob": "*",
        "image_id": "x=y",
    }
    assert parse_columns(['"label=diagnosis, final",prob=p_*']) == {
        "label": "diagnosis, final",
        "prob": "p_*",
    }
    for wrong in ("label", "label=", "=dx", "", "label=a,"):
        with pytest.raises(InputError, match="^--columns is NEW=THEIRS,NEW=THEIRS, such as "):
            parse_columns([wrong])
    with pytest.raises(InputError, match="^--columns gives label twice: give it once.$"):
        parse_columns(["label=a", "label=b"])


HEAD = "id,truth,guess,p_a,p_b\n"
ALL = {"image_id": "id", "label": "truth", "prediction": "guess", "prob": "p_*"}
WRONG = {
    "missing column": (
        HEAD,
        {"prediction": "predicted"},
        "{}: no column 'predicted', which --columns names for prediction; it has id, truth, guess, "
        "p_a, p_b: correct --columns.",
    ),
    "pattern": (
        HEAD,
        {"prob": "prob_*"},
        "{}: no column like prob_*, which --columns names for prob; it has id, truth, guess, p_a, "
        "p_b: correct --columns.",
    ),
    "star": (
        HEAD + "i,a,b,1,0\n",
        {"label": "truth", "prediction": "guess", "prob": "*"},
        "{}: prob=* of --columns matches no column, because of the others (id, p_a, p_b) none is "
        "named like a label or prediction (a, b); write both alike, or name the columns of the "
        "classes by a pattern, prob=p_*.",
    ),
    "star without numbers": (
        "id,note\ni,x\n",
        {"image_id": "id", "prob": "*"},
        "{}: prob=* of --columns matches no column, because of the others (note) none holds "
        "numbers alone; write both alike, or name the columns of the classes by a pattern, "
        "prob=p_*.",
    ),
    "one column twice": (
        HEAD,
        {"label": "truth", "prediction": "truth"},
        "--columns takes truth for label and prediction: take it for one of them.",
    ),
    "infinity": (
        HEAD + "i,a,b,1e400,0.7\n",
        ALL,
        f"{{}}, row 1 (line 2): a probability is infinite; {OF_SCORES}.",
    ),
    "text": (
        HEAD + "i,a,b,1,0\n",
        {"label": "truth", "prob_a": "guess"},
        "{}, row 1 (line 2): guess is 'b', not a number; write a number.",
    ),
    "two probabilities": (
        "label,p_a,p_b,score\na,1,0,1\n",
        {"prob": "p_*", "prob_a": "score"},
        "{}: --columns names two columns for the probability of 'a'; name one of them.",
    ),
    "two patterns": (
        "p_a_t,p_b_t\n1,0\n",
        {"prob": "p_*", "label": "*_t"},
        "{}: column 'p_a_t' is like the patterns of label and prob in --columns; make them differ.",
    ),
    "unknown": (
        HEAD,
        {"lable": "truth"},
        "--columns names 'lable', which is no column of predictions: choose from image_id, "
        "group_id, split, label, prediction, prob, prob_CLASS (CLASS is the name of a class).",
    ),
    "no star": (
        HEAD,
        {"prob": "p_a"},
        "--columns prob=p_a must have one star, for the name of the class, such as prob=p_*: "
        "correct it.",
    ),
    "no mapping": (HEAD, {}, "--columns is empty: name at least one column, or leave it out."),
    "no name": (HEAD, {"label": 3}, "--columns maps names to names, not 'label' to 3."),
    "sum": (
        HEAD + "i,a,b,0.7,0.7\n",
        ALL,
        f"{{}}, row 1 (line 2): the probabilities sum to 1.4, not 1; {OF_SCORES}.",
    ),
    "percent": (
        HEAD + "i,a,b,30,70\n",
        ALL,
        "{}, row 1 (line 2): the probabilities sum to 100, not 1; divide percentages by 100.",
    ),
    "decimal comma": (
        (HEAD + "i,a,b,0.3,0.7\n").replace(",", ";").replace(".", ","),
        ALL,
        "{}, row 1 (line 2): p_a is '0,3', not a number; write it with a decimal point, 0.3.",
    ),
    "labels": (
        HEAD + "i,c,b,0.3,0.7\n",
        ALL,
        "{}, row 1 (line 2): label 'c' is not in the class list (a, b); correct the label or the "
        "class list.",
    ),
    "labels in another code": (
        "truth,s_a,s_b\n0,1,0\n",
        {"label": "truth", "prediction": "s_*"},
        "{}, row 1 (line 2): label '0' is not in the class list (a, b); correct the label or the "
        "class list.",
    ),
    "predictions in another code": (
        "guess,a_t,b_t\n0,1,0\n",
        {"label": "*_t", "prediction": "guess"},
        "{}, row 1 (line 2): prediction '0' is not in the class list (a, b); correct the "
        "prediction or the class list.",
    ),
    "duplicate keys": (
        HEAD + "i,a,b,0.3,0.7\n" * 2,
        ALL,
        "{}, row 2 (line 3): image_id 'i' occurs twice; keep one row an image.",
    ),
    "missing number": (
        "id,s_a,s_b\ni,1,\n",
        {"image_id": "id", "prediction": "s_*"},
        "{}, row 1 (line 2): a number of s_a, s_b is missing; fill it.",
    ),
    "empty file": ("", ALL, "{}: the file is empty; it needs a header and rows."),
    "no rows": (HEAD, ALL, "{}: there are no rows; give a file with one row an image."),
    "no rows, no answers": (
        HEAD,
        {"label": "truth", "prob": "p_*"},
        "{}: there are no rows; give a file with one row an image.",
    ),
    "no rows, one-hot": (
        HEAD,
        {"label": "p_*", "prediction": "guess"},
        "{}: there are no rows; give a file with one row an image.",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_mistakes_end_in_a_sentence(tmp_path, name):
    text, columns, sentence = WRONG[name]
    path = write(tmp_path / "theirs.csv", text)
    with pytest.raises(InputError) as caught:
        read_predictions(path, columns)
    assert str(caught.value) == sentence.format(path)


def test_codes_that_never_meet_are_said(tmp_path):
    path = write(tmp_path / "codes.csv", "label,prediction\n0,sick\n1,well\n1,well\n")
    scores = frostline.evaluate(path, metrics=["accuracy"])
    assert scores["estimate"].item() == 0
    assert texts(read_predictions(path).notes) == [
        "No label (0, 1) is ever predicted (sick, well): write both alike if they mean the same."
    ]


def test_tables_with_numbers_for_names(tmp_path):
    """As scikit-learn's predict_proba gives them; and two columns of one name are refused."""
    frame = pd.DataFrame([[0.3, 0.7], [0.8, 0.2]]).assign(truth=[1, 0])
    found = predictions_from(frame, "numbers", {"label": "truth", "prob": "*"})
    assert found.table["prediction"].tolist() == ["1", "0"]
    frame.columns = [0, 0, "truth"]
    with pytest.raises(InputError, match="^table 1: two columns are named '0'; rename or remove"):
        frostline.evaluate(frame, columns={"label": "truth", "prob": "*"})
    with pytest.raises(InputError, match="^columns must be a mapping from names, not 'truth'"):
        frostline.evaluate(frame, columns="truth")
