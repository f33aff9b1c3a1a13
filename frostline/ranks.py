"""The processes that torchrun starts: which this is, and what may not run in several."""

from __future__ import annotations

import os

from frostline.cache.errors import InputError

# What shares its work among them; all else would do it several times over, in the same files.
SHARED = ("extract", "finetune")


def rank_and_ranks() -> tuple[int, int]:
    """Return the number of this process, from 0, and how many there are."""
    found = os.environ.get("RANK", "0"), os.environ.get("WORLD_SIZE", "1")
    if not all(text.isdecimal() for text in found):
        raise InputError(
            "The variables RANK and WORLD_SIZE are numbers that torchrun sets, not "
            f"{' and '.join(map(repr, found))}: unset them."
        )
    return int(found[0]), int(found[1])


def refuse_ranks(command: str) -> None:
    """Refuse more than one process of torchrun.

    Fine-tuning joins the processes that it finds: those of a study, each at a run of its own, would
    average their gradients.

    Raises
    ------
    InputError
        If there are several, and `command` is not one of `SHARED`.
    """
    ranks = rank_and_ranks()[1]
    if ranks > 1 and command not in SHARED:
        raise InputError(
            f"Only `frostline extract` and `frostline finetune` share their work among the {ranks} "
            "processes that torchrun started: run this without torchrun; `frostline run` shares a "
            "study with --jobs or --shard."
        )
