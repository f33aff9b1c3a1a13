"""Names of classes: how they are given, and what order is plain from them."""

from __future__ import annotations

import pytest

from frostline.cache.tables.class_order import (
    class_names,
    is_positive_plain,
    ordered,
    plain_order,
)


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (None, None),
        ([], None),
        ("low,medium,high", ["low", "medium", "high"]),
        (["low, medium ,high"], ["low", "medium", "high"]),
        (["mass, large", "cyst"], ["mass, large", "cyst"]),
        (("a", "b"), ["a", "b"]),
        (["one"], ["one"]),
    ],
)
def test_one_value_is_a_list_with_commas_and_several_are_names(given, names):
    assert class_names(given) == names


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["10", "9"], ["9", "10"]),
        (["-1", "0", "1.5"], ["-1", "0", "1.5"]),
        (["G1", "G10", "G2"], ["G1", "G2", "G10"]),
        (["grade 3", "Grade 1"], ["Grade 1", "grade 3"]),
        (["T1 stage 10", "T1 stage 9"], ["T1 stage 9", "T1 stage 10"]),
        (["low", "high"], None),
        (["G1", "T2"], None),
        (["G1", "G2a"], None),
        (["G1", "normal"], None),
        (["1", "01"], None),
        (["1", "G2"], None),
        (["II", "III", "IV"], None),
    ],
)
def test_an_order_is_plain_from_numbers_alone(names, expected):
    assert plain_order(names) == expected


def test_a_declared_order_goes_before_numbers_and_must_name_all():
    assert ordered(["G1", "G2"], ["G2", "G1"]) == (["G2", "G1"], True)
    assert ordered(["G2", "G1"], ["low", "high"]) == (["G1", "G2"], False)
    assert ordered(["low", "high"], None) == (["low", "high"], False)
    assert ordered(["low", "high"], ["high", "none", "low"]) == (["high", "low"], True)


@pytest.mark.parametrize(
    ("names", "plain"),
    [
        (("NORMAL", "PNEUMONIA"), True),
        (("benign", "malignant"), True),
        (("0", "1"), True),
        (("grade 2", "grade 3"), True),
        (("no_finding", "mass"), True),
        (("AMD", "Non-AMD"), False),
        (("sick", "well"), False),
        (("abnormal", "normal"), False),
        (("negative", "normal"), False),
        (("1", "0"), False),
        (("nodule", "other"), False),
    ],
)
def test_which_of_two_classes_is_positive_is_rarely_plain(names, plain):
    assert is_positive_plain(names) is plain
