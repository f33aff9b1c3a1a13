"""Splits: train, validation and test by group, stratified by label, seeded.

Method. Parts that the data lack are made out of the groups that the data do not assign to a
test or validation part. A group's stratum is its most common label. Within a stratum of n
groups, test is to hold `test_fraction` of n and validation `val_fraction` of what is left,
rounded to the nearest, at least one each while one is left for train. Groups that were assigned
before count towards these numbers and stay; the others are taken in the order of a keyed hash
of their name: one for train if it has none, then until test is full, then validation; the rest
is train. The hash depends on the seed and the name alone, so that neither the order of rows nor
other groups change it. Groups with equal images are taken together; those that are more than
a part still lacks wait.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from frostline.cache import InputError
from frostline.cache.manifest import SPLITS
from frostline.cache.tables.units import units


def assign_splits(
    groups: Sequence[str],
    labels: Sequence[str | None],
    splits: Sequence[str | None],
    keys: Sequence[object] | None = None,
    *,
    kept: Mapping[str, str] | None = None,
    test_fraction: float = 0.3,
    val_fraction: float = 0.2,
    seed: int = 0,
) -> np.ndarray:
    """Give every row a split so that no group is in two.

    Parameters
    ----------
    groups, labels : sequences of n
        What must stay together, and what to stratify by.
    splits : sequence of n
        What the data themselves say: train, val, test or None. A test or validation part that
        occurs stays as it is, and no other group is added to it; parts that do not occur are
        made out of the other groups.
    keys : sequence of n
        What equal images have in common, or None: groups that share one get the same part, unless
        the data, or `kept`, put them into several.
    kept
        Part of each group that was assigned earlier; it stays, unless the data say test or val.
    test_fraction, val_fraction
        Of the groups of a stratum, and of those left for train; 0 makes none.
    seed
        Any whole number.

    Returns
    -------
    object array [n] of train, val, test. Groups that the data put into several parts are left
    as they are (`audit` reports them), and their rows without a part are train.

    Raises
    ------
    InputError
        If a fraction or a split is not valid.
    """
    _check(splits, test_fraction, val_fraction)
    given = _given_parts(groups, splits)
    made = [part for part in ("test", "val") if not any(part in parts for parts in given.values())]
    free = {group for group, parts in given.items() if not parts & {"test", "val"}}
    fractions = {
        "test": test_fraction if "test" in made else 0.0,
        "val": val_fraction if "val" in made else 0.0,
    }
    kept = {group: part for group, part in (kept or {}).items() if group in free}
    part_of = _parts(groups, labels, _units(groups, keys, free), kept, fractions, seed)
    assigned = [
        _row_part(split, given[group], part_of.get(group))
        for group, split in zip(groups, splits, strict=True)
    ]
    result = np.array(assigned, dtype=object)
    _check_no_leak(groups, result, given)
    return result


def _parts(
    groups: Sequence[str],
    labels: Sequence[str | None],
    unit_of: Mapping[str, str],
    kept: Mapping[str, str],
    fractions: Mapping[str, float],
    seed: int,
) -> dict[str, str]:
    """Choose the part of every free group, whole units at a time."""
    part_of: dict[str, str] = {}
    for group in sorted(kept):  # where earlier parts tear a unit, what is new follows the first
        part_of.setdefault(unit_of[group], kept[group])
    size = Counter(unit_of.values())
    names_of_rows = [unit_of.get(group, group) for group in groups]
    for names in _strata(names_of_rows, labels, set(size)).values():
        have: Counter[str] = Counter()
        for name in names:
            if name in part_of:
                have[part_of[name]] += size[name]
        new = _in_order([name for name in names if name not in part_of], seed)
        part_of.update(_fill({name: size[name] for name in new}, have, fractions))
    return {group: kept.get(group, part_of[unit]) for group, unit in unit_of.items()}


def part_sizes(groups: int, test_fraction: float, val_fraction: float) -> tuple[int, int]:
    """Say how many of a stratum's groups are to be test and validation.

    >>> [part_sizes(groups, 0.3, 0.2) for groups in (10, 3, 2, 1)]
    [(3, 1), (1, 1), (1, 0), (0, 0)]
    """
    test = _share(groups, test_fraction)
    return test, _share(groups - test, val_fraction)


def made_parts(splits: Iterable[str | None]) -> list[str]:
    """List the parts that the data lack, and that are therefore made."""
    present = set(splits)
    return [part for part in ("test", "val") if part not in present]


def _share(groups: int, fraction: float) -> int:
    if fraction == 0 or groups < 2:
        return 0
    return min(max(int(groups * fraction + 0.5), 1), groups - 1)


def _units(groups: Sequence[str], keys: Sequence[object] | None, free: set[str]) -> dict[str, str]:
    """Name the unit of every free group; those that the data assign join nothing."""
    if keys is None:
        return {group: group for group in free}
    mine = [(group, key) for group, key in zip(groups, keys, strict=True) if group in free]
    names = [group for group, _ in mine]
    return dict(zip(names, units(names, [key for _, key in mine]), strict=True))


def _given_parts(groups: Sequence[str], splits: Sequence[str | None]) -> dict[str, set[str]]:
    given: dict[str, set[str]] = defaultdict(set)
    for group, split in zip(groups, splits, strict=True):
        given[group].update([] if split is None else [split])
    return dict(given)


def _strata(
    groups: Sequence[str], labels: Sequence[str | None], free: set[str]
) -> dict[str, list[str]]:
    """Give the free groups by their most common label (ties: the first by name)."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for group, label in zip(groups, labels, strict=True):
        if group in free:
            counts[group]["" if label is None else label] += 1
    strata: dict[str, list[str]] = defaultdict(list)
    for group, count in counts.items():
        strata[min(count, key=lambda label: (-count[label], label))].append(group)
    return strata


