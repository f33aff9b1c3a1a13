"""What a reader leaves out, counted by reason: nothing is left out unsaid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

EXAMPLES = 3  # that are kept for each reason


class LeftOut:
    """Files, patients or images that do not come into the manifest.

    A reason begins with the plural of what it counts, and holds no verb: `files named *.gif`.
    """

    def __init__(self) -> None:
        self._found: dict[str, dict[str, Any]] = {}

    def add(self, reason: str, example: str, of: str = "files") -> None:
        """Count one; `of` is what is counted: `files`, `patients` or `images`."""
        entry = self._found.setdefault(reason, {"of": of, "count": 0, "examples": []})
        entry["count"] += 1
        if len(entry["examples"]) < EXAMPLES:
            entry["examples"].append(example.encode(errors="replace").decode())

    def add_suffix(self, path: str) -> None:
        """Count a file that no reader takes, by the end of its name."""
        name = path.rsplit("/", 1)[-1]
        suffix = name.rsplit(".", 1)[1].lower() if "." in name else None
        self.add("files without a suffix" if suffix is None else f"files named *.{suffix}", path)

    def as_meta(self) -> dict[str, Mapping[str, Any]]:
        """Give `of`, `count` and `examples` by reason, sorted, as the manifest keeps them."""
        return dict(sorted(self._found.items()))

    def total(self) -> int:
        """Count all that is left out."""
        return sum(entry["count"] for entry in self._found.values())

    def __str__(self) -> str:
        """Give all of it in one phrase, for a sentence."""
        parts = [counted(entry["count"], reason) for reason, entry in self.as_meta().items()]
        return ", ".join(parts) or "nothing is left out"


def counted(count: int, reason: str) -> str:
    """Put a number before a reason.

    >>> counted(1, "files named *.gif"), counted(1200, "files named *.gif")
    ('1 file named *.gif', '1,200 files named *.gif')
    """
    first, _, rest = reason.partition(" ")
    return f"{count:,} {first.removesuffix('s') if count == 1 else first} {rest}"
