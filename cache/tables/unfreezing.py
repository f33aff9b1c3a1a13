"""How much of a backbone trains, as `--unfreeze` and the `unfreeze` of a run's metadata say it."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple, get_args

LORA = "lora"
Way = Literal["none", "all", "classifier", "norm", "last", "first", "lora"]
COUNT = "[1-9][0-9]{0,3}"
# What is one word or has a number behind a colon; the last N blocks are the number alone.
FORM = re.compile(
    f"(?P<way>none|all|classifier|norm)|(?P<last>{COUNT})|first:(?P<first>{COUNT})"
    f"|(?P<lora>lora)(?::(?P<lora_count>{COUNT}))?(?: r=(?P<rank>{COUNT}))?"
)


class Unfreezing(NamedTuple):
    """How much of a backbone trains.

    Attributes
    ----------
    way : str
        "none", "all", "classifier", "norm" (norms and biases), "last" or "first" (blocks), or
        "lora" (adapters).
    blocks : int
        How many, of "last", "first" and "lora"; 0 where all are meant.
    rank : int
        Of adapters, as metadata say it (`lora:4 r=8`); 0 where it is not said.
    """

    way: Way
    blocks: int = 0
    rank: int = 0

    @property
    def partly(self) -> bool:
        """Whether something of the backbone trains, and not all of it as it is."""
        return self.way not in ("none", "all")


def parse_unfreezing(text: object) -> Unfreezing | None:
    """Read what `--unfreeze` takes, or what a run's metadata say; None for anything else."""
    found = FORM.fullmatch(str(text))
    if found is None:
        return None
    if found["lora"]:
        return Unfreezing("lora", int(found["lora_count"] or 0), int(found["rank"] or 0))
    for way in ("last", "first"):
        if found[way]:
            return Unfreezing(way, int(found[way]))
    (known,) = (way for way in get_args(Way) if way == found["way"])
    return Unfreezing(known)


def is_lora(text: object) -> bool:
    """Tell whether `unfreeze` stands for adapters."""
    asked = parse_unfreezing(text)
    return asked is not None and asked.way == LORA
