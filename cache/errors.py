"""The one exception for what the user can mend."""

from __future__ import annotations

import struct
import unicodedata
import zlib

# What readers of files raise over bytes that are empty, cut off, or not what was written; each
# reader adds what its library raises beyond these.
READ_ERRORS = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    RuntimeError,
    struct.error,
    zlib.error,
)


# Characters that reverse the direction of what is written behind them.
BIDIRECTIONAL = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def printable(text: str, keep: str = "") -> str:
    """Write characters that act on a terminal as `\\x1b` and the like, but for those of `keep`.

    Names of files and patients come from others: one that holds an escape sequence would clear the
    screen, move the cursor, or write over what was said.
    """
    return "".join(
        one.encode("unicode_escape").decode()
        if one not in keep and (unicodedata.category(one) in ("Cc", "Cs") or one in BIDIRECTIONAL)
        else one
        for one in text
    )


class InputError(ValueError):
    """A mistake in what the user gave.

    Parameters
    ----------
    sentence : str
        What is wrong, where, and what to do.
    lines : str
        What there is to choose from, where that is a list: each follows on a line of its own.
    """

    def __init__(self, sentence: str = "", *lines: str) -> None:
        super().__init__(*(printable(str(one)) for one in (sentence, *lines)))

    def __str__(self) -> str:
        return "\n".join(self.args)
