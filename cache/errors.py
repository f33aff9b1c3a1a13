"""The one exception for what the user can mend."""

from __future__ import annotations


class InputError(ValueError):
    """A mistake in what the user gave; the message is one sentence: what, where, what to do."""
