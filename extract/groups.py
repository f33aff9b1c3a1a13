"""Groups (patients, lesions): from the data themselves, by a pattern of names, or one an image."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

import pandas as pd
import regex  # type: ignore[import-untyped]

from frostline.cache import InputError

SECONDS = 2  # for all names, and
SECONDS_A_NAME = 0.001  # more


def with_groups(table: pd.DataFrame, pattern: str | None) -> pd.DataFrame:
    """Fill `group_id` of a reader's table, by the pattern or else by the image itself.

    Raises
    ------
    InputError
        If the data have groups and there is a pattern, or the pattern does not find them all.
    """
    table = table.assign(
        **{
            name: table[name].astype(object).where(table[name].notna(), None)
            for name in ("label", "group_id", "split")
        }
    )
    if pattern is None:
        return table.assign(
            group_id=table["group_id"].where(table["group_id"].notna(), table["image_id"])
        )
    if table["group_id"].notna().any():
        raise InputError("Groups are given twice: use either a group column or --group-pattern.")
    return table.assign(group_id=groups_from_names(list(table["path"]), pattern))


def groups_from_names(paths: Sequence[str], pattern: str) -> list[str]:
    """Find each path's group by a regular expression.

    Parameters
    ----------
    paths : sequence of str
        Relative to the root.
    pattern : str
        Searched in the name, or in the whole path if it holds a `/`. The group is what the named
        group `group` matched, else the first group in parentheses, else the whole match.

    Raises
    ------
    InputError
        If the pattern is no regular expression, takes too long, or finds nothing in a name.
    """
    try:
        expression = regex.compile(pattern)
    except (regex.error, RecursionError) as error:
        raise InputError(
            f"The pattern '{pattern}' of --group-pattern is no regular expression: {error}."
        ) from error
    whole_path = "/" in pattern
    group: int | str = "group" if "group" in expression.groupindex else min(1, expression.groups)
    texts = [path if whole_path else PurePosixPath(path).name for path in paths]
    matches = _search_all(expression, texts, pattern)
    found = [match[group] if match else None for match in matches]
    missing = [text for text, name in zip(texts, found, strict=True) if not name]
    if missing:
        names = "all" if len(missing) == len(paths) else f"{len(missing):,} of"
        raise InputError(
            f"--group-pattern '{pattern}' finds no group in {names} {len(paths):,} "
            f"{'paths' if whole_path else 'names'}, such as {missing[0]}: change it so that it "
            "matches them all, or name the groups in a column (--kind table, --group-column). "
            "Where nobody knows the patient, leave it out: every image is then its own group."
        )
    return [name for name in found if name]


def _search_all(
    expression: regex.Pattern, texts: Sequence[str], pattern: str
) -> Iterator[regex.Match | None]:
    """Search every name, all within a limit: some patterns would take years on one name."""
    end = time.monotonic() + SECONDS + SECONDS_A_NAME * len(texts)
    for text in texts:
        try:
            yield expression.search(text, timeout=max(end - time.monotonic(), 1e-3))
        except TimeoutError:
            raise InputError(
                f"--group-pattern '{pattern}' takes too long on {text}: write it without a "
                "repetition inside of a repetition, such as 'patient[0-9]+'."
            ) from None
