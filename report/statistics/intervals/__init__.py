"""Intervals of metrics: estimates, replicates, bounds, and flags where they may not cover."""
