"""Audit: leaks, conflicts and damage, which make results look better or worse than they are."""
