"""The error that a user's mistake raises."""

from __future__ import annotations


class InputError(ValueError):
    """What was given cannot be used: one plain sentence saying what, where, and what to do."""
