"""What counts as a label: one class an image, written in one way."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from frostline.cache import InputError
from frostline.cache.tables.labels import check_labels, spelling_warnings, split_name


def check(labels: Sequence[object]) -> None:
    check_labels(labels, lambda row: f"t.csv, row {row + 2}")


@pytest.mark.parametrize(
    ("labels", "row", "several"),
    [
        (["No Finding", "Effusion|Mass", "Mass"], 3, "Effusion|Mass"),
        (["normal", "mass,nodule"], 3, "mass,nodule"),
        (["mass;nodule", None], 2, "mass;nodule"),
        (["nodule", "mass, nodule"], 3, "mass, nodule"),
        (["a", "['mass', 'nodule']"], 3, "['mass', 'nodule']"),
        (["0 1 0", "1 0 0"], 2, "0 1 0"),
    ],
)
def test_several_labels_in_a_cell_are_refused(labels: list, row: int, several: str) -> None:
    with pytest.raises(InputError) as caught:
        check(labels)
    assert str(caught.value).startswith(
        f"t.csv, row {row}: the label {several!r} is several labels, and Frostline is for one"
    )


@pytest.mark.parametrize(
    "labels",
    [
        [20 + number % 60 for number in range(3_000)],  # ages
        [str(30 + number) for number in range(24)],  # ages of few patients
        [f"{number * 0.37:.2f}" for number in range(12)],
        [number / 3 for number in range(12)],
    ],
)
def test_measurements_are_refused(labels: list) -> None:
    with pytest.raises(InputError, match=r"^t\.csv, row 2: the label '.*' is one of \d+ different"):
        check(labels)


def test_names_of_images_are_refused() -> None:
    with pytest.raises(InputError, match=r"^t\.csv, row 2: each of the 100 images has a label of"):
        check([f"p{number}" for number in range(100)])


@pytest.mark.parametrize(
    "labels",
    [
        ["carcinoma, in situ", "carcinoma, invasive", "benign"],
        ["grade 2/3", "HER2+", "grade II; III", None],
        [*range(10)],
        [*map(str, range(30))] * 3,  # classes by number
        ["4.1", "4.2", "4.3", "5"],
        [f"p{number}" for number in range(100)] * 2,
        [f"p{number}" for number in range(19)],
        [],
        [None],
    ],
)
def test_classes_pass(labels: list) -> None:
    check(labels)


def test_spellings_of_one_value_are_warned_of() -> None:
    assert spelling_warnings(["Mass", "mass ", "cyst", "MASS"], "labels") == [
        "The labels 'Mass', 'mass ' and 'MASS' differ in blanks or case only, and count as "
        "different."
    ]
    assert spelling_warnings(["001", "1", "2", "2.0", "a01", "a1", None], "groups") == [
        "The groups '001' and '1' differ in zeros in front or behind only, and count as "
        "different; so do 1 more."
    ]
    assert spelling_warnings([1, 2, 10, 100, "1.5", "0", "10.50"], "labels") == []
    assert spelling_warnings(["p1", "p2"], "groups") == []


def test_splits_are_known_in_their_usual_spellings() -> None:
    known = [split_name(text) for text in ("Test", "TEST ", "Valid", "training", "fold 1", "")]
    assert known == ["test", "test", "val", "train", None, None]
