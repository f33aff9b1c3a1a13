"""The one exception that means: the user can mend this."""

from __future__ import annotations


class InputError(ValueError):
    """A mistake in what the user gave; the message is one sentence: what, where, what to do."""
