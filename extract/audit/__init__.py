"""Audit: what in a data set would make its results better or worse than they are."""
