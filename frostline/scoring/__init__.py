"""Scores, comparisons and clinical evidence of predictions, in Python."""
