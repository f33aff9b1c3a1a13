"""One line of the doctor: what was looked at, what was found, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Check:
    """One line of the doctor.

    Attributes
    ----------
    name : str
        What was looked at.
    state : str
        `ok`; `note` where something optional is missing; `problem` where something that should
        work does not.
    found : str
    do : str
        What to do about it; empty if nothing.
    """

    name: str
    state: Literal["ok", "note", "problem"]
    found: str
    do: str = ""

    def line(self) -> str:
        """Write the check for a terminal."""
        state = "PROBLEM" if self.state == "problem" else self.state
        return f"{state:8}{self.name:13} {self.found}{f' → {self.do}' if self.do else ''}"
