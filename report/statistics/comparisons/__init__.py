"""Comparisons: which method is better, and whether that is more than luck."""
