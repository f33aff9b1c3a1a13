from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frostline.cache import InputError
from frostline.extract.splits import assign_splits, made_parts, part_sizes

Rows = list[tuple[str, str]]  # group, label
fractions = st.floats(0.05, 0.6)


@st.composite
def data_sets(draw: st.DrawFn) -> Rows:
    """Groups of one label each, of one to four images, in any order of rows."""
    classes = draw(st.lists(st.integers(1, 25), min_size=1, max_size=4))
    rows = [
        (f"c{number}-g{group}", f"c{number}")
        for number, groups in enumerate(classes)
        for group in range(groups)
        for _ in range(draw(st.integers(1, 4)) if groups < 6 else 2)
    ]
    return draw(st.permutations(rows))


def split(rows: Rows, given: list[str | None] | None = None, **options: object) -> dict[str, str]:
    """Part of every group; fails if a group has two."""
    groups, labels = zip(*rows, strict=True)
    assigned = assign_splits(groups, labels, given or [None] * len(rows), **options)  # type: ignore[arg-type]
    parts: dict[str, set[str]] = defaultdict(set)
    for group, part in zip(groups, assigned, strict=True):
        parts[group].add(part)
    assert all(len(found) == 1 for found in parts.values())
    return {group: found.pop() for group, found in parts.items()}


def count(rows: Rows, part_of: dict[str, str]) -> dict[str, Counter[str]]:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for group, label in set(rows):
        counts[label][part_of[group]] += 1
    return counts


@given(data_sets(), fractions, fractions, st.integers())
def test_no_group_crosses_and_every_class_is_everywhere(
    rows: Rows, test: float, val: float, seed: int
) -> None:
    part_of = split(rows, test_fraction=test, val_fraction=val, seed=seed)
    for parts in count(rows, part_of).values():
        assert parts["train"] >= 1
        assert (parts["test"] >= 1) == (parts.total() >= 2)
        assert (parts["val"] >= 1) == (parts.total() - parts["test"] >= 2)
        assert (parts["test"], parts["val"]) == part_sizes(parts.total(), test, val)


@given(data_sets(), st.integers(), st.randoms())
def test_order_of_rows_is_irrelevant(rows: Rows, seed: int, random: object) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert split(rows, seed=seed) == split(shuffled, seed=seed)


@given(data_sets(), data_sets(), st.integers())
def test_adding_groups_moves_none(first: Rows, more: Rows, seed: int) -> None:
    before = split(first, seed=seed)
    both = first + [(f"new-{group}", label) for group, label in more]
    after = split(both, kept=before, seed=seed)
    assert {group: after[group] for group in before} == before
    earlier = count(first, before)
    for label, parts in count(both, after).items():
        assert parts["test"] == max(part_sizes(parts.total(), 0.3, 0.2)[0], earlier[label]["test"])
        if parts.total() >= 3:
            assert all(parts[part] for part in ("train", "val", "test")), label


@given(data_sets(), st.data())
def test_given_parts_are_respected(rows: Rows, data: st.DataObject) -> None:
    names = sorted({group for group, _ in rows})
    parts = data.draw(st.lists(st.sampled_from(["train", "val", "test", None]), min_size=1))
    of_group = {name: parts[number % len(parts)] for number, name in enumerate(names)}
    given = [of_group[group] for group, _ in rows]
    part_of = split(rows, given)
    for name, part in of_group.items():
        if part in ("val", "test"):
            assert part_of[name] == part
        else:  # nothing is added to a part that the data have
            assert part_of[name] == "train" or part_of[name] in made_parts(given)


@given(data_sets(), st.integers())
def test_only_val_is_made_where_test_is_given(rows: Rows, seed: int) -> None:
    given = ["train"] * len(rows) + ["test"]
    rows = [*rows, ("official", "c0")]
    part_of = split(rows, given, seed=seed)
    assert [group for group, part in part_of.items() if part == "test"] == ["official"]
    for parts in count(rows[:-1], part_of).values():
        assert parts["val"] == part_sizes(parts.total(), 0, 0.2)[1]


def test_numbers_of_the_paper_recipe() -> None:
    rows = [(f"p{number}", "a" if number < 60 else "b") for number in range(100)]
    parts = count(rows, split(rows))
    assert parts["a"] == {"train": 34, "val": 8, "test": 18}
    assert parts["b"] == {"train": 22, "val": 6, "test": 12}


def test_seeds_differ() -> None:
    rows = [(f"p{number}", "a") for number in range(40)]
    assert split(rows, seed=0) == split(rows, seed=0) != split(rows, seed=1)


def test_zero_fraction_makes_no_part() -> None:
    rows = [(f"p{number}", "a") for number in range(10)]
    assert set(split(rows, test_fraction=0).values()) == {"train", "val"}
    assert set(split(rows, test_fraction=0, val_fraction=0).values()) == {"train"}


def test_stratum_is_the_most_common_label() -> None:
    rows = [(f"p{number}", label) for number in range(10) for label in ("a", "a", "b")]
    rows += [(f"q{number}", "b") for number in range(10)]
    part_of = split(rows)
    for kind in "pq":
        assert Counter(part_of[f"{kind}{n}"] for n in range(10))["test"] == 3


def test_contradicting_parts_of_the_data_are_left() -> None:
    groups = ["x", "x", "x", "y", "y", "z"]
    given = ["train", "test", None, "test", None, "train"]
    assigned = assign_splits(groups, ["a"] * 6, given, val_fraction=0)
    assert assigned.tolist() == ["train", "test", "train", "test", "test", "train"]


def test_a_leak_of_ours_would_be_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = iter(["train", "test"])
    monkeypatch.setattr("frostline.extract.splits._row_part", lambda *arguments: next(parts))
    with pytest.raises(RuntimeError, match=r"^group 'x' would be in two splits: please report"):
        assign_splits(["x", "x"], ["a", "a"], [None, None])


def test_the_data_overrule_what_was_kept() -> None:
    assigned = assign_splits(["x", "y"], ["a", "a"], ["test", None], kept={"x": "train"})
    assert assigned.tolist() == ["test", "train"]


def test_unlabelled_rows_are_split_too() -> None:
    assigned = assign_splits([f"g{n}" for n in range(10)], [None] * 10, [None] * 10)
    assert Counter(assigned)["test"] == 3


@pytest.mark.parametrize(
    ("options", "given", "message"),
    [
        (
            {"test_fraction": 1.0},
            None,
            "--test-fraction must be at least 0 and less than 1, not 1.0.",
        ),
        (
            {"val_fraction": -0.1},
            None,
            "--val-fraction must be at least 0 and less than 1, not -0.1.",
        ),
        (
            {"val_fraction": np.nan},
            None,
            "--val-fraction must be at least 0 and less than 1, not nan.",
        ),
        ({}, "dev", "A split must be train, val or test, not 'dev'."),
    ],
)
def test_bad_input(options: dict[str, float], given: str | None, message: str) -> None:
    with pytest.raises(InputError) as caught:
        assign_splits(["x"], ["a"], [given], **options)  # type: ignore[arg-type]
    assert str(caught.value) == message