def _in_order(names: list[str], seed: int) -> list[str]:
    key = hashlib.blake2b(str(seed).encode(), digest_size=16).digest()
    return sorted(
        names, key=lambda name: hashlib.blake2b(name.encode(), key=key, digest_size=16).digest()
    )


def _fill(
    sizes: Mapping[str, int], have: Counter[str], fractions: Mapping[str, float]
) -> dict[str, str]:
    """Choose the parts of new units, given their numbers of groups and how many each part has."""
    total = sum(sizes.values()) + have.total()
    test, val = part_sizes(total, fractions["test"], fractions["val"])
    left = list(sizes)
    parts = {} if have["train"] or not left else {left.pop(0): "train"}
    for part, wanted in (("test", test), ("val", val)):
        missing = wanted - have[part]
        # A unit that is too large waits, unless the part would be empty.
        taken = _fitting(sizes, left, missing) or left[: missing > 0 and not have[part]]
        parts |= dict.fromkeys(taken, part)
        left = [name for name in left if name not in parts]
    return parts | dict.fromkeys(left, "train")


def _fitting(sizes: Mapping[str, int], names: list[str], room: int) -> list[str]:
    taken = []
    for name in names:
        if sizes[name] <= room:
            taken.append(name)
            room -= sizes[name]
    return taken


def _row_part(split: str | None, given: set[str], part: str | None) -> str:
    if part is not None:
        return part
    if split is not None:
        return split
    return next(iter(given)) if len(given) == 1 else "train"


def _check(splits: Sequence[str | None], test_fraction: float, val_fraction: float) -> None:
    for name, fraction in (("--test-fraction", test_fraction), ("--val-fraction", val_fraction)):
        if not 0 <= fraction < 1:
            raise InputError(f"{name} must be at least 0 and less than 1, not {fraction}.")
    unknown = {split for split in splits if split is not None} - set(SPLITS)
    if unknown:
        raise InputError(f"A split must be train, val or test, not {min(unknown)!r}.")


def _check_no_leak(
    groups: Sequence[str], assigned: np.ndarray, given: Mapping[str, set[str]]
) -> None:
    parts: dict[str, set[str]] = defaultdict(set)
    for group, part in zip(groups, assigned, strict=True):
        parts[group].add(part)
    leaks = [group for group, found in parts.items() if len(found) > 1 and len(given[group]) < 2]
    if leaks:
        raise RuntimeError(f"group {min(leaks)!r} would be in two splits: please report this")
