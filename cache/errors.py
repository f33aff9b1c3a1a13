"""The one exception for what the user can mend."""

from __future__ import annotations

import struct
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


class InputError(ValueError):
    """A mistake in what the user gave; the message is one sentence: what, where, what to do."""
